"""Quantization-aware training: a trainable network that rounds as the device does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from kser.errors import FoldError
from kser.export.fake_quant import with_input_node
from kser.export.fold import fold_model
from kser.export.graph import Graph, Node, build_graph, read_graph
from kser.export.quantizers import QUANTIZE_CONFIGS, fixed_range, is_moved, require_known
from kser.export.ranges import Ranges
from kser.models.inference import predict_logits

# Relative to the range of the logits: float rounding of folded kernels moves some entries by a step in many layers.
MAX_MEAN_DIFFERENCE = 2e-2


@dataclass(frozen=True)
class QuantizeAware:
    """A trainable network that rounds as the device does, made from `graph`."""

    model: keras.Model
    graph: Graph
    variables: dict[str, list[tf.Variable]]

    def trained(self) -> Graph:
        """The graph with the current weights; an HRFDense keeps its factors."""
        return self.graph.replaced(
            *(
                node.with_weights(*(v.numpy().astype(np.float64) for v in self.variables[node.name]))
                for node in self.graph
                if node.weights
            )
        )

    def ranges(self) -> Ranges:
        """The current ranges."""
        wrappers = {layer.name: layer for layer in self.model.layers}
        nodes = [node for node in self.graph if not is_moved(node)]
        ranges = {node.name: fixed_range(node) or _ends(wrappers[node.name]) for node in nodes}
        return {self.graph.input_name: _ends(wrappers[self.graph.input_name]), **ranges}


def _ends(wrapper) -> tuple[float, float]:
    return tuple(float(wrapper._output_quantizer_vars[end].numpy()) for end in ("min_var", "max_var"))


def quantize_aware(graph: Graph, ranges: Ranges, axes: dict[str, int | None]) -> QuantizeAware:
    """The network with every layer wrapped by tensorflow-model-optimization, starting from measured ranges.

    Args:
      axes: for Dense layers with a scale per output channel, the axis -1 by layer name.
    """
    require_known(graph)
    variables: dict[str, list[tf.Variable]] = {}

    def around(node: Node, layer):
        variables[node.name] = list(layer.weights)
        config = QUANTIZE_CONFIGS[node.kind](node, axes.get(node.name))
        return tfmot.quantization.keras.QuantizeWrapperV2(layer, config, name_prefix="")

    graph = graph.replaced(*(node.with_config(form="product") for node in graph if node.kind == "HRFDense"))
    # AutoGraph would translate the wrapper's Python code, for seconds, and find nothing that has to be.
    model = tf.autograph.experimental.do_not_convert(build_graph)(with_input_node(graph), around)
    for layer in model.layers:
        if layer.name in ranges and getattr(layer, "_output_quantizer_vars", None):
            low, high = ranges[layer.name]
            layer._output_quantizer_vars["min_var"].assign(low)
            layer._output_quantizer_vars["max_var"].assign(high)
    return QuantizeAware(model, graph, variables)


def folded(graph: Graph) -> Graph:
    """The graph with every HRFDense folded."""
    return read_graph(fold_model(build_graph(graph)))


def require_same(trained: keras.Model, exported: keras.Model, clips: np.ndarray) -> None:
    """Raises FoldError unless both round alike, except for kernel entries that the fold moves across a rounding edge."""
    difference = np.abs(predict_logits(trained, clips) - predict_logits(exported, clips))
    if not difference.mean() <= MAX_MEAN_DIFFERENCE * np.ptp(predict_logits(trained, clips)):
        raise FoldError(
            f"The network to be converted does not round like the one that was trained: its logits differ by "
            f"{difference.mean():.2e} on average. Nothing was written."
        )
