"""The tensor arena that TensorFlow Lite Micro (TFLM) takes for a graph, told without running it.

TFLM plans an arena in two parts. At its head lie the activations and the kernels' scratch buffers, planned by its greedy
memory planner from their sizes and lifetimes, which `planned_bytes` repeats. At its tail lies what lives as long as the
interpreter: structs for every node and tensor, and what kernels keep. `needed_bytes` repeats the allocations one after the
other, with the sizes of `kser.boards.arena_layouts`. tests/boards/test_memory_planner.py compares the sum with what TFLM
reports here and with what it reported on emulated boards.

Sources: micro_allocator.cc and memory_planner/greedy_memory_planner.cc in tensorflow/lite/micro of
github.com/tensorflow/tflite-micro.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from kser.boards.arena_layouts import HOST, Kernel, Layout
from kser.boards.own_kernels import OWN, swish_gates, table_blocks
from kser.tflite.op_graph import Node, tensors_of

ALIGNMENT = 16
# TFLM notes that many more scratch buffers than there are yet, and plans with so many bytes for each buffer.
_SPARE_REQUESTS, _PLANNED_BYTES = 12, 40
# What a board sets aside beyond what is told here, for a compiler that lays structs out otherwise.
MARGIN, STEP = 1 / 64, 64


@dataclass(frozen=True)
class Buffer:
    """Bytes needed from the node number `first` to the node number `last`; the network's input is there from 0 on."""

    size: int
    first: int
    last: int


def with_margin(needed: int) -> int:
    """Bytes of the arena that a board sets aside for a model that needs so many."""
    return math.ceil(needed * (1 + MARGIN) / STEP) * STEP


def needed_bytes(
    nodes: Sequence[Node], layout: Layout = HOST, own: Collection[str] = (), num_tensors: int | None = None
) -> int:
    """The smallest arena, in steps of 16 bytes, that an int8 graph loads in.

    Args:
      own: ops that kser's kernels compute (see kser.boards.own_kernels.kernels_of).
      num_tensors: of the graph; those that its nodes read and write where it is not known.
    """
    kernels = [_kernel(node, layout, own) or Kernel() for node in nodes]
    return _needed(nodes, layout, kernels, own, num_tensors)


def board_bytes(nodes: Sequence[Node], layout: Layout, own: Collection[str], num_tensors: int, host_bytes: int) -> int:
    """`needed_bytes` on a board, also of ops that the layout does not describe.

    They take what they take on this computer, where pointers are longer: `host_bytes` less all that is described.
    """
    described = [_kernel(node, layout, own) is not None for node in nodes]
    on_host = [_kernel(node, HOST, ()) if known else None for node, known in zip(nodes, described, strict=True)]
    rest = host_bytes - _needed(nodes, HOST, [kernel or Kernel() for kernel in on_host], (), num_tensors)
    return needed_bytes(nodes, layout, own, num_tensors) + max(0, aligned(rest))


def _needed(
    nodes: Sequence[Node], layout: Layout, kernels: Sequence[Kernel], own: Collection[str], num_tensors: int | None
) -> int:
    scratch = [
        Buffer(aligned(size), number, number)
        for number, (node, kernel) in enumerate(zip(nodes, kernels, strict=True), 1)
        for size in kernel.scratch(node)
    ]
    num_tensors = len(tensors_of(nodes)) if num_tensors is None else num_tensors
    tail = _loaded(nodes, layout, kernels, num_tensors, table_blocks(nodes, own))
    requests = layout.request * (len(scratch) + _SPARE_REQUESTS)
    while_preparing = tail + requests + max((_tensor_structs(node, layout) for node in nodes), default=0)
    tail = _kept(tail, (layout.pointer * len(scratch), layout.pointer))
    wanted = [*(buffer for buffer in buffers(nodes, swish_gates(nodes, own)) if buffer.size), *scratch]
    lists = aligned(requests + layout.pointer + layout.lifetime * (num_tensors + len(scratch)))
    while_planning = aligned(tail) + lists + _PLANNED_BYTES * len(wanted)
    return aligned(max(while_preparing, while_planning, _with_ports(tail, layout, nodes) + planned_bytes(wanted)))


def _kernel(node: Node, layout: Layout, own: Collection[str]) -> Kernel | None:
    """None for an op that is not described."""
    kernels = OWN if node.op in own and node.dtype == "int8" else layout.kernels
    return kernels.get(node.op)


def _kept(size: int, *blocks: tuple[int, int]) -> int:
    """The tail once blocks, of so many bytes and that alignment, are put before it."""
    for block, alignment in blocks:
        size = -(-(size + block) // alignment) * alignment if block else size
    return size


def _loaded(
    nodes: Sequence[Node], layout: Layout, kernels: Sequence[Kernel], num_tensors: int, tables: Iterable[int]
) -> int:
    """Bytes of the tail when all nodes are prepared."""
    structs = (*layout.objects, layout.subgraph, layout.eval_tensor * num_tensors, layout.node * len(nodes))
    size = _kept(0, *((block, layout.pointer) for block in structs), *(kernel.options for kernel in kernels))
    kept = [block for node, kernel in zip(nodes, kernels, strict=True) for block in kernel.kept(node)]
    return _kept(size, *((block, ALIGNMENT) for block in (*(k.data for k in kernels), *kept, *tables)))


def _tensor_structs(node: Node, layout: Layout) -> int:
    """Bytes of the structs of a node's tensors, which are there while it is prepared."""
    tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
    zero_points = sum(4 + 4 * t.num_scales for t in tensors if t.num_scales)
    return zero_points + (layout.tensor + layout.quantization + layout.pointer) * len(tensors)


def _with_ports(tail: int, layout: Layout, nodes: Sequence[Node]) -> int:
    """The tail with the structs of the network's inputs and outputs, which have one zero point each."""
    struct = ((layout.tensor, layout.pointer), (layout.quantization, layout.pointer), (8, 4))
    for ports in _ports(nodes):
        tail = _kept(tail, (layout.pointer * ports, ALIGNMENT), *ports * struct)
    return tail


def _ports(nodes: Sequence[Node]) -> tuple[int, int]:
    """The numbers of inputs and outputs of a graph."""
    written = {id(y) for node in nodes for y in node.outputs}
    read = {id(x): x for node in nodes for x in node.inputs if x is not None}
    return sum(not x.constant and key not in written for key, x in read.items()), len(written - set(read))


def aligned(size: int) -> int:
    """`size` rounded up to a multiple of 16 bytes, as buffers lie in the arena and in the file."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def buffers(nodes: Sequence[Node], left_out: Collection[int] = ()) -> list[Buffer]:
    """The activations of a graph, in the order in which they come to be; the last node's outputs are the network's.

    Args:
      left_out: ids of tensors that take no memory.
    """
    lives: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for number, node in enumerate(nodes, 1):
        for tensor in (*node.inputs, *node.outputs):
            if tensor is not None and not tensor.constant:
                born = number if any(tensor is y for y in node.outputs) else 0
                lives.setdefault(id(tensor), [born, number])[1] = number
                sizes[id(tensor)] = 0 if id(tensor) in left_out else aligned(tensor.num_bytes)
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
