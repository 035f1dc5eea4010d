"""Turns LayerNorms into RMS norms by centring their input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from kser.export.graph import DENSE_KINDS, Graph, Node, Ref, new_node
from kser.export.rewrites.affine import affine_into_readers
from kser.export.rewrites.dense import with_centred_output
from kser.models.norms import L2Norm, RMSNorm


def centre_residual(graph: Graph) -> Graph:
    """Turns LayerNorms into RMS norms. If everything written to a residual stream can be centred, and everything that reads
    it is a LayerNorm, which ignores the mean, then the mean that the LayerNorms subtract is zero."""
    streams = {_stream(graph, node.inputs[0]) for node in graph if node.kind == "LayerNorm"} - {None}
    streams = [s for s in streams if all(_can_be_centred(graph, name) for name in s.writers)]
    for name in sorted({name for stream in streams for name in stream.writers}):
        node = graph[name]
        dense = node.kind in DENSE_KINDS
        graph = graph.replaced(with_centred_output(node)) if dense else _centred_norm(graph, node)
    positions = (graph[name] for stream in streams for name in stream.inside if graph[name].kind == "AddPositions")
    graph = graph.replaced(*(node.with_config(centred=True) for node in positions))
    for name in sorted({name for stream in streams for name in stream.norms}):
        graph = _rms(graph, graph[name])
    return graph


@dataclass(frozen=True)
class Stream:
    """A residual stream: names of the nodes that write to it, of the additions, and of the readers, all LayerNorms."""

    writers: frozenset[str]
    inside: frozenset[str]
    norms: frozenset[str]


_ADDING = ("Add", "AddPositions")


def _stream(graph: Graph, start: Ref) -> Stream | None:
    """The residual stream of the tensor `start`; None if anything but LayerNorms reads it."""
    pending, seen, writers, inside, norms = [start[0]], set(), set(), set(), set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        node = graph.producer((name, 0))
        if node is not None and node.kind in _ADDING:
            inside.add(name)
            pending += [source for source, _ in node.inputs]
        else:
            writers.add(name)
        readers = graph.consumers(name)
        if graph.output[0] == name or any(reader.kind not in (*_ADDING, "LayerNorm") for reader in readers):
            return None
        pending += [reader.name for reader in readers if reader.kind in _ADDING]
        norms |= {reader.name for reader in readers if reader.kind == "LayerNorm"}
    return Stream(frozenset(writers), frozenset(inside), frozenset(norms))


def _can_be_centred(graph: Graph, name: str) -> bool:
    node = graph.producer((name, 0))
    return node is not None and (node.is_linear(*DENSE_KINDS) or node.kind == "LayerNorm")


def _centred_norm(graph: Graph, node: Node) -> Graph:
    """A LayerNorm that writes to the stream: gamma, beta and the centring become one Dense after it, which is much cheaper
    than MUL, ADD, MEAN and SUB."""
    dim = graph.width(node)
    gamma, beta = node.weights if node.config["affine"] else (np.ones(dim), np.zeros(dim))
    kernel = np.diag(gamma) - gamma[:, None] / dim
    name = f"{node.name}_centred"
    layer = keras.layers.Dense(dim, name=name)
    after = new_node(layer, ((node.name, 0),), kernel, beta - beta.mean())
    bare = node.with_config(affine=False).with_weights()
    return graph.rewired({(node.name, 0): (name, 0)}).replaced(bare).inserted(node.name, after)


def _rms(graph: Graph, node: Node) -> Graph:
    """A LayerNorm with centred input as an L2 normalization, with sqrt(dim) merged into the Dense layers that read it."""
    dim, config = graph.width(node), {"epsilon": node.config["epsilon"], "name": node.name}
    if node.config["affine"]:
        gamma, beta = node.weights
        return graph.replaced(new_node(RMSNorm(center=True, **config), node.inputs, gamma, beta))
    bare = new_node(L2Norm(**config), node.inputs)
    result = affine_into_readers(graph, node, dim**0.5, 0.0, lambda g: g.replaced(bare))
    return result or graph.replaced(new_node(RMSNorm(**config), node.inputs, np.ones(dim)))
