"""How many instructions an inference takes on a microcontroller, and how long that lasts, from the .tflite file alone.

The costs of one element or one multiply-accumulate (MAC) are those measured op by op on an emulated Cortex-M4F (TFLM of
August 2026, -O2, reference kernels and CMSIS-NN; executed instructions, no cycles). What was fitted to them: for matrix ops
that were measured at two depths, `a + b / depth` per MAC through both points (CONV_2D, measured at one depth, takes b from
FULLY_CONNECTED). The costs of kser's own kernels are those of benchmarks/kernels.py, measured in the same way; those of a
Cortex-M55's vector kernels, of a library compiled for size, and of some ops that copy were measured node by node in whole
networks. No total of a network was used: those in tests/boards/test_cost_model.py and tests/measured_presets.py are
predicted, of the networks that costs were measured in. Costs marked as assumed were not measured at all; the band below is
wider for them.

Milliseconds are instructions / clock x cycles per instruction, and the latter is only known within a board's band (wait
states of flash, caches, dual issue, other instruction sets).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kser.audio.log_mel import feature_code
from kser.boards.catalog import Board, Kernels
from kser.boards.own_kernels import swish_gates
from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from kser.tflite.op_graph import Node

# Relative error of the model: the measured totals are met within MEASURED_ERROR.
MEASURED_ERROR, ASSUMED_ERROR = 0.15, 0.5

# Dispatch of a node and the kernel's own start: assumed, and small beside any kernel's work.
NODE_INSTRUCTIONS = 1000
# One float32 network took 27.1 M instructions where int8 with reference kernels took 61.4 M. int16 was not measured.
FLOAT_FACTOR, INT16_FACTOR, SOFT_FLOAT_FACTOR = 0.44, 1.5, 10.0


# --- Instructions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Instructions of a kernel for one unit of its work: `reference`, and `optimised` where CMSIS-NN has the op.

    Attributes:
      broadcast: the reference kernel's where the inputs' shapes differ, which no optimised kernel takes.
      of_input: the unit is an element of the input, not of the output.
    """

    reference: float
    optimised: float | None = None
    broadcast: float | None = None
    of_input: bool = False
    measured: bool = True


@dataclass(frozen=True)
class MatrixCost:
    """Instructions of a matrix op: a + b / depth for each MAC, b being the work on an output element; (a, b) each."""

    reference: tuple[float, float]
    optimised: tuple[float, float]


def _through(first: tuple[int, float], second: tuple[int, float]) -> tuple[float, float]:
    """(a, b) of a + b / depth through two (depth, instructions) pairs."""
    (depth, cost), (deeper, less) = first, second
    b = (cost - less) / (1 / depth - 1 / deeper)
    return cost - b / depth, b


_DENSE = MatrixCost(_through((32, 8.8), (128, 7.4)), _through((32, 2.8), (128, 1.8)))
_MATRIX = {
    "FULLY_CONNECTED": _DENSE,
    "CONV_2D": MatrixCost((10.3 - _DENSE.reference[1] / 32, _DENSE.reference[1]), _DENSE.optimised),
    "BATCH_MATMUL": MatrixCost(_through((8, 15.7), (32, 10.6)), _through((8, 8.7), (32, 3.7))),
}
# FULLY_CONNECTED 32 deep with an output of rank 2 instead of 3: 3.5 instead of 2.8 per MAC, in CMSIS-NN only.
_RANK_2_OUTPUT = 32 * (3.5 - 2.8)
_DEPTHWISE = Cost(35, 11)

