from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import asdict, replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tensorflow.lite.python import schema_py_generated as schema

from kser import boards, checks, convert, doctor, tflite
from kser.arena import needed_bytes, with_margin
from kser.arena_layouts import HOST, LAYOUTS, OWN
from kser.boards import BOARDS, OWN_OPS, find_board
from kser.config import FeatureConfig, to_dict
from kser.cost import Node, Tensor, sketch_ram_bytes
from kser.doctor import Diagnosis
from kser.errors import ConfigError, ModelFileError
from kser.examine import Examiner, Limits
from kser.findings import Measurement
from tests import damage, toy_model

FEATURES = FeatureConfig(num_mels=16, clip_seconds=0.6, hop_ms=24.0)
BRIEF = Limits(seconds=20, cpu_seconds=5, memory_bytes=1 << 30)
NUM_FLIPPED = 500


@pytest.fixture(scope="module")
def model_bytes():
    """A healthy int8 model with kser's metadata."""
    bare = convert.to_int8_tflite(toy_model.toy_model(), toy_model.features(10))
    return tflite.add_metadata(bare, {"features": to_dict(FEATURES)})


@pytest.fixture(scope="module")
def gelu_bytes():
    return convert.to_int8_tflite(toy_model.one_op_model(tf.nn.gelu, "gelu"), toy_model.features(5))


@pytest.fixture(scope="module")
def examiner():
    with Examiner(BRIEF) as examiner:
        yield examiner


@pytest.fixture(scope="module")
def findings(model_bytes):
    return doctor.find(model_bytes, doctor.measure(model_bytes))


def changed(model_bytes: bytes, change) -> bytes:
    model = tflite.parse(model_bytes)
    change(model)
    return tflite.pack(model)


def fatal(diagnosis: Diagnosis) -> list[str]:
    return [problem.what for problem in diagnosis.problems if problem.severity == "fatal"]


def on(board: str, content: bytes) -> Diagnosis:
    (diagnosis,) = doctor.examine(content, [board])
    return diagnosis


def memory(figures: doctor.Figures) -> int:
    """Bytes of arena, with its margin, and stack."""
    return with_margin(figures.arena_bytes) + doctor.STACK_BYTES


# --- Healthy models


def test_a_small_model_fits(model_bytes, findings):
    diagnosis = on("generic_m4", model_bytes)
    figures = diagnosis.figures
    assert diagnosis.verdict == "fits" and {p.severity for p in diagnosis.problems} <= {"hint"}
    assert figures.model_bytes == len(model_bytes) and figures.nodes == len(findings.nodes)
    assert figures.multiply_accumulates == tflite.multiply_accumulates(model_bytes)
    assert figures.host_arena_bytes == tflite.smallest_arena_bytes(model_bytes)
    assert figures.host_arena_bytes / 2 < figures.arena_bytes < figures.host_arena_bytes
    assert figures.ram_bytes == memory(figures) + 2 * figures.ring_samples + sketch_ram_bytes(FEATURES)
    assert figures.flash_bytes == len(model_bytes) + boards.UPSTREAM.code_bytes
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


# --- Ops and types


def test_missing_product_of_the_arduino_libraries_is_found(findings, monkeypatch):
    monkeypatch.setattr(checks, "OWN_OPS", frozenset())
    diagnosis = doctor.diagnose(findings, find_board("nano33ble"))
    assert diagnosis.verdict == "does not run"
    (problem,) = [p for p in diagnosis.problems if p.severity == "fatal"]
    assert "Arduino" in problem.what and "BATCH_MATMUL" in problem.what
    assert problem.where.startswith("2 nodes: ") and "kser brings a kernel" in problem.fix
    assert diagnosis.problems[0] is problem


def test_own_kernels_close_the_gap(findings):
    assert fatal(doctor.diagnose(findings, find_board("nano33ble"))) == []


@pytest.mark.parametrize("changes", [{"inputs": (Tensor((4, 4), "float32"),) * 2}, {"adj_x": True}])
def test_own_kernels_do_not_take_every_product(findings, changes):
    node = replace(computed("BATCH_MATMUL", "int8", Tensor((4, 4))), **changes)
    (problem,) = fatal(doctor.diagnose(with_node(findings, node), find_board("nano33ble")))
    assert "no kernel for BATCH_MATMUL" in problem
    assert fatal(doctor.diagnose(with_node(findings, node), find_board("generic_m4"))) == []


def test_tables_of_own_kernels_are_in_the_arena(findings):
    board = find_board("generic_m4")
    library = replace(board.library, kernels=replace(board.library.kernels, own=frozenset()))
    own, without = (doctor.diagnose(findings, b).figures for b in (board, replace(board, library=library)))
    # One SOFTMAX; without kser's kernels what the library's take is not described, and is that of this computer.
    assert 0 < own.arena_bytes - without.arena_bytes <= 1024 + 32
    assert own.instructions < without.instructions


