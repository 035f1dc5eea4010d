"""A network after some passes, without their proof."""

from __future__ import annotations

import tf_keras as keras

from kser.export.graph import build_graph, read_graph
from kser.export.rewrites import DEPLOY_PASSES


def kinds(model: keras.Model) -> list[type]:
    return [type(layer) for layer in model.layers]


def rewritten(model: keras.Model, *names: str) -> keras.Model:
    """By these passes, without the proof."""
    graph = read_graph(model)
    for name in names:
        graph = DEPLOY_PASSES[name](graph)
    return build_graph(graph)
