from __future__ import annotations

import json

import pytest

from kser.boards.catalog import BOARDS
from kser.config import FeatureConfig, to_dict
from kser.export import convert
from kser.tflite.model_file import add_metadata
from tests import toy_model
from tests.cli.command_server import REPOSITORY, CommandServer, assert_told


@pytest.fixture(scope="module")
def doctor(tmp_path_factory):
    """Runs the command."""
    server = CommandServer(tmp_path_factory.mktemp("doctor"))
    yield lambda *arguments: server.run("doctor", *arguments)
    server.close()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    features = FeatureConfig(num_mels=16, clip_seconds=0.6, hop_ms=24.0)
    model_bytes = convert.to_int8_tflite(toy_model.toy_model(), toy_model.features(10))
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(add_metadata(model_bytes, {"features": to_dict(features)}))
    return path


def test_a_model_that_fits_is_told_with_its_figures(doctor, model_file):
    outcome = doctor(model_file, "--board=generic_m4")
    assert (outcome.status, outcome.stderr) == (0, "")
    first, *lines = outcome.stdout.splitlines()
    assert first == f"{model_file} on any Cortex-M4F (Cortex-M4F): fits"
    names = [line.split("  ")[0] for line in lines]
    wanted = ["library", "model", "arena", "RAM", "flash", "instructions", "inference", "front end", "real time"]
    assert [name for name in names if name in wanted] == wanted[:5] + wanted[6:]  # 'instructions ' fills its column
    assert f"{model_file.stat().st_size} bytes" in outcome.stdout and "ms at 100 MHz" in outcome.stdout
    assert max(map(len, lines)) <= 125


def test_a_model_that_does_not_run_is_told_with_fixes(doctor, tmp_path):
    path = tmp_path / "float.tflite"
    path.write_bytes(convert.to_float_tflite(toy_model.toy_model()))
    outcome = doctor(path, "--board=nano33ble")
    assert (outcome.status, outcome.stderr) == (4, "")
    head, _, problems = outcome.stdout.partition("1. fatal: ")
    assert ": does not run\n" in head
    assert "no kernel for BATCH_MATMUL" in problems
    assert problems.count("fix: ") == problems.count("where: ") >= 1


def test_status_tells_what_is_tight(doctor, model_file):
    figures = json.loads(doctor(model_file, "--board=generic_m4", "--json").stdout)["figures"]
    front_end = figures["front_end_ms"]["middle"] / figures["decision_ms"]
    interval = figures["inference_ms"]["middle"] / (0.9 - front_end)
    outcome = doctor(model_file, "--board=generic_m4", f"--decision_ms={interval}")
    assert outcome.status == 3 and "): tight\n" in outcome.stdout and "1. warning: " in outcome.stdout


def test_json_is_one_object(doctor, model_file):
    outcome = doctor(model_file, "--board=esp32", "--json", "--decision_ms=250")
    values = json.loads(outcome.stdout)
    assert (values["board"], values["verdict"], values["figures"]["decision_ms"]) == ("esp32", "fits", 250)
    assert set(values["figures"]["inference_ms"]) == {"low", "middle", "high"}
    assert outcome.status == 0


def test_all_boards_are_a_table(doctor, model_file):
    outcome = doctor(model_file, "--all_boards")
    head, *rows = outcome.stdout.splitlines()
    assert head.split()[:2] == ["board", "verdict"] and [row.split()[0] for row in rows] == list(BOARDS)
    assert outcome.status == 0  # it fits on some
    assert outcome.stdout.isascii() and max(map(len, [head, *rows])) <= 140  # one line a board, and no box
    assert all(row[head.index("verdict") :].startswith(("fits", "tight", "does not run")) for row in rows)
    values = json.loads(doctor(model_file, "--all_boards", "--json").stdout)
    assert [entry["board"] for entry in values] == list(BOARDS)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--board=esp32",), ("one .tflite file",)),
        (("a.tflite", "b.tflite", "--board=esp32"), ("one .tflite file, not 2",)),
        (("a.tflite",), ("--board or --all_boards", "nano33ble")),
        (("a.tflite", "--board=esp32", "--all_boards"), ("either",)),
        (("a.tflite", "--board=uno"), ("uno", "nano33ble")),
        (("a.tflite", "--board=esp32"), ("a.tflite cannot be read",)),
        ((REPOSITORY / "setup.py", "--board=esp32"), ("setup.py is not a TensorFlow Lite model",)),
    ],
)
def test_bad_input_is_told_in_a_sentence(doctor, arguments, words):
    assert_told(doctor(*arguments), *words)


def test_unfit_interval_is_told(doctor, model_file):
    assert_told(doctor(model_file, "--board=esp32", "--decision_ms=0"), "decision_ms must be above 0")


def test_help_lists_the_flags(doctor):
    outcome = doctor("--help")
    for flag in ("--board", "--[no]all_boards", "--[no]json", "--decision_ms"):
        assert f"  {flag}:" in outcome.stdout
