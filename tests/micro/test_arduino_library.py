"""Projects for Arduino boards as bin/fold_and_convert writes them, built with the real library and run on an emulated board.

KSER_ARDUINO_TFLM_DIR names a copy of the library Chirale_TensorFLowLite 2.0.0; all sources below it are compiled, as Arduino
tools do. KSER_ARDUINO_TFLM_OBJECTS may name a folder to keep their objects in.
"""

from __future__ import annotations

import json
import re

import pytest

from kser.files import write_tree
from kser.firmware import codegen, project
from tests.micro import small_model, sources, toolchain

REASON = toolchain.missing_arduino_library()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

BOARD = "nano33ble"
SECONDS = 5
SELFTEST = "-DKSER_SELFTEST=1"
# Beside the sketch: what the fake board and the test's own start-up hold.
RAM_ERROR = 0.03
# Of the front end, by test_cortex_m, and what the sketch does with a frame.
FRAME_INSTRUCTIONS = 50_000


class Build:
    """A project for the board, a program of it, and what that prints."""

    def __init__(self, builder: toolchain.ArduinoBuilder, folder, seconds: int, flags=(), arena_bytes: int | None = None):
        write_tree(str(folder), small_model.project_files(BOARD))
        memory = folder / toolchain.ARDUINO.library / "kser_memory.h"
        self.arena_bytes = int(re.search(r"kArenaBytes = (\d+)", memory.read_text())[1])
        if arena_bytes is not None:
            memory.write_text(codegen.memory_source(arena_bytes, small_model.figures(BOARD).ring_samples))
        self.program = builder.program(folder, seconds, flags)
        printed = builder.emulate(self.program).splitlines()
        self.lines = [json.loads(line) for line in printed if line.startswith("{")]
        self.ticks = [int(line.split()[1]) for line in printed if line.startswith("second ")]
        self.stack_bytes = next(int(line.split()[1]) for line in printed if line.startswith("stack "))


@pytest.fixture(scope="module")
def builder(tmp_path_factory) -> toolchain.ArduinoBuilder:
    return toolchain.ArduinoBuilder(tmp_path_factory.mktemp("arduino"))


@pytest.fixture(scope="module")
def build(builder, tmp_path_factory) -> Build:
    """With the self-test, as it is generated."""
    return Build(builder, tmp_path_factory.mktemp("project") / BOARD, SECONDS, (SELFTEST,))


def test_the_generated_project_starts_passes_its_self_test_and_decides(build):
    start, selftest, microphone, *decisions = build.lines
    assert start["arena_used_bytes"] <= build.arena_bytes
    assert (selftest["selftest"], selftest["input_steps"]) == ("PASS", 0) and selftest["logit_steps"] <= 2
    assert microphone["microphone"] == "good"
    assert len(decisions) >= 4 and all(line["label"] in sources.LABELS for line in decisions)


def test_a_silent_second_costs_hardly_more_than_its_features(builder, tmp_path):
    loud, seconds = 4, 8
    board = toolchain.BOARDS["M4F"]
    ticks = Build(builder, tmp_path / BOARD, seconds, (f"-DKSER_SILENT_FROM={loud}",)).ticks
    # The first two decisions come in the third second.
    active, silent = (toolchain.instructions(second, board) for second in (ticks[2], ticks[-1]))
    frames = 1000 / small_model.FEATURES.hop_ms
    assert silent <= 0.1 * active + frames * FRAME_INSTRUCTIONS
    # What is saved are the two inferences of a second.
    assert active - silent == pytest.approx(2 * small_model.figures(BOARD).instructions, rel=0.15)


def test_the_arena_is_what_the_library_takes(build):
    """Never less than it needs, and at most 3 % more with the margin."""
    used, figures = build.lines[0]["arena_used_bytes"], small_model.figures(BOARD)
    assert used <= figures.arena_bytes <= used + 16
    assert project.arena_bytes(figures) == build.arena_bytes <= 1.03 * used


def test_the_doctors_ram_is_the_images(builder, tmp_path):
    plain = Build(builder, tmp_path / BOARD, SECONDS)
    size, figures = toolchain.size([plain.program]), small_model.figures(BOARD)
    assert figures.ram_bytes == pytest.approx(size.data + size.bss + plain.stack_bytes, rel=RAM_ERROR)


def test_a_board_whose_arena_is_too_small_tells_every_second_what_it_needs(builder, tmp_path, build):
    used = build.lines[0]["arena_used_bytes"]
    small = Build(builder, tmp_path / BOARD, SECONDS, arena_bytes=used - 1024)
    assert len(small.lines) == SECONDS and len({json.dumps(line) for line in small.lines}) == 1
    line = small.lines[0]
    assert line["error"].startswith("The arena is too small") and line["arena_bytes"] == used - 1024
    assert used <= line["arena_needed_bytes"] <= 1.03 * used


def test_a_board_may_find_its_arena_by_itself(builder, tmp_path, build):
    too_few = build.lines[0]["arena_used_bytes"] - 1024
    found = Build(builder, tmp_path / BOARD, SECONDS, ("-DKSER_ARENA_AUTO=1",), arena_bytes=too_few)
    assert found.lines[0]["arena_used_bytes"] == build.lines[0]["arena_used_bytes"]
    assert any("label" in line for line in found.lines)
