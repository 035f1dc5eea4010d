"""Projects as bin/fold_and_convert writes them, compiled against fakes of the boards' headers and run with a fake microphone."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kser import firmware
from kser.atomic import write_tree
from tests.micro import small_model, sources, toolchain

REASON = toolchain.missing("g++") or toolchain.missing_tflm()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

# One of each microphone; what other boards have of their own is compiled, and the rest is the same files.
SHELLS = {"nano33ble": toolchain.ARDUINO, "rp2040": toolchain.ARDUINO, "esp32s3": toolchain.ESP_IDF}
SECONDS = 6
SELFTEST = ["-DKSER_SELFTEST=1"]
# A 64-bit computer's TFLM keeps books of twice the size.
HOST_ARENA_BYTES = 400_000


class Project:
    """A project of the small model for a board, in a directory, with its library compiled."""

    def __init__(self, directory: Path, board: str):
        self.directory, self._shell = directory / board, SHELLS[board]
        write_tree(str(self.directory), small_model.project_files(board))
        self.memory = self.sources / "kser_memory.h"
        self.memory.write_text(re.sub(r"(kArenaBytes = )\d+", rf"\g<1>{HOST_ARENA_BYTES}", self.memory.read_text()))
        self._objects = toolchain.project_library(directory / f"{board}-library", self.directory, self._shell)

    @property
    def sources(self) -> Path:
        return self.directory / self._shell.library

    def program(self, output: Path, defines=()) -> Path:
        return toolchain.project_program(output, self.directory, self._shell, self._objects, defines)


@pytest.fixture(scope="module", params=SHELLS)
def project(request, tmp_path_factory) -> Project:
    return Project(tmp_path_factory.mktemp("projects"), request.param)


@pytest.fixture(scope="module")
def program(project, tmp_path_factory) -> Path:
    return project.program(tmp_path_factory.mktemp("program"))


@pytest.fixture
def sound(tmp_path):
    """Writes int16 samples to a file."""

    def write(samples: np.ndarray) -> Path:
        path = tmp_path / "sound.raw"
        samples.astype("<i2").tofile(path)
        return path

    return write


@pytest.fixture
def speech(sound):
    return sound(firmware.golden_clip(small_model.FEATURES))


def run(program: Path, sound: Path, stall_ms: int = 0, seconds: int = SECONDS) -> tuple[list[dict], str]:
    """The lines that the board prints, and what it does with its pins."""
    command = [str(program), str(sound), str(seconds), str(stall_ms)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def decisions(lines: list[dict]) -> list[dict]:
    return [line for line in lines if "label" in line]


def test_speech_gives_a_decision_every_half_second(program, speech):
    lines, pins = run(program, speech)
    start, microphone, *found = lines
    assert 0 < start["arena_used_bytes"] <= HOST_ARENA_BYTES
    assert microphone["microphone"] == "good" and abs(microphone["offset"]) < 328
    # The microphone is checked for 1.5 s, then a clip of 1 s fills the window.
    assert [line["second"] for line in found] == pytest.approx(np.arange(2.5, SECONDS, 0.5), abs=0.06)
    for line in found:
        assert line["label"] in sources.LABELS and tuple(line["scores"]) == sources.LABELS
        assert sum(line["scores"].values()) == pytest.approx(1, abs=0.003)
        assert line["inference_ms"] == 0 and 0 <= line["latency_ms"] < 32
        assert (line["overruns"], line["lost_samples"]) == (0, 0)
    assert "pin" in pins and len(set(pins.splitlines())) > 1


def test_a_busy_loop_is_told_as_an_overrun_and_the_window_fills_anew(program, speech):
    found = decisions(run(program, speech, stall_ms=2000, seconds=10)[0])
    before, after = ([line for line in found if line["overruns"] == count] for count in (0, 1))
    assert len(before) + len(after) == len(found) and before and after
    assert after[0]["second"] - before[-1]["second"] > 2 + 1
    assert after[0]["lost_samples"] > 16000 and after[-1]["lost_samples"] == after[0]["lost_samples"]


def test_silence_and_noise_of_a_bit_are_told(program, sound):
    lines, _ = run(program, sound(np.arange(16000) % 2))
    assert lines[1]["microphone"] == "silent" and lines[1]["error"].startswith("The microphone gives nothing but silence;")
    assert {line["label"] for line in decisions(lines)} == {"silence"}
    assert all(value == 0 for line in decisions(lines) for value in line["scores"].values())


def test_clipping_is_told(program, sound):
    square = np.where(np.arange(16000) // 40 % 2, 32767, -32768)
    assert run(program, sound(square))[0][1]["microphone"] == "clipping"


def test_the_self_test_passes_and_goes_on_and_tells_the_first_difference(project, speech, tmp_path):
    lines, _ = run(project.program(tmp_path / "good", SELFTEST), speech)
    assert lines[1]["selftest"] == "PASS" and max(lines[1]["input_steps"], lines[1]["logit_steps"]) <= 2
    assert decisions(lines)
    golden = project.sources / "kser_golden.h"
    right = golden.read_text()
    try:
        golden.write_text(_changed(right, "kGoldenLogits", 2))
        lines, _ = run(project.program(tmp_path / "logit", SELFTEST), speech)
        assert {**lines[1], "value": None, "expected": None} == _failure("logits", 2)
        golden.write_text(_changed(right, "kGoldenInput", 1234))
        lines, _ = run(project.program(tmp_path / "input", SELFTEST), speech)
        assert {**lines[1], "value": None, "expected": None} == _failure("input", 1234)
        assert len(lines) == 2  # It does not go on.
    finally:
        golden.write_text(right)


def _failure(what: str, index: int) -> dict:
    return {"selftest": "FAIL", "differs": what, "index": index, "value": None, "expected": None}


def _changed(text: str, name: str, index: int) -> str:
    """The generated text with one value of an array three steps off."""
    head, values, tail = re.fullmatch(rf"(.*{name}\[[^\]]*\] = {{)([^}}]*)(}}.*)", text, re.DOTALL).groups()
    numbers = values.split(",")
    numbers[index] = str(int(numbers[index]) + (3 if int(numbers[index]) < 0 else -3))
    return f"{head}{','.join(numbers)}{tail}"


def test_an_arena_too_small_and_a_missing_microphone_are_told_in_a_sentence(project, speech, tmp_path):
    text = project.memory.read_text()
    try:
        project.memory.write_text(text.replace(str(HOST_ARENA_BYTES), "1024"))
        lines, _ = run(project.program(tmp_path / "small"), speech)
    finally:
        project.memory.write_text(text)
    assert [list(line) for line in lines] == [["error"]] and lines[0]["error"].startswith("The arena is too small")


def test_boards_of_a_shell_differ_in_their_settings_and_pins_only():
    for boards, own in (
        (("nano33ble", "portenta_h7", "nicla_vision"), {"sketch.yaml", "platformio.ini", "kser_memory.h"}),
        (("esp32", "esp32c3"), {"sdkconfig.defaults", "platformio.ini", "pins.h", "kser_memory.h"}),
    ):
        first, *others = (small_model.project_files(board) for board in boards)
        for other in others:
            assert set(other) == set(first)
            assert {Path(name).name for name in first if first[name] != other[name]} <= own


@pytest.mark.parametrize("board", ["esp32", "esp32c3"])
def test_the_pins_of_other_esp32_boards_compile(board, tmp_path):
    write_tree(str(tmp_path / board), small_model.project_files(board))
    toolchain.check_shell(tmp_path / "shell.o", tmp_path / board, toolchain.ESP_IDF, ["main/main.cpp", "main/microphone.cpp"])
