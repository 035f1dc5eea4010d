"""The firmware's core on emulated Cortex-M boards: the results of this computer, within its figures."""

from __future__ import annotations

import re

import numpy as np
import pytest

from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from tests.micro import sources, toolchain
from tests.micro.toolchain import BOARDS, HERE

TOOLS = ("g++", "arm-none-eabi-g++", "qemu-system-arm")
pytestmark = pytest.mark.skipif(bool(toolchain.missing(*TOOLS)), reason=toolchain.missing(*TOOLS))

CLOCK_HZ = 64e6
LOG_MEL_SHARE = 0.08
FLASH_BYTES = 16384
RAM_BYTES = 12288


@pytest.fixture(scope="module", params=BOARDS)
def board(request):
    return BOARDS[request.param]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return sources.write_settings(tmp_path_factory.mktemp("settings"), FeatureConfig())


@pytest.fixture(scope="module")
def host_lines(settings, tmp_path_factory):
    program = tmp_path_factory.mktemp("host") / "check"
    files = [HERE / "core_check.cc", HERE / "host_machine.cc", *toolchain.CORE_SOURCES]
    return toolchain.run(toolchain.host_program(program, settings, files)).splitlines()


@pytest.fixture(scope="module")
def lines(settings, board, tmp_path_factory):
    """What a board prints, compiled as a sketch is."""
    directory = tmp_path_factory.mktemp(board.machine)
    objects = toolchain.cortex_m_objects(directory, settings, board.flags)
    program = toolchain.cortex_m_program(directory / "check", settings, board, [HERE / "core_check.cc"], objects)
    return toolchain.emulate(program, board).splitlines()


def starting(lines, *names):
    return [line for line in lines if line.startswith(names)]


def floats(lines):
    """The bits in lines of a name and numbers, as floats."""
    return np.array([line.split()[1:] for line in lines], np.uint32).view(np.float32)


def test_ring_labels_and_sizes_are_those_of_the_host(lines, host_lines):
    names = ("ring", "label", "bytes", "loudest_dbfs")
    assert starting(lines, *names) == starting(host_lines, *names) != []


def test_features_are_those_of_the_host_to_the_bit(lines, host_lines):
    """Though these processors fuse products and sums where they may."""
    assert starting(lines, "input") == starting(host_lines, "input") != []


def test_probabilities_are_those_of_the_host(lines, host_lines):
    found, expected = (floats(starting(some, "probabilities")) for some in (lines, host_lines))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def ticks(lines):
    return dict(re.fullmatch(r"ticks (\w+) (\d+)", line).groups() for line in starting(lines, "ticks"))


def test_the_counter_counts_instructions(lines, board):
    # A loop of 4 x 250 000; the clock's period is some instructions, and reading it takes a few.
    assert toolchain.instructions(int(ticks(lines)["known_loop"]), board) == pytest.approx(1e6, abs=50)


def test_log_mel_leaves_the_processor_to_others(lines, board):
    frame = toolchain.instructions(int(ticks(lines)["log_mel_frame"]), board) / 50
    assert 0 < frame <= LOG_MEL_SHARE * CLOCK_HZ * FeatureConfig().hop_samples / SAMPLE_RATE_HZ


def test_flash(settings, board, tmp_path):
    size = toolchain.size(toolchain.cortex_m_objects(tmp_path, settings, board.flags))
    assert size.text <= FLASH_BYTES and (size.data, size.bss) == (0, 0)


def test_ram(lines):
    """Front end, window and smoother; the ring is as large as the application makes it, the FFT works in the arena."""
    sizes = dict(line.split()[1:] for line in starting(lines, "bytes"))
    assert int(sizes["stream"]) + int(sizes["smoother"]) <= RAM_BYTES


@pytest.mark.skipif(bool(toolchain.missing_tflm()), reason=toolchain.missing_tflm())
def test_flash_and_ram_with_the_classifier(settings, board, tmp_path):
    core = toolchain.size(toolchain.cortex_m_objects(tmp_path, settings, board.flags))
    classifier = toolchain.classifier_size(tmp_path, settings, board)
    assert core.text + classifier.text <= FLASH_BYTES
    assert classifier.data == 0 and 0 < classifier.bss <= RAM_BYTES


def test_armv6_m_needs_no_library_of_atomics(settings, tmp_path):
    files = [HERE / "core_check.cc", *toolchain.CORE_SOURCES]
    symbols = toolchain.undefined_symbols(toolchain.cortex_m_objects(tmp_path, settings, toolchain.CORTEX_M0PLUS, files))
    assert "__aeabi_fmul" in symbols and "__atomic" not in symbols and "__sync" not in symbols


def test_nothing_is_allocated_and_nothing_thrown(settings, board, tmp_path):
    symbols = toolchain.undefined_symbols(toolchain.cortex_m_objects(tmp_path, settings, board.flags))
    for name in ("malloc", "operator new", "__cxa_throw", "__aeabi_d"):  # the last: arithmetic in double
        assert name not in symbols
    assert "expf" in symbols


RISC_V = "riscv64-unknown-elf-g++"


@pytest.mark.skipif(bool(toolchain.missing(RISC_V)), reason=toolchain.missing(RISC_V))
@pytest.mark.skipif(not toolchain.CXX_HEADERS.is_dir(), reason=f"no C++ headers in {toolchain.CXX_HEADERS}")
def test_core_compiles_for_risc_v(settings, tmp_path):
    assert len(toolchain.risc_v_objects(tmp_path, settings)) == len(toolchain.CORE_SOURCES)
