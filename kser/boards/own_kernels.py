"""kser's own int8 kernels (deploy/kser_micro/src/kernels): which nodes they take, which of them do their work in one, and
their share of the tensor arena on a 32-bit processor.

To describe another kernel, add its op to kser.boards.catalog.OWN_OPS, its memory to `OWN`, its cost to
kser.boards.cost_model, and what it cannot do to `is_taken`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from kser.boards.arena_layouts import Kernel
from kser.boards.catalog import Kernels
from kser.tflite.op_graph import Node, Tensor

# Bytes of a struct with a table of 256 values, which nodes of equal quantization share.
TABLE_BYTES = 272
_LOGISTIC_SCALE, _LOGISTIC_ZERO_POINT = 1 / 256, -128


def is_taken(node: Node) -> bool:
    """Whether the kernel for the node's op computes it, and well: a convolution by channel only along one axis."""
    if node.dtype != "int8" or not _has_operands(node):
        return False
    if node.op == "CONV_2D":
        return node.inputs[1].shape[-1] == node.inputs[0].shape[-1]
    if node.op == "DEPTHWISE_CONV_2D":
        one_filter_each = node.inputs[0].shape[-1] == node.outputs[0].shape[-1]
        return one_filter_each and node.inputs[1].shape[1] == node.strides[1] == node.dilations[1] == 1
    return not node.adj_x


# Axes of the weights.
_WEIGHT_RANKS = {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 2}


def _has_operands(node: Node) -> bool:
    """Whether the second input is what the kernel reads: int8 weights with their axes, constant int32 paddings."""
    second = node.inputs[1] if len(node.inputs) > 1 else None
    if node.op == "PAD":
        return second is not None and second.constant and second.dtype == "int32"
    if node.op not in _WEIGHT_RANKS:
        return True
    if second is None or second.dtype != "int8" or len(second.shape) != _WEIGHT_RANKS[node.op]:
        return False
    return node.op == "FULLY_CONNECTED" or all(len(t.shape) == 4 for t in (node.inputs[0], *node.outputs[:1]))


def kernels_of(nodes: Iterable[Node], kernels: Kernels) -> Kernels:
    """The kernels of a board for a model: an op is left to the library where there is a node of it that ours do not take."""
    refused = {node.op for node in nodes if node.op in kernels.own and not is_taken(node)}
    return replace(kernels, own=kernels.own - refused)


# --- Nodes that do their work in one ----------------------------------------------------------------------------------


def swish_gates(nodes: Sequence[Node], own: Collection[str]) -> frozenset[int]:
    """The ids of tensors that are never computed: LOGISTIC(x) read by a MUL with x alone, which looks x LOGISTIC(x) up."""
    if not {"LOGISTIC", "MUL"} <= set(own):
        return frozenset()
    readers: dict[int, list[Node]] = {}
    for node in nodes:
        for tensor in node.inputs:
            readers.setdefault(id(tensor), []).append(node)
    return frozenset(id(n.outputs[0]) for n in nodes if _is_gate(n, readers.get(id(n.outputs[0]) if n.outputs else 0, [])))


def _is_gate(node: Node, readers: Sequence[Node]) -> bool:
    if node.op != "LOGISTIC" or node.dtype != "int8" or len(readers) != 1 or readers[0].op != "MUL":
        return False
    gate, factors = node.outputs[0], [id(tensor) for tensor in readers[0].inputs]
    return sorted(factors) == sorted((id(node.inputs[0]), id(gate))) and not readers[0].activation


# --- Memory -----------------------------------------------------------------------------------------------------------


def _rounded_up(size: int, step: int = 4) -> int:
    return -(-size // step) * step


def _factors(node: Node) -> tuple[int, ...]:
    """A multiplier and its exponent for each output channel, where channels have scales of their own."""
    return (8 * node.outputs[0].shape[-1],) if node.inputs[1].num_scales > 1 else ()


def _two_rows(depth: int) -> int:
    """The values of two rows, in pairs of 16 bits."""
    return 4 * _rounded_up(depth)


def _dense(node: Node) -> tuple[int]:
    return (_two_rows(node.inputs[1].shape[-1]),)


def _product(node: Node) -> tuple[int]:
    """Without adj_y also one matrix of the right operand, transposed."""
    return (_two_rows(node.depth) + (0 if node.adj_y else math.prod(node.inputs[1].shape[-2:])),)


def _windows(node: Node) -> tuple[int]:
    """Beside two filters, 32 windows of few values or two of many."""
    return (_two_rows(node.depth) + (32 if node.depth <= 32 else 2) * _rounded_up(node.depth),)


def _line(node: Node) -> tuple[int]:
    """A channel of a row and its filter, in 16 bits."""
    taps = _rounded_up(node.inputs[1].shape[2])
    return (2 * (_rounded_up(node.outputs[0].shape[2]) + taps + 4 + taps),)


def _exponentials(node: Node) -> tuple[int]:
    return (4 * 256,)


OWN = {
    "ADD": Kernel((1, 1), 16),
    "BATCH_MATMUL": Kernel((2, 1), 16, scratch=_product),
    "CONV_2D": Kernel((10, 2), 16, _factors, _windows),
    "DEPTHWISE_CONV_2D": Kernel((10, 2), 16, _factors, _line),
    "FULLY_CONNECTED": Kernel((2, 1), 16, _factors, _dense),
    "HARD_SWISH": Kernel(),
    "L2_NORMALIZATION": Kernel(),
    "LOGISTIC": Kernel(),
    "MEAN": Kernel(data=36),
    "MUL": Kernel((1, 1), 16),
    "PAD": Kernel(),
    "SOFTMAX": Kernel((4, 4), 16, scratch=_exponentials),
    "SUB": Kernel((1, 1), 16),
    "TANH": Kernel(),
}
_LOOKED_UP = frozenset({"LOGISTIC", "TANH", "HARD_SWISH"})


def table_blocks(nodes: Sequence[Node], own: Collection[str]) -> list[int]:
    """Bytes of each table."""
    gates = swish_gates(nodes, own)
    functions = (_function(node, gates) for node in nodes if node.op in own and node.dtype == "int8")
    return [TABLE_BYTES] * len(set(functions) - {None})


def _function(node: Node, gates: frozenset[int]) -> tuple | None:
    """What tells the node's table from others; None if it has none."""
    if node.op == "MUL":
        values = [tensor for tensor in node.inputs if id(tensor) not in gates]
        is_swish = len(values) < len(node.inputs)
        return ("swish", _quantization(values[0]), _quantization(node.outputs[0])) if is_swish else None
    if node.op not in _LOOKED_UP or id(node.outputs[0]) in gates:
        return None
    return node.op, _quantization(node.inputs[0]), _quantization(node.outputs[0])


def _quantization(tensor: Tensor) -> tuple[float, int]:
    return tensor.scale, tensor.zero_point
