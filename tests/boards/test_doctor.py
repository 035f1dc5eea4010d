from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import asdict, replace

import pytest
import tensorflow as tf
import tf_keras as keras

from kser.boards import catalog, doctor
from kser.boards.arena_layouts import HOST, LAYOUTS
from kser.boards.catalog import BOARDS, OWN_OPS, find_board
from kser.boards.cost_model import sketch_ram_bytes
from kser.boards.memory_planner import needed_bytes, with_margin
from kser.boards.own_kernels import OWN, TABLE_BYTES
from kser.errors import ConfigError, ModelFileError
from kser.tflite import interpreter, model_file, op_graph
from kser.tflite.op_graph import Node, Tensor
from kser.tflite.sandbox import Limits, Sandbox
from tests import damage
from tests.boards.diagnoses import FEATURES, changed, fatal, on

BRIEF = Limits(seconds=20, cpu_seconds=5, memory_bytes=1 << 30)
NUM_FLIPPED = 500


def memory(figures: doctor.Figures) -> int:
    """Bytes of arena, with its margin, and stack."""
    return with_margin(figures.arena_bytes) + doctor.STACK_BYTES


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(BRIEF) as sandbox:
        yield sandbox


# --- Healthy models


def test_a_small_model_fits(model_bytes, findings):
    diagnosis = on("generic_m4", model_bytes)
    figures = diagnosis.figures
    assert diagnosis.verdict == "fits" and {p.severity for p in diagnosis.problems} <= {"hint"}
    assert figures.model_bytes == len(model_bytes) and figures.nodes == len(findings.nodes)
    assert figures.multiply_accumulates == op_graph.describe(model_bytes).multiply_accumulates
    assert figures.host_arena_bytes == interpreter.smallest_arena_bytes(model_bytes)
    assert figures.host_arena_bytes / 2 < figures.arena_bytes < figures.host_arena_bytes
    assert figures.ram_bytes == memory(figures) + 2 * figures.ring_samples + sketch_ram_bytes(FEATURES)
    assert figures.flash_bytes == len(model_bytes) + catalog.UPSTREAM.code_bytes
    assert 0 < figures.assumed_share < 0.5


def test_diagnosis_in_a_child_process_is_the_one_of_this_process(model_bytes, findings):
    found = doctor.examine(model_bytes, list(BOARDS), 250.0)
    assert found == tuple(doctor.diagnose(findings, board, 250.0) for board in BOARDS.values())
    json.dumps([asdict(diagnosis) for diagnosis in found], allow_nan=False)


def test_model_without_metadata_is_examined_without_front_end(model_bytes):
    def strip(model):
        model.metadata = []

    tagged, bare = on("nano33ble", model_bytes).figures, on("nano33ble", changed(model_bytes, strip)).figures
    assert bare.front_end_ms is None and (bare.ring_samples, bare.ram_bytes) == (0, memory(bare))
    assert bare.inference_ms == tagged.inference_ms
    factor = (tagged.inference_ms.middle + tagged.front_end_ms.middle) / 500
    assert tagged.real_time_factor.middle == pytest.approx(factor)


def test_model_of_another_form_is_examined():
    """Two inputs of rank 4, which kser itself would not run."""
    inputs = [keras.Input((4, 4, 2), batch_size=1) for _ in range(2)]
    model = keras.Model(inputs, keras.layers.MaxPool2D()(keras.layers.Add()(inputs)))
    diagnosis = on("esp32s3", tf.lite.TFLiteConverter.from_keras_model(model).convert())
    assert diagnosis.verdict == "fits" and diagnosis.figures.arena_bytes > 0


# --- Memory


def test_own_kernels_take_less_of_the_arena(findings):
    board = find_board("generic_m4")
    library = replace(board.library, kernels=replace(board.library.kernels, own=frozenset()))
    own, without = (doctor.diagnose(findings, b).figures for b in (board, replace(board, library=library)))
    assert own.arena_bytes < without.arena_bytes
    assert own.instructions < without.instructions


def test_nodes_of_equal_quantization_share_a_table():
    def logistic(scale: float, op: str = "LOGISTIC", dtype: str = "int8") -> Node:
        return Node(op, (Tensor((1, 4), dtype, scale=scale),), (Tensor((1, 4), dtype),))

    def tables(*nodes: Node) -> int:
        return needed(nodes, OWN_OPS) - needed(nodes, ())

    def needed(nodes, own) -> int:
        return needed_bytes(nodes, replace(LAYOUTS["upstream"], kernels=OWN), own)

    assert tables(logistic(0.1), logistic(0.1)) == TABLE_BYTES
    assert tables(logistic(0.1), logistic(0.2)) == tables(logistic(0.1), logistic(0.1, "TANH")) == 2 * TABLE_BYTES
    assert tables(logistic(0.1, dtype="float32")) == 0