def test_nodes_of_equal_quantization_share_a_table():
    def logistic(scale: float, op: str = "LOGISTIC", dtype: str = "int8") -> Node:
        return Node(op, (Tensor((1, 4), dtype, scale=scale),), (Tensor((1, 4), dtype),))

    def tables(*nodes: Node) -> int:
        return needed(nodes, OWN_OPS) - needed(nodes, ())

    def needed(nodes, own) -> int:
        return needed_bytes(nodes, replace(LAYOUTS["upstream"], kernels=OWN), own)

    assert tables(logistic(0.1), logistic(0.1)) == 256 + 32
    assert tables(logistic(0.1), logistic(0.2)) == tables(logistic(0.1), logistic(0.1, "TANH")) == 2 * (256 + 32)
    assert tables(logistic(0.1, dtype="float32")) == 0


@pytest.mark.parametrize("board", ["esp32", "nano33ble", "generic_m4"])
def test_gelu_runs_nowhere(gelu_bytes, board):
    diagnosis = on(board, gelu_bytes)
    assert diagnosis.verdict == "does not run" and diagnosis.figures.arena_bytes is None
    problem = next(p for p in diagnosis.problems if "no kernel for GELU" in p.what)
    assert "--activation" in problem.fix
    assert any("Didn't find op for builtin opcode 'GELU'" in what for what in fatal(diagnosis))


def test_unknown_custom_op_is_named(model_bytes):
    def customize(model):
        code = next(c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.SOFTMAX)
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "FlexErf"

    diagnosis = on("generic_m4", changed(model_bytes, customize))
    assert diagnosis.verdict == "does not run"
    problem = next(p for p in diagnosis.problems if "no kernel for custom op FlexErf" in p.what)
    assert "SELECT_TF_OPS" in problem.fix


def test_dense_per_channel_is_wrong_where_the_library_ignores_it(model_bytes):
    def per_channel(model):
        graph = model.subgraphs[0]
        is_dense = schema.BuiltinOperator.FULLY_CONNECTED
        dense = next(op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == is_dense)
        weights = graph.tensors[dense.inputs[1]]
        count = weights.shape[0]
        weights.quantization.scale = np.resize(weights.quantization.scale, count)
        weights.quantization.zeroPoint = np.zeros(count, np.int64)

    content = changed(model_bytes, per_channel)
    assert any("silently computes all channels with the first's" in what for what in fatal(on("nano33ble", content)))
    assert on("esp32", content).verdict == on("esp32", model_bytes).verdict != "does not run"


def with_node(findings, *nodes: Node):
    return replace(findings, nodes=(*findings.nodes, *nodes))


def computed(op: str, dtype: str, *inputs: Tensor, **options) -> Node:
    return Node(op, (Tensor((1, 4), dtype), *inputs), (Tensor((1, 4), dtype, name="y"),), **options)


@pytest.mark.parametrize(
    "node, board, words",
    [
        (computed("HARD_SWISH", "int16"), "nano33ble", "HARD_SWISH on int16, which its kernel in Arduino"),
        (computed("SUM", "int16"), "esp32", "SUM over int16"),
        (computed("FULLY_CONNECTED", "float32", Tensor((4, 4), "int8", constant=True)), "esp32", "dynamic-range"),
        (computed("FULLY_CONNECTED", "int8", Tensor((4, 4), zero_point=3)), "generic_m4", "a zero point"),
        (computed("REDUCE_PROD", "int8"), "generic_m4", "no kernel for REDUCE_PROD"),
    ],
)
def test_kernels_that_refuse_or_compute_wrongly_are_fatal(findings, node, board, words):
    before, after = (doctor.diagnose(found, find_board(board)) for found in (findings, with_node(findings, node)))
    (added,) = set(after.problems) - set(before.problems)
    assert added.severity == "fatal" and words in added.what and added.where == "1 node: y" and added.fix
    assert after.verdict == "does not run"


def test_compressed_weights_run_in_recent_tflm_only(findings):
    compressed = with_node(findings, computed("TFLM_DECODE", "int8", custom=True))
    assert fatal(doctor.diagnose(compressed, find_board("generic_m4"))) == []
    problems = doctor.diagnose(compressed, find_board("nano33ble")).problems
    assert any("no kernel for custom op TFLM_DECODE" in p.what and "without compression" in p.fix for p in problems)


