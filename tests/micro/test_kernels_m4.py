"""The kernels on an emulated Cortex-M4F: the host's bits, and no more instructions than were set as a limit."""

from __future__ import annotations

import subprocess

import pytest

from tests.micro import kernels_m4

pytestmark = pytest.mark.skipif(kernels_m4.missing_tool() is not None, reason=str(kernels_m4.missing_tool()))

# Instructions for an element.
LIMITS = {
    **dict.fromkeys(("LOGISTIC", "TANH", "HARD_SWISH", "LOGISTIC_and_MUL"), 8),
    **dict.fromkeys(("ADD", "SUB", "MUL"), 40),
    "SOFTMAX": 50,
    "SOFTMAX_table": 90,
    "L2_NORMALIZATION": 30,
    "MEAN": 12,
    "PAD": 1,
}
# By the number of values that go into one sum.
PRODUCT_LIMITS = {
    "BATCH_MATMUL": {8: 4, 32: 2},
    "FULLY_CONNECTED": {32: 1.75, 64: 1.5, 128: 1.3},
    "CONV_2D": {9: 6, 72: 2},
    "DEPTHWISE_CONV_2D": {15: 4},
}


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels_m4")
    return kernels_m4.run_on_board(folder), kernels_m4.run_on_host(folder)


def test_a_loop_of_known_length_is_counted_rightly(figures):
    (clock,) = [f for f in figures[0] if f.kernel == "clock"]
    assert clock.instructions == pytest.approx(clock.work, rel=0.001)


def test_the_board_gives_the_hosts_bits(figures):
    board, host = ([(f.kernel, f.shape, f.work, f.checksum) for f in there] for there in figures)
    assert board == host and len(board) > 30
    assert len({checksum for *_, checksum in board}) > 30  # not all of them of nothing


def test_a_board_without_dsp_instructions_gives_the_same_bits(figures, tmp_path):
    plain = kernels_m4.run_on_board(tmp_path, kernels_m4.M3)
    assert [f.checksum for f in plain] == [f.checksum for f in figures[1]]


@pytest.mark.parametrize("cpu", ["cortex-m0plus", "cortex-m33", "cortex-m55"])
def test_the_arithmetic_compiles_for_other_processors(cpu):
    flags = ["-std=c++14", f"-mcpu={cpu}", "-mthumb", "-Os", "-fno-exceptions", "-fno-rtti", "-fsyntax-only"]
    command = ["arm-none-eabi-g++", *flags, *kernels_m4.WARNINGS, *map(str, kernels_m4.SOURCES)]
    subprocess.run(command, check=True)


def test_plain_cpp14_gives_the_same_bits(figures, tmp_path):
    assert [f.checksum for f in kernels_m4.run_on_host(tmp_path, "c++14")] == [f.checksum for f in figures[1]]


def test_no_kernel_takes_more_instructions_than_its_limit(figures):
    within = [f for f in figures[0] if f.kernel in LIMITS]
    assert {f.kernel for f in within} == set(LIMITS)
    assert [f for f in within if f.cost > LIMITS[f.kernel]] == []


@pytest.mark.parametrize("kernel", PRODUCT_LIMITS)
def test_no_product_takes_more_instructions_than_its_limit(figures, kernel):
    limits = PRODUCT_LIMITS[kernel]
    costs = {f.terms: f.cost for f in figures[0] if f.kernel == kernel and f.terms in limits}
    assert set(costs) == set(limits)
    assert {terms: cost for terms, cost in costs.items() if cost > limits[terms]} == {}