_PER_ELEMENT = {
    "LOGISTIC": Cost(365),
    "TANH": Cost(369),
    "SOFTMAX": Cost(457, 525),
    "HARD_SWISH": Cost(88),
    "RSQRT": Cost(433),
    "MEAN": Cost(97, of_input=True),
    "SQUARED_DIFFERENCE": Cost(109),
    "SUB": Cost(88, broadcast=104),
    "ADD": Cost(88, 81, broadcast=105),
    "MUL": Cost(49, 36, broadcast=53),
    "L2_NORMALIZATION": Cost(60),
    "QUANTIZE": Cost(43),
    "LEAKY_RELU": Cost(51),
    "MAXIMUM": Cost(10, 8),
    "CONCATENATION": Cost(1.7),
    "TRANSPOSE": Cost(10, 6.2),
    "SLICE": Cost(4.7),
    "SPLIT": Cost(4.1),
    "RESHAPE": Cost(0.65),
    "AVERAGE_POOL_2D": Cost(7, 9.2, of_input=True),
    # Not measured, taken like their nearest relatives above.
    "SUM": Cost(97, of_input=True, measured=False),
    "REDUCE_MAX": Cost(97, of_input=True, measured=False),
    "MINIMUM": Cost(10, 8, measured=False),
    "MAX_POOL_2D": Cost(7, of_input=True, measured=False),
    "LOG_SOFTMAX": Cost(457, measured=False),
    "EXP": Cost(400, measured=False),
    "ELU": Cost(20, measured=False),
    "RELU": Cost(40, measured=False),
    "RELU6": Cost(20, measured=False),
    "DEQUANTIZE": Cost(15, measured=False),
    "DIV": Cost(150, measured=False),
    # An index cut out of its byte, a value looked up and stored.
    "TFLM_DECODE": Cost(8, measured=False),
}
# Where the library is compiled for size.
_FOR_SIZE = {"SLICE": Cost(8.4), "SPLIT": Cost(6.1), "AVERAGE_POOL_2D": Cost(16.3, 16.3, of_input=True)}
# On a Cortex-M55: a, b of the products, by least squares of the relative error over the nodes of the seven networks of
# tests/measured_presets.py that take 20 000 instructions or more; then for an element (of the input where the cost is), by
# their sums. MUL alone is assumed, at the share of CMSIS-NN's plain kernel that whole networks took there before.
_VECTOR_MATRIX = {"FULLY_CONNECTED": (0.176, 16.5), "CONV_2D": (0.089, 40.8), "BATCH_MATMUL": (0.562, 25.6)}
_VECTOR = {"DEPTHWISE_CONV_2D": 2.1, "ADD": 14.0, "MUL": 9.4, "TRANSPOSE": 4.6, "PAD": 0.7, "AVERAGE_POOL_2D": 4.5}
_COPYING = Cost(2, measured=False)
_COPIES = frozenset("SPLIT_V STRIDED_SLICE PAD PADV2 PACK UNPACK GATHER SQUEEZE EXPAND_DIMS FILL ZEROS_LIKE SHAPE".split())
_UNKNOWN = Cost(100, measured=False)
# kser's own kernels, measured by benchmarks/kernels.py on the same emulated processor at the shapes of the `light` networks:
# instructions (a, b) for an element and for a row of elements that share some work (all that enter a mean, the last axis
# otherwise), by two lengths of rows where there are rows. For the products, a MAC and those of one output element. CONV_2D
# and PAD are those of whole networks (the stems' 8 and 16 filters in the mean; PAD on the M3 scaled from it).
_OWN = {
    **dict.fromkeys(("LOGISTIC", "TANH", "HARD_SWISH"), (4.0, 0.0)),
    **dict.fromkeys(("ADD", "SUB"), (33.0, 0.0)),
    "MUL": (25.7, 0.0),
    "SOFTMAX": _through((5, 47.8), (62, 25.9)),
    "L2_NORMALIZATION": _through((48, 18.1), (96, 15.7)),
    "MEAN": _through((3, 11.2), (62, 5.3)),
    "BATCH_MATMUL": _through((8, 3.49), (32, 1.67)),
    "FULLY_CONNECTED": _through((32, 1.66), (128, 1.2)),
    "CONV_2D": _through((9, 4.7), (144, 1.3)),
    "DEPTHWISE_CONV_2D": _through((7, 5.44), (15, 3.31)),
    "PAD": (2.6, 0.0),
}
_OWN_PRODUCTS = frozenset({"BATCH_MATMUL", "FULLY_CONNECTED"})
# In plain C++, measured on an emulated Cortex-M3, which lacks the DSP instructions.
_OWN_PLAIN = _OWN | {
    **dict.fromkeys(("ADD", "SUB"), (40.0, 0.0)),
    "MUL": (27.8, 0.0),
    "SOFTMAX": _through((5, 50.2), (62, 28.0)),
    "L2_NORMALIZATION": _through((48, 28.7), (96, 26.3)),
    "MEAN": _through((3, 14.9), (62, 5.5)),
    "BATCH_MATMUL": _through((8, 6.66), (32, 3.83)),
    "FULLY_CONNECTED": _through((32, 3.84), (128, 3.13)),
    "CONV_2D": _through((9, 8.06), (72, 3.86)),
    "DEPTHWISE_CONV_2D": _through((7, 8.83), (15, 5.72)),
    "PAD": (2.7, 0.0),
}
# More for a sum of products whose rows do not begin at a multiple of four bytes.
_OWN_UNALIGNED = 24.0
# More for an element of ADD, SUB or MUL where the inputs' shapes differ; a SOFTMAX's table, filled each time it runs.
_OWN_BROADCAST = 1.3
_OWN_TABLE, _OWN_TABLE_PLAIN = 20_200, 27_700