def test_a_version_newer_than_the_kernels_is_a_warning(findings):
    node = computed("FULLY_CONNECTED", "int8", Tensor((4, 4), constant=True), version=12)
    diagnosis = doctor.diagnose(with_node(findings, node), find_board("nano33ble"))
    assert any(p.severity == "warning" and "FULLY_CONNECTED of version 12" in p.what for p in diagnosis.problems)
    assert not any("version" in p.what for p in doctor.diagnose(findings, find_board("nano33ble")).problems)


def test_names_cannot_steer_a_terminal(model_bytes):
    def rename(model):
        for tensor in model.subgraphs[0].tensors:
            tensor.name = "a\x1b[2J\n" + 999 * "b"

    found = doctor.find(changed(model_bytes, rename), Measurement("", 10_000, 40))
    product = next(node for node in found.nodes if node.op == "BATCH_MATMUL")
    transposed = with_node(found, replace(product, adj_x=True))
    where = doctor.diagnose(transposed, find_board("nano33ble")).problems[0].where
    assert "b" in where and where.isprintable() and len(where) < 600


def test_float_islands_and_open_shapes_make_it_tight(model_bytes):
    def leave_an_island(model):
        graph = model.subgraphs[0]
        transpose = schema.BuiltinOperator.TRANSPOSE
        moved = next(op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == transpose)
        graph.tensors[moved.inputs[0]].type = schema.TensorType.FLOAT32
        graph.tensors[graph.operators[0].outputs[0]].shapeSignature = np.array([-1, 24, 16, 1], np.int32)

    found = doctor.find(changed(model_bytes, leave_an_island), Measurement("", 10_000, 40))
    assert len(found.float_islands) == 1
    diagnosis = doctor.diagnose(found, find_board("generic_m4"))
    warnings = [p.what for p in diagnosis.problems if p.severity == "warning"]
    assert diagnosis.verdict == "tight" and len(warnings) == 2
    assert warnings[0].startswith("float islands: 1 ") and warnings[1].startswith("dynamic shapes")


def test_a_product_that_keeps_a_copy_is_a_hint(findings):
    product = computed("BATCH_MATMUL", "int8", Tensor((1, 4)))
    diagnosis = doctor.diagnose(with_node(findings, product), find_board("generic_m55"))
    assert any(p.severity == "hint" and "adj_y" in p.what and p.where == "1 node: y" for p in diagnosis.problems)
    for board, nodes in (("generic_m55", ()), ("generic_m4", (product,))):  # kser's own kernel keeps none
        problems = doctor.diagnose(with_node(findings, *nodes), find_board(board)).problems
        assert not any("adj_y" in problem.what for problem in problems)


# --- Memory


def test_the_structs_of_this_computer_are_those_described(model_bytes, findings):
    runner = tflite.TFLMRunner(model_bytes)
    with tflite.captured_log() as log:
        runner._interpreter.print_allocations()
        told = log()
    sizes = {
        name: int(requested) / int(count)
        for name, requested, count in re.findall(r"'([\w ]+)' used .* \(requested (\d+) bytes for (\d+)", told)
    }
    assert sizes["NodeAndRegistration struct"] == HOST.node == 2 * LAYOUTS["upstream"].node
    assert sizes["TfLiteEvalTensor data"] == HOST.eval_tensor == 2 * LAYOUTS["upstream"].eval_tensor
    assert sizes["Persistent TfLiteTensor data"] == HOST.tensor
    assert findings.measurement.eval_tensors == len(tflite.parse(model_bytes).subgraphs[0].tensors)


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


def test_every_sixteenth_of_a_model_is_refused(model_bytes, examiner):
    for content in damage.truncated(model_bytes):
        with pytest.raises(ModelFileError, match="^m.tflite is .*"):
            doctor.examine(content, ["esp32"], name="m.tflite", examiner=examiner)


@pytest.mark.parametrize("content", [b"", b"\0", b"RIFF\x24\0\0\0WAVEfmt ", bytes(1000), b"\x1c\0\0\0TFL3" + bytes(99)])
def test_what_is_no_model_is_refused(content, examiner):
    with pytest.raises(ModelFileError, match="^m.tflite is (empty|not a TensorFlow Lite model|truncated or damaged)"):
        doctor.examine(content, ["esp32"], name="m.tflite", examiner=examiner)


def test_flipped_bytes_never_take_the_doctor_down(model_bytes, examiner):
    """Each of 500 variants gets a diagnosis or one sentence."""
    verdicts, refused = 0, 0
    for content in damage.flipped(model_bytes, NUM_FLIPPED):
        try:
            (diagnosis,) = doctor.examine(content, ["generic_m4"], examiner=examiner)
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
    monkeypatch.setattr(doctor, "find", lambda *_: crash())
    with pytest.raises(ModelFileError, match=r"^m.tflite is damaged: reading it crashes \(SIGSEGV\)\.$"):
        doctor.examine(model_bytes, ["esp32"], name="m.tflite")
