"""The int8 ops of a deployed network, predicted from its graph without converting it.

kser.boards.search.layer_ops has the ops for each kind of layer; this module has what TensorFlow Lite's converter does across
layers (merging a norm's factors into a kernel, the order of the ops). tests/boards/search/test_search.py compares the
result, op by op, with converted networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from kser.boards.memory_planner import aligned
from kser.boards.search.layer_ops import append_ops
from kser.boards.search.op_builder import OpBuilder
from kser.export.graph import Graph, Ref
from kser.tflite.op_graph import Node, Tensor, tensors_of

# Bytes of a .tflite besides its constants: the frame, the entry of an activation with its op, that of a constant, one more
# scale, and the names of the six operations that an L2 norm was made of.
FILE_FRAME, ACTIVATION_ENTRY, CONSTANT_ENTRY, SCALE_ENTRY, L2_NAMES = 2206, 254, 9.5, 12.5, 352


def lower(graph: Graph) -> tuple[Node, ...]:
    """The ops of a deployed network for a single clip, in execution order, after post-training quantization to int8.

    All readers of a tensor share one object, as in `op_graph.graph_nodes`.

    Raises:
      KserError: a layer does not convert, or is of a kind that no folded backbone has.
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
    """Bytes of the .tflite without metadata: constants aligned to 16 bytes, and average sizes of tables and names.

    The averages were fitted to converted networks of random sizes; benchmarks/README.md has the error for other networks.
    """
    tensors = tensors_of(nodes)
    constants = [t for t in tensors if t.constant]
    tables = ACTIVATION_ENTRY * (len(tensors) - len(constants)) + CONSTANT_ENTRY * len(constants)
    names = L2_NAMES * sum(node.op == "L2_NORMALIZATION" for node in nodes)
    scales = SCALE_ENTRY * sum(t.num_scales for t in constants if t.num_scales > 1)
    return round(FILE_FRAME + tables + names + scales + sum(aligned(t.num_bytes) for t in constants))


def _in_order(nodes: Sequence[Node], source: Tensor) -> list[Node]:
    """Ops in the converter's order: depth first from the input, readers of a tensor by descending name, each op before those
    postponed earlier."""
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
    """The ops that the output depends on."""
    wanted, kept = {id(output)}, []
    for node in reversed(nodes):
        if any(id(y) in wanted for y in node.outputs):
            kept.append(node)
            wanted.update(map(id, node.inputs))
    return kept[::-1]


def _without_affine(nodes: Sequence[Node]) -> list[Node]:
    """Merges a norm's gamma and beta into the FULLY_CONNECTED ops that read it, as the converter does, even if other ops
    read the product too."""
    producers = {id(y): node for node in nodes for y in node.outputs}

    def source(x: Tensor) -> Tensor:
        node = producers.get(id(x))
        return source(node.inputs[0]) if node is not None and _is_affine(node) else x

    def reading_source(node: Node) -> Node:
        return dataclasses.replace(node, inputs=(source(node.inputs[0]), *node.inputs[1:]))

    return [reading_source(node) if node.op == "FULLY_CONNECTED" else node for node in nodes]


def _is_affine(node: Node) -> bool:
    """Whether the op multiplies by or adds a constant per channel."""
    return node.op in ("MUL", "ADD") and node.inputs[1].constant and len(node.inputs[1].shape) == 1