@dataclass(frozen=True)
class Estimate:
    """Instructions: of measured kernels and of those whose cost is assumed."""

    measured: float = 0.0
    assumed: float = 0.0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.measured + other.measured, self.assumed + other.assumed)

    @property
    def total(self) -> float:
        return self.measured + self.assumed

    @property
    def band(self) -> tuple[float, float]:
        """Between what the total is expected."""
        error = MEASURED_ERROR * self.measured + ASSUMED_ERROR * self.assumed
        return self.total - error, self.total + error


def instructions(nodes: Iterable[Node], kernels: Kernels, fpu: bool = True) -> Estimate:
    """Instructions of one inference, counted as a Cortex-M4F's.

    Nodes of branches and loops are counted once each, ops of unknown shape as one element.
    """
    nodes = list(nodes)
    gates = swish_gates(nodes, kernels.own)
    return sum((_without_gates(node, gates, kernels, fpu) for node in nodes), Estimate())


def _without_gates(node: Node, gates: Collection[int], kernels: Kernels, fpu: bool) -> Estimate:
    """A node's instructions; a MUL that reads a gate does the gate's work too, by a table."""
    if any(id(tensor) in gates for tensor in node.outputs):
        return Estimate(assumed=NODE_INSTRUCTIONS)
    if any(id(tensor) in gates for tensor in node.inputs):
        return Estimate(_OWN["LOGISTIC"][0] * node.output_elements, NODE_INSTRUCTIONS)
    return node_instructions(node, kernels, fpu)


def node_instructions(node: Node, kernels: Kernels, fpu: bool = True) -> Estimate:
    """Instructions of a node, its dispatch included; in float32 or int16 by an assumed factor from int8."""
    if not node.outputs or any(t is not None and any(size < 0 for size in t.shape) for t in node.inputs):
        return Estimate(assumed=NODE_INSTRUCTIONS)
    factors = {"float32": FLOAT_FACTOR * (1 if fpu else SOFT_FLOAT_FACTOR), "int16": INT16_FACTOR}
    if node.dtype in factors:
        return Estimate(assumed=NODE_INSTRUCTIONS + factors[node.dtype] * _kernel(node, Kernels("reference")).total)
    return Estimate(assumed=NODE_INSTRUCTIONS) + _kernel(node, kernels)


def _own(node: Node, kernels: Kernels) -> float:
    """Instructions of kser's own kernel for the op."""
    a, b = (_OWN if kernels.dsp else _OWN_PLAIN)[node.op]
    elements, rows = _own_work(node)
    broadcast = _OWN_BROADCAST if node.op in ("ADD", "SUB", "MUL") and len(_shapes(node)) > 1 else 0.0
    table = 0 if node.op != "SOFTMAX" else _OWN_TABLE if kernels.dsp else _OWN_TABLE_PLAIN
    unaligned = _OWN_UNALIGNED * rows if node.op in _OWN_PRODUCTS and node.depth % 4 else 0.0
    return (a + broadcast) * elements + b * rows + table + unaligned


def _own_work(node: Node) -> tuple[int, float]:
    """Elements and rows, or multiply-accumulates and sums, of an op with a kernel of kser's own."""
    outputs, source = node.output_elements, next(iter(node.inputs), None)
    if node.depth:
        return outputs * node.depth, outputs
    if node.op == "MEAN":
        return (source.elements if source else 1), outputs
    return outputs, outputs / max(1, source.shape[-1]) if source and source.shape else 1


def _kernel(node: Node, kernels: Kernels) -> Estimate:
    if node.op in kernels.own:
        return Estimate(measured=_own(node, kernels))
    if node.op in _MATRIX:
        return Estimate(measured=_matrix(node, _MATRIX[node.op], kernels))
    if node.op == "DEPTHWISE_CONV_2D":
        return Estimate(measured=node.output_elements * node.depth * _price(node, _DEPTHWISE, kernels))
    cost = (_FOR_SIZE if kernels.for_size else {}).get(node.op) or _PER_ELEMENT.get(
        node.op, _COPYING if node.op in _COPIES else _UNKNOWN
    )
    work = (node.inputs[0].elements if node.inputs and node.inputs[0] else 1) if cost.of_input else node.output_elements
    amount = work * _price(node, cost, kernels)
    return Estimate(measured=amount) if cost.measured else Estimate(assumed=amount)


