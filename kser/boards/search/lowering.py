"""The int8 ops a deployed network becomes, told from its graph without converting it.

kser.boards.search.layer_ops has the ops TensorFlow Lite's converter makes of each kind of layer; what it does across layers
(a norm's factors taken into a kernel, the order of the ops) is here. tests/boards/search/test_search.py compares the result,
op by op, with networks that were really converted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from kser.boards.memory_planner import aligned
from kser.boards.search.layer_ops import append_ops
from kser.boards.search.op_builder import OpBuilder
from kser.export.graph import Graph, Ref
from kser.tflite.op_graph import Node, Tensor, tensors_of

# Bytes of a .tflite beside its constants: the frame, the entry of an activation with its op, that of a constant, one more
# scale, and the names of the six operations that an L2 norm was made of.
FILE_FRAME, ACTIVATION_ENTRY, CONSTANT_ENTRY, SCALE_ENTRY, L2_NAMES = 2206, 254, 9.5, 12.5, 352


def lower(graph: Graph) -> tuple[Node, ...]:
    """The ops of a deployed network for a single clip in the order they run in, quantized after training, int8 throughout.

    A tensor is one object wherever it is read, as in `op_graph.graph_nodes`.

    Raises:
      KserError: a layer that does not convert, or of a kind that no backbone has after the fold.
    """
    builder = OpBuilder()
    reshaped: set[Ref] = set()
    source = Tensor((1, *graph.input_shape), name=graph.input_name)
    tensors: dict[Ref, Tensor] = {(graph.input_name, 0): source}
    for layer in graph:
        inputs = [tensors[ref] for ref in layer.inputs]
        outputs = append_ops(builder, layer, inputs, layer.inputs[0] in reshaped)
        tensors.update(((layer.name, i), output) for i, output in enumerate(outputs))
        if layer.kind == "Reshape" and outputs[0].shape != inputs[0].shape:
            reshaped.add((layer.name, 0))
    output = tensors[graph.output]
    return tuple(_needed(_without_affine(_in_order(_needed(builder.nodes, output), source)), output))


def file_bytes(nodes: Sequence[Node]) -> int:
    """Bytes of the .tflite without metadata: constants on 16-byte boundaries, tables and names as they are on average.

    The averages were fitted to converted networks of random sizes; benchmarks/README.md tells how close they come to others.
    """
    tensors = tensors_of(nodes)
    constants = [t for t in tensors if t.constant]
    tables = ACTIVATION_ENTRY * (len(tensors) - len(constants)) + CONSTANT_ENTRY * len(constants)
    names = L2_NAMES * sum(node.op == "L2_NORMALIZATION" for node in nodes)
    scales = SCALE_ENTRY * sum(t.num_scales for t in constants if t.num_scales > 1)
    return round(FILE_FRAME + tables + names + scales + sum(aligned(t.num_bytes) for t in constants))


def _in_order(nodes: Sequence[Node], source: Tensor) -> list[Node]:
    """Ops as the converter orders them: depth first from the input, readers of a tensor from the last name to the first,
    each op before all that were left before it."""
    readers: dict[int, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.outputs[0].name, reverse=True):
        for x in node.inputs:
            readers.setdefault(id(x), []).append(node)

    def after(tensors: Sequence[Tensor]) -> Iterator[Node]:
        return iter([node for x in reversed(tensors) for node in readers.get(id(x), ())])

    left, seen, path = [], set(), [(None, after((source,)))]
    while path:
        node, following = path[-1]
        reader = next((r for r in following if id(r) not in seen), None)
        if reader is None:
            left.append(node)
            path.pop()
        else:
            seen.add(id(reader))
            path.append((reader, after(reader.outputs)))
    return left[-2::-1]


def _needed(nodes: Sequence[Node], output: Tensor) -> list[Node]:
    """The ops that lead to the output."""
    wanted, kept = {id(output)}, []
    for node in reversed(nodes):
        if any(id(y) in wanted for y in node.outputs):
            kept.append(node)
            wanted.update(map(id, node.inputs))
    return kept[::-1]


def _without_affine(nodes: Sequence[Node]) -> list[Node]:
    """FULLY_CONNECTED ops read what a norm's gamma and beta are applied to: the converter takes those into the kernel, even
    where others read the product as well."""
    producers = {id(y): node for node in nodes for y in node.outputs}

    def source(x: Tensor) -> Tensor:
        node = producers.get(id(x))
        return source(node.inputs[0]) if node is not None and _is_affine(node) else x

    def reading_source(node: Node) -> Node:
        return dataclasses.replace(node, inputs=(source(node.inputs[0]), *node.inputs[1:]))

    return [reading_source(node) if node.op == "FULLY_CONNECTED" else node for node in nodes]


def _is_affine(node: Node) -> bool:
    """Whether it multiplies with or adds a constant of each channel's own."""
    return node.op in ("MUL", "ADD") and node.inputs[1].constant and len(node.inputs[1].shape) == 1
