"""bin/board as a user meets it where there is no board; with one in tests/micro/test_serial_link.py."""

from __future__ import annotations

import pytest

from tests.cli.command_server import CommandServer, assert_told


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Runs the command."""
    server = CommandServer(tmp_path_factory.mktemp("board"))
    yield lambda *arguments: server.run("board", *arguments)
    server.close()


@pytest.fixture
def model(trained):
    return f"--model={trained.model_file()}"


@pytest.fixture
def clip(trained):
    return trained.corpus.utterances[0].path


@pytest.mark.parametrize("arguments", [(), ("--port=/dev/ttyACM0",), ("--model=model.tflite",)])
def test_port_and_model_are_needed(board, arguments):
    assert_told(board(*arguments, "clip.wav"), "--port", "--model")


def test_clips_are_needed(board, model, tmp_path):
    assert_told(board("--port=/dev/null", model), "one or more audio files")
    assert_told(board("--port=/dev/null", model, tmp_path), "No audio file (WAV, FLAC")


def test_listening_takes_no_clips_and_writes_over_no_file(board, model, clip, tmp_path):
    assert_told(board("--port=/dev/null", model, "--level", clip), "leave out the audio files")
    assert_told(board("--port=/dev/null", model, "--record=heard.mp3"), "ends in .wav")
    (tmp_path / "heard.wav").write_bytes(b"mine")
    assert_told(board("--port=/dev/null", model, f"--record={tmp_path}/heard.wav"), "exists already")
    assert (tmp_path / "heard.wav").read_bytes() == b"mine"


def test_no_port_is_told(board, model, clip, tmp_path):
    assert_told(board(f"--port={tmp_path}/ttyACM0", model, clip), "There is no port", "plug in the board")
    assert_told(board("--port=/dev/null", model, clip), "/dev/null is not a usable serial port")


def test_wrong_settings_are_told(board, model, clip, tmp_path):
    assert_told(board("--port=/dev/null", model, "--baud=99999999999", clip), "do not support 99999999999 baud")
    assert_told(board("--port=/dev/null", model, "--timeout=0", clip), "timeout")
    assert_told(board("--port=/dev/null", f"--model={tmp_path}/none.tflite", clip), "none.tflite cannot be read")


def test_help_lists_the_flags(board):
    outcome = board("--help")
    for flag in ("--port", "--model", "--baud", "--timeout", "--record", "--[no]level", "--seconds", "--[no]json"):
        assert f"  {flag}:" in outcome.stdout
