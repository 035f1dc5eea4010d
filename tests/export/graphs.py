"""Graphs of small networks, folded and rewritten, a node for each operation."""

from __future__ import annotations

import functools

import numpy as np

from kser.export.device_ops import one_operation_each
from kser.export.fold import fold_model
from kser.export.graph import Graph, build_graph, read_graph
from kser.export.rewrites import DEPLOY_PASSES, deploy_model
from kser.models.inference import predict_logits
from tests.networks import clips, network


@functools.cache
def graph_of(backbone: str, passes=tuple(DEPLOY_PASSES), **changes) -> Graph:
    model = fold_model(network(backbone, **changes))
    return one_operation_each(read_graph(deploy_model(model, clips(), passes).model))


def logits(graph: Graph) -> np.ndarray:
    return predict_logits(build_graph(graph), clips())
