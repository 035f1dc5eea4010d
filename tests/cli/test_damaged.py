"""What becomes of a damaged model.tflite in the commands that read one: a result or one sentence, never a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import damage
from tests.cli.command_server import Outcome
from tests.cli.test_commands import SMALL, assert_told

NUM_FLIPPED = 8
DOCTOR_STATUS = (0, 3, 4)
COMMANDS = {
    "doctor": lambda run, clip: ("doctor", run / "model.tflite", "--board=esp32"),
    "predict tflm": lambda run, clip: ("predict", f"--model={run / 'model.tflite'}", clip),
    "predict tflite": lambda run, clip: ("predict", f"--model={run / 'model.tflite'}", clip, "--interpreter=tflite"),
    "evaluate tflm": lambda run, clip: ("evaluate", f"--run_dir={run}", "--model=tflm"),
    "evaluate tflite": lambda run, clip: ("evaluate", f"--run_dir={run}", "--model=tflite"),
}


@pytest.fixture(scope="module")
def run_dir(server, tmp_path_factory) -> Path:
    """A network trained for an epoch on generated sounds, and converted."""
    directory = tmp_path_factory.mktemp("damaged")
    where = (f"--data_dir={directory / 'corpus'}", f"--run_dir={directory / 'run'}")
    assert server.run("train", "--dataset=synthetic", "--epochs=1", *SMALL, *where).status == 0
    assert server.run("fold_and_convert", "--representative_clips=5", *where).status == 0
    return directory / "run"


@pytest.fixture(scope="module")
def execute(server, run_dir):
    """Runs one of COMMANDS on the run's model.tflite as it is at that moment."""
    clip = next((run_dir.parent / "corpus").rglob("*.wav"))
    return lambda name: server.run(*COMMANDS[name](run_dir, clip))


@pytest.fixture
def model(run_dir):
    """The run's model file, put right again after the test."""
    path = run_dir / "model.tflite"
    healthy = path.read_bytes()
    yield path
    path.write_bytes(healthy)


def assert_result_or_sentence(outcome: Outcome, name: str) -> None:
    if outcome.status == 1:
        assert_told(outcome)
    else:
        assert outcome.status in (DOCTOR_STATUS if name == "doctor" else (0,)) and outcome.stdout, outcome


@pytest.mark.parametrize("name", COMMANDS)
def test_every_sixteenth_of_a_model(execute, model, name):
    for content in damage.truncated(model.read_bytes()):
        model.write_bytes(content)
        assert_told(execute(name), str(model))


@pytest.mark.parametrize("name", COMMANDS)
def test_flipped_bytes(execute, model, name):
    for content in damage.flipped(model.read_bytes(), NUM_FLIPPED):
        model.write_bytes(content)
        assert_result_or_sentence(execute(name), name)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_two_gigabytes(execute, model, name):
    os.truncate(model, 2 << 30)
    assert_told(execute(name), f"{model} is longer than 64 MB")