def _shapes(node: Node) -> set[tuple[int, ...]]:
    """Those of the first two inputs, without leading axes of length 1."""
    return {tuple(itertools.dropwhile(lambda size: size == 1, t.shape)) for t in node.inputs[:2] if t is not None}


def _price(node: Node, cost: Cost, kernels: Kernels) -> float:
    """Instructions for a unit of work in the kernel that the node gets."""
    if cost.broadcast is not None and len(_shapes(node)) > 1:
        return cost.broadcast
    if kernels.vector and node.op in kernels.optimised and node.op in _VECTOR:
        return _VECTOR[node.op]
    optimised = node.op in kernels.optimised and kernels.scale > 0 and cost.optimised is not None
    return cost.optimised * kernels.scale if optimised else cost.reference


def _matrix(node: Node, cost: MatrixCost, kernels: Kernels) -> float:
    optimised = node.op in kernels.optimised and kernels.scale > 0
    if optimised and kernels.vector:
        a, b = _VECTOR_MATRIX[node.op]
        return node.output_elements * (a * node.depth + b)
    a, b = cost.optimised if optimised else cost.reference
    if optimised and node.op == "FULLY_CONNECTED" and len(node.outputs[0].shape) == 2:
        b += _RANK_2_OUTPUT
    return node.output_elements * (a * node.depth + b) * (kernels.scale if optimised else 1)


# --- The front end ----------------------------------------------------------------------------------------------------

# Instructions of a plain C log-mel in float32, none of them measured: a radix-2 butterfly with its loads, stores and
# addresses; one multiply-add of window or mel band; one bin's power; one logf; one value normalized and quantized.
BUTTERFLY, MULTIPLY_ADD, POWER, LOGARITHM, NORMALIZE = 30, 6, 6, 150, 25


def front_end_instructions(config: FeatureConfig, fpu: bool = True) -> float:
    """Instructions of one frame's log-mel: window, real FFT (a complex one of half the length and its split), power, mel
    bands, logarithm. Without an FPU the same arithmetic in software; a fixed-point front end would be faster there."""
    half = config.fft_length // 2
    butterflies = half // 2 * (half.bit_length() - 1) + half // 2
    # Neighbouring triangles overlap: each bin between lower_hz and upper_hz belongs to two bands.
    bins = 2 * half * (config.upper_hz - config.lower_hz) / (SAMPLE_RATE_HZ / 2)
    total = (
        butterflies * BUTTERFLY
        + (config.window_samples + bins) * MULTIPLY_ADD
        + half * POWER
        + config.num_mels * (LOGARITHM + NORMALIZE)
    )
    return total * (1 if fpu else SOFT_FLOAT_FACTOR)


# The interpreter's and the application's own members, the op resolver, a block of the microphone's driver and what the C
# library keeps, of the example linked for a Cortex-M4F.
SKETCH_BYTES = 1450


def sketch_ram_bytes(config: FeatureConfig) -> int:
    """Static RAM of a firmware project beside arena and ring: the window of features and a level for each of its frames, the
    window of 16-bit samples, and memory for the FFT where the model's input is too small for it."""
    values = config.num_frames * config.num_mels
    work = 4 * config.fft_length
    window = feature_code(config).bits // 8 * values + config.num_frames + 2 * config.window_samples
    return SKETCH_BYTES + window + (work if values < work else 0)


# --- Time -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Band:
    """A figure and between what it is expected."""

    low: float
    middle: float
    high: float

    def __truediv__(self, divisor: float) -> Band:
        return Band(self.low / divisor, self.middle / divisor, self.high / divisor)

    def __add__(self, other: Band) -> Band:
        return Band(self.low + other.low, self.middle + other.middle, self.high + other.high)


def milliseconds(estimate: Estimate, board: Board) -> Band:
    """How long the instructions take on the board; in the middle, at the geometric mean of its cycles per instruction."""
    slowest, fastest = board.cycles_per_instruction[::-1]
    per_ms = board.clock_mhz * 1e3
    low, high = estimate.band
    return Band(low * fastest, estimate.total * math.sqrt(fastest * slowest), high * slowest) / per_ms
