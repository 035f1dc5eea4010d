"""Merges factors and offsets of norms, BatchNorms and constants into neighbouring Dense layers and convolutions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kser.export.graph import DENSE_KINDS, Graph, Node, Ref, new_node
from kser.export.rewrites.dense import with_affine_input, with_scaled_output
from kser.models.norms import L2Norm


def fold_batch_norms(graph: Graph) -> Graph:
    """Merges a BatchNorm, `a x + c` per channel, into the linear layer before it or else the Dense layers after it."""
    for node in graph:
        if node.kind == "BatchNormalization":
            graph = _fold_batch_norm_back(graph, node) or _fold_batch_norm_forth(graph, node) or graph
    return graph


def _batch_norm_factors(node: Node) -> tuple[np.ndarray, np.ndarray]:
    weights = list(node.weights)
    gamma = weights.pop(0) if node.config["scale"] else 1.0
    beta = weights.pop(0) if node.config["center"] else 0.0
    mean, variance = weights
    factor = gamma / np.sqrt(variance + node.config["epsilon"])
    return factor, beta - mean * factor


def _fold_batch_norm_back(graph: Graph, node: Node) -> Graph | None:
    source = graph.producer(node.inputs[0])
    if source is None or not source.is_linear("Conv2D", "Dense", "DepthwiseConv2D"):
        return None
    if graph.sole_consumer(source.name) is None:
        return None
    factor, offset = _batch_norm_factors(node)
    # Channels are the third axis of a depthwise kernel, and the last axis of all others.
    kernel = source.weights[0] * (factor[:, None] if source.kind == "DepthwiseConv2D" else factor)
    bias = source.weights[1] * factor if source.config["use_bias"] else 0.0
    linear = source.with_config(use_bias=True).with_weights(kernel, bias + offset)
    return graph.replaced(linear).without(node.name)


def _fold_batch_norm_forth(graph: Graph, node: Node) -> Graph | None:
    factor, offset = _batch_norm_factors(node)
    return affine_into_readers(graph, node, factor, offset, lambda graph: graph.without(node.name))


def affine_into_readers(graph: Graph, node: Node, factor, offset, then: Callable[[Graph], Graph]) -> Graph | None:
    """Merges `factor x + offset` into the Dense layers that read `node`, if nothing else does; `then` edits the result."""
    readers = _dense_readers(graph, node.name)
    if not readers:
        return None
    factor = np.broadcast_to(factor, readers[0].weights[0].shape[:1])
    offset = np.broadcast_to(offset, factor.shape)
    return then(graph.replaced(*(with_affine_input(reader, factor, offset) for reader in readers)))


def _dense_readers(graph: Graph, name: str) -> list[Node]:
    """The Dense layers that read `name` or its mean over time; none if anything else reads it."""
    readers = []
    for node in graph.consumers(name):
        while node is not None and node.kind == "GlobalAveragePooling2D":
            node = graph.sole_consumer(node.name)
        readers.append(node)
    all_dense = all(node is not None and node.kind in DENSE_KINDS for node in readers)
    return readers if all_dense and graph.output[0] != name else []


def fold_constants(graph: Graph) -> Graph:
    """Merges constant factors into kernels: the half step of a feed-forward network, and attention's 1 / sqrt(d), as its
    square root into both queries and keys, so that their ranges stay alike."""
    for node in graph:
        if node.kind == "Scale":
            graph = _scaled(graph, node.inputs[0], node.config["factor"], graph.without(node.name)) or graph
        elif node.kind in ("AttentionProduct", "LocalScores") and node.config["scale"] != 1:
            root = node.config["scale"] ** 0.5
            once = _scaled(graph, node.inputs[0], root, graph.replaced(node.with_config(scale=1.0)))
            twice = once and _scaled(once, node.inputs[1], root, once)
            graph = twice or graph
    return graph


def _scaled(graph: Graph, ref: Ref, factor: float, then: Graph) -> Graph | None:
    """`then` with the Dense layer scaled that computes `ref`, through layers that only move values."""
    node = graph.producer(ref)
    while node is not None and graph.sole_consumer(node.name) is not None:
        if node.is_linear(*DENSE_KINDS):
            return then.replaced(with_scaled_output(then[node.name], factor))
        if node.kind not in ("Reshape", "Permute"):
            return None
        node = graph.producer(node.inputs[0])
    return None


def fold_norm_affine(graph: Graph) -> Graph:
    """Merges a norm's gamma and beta into the Dense layers that read it; an RMS norm becomes one L2 normalization."""
    for node in graph:
        if node.kind == "RMSNorm":
            dim = len(node.weights[0])
            beta = node.weights[1] if node.config["center"] else 0.0
            bare = new_node(L2Norm(epsilon=node.config["epsilon"], name=node.name), node.inputs)
            factor = node.weights[0] * dim**0.5
            graph = affine_into_readers(graph, node, factor, beta, lambda g, bare=bare: g.replaced(bare)) or graph
        elif node.kind == "LayerNorm" and node.config["affine"]:
            bare = node.with_config(affine=False).with_weights()
            graph = affine_into_readers(graph, node, *node.weights, lambda g, bare=bare: g.replaced(bare)) or graph
    return graph
