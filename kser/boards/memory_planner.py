"""The tensor arena that TensorFlow Lite Micro takes for a graph, told without running it.

TFLM plans an arena in two parts. At its head lie the activations, planned by its greedy memory planner from their sizes and
lifetimes, which `planned_bytes` repeats. At its tail lies what lives as long as the interpreter: structs for every node and
tensor, and what kernels keep. The struct sizes are those that the wheel of TFLM which setup.py pins reports on a 64-bit
computer; what kernels keep was measured there as the tail's growth from one node to the next of converted networks
(within 16 bytes, to which their parts are aligned). tests/boards/test_memory_planner.py compares the sum with what TFLM
reports.

Planner: tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc in github.com/tensorflow/tflite-micro.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from kser.tflite.op_graph import Node, tensors_of

ALIGNMENT = 16

# Structs for each node and each tensor, and what the interpreter takes for itself, its input and its output.
_NODE_BYTES, _TENSOR_BYTES, _INTERPRETER_BYTES = 64, 24, 736
# What the kernels keep for a node, options from the file included.
_KERNEL_BYTES = {
    "ADD": 73,
    "AVERAGE_POOL_2D": 72,
    "BATCH_MATMUL": 99,
    "CONCATENATION": 88,
    "CONV_2D": 108,
    "DEPTHWISE_CONV_2D": 108,
    "FULLY_CONNECTED": 112,
    "HARD_SWISH": 32,
    "L2_NORMALIZATION": 20,
    "LOGISTIC": 17,
    "MEAN": 75,
    "MUL": 52,
    "PAD": 64,
    "RESHAPE": 36,
    "RSQRT": 32,
    "SOFTMAX": 88,
    "SPLIT": 4,
    "SUB": 74,
}
# What the planner holds of a tensor, of an activation and of a kernel's scratch buffer while the graph is loaded.
_PLANNED_TENSOR_BYTES, _PLANNED_BUFFER_BYTES, _PLANNED_SCRATCH_BYTES = 32, 40, 264
_WITH_SCRATCH = ("MEAN",)
# For each output channel a multiplier and a shift, an array each.
_PER_CHANNEL = ("CONV_2D", "DEPTHWISE_CONV_2D")


@dataclass(frozen=True)
class Buffer:
    """Bytes needed from the node number `first` to the node number `last`; the network's input is there from 0 on."""

    size: int
    first: int
    last: int


def arena_bytes(nodes: Sequence[Node]) -> int:
    """Bytes of arena in use on a 64-bit computer, with the reference kernels, of an int8 graph of one input and output."""
    return aligned(planned_bytes(buffers(nodes)) + _tail_bytes(nodes))


def smallest_arena_bytes(nodes: Sequence[Node]) -> int:
    """The smallest arena that such a graph loads in: the planner's own tables can take more than what is planned."""
    scratch_buffers = sum(node.op in _WITH_SCRATCH for node in nodes)
    plan = _PLANNED_TENSOR_BYTES * len(tensors_of(nodes)) + _PLANNED_BUFFER_BYTES * len(buffers(nodes))
    return max(arena_bytes(nodes), aligned(_tail_bytes(nodes) + plan + _PLANNED_SCRATCH_BYTES * scratch_buffers))


def _tail_bytes(nodes: Sequence[Node]) -> int:
    kernels = sum(_KERNEL_BYTES.get(node.op, 0) + _channel_bytes(node) for node in nodes)
    return _NODE_BYTES * len(nodes) + _TENSOR_BYTES * len(tensors_of(nodes)) + kernels + _INTERPRETER_BYTES


def _channel_bytes(node: Node) -> int:
    return 2 * aligned(4 * node.outputs[0].shape[-1]) if node.op in _PER_CHANNEL else 0


def aligned(size: int) -> int:
    """`size` rounded up to a multiple of 16 bytes, as buffers lie in the arena and in the file."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def buffers(nodes: Sequence[Node]) -> list[Buffer]:
    """The activations of a graph, in the order in which they come to be; the last node's outputs are the network's."""
    lives: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for number, node in enumerate(nodes, 1):
        for tensor in (*node.inputs, *node.outputs):
            if tensor is not None and not tensor.constant:
                born = number if any(tensor is y for y in node.outputs) else 0
                lives.setdefault(id(tensor), [born, number])[1] = number
                sizes[id(tensor)] = aligned(tensor.num_bytes)
    return [Buffer(sizes[key], *life) for key, life in lives.items()]


def planned_bytes(wanted: Sequence[Buffer]) -> int:
    """Bytes the greedy planner needs: largest first, each at the lowest place that is free for as long as it is needed."""
    order = sorted(range(len(wanted)), key=lambda i: (-wanted[i].size, -i))
    placed: list[tuple[int, Buffer]] = []
    for buffer in (wanted[i] for i in order):
        offset = _lowest_gap(placed, buffer)
        # Among buffers at the same place the planner puts the new one last.
        bisect.insort_right(placed, (offset, buffer), key=lambda entry: entry[0])
    return max((offset + buffer.size for offset, buffer in placed), default=0)


def _lowest_gap(placed: Sequence[tuple[int, Buffer]], wanted: Buffer) -> int:
    offset = 0
    for start, other in placed:
        if other.last < wanted.first or other.first > wanted.last:
            continue
        if start - offset >= wanted.size:
            break
        offset = max(offset, start + other.size)
    return offset
