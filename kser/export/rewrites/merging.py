"""Fewer nodes, same function: one Dense for three projections, a convolution for a Dense on a flattened image."""

from __future__ import annotations

import numpy as np
import tf_keras as keras

from kser.export.graph import Graph, Node, Ref, new_node
from kser.models.layers import Split


def flatten_by_convolution(graph: Graph) -> Graph:
    """A Dense on the flattened rows of an image as the equal convolution, which needs no flattened copy of the image."""
    for node in graph:
        dense = graph.sole_consumer(node.name) if node.kind == "Reshape" else None
        source = graph.producer(node.inputs[0])
        if dense is not None and dense.kind == "Dense" and source is not None and source.kind in ("ReLU", "Conv2D"):
            graph = _row_convolution(graph, source, node, dense)
    return graph


def _row_convolution(graph: Graph, source: Node, reshape: Node, dense: Node) -> Graph:
    *ones, num_rows, row = reshape.config["target_shape"]
    channels = graph.width(source)
    if ones != [1] or row % channels:
        return graph
    width, units = row // channels, dense.config["units"]
    layer = keras.layers.Conv2D(
        units, (1, width), activation=dense.config["activation"], use_bias=dense.config["use_bias"], name=dense.name
    )
    kernel = dense.weights[0].reshape(1, width, channels, units)
    tokens = keras.layers.Reshape((1, num_rows, units), name=reshape.name)
    graph = graph.rewired({(dense.name, 0): (reshape.name, 0)})
    graph = graph.replaced(new_node(layer, reshape.inputs, kernel, *dense.weights[1:])).dropped(reshape.name)
    return graph.inserted(dense.name, new_node(tokens, ((dense.name, 0),)))


def fuse_projections(graph: Graph) -> Graph:
    """One Dense for queries, keys and values, whose output is split into heads once and then divided among the three.

    Local attention is left unchanged: it is used with many tokens, where three projections in memory at a time cost more
    arena than three nodes of each kind.
    """
    for node in graph:
        if node.kind == "AttentionProduct":
            heads = [_head_nodes(graph, ref) for ref in node.inputs]
            if None not in heads:
                graph = _fused_with_values(graph, heads)
    return graph


def _fused_with_values(graph: Graph, queries_and_keys: list[tuple[Node, Node, Node]]) -> Graph:
    source = queries_and_keys[0][0].inputs
    trio = {dense.name: (dense, reshape, permute) for dense, reshape, permute in queries_and_keys}
    for reader in graph.consumers(source[0][0]):
        heads = _heads_after(graph, reader)
        if heads is not None:
            trio.setdefault(reader.name, heads)
    fits = len(trio) == 3 and all(dense.inputs == source for dense, _, _ in trio.values())
    return _fused(graph, list(trio.values())) if fits else graph


def _head_nodes(graph: Graph, ref: Ref) -> tuple[Node, Node, Node] | None:
    """Dense, Reshape and Permute that split tokens into heads, if they compute `ref`."""
    permute = graph.producer(ref)
    if permute is None or permute.kind != "Permute" or tuple(permute.config["dims"]) != (2, 1, 3):
        return None
    reshape = graph.producer(permute.inputs[0])
    if reshape is None or reshape.kind != "Reshape" or graph.sole_consumer(reshape.name) is None:
        return None
    dense = graph.producer(reshape.inputs[0])
    if dense is None or not dense.is_linear("Dense") or graph.sole_consumer(dense.name) is None:
        return None
    return dense, reshape, permute


def _heads_after(graph: Graph, dense: Node) -> tuple[Node, Node, Node] | None:
    reshape = graph.sole_consumer(dense.name)
    permute = reshape and graph.sole_consumer(reshape.name)
    return _head_nodes(graph, (permute.name, 0)) if permute else None


def _fused(graph: Graph, trio: list[tuple[Node, Node, Node]]) -> Graph:
    dense, reshape, permute = trio[0]
    stem = dense.name.rpartition("_")[0]
    num_tokens, num_heads, head_dim = reshape.config["target_shape"]
    kernel = np.concatenate([d.weights[0] for d, _, _ in trio], axis=1)
    bias = np.concatenate([d.weights[1] for d, _, _ in trio])
    one = new_node(keras.layers.Dense(len(bias), name=f"{stem}_projections"), dense.inputs, kernel, bias)
    split = keras.layers.Reshape((num_tokens, 3 * num_heads, head_dim), name=f"{stem}_heads")
    order = keras.layers.Permute((2, 1, 3), name=f"{stem}_order")
    give = Split(3, axis=1, name=f"{stem}_split")
    nodes = [one]
    for layer in (split, order, give):
        nodes.append(new_node(layer, ((nodes[-1].name, 0),)))
    order_of = [node.name for node in graph].index
    graph = graph.inserted_before(min((d.name for d, _, _ in trio), key=order_of), *nodes)
    return graph.rewired({(p.name, 0): (give.name, i) for i, (_, _, p) in enumerate(trio)}).pruned()