def test_the_structs_of_this_computer_are_those_described(model_bytes, findings):
    runner = interpreter.TFLMRunner(model_bytes)
    with interpreter.captured_log() as log:
        runner._interpreter.print_allocations()
        told = log()
    sizes = {
        name: int(requested) / int(count)
        for name, requested, count in re.findall(r"'([\w ]+)' used .* \(requested (\d+) bytes for (\d+)", told)
    }
    assert sizes["NodeAndRegistration struct"] == HOST.node == 2 * LAYOUTS["upstream"].node
    assert sizes["TfLiteEvalTensor data"] == HOST.eval_tensor == 2 * LAYOUTS["upstream"].eval_tensor
    assert sizes["Persistent TfLiteTensor data"] == HOST.tensor
    assert findings.measurement.eval_tensors == len(model_file.parse(model_bytes).subgraphs[0].tensors)


def test_memory_decides_the_verdict(findings):
    board = find_board("generic_m4")
    figures = doctor.diagnose(findings, board).figures
    for needed, sizes in (
        (figures.ram_bytes, lambda free: {"ram_bytes": free + board.reserved_ram_bytes}),
        (figures.flash_bytes, lambda free: {"flash_bytes": free + board.reserved_flash_bytes}),
    ):
        verdicts = [
            doctor.diagnose(findings, replace(board, **sizes(round(needed / share)))).verdict for share in (0.84, 0.87, 1.01)
        ]
        assert verdicts == ["fits", "tight", "does not run"]


def test_time_decides_the_verdict_and_the_fix_names_an_interval_that_helps(findings):
    board = replace(find_board("generic_m4"), clock_mhz=8.0)
    slow = doctor.diagnose(findings, board, 20.0)
    assert slow.verdict == "does not run" and len(fatal(slow)) == 1
    enough = re.search(r"--decision_ms=(\d+)", slow.problems[0].fix)
    assert doctor.diagnose(findings, board, float(enough[1])).verdict == "fits"
    front_end = slow.figures.front_end_ms.middle / 20
    assert doctor.diagnose(findings, board, slow.figures.inference_ms.middle / (0.9 - front_end)).verdict == "tight"
    # A front end that is too slow on its own has no such interval.
    hopeless = doctor.diagnose(findings, replace(board, clock_mhz=1.0), 20.0)
    assert "--decision_ms" not in hopeless.problems[0].fix
    assert doctor.diagnose(findings, board, 1e6).figures.front_end_ms.middle > slow.figures.front_end_ms.middle


@pytest.mark.parametrize("decision_ms", [0, -1, float("nan")])
def test_unfit_settings_are_refused(model_bytes, decision_ms):
    with pytest.raises(ConfigError, match="decision_ms must be above 0"):
        doctor.examine(model_bytes, ["esp32"], decision_ms)
    with pytest.raises(ConfigError, match="no board 'uno'"):
        doctor.examine(model_bytes, ["uno"])


# --- Bad input


def test_every_sixteenth_of_a_model_is_refused(model_bytes, sandbox):
    for content in damage.truncated(model_bytes):
        with pytest.raises(ModelFileError, match="^m.tflite is .*"):
            doctor.examine(content, ["esp32"], name="m.tflite", sandbox=sandbox)


@pytest.mark.parametrize("content", [b"", b"\0", b"RIFF\x24\0\0\0WAVEfmt ", bytes(1000), b"\x1c\0\0\0TFL3" + bytes(99)])
def test_what_is_no_model_is_refused(content, sandbox):
    with pytest.raises(ModelFileError, match="^m.tflite is (empty|not a TensorFlow Lite model|truncated or damaged)"):
        doctor.examine(content, ["esp32"], name="m.tflite", sandbox=sandbox)


def test_flipped_bytes_never_take_the_doctor_down(model_bytes, sandbox):
    """Each of 500 variants gets a diagnosis or one sentence."""
    verdicts, refused = 0, 0
    for content in damage.flipped(model_bytes, NUM_FLIPPED):
        try:
            (diagnosis,) = doctor.examine(content, ["generic_m4"], sandbox=sandbox)
        except ModelFileError as error:
            assert str(error).startswith("The model ") and str(error).endswith("."), error
            refused += 1
        else:
            assert diagnosis.verdict in doctor.VERDICTS
            verdicts += 1
    assert verdicts > 50 and refused > 50


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_model_that_crashes_tflm_is_diagnosed(model_bytes, monkeypatch):
    monkeypatch.setattr(doctor, "measure", lambda *_: crash())
    diagnosis = on("generic_m4", model_bytes)
    assert diagnosis.verdict == "does not run" and diagnosis.figures.host_arena_bytes is None
    assert any("it crashes (SIGSEGV)" in what for what in fatal(diagnosis))


def test_a_model_that_crashes_the_reader_is_refused(model_bytes, monkeypatch):
    monkeypatch.setattr(doctor, "inspect", lambda *_: crash())
    with pytest.raises(ModelFileError, match=r"^m.tflite is damaged: reading it crashes \(SIGSEGV\)\.$"):
        doctor.examine(model_bytes, ["esp32"], name="m.tflite")
