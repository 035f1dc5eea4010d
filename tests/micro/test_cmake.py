"""The CMake project of bare Cortex-M boards, built with upstream's TensorFlow Lite Micro and run in QEMU.

KSER_TFLM_DIR names a tree as TFLM's create_tflm_tree.py writes it with CMSIS-NN.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from kser.files import write_tree
from tests.micro import small_model, sources, toolchain

TFLM = Path(os.environ.get("KSER_TFLM_DIR", "none"))
MACHINES = {"generic_m4": "mps2-an386", "generic_m55": "mps3-an547"}
MISSING = toolchain.missing("arm-none-eabi-g++", "cmake", "qemu-system-arm")
if not (TFLM / "tensorflow").is_dir():
    MISSING = MISSING or "KSER_TFLM_DIR names no tree of TensorFlow Lite Micro"


@pytest.fixture(params=MACHINES)
def board(request) -> str:
    return request.param


@pytest.fixture
def project(board, tmp_path) -> Path:
    write_tree(str(tmp_path / board), small_model.project_files(board))
    return tmp_path / board


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_the_project_passes_its_self_test_and_decides_as_it_is_generated(board, project):
    configure = ["cmake", "-S", project, "-B", project / "build", f"-DTFLM_DIR={TFLM}", "-DKSER_SELFTEST=ON"]
    for command in (configure, ["cmake", "--build", project / "build", "--parallel"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    printed = toolchain.emulate(project / "build" / "speech_emotion.elf", _machine(board))
    start, selftest, microphone, *decisions = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    figures = small_model.figures(board)
    assert start["arena_used_bytes"] <= figures.arena_bytes <= 1.03 * start["arena_used_bytes"]
    assert (selftest["selftest"], selftest["input_steps"]) == ("PASS", 0)
    assert microphone["microphone"] == "good"
    assert len(decisions) > 10 and all(line["label"] in sources.LABELS for line in decisions)


def _machine(board: str) -> toolchain.Board:
    return next(known for known in toolchain.BOARDS.values() if known.machine == MACHINES[board])


@pytest.mark.skipif(bool(toolchain.missing("cmake")), reason="not installed: cmake")
def test_a_tree_that_is_not_there_is_told(project):
    done = subprocess.run(["cmake", "-S", project, "-B", project / "build"], capture_output=True, text=True)
    assert done.returncode != 0 and "holds no TensorFlow Lite Micro; README.md says" in " ".join(done.stderr.split())


REASON = toolchain.missing("arm-none-eabi-g++") or toolchain.missing_tflm()


@pytest.mark.skipif(bool(REASON), reason=REASON)
@pytest.mark.parametrize("flags", [(), ("-DKSER_SERIAL=1",), ("-DKSER_SELFTEST=1",)])
def test_the_boards_sources_compile(project, flags):
    processor = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
    folders = [f"-I{project}", f"-I{project / 'kser_micro'}"]
    for name in ("main.cpp", "board.cpp", "startup.cpp"):
        language = ["-std=c++17", "-Wall", "-Wextra", "-fsyntax-only"]
        toolchain.check(
            ["arm-none-eabi-g++", *processor, *language, *folders, *toolchain.tflm_flags(), *flags, project / name]
        )
