"""Fake quantization: a float network whose activations and kernels are rounded to 8-bit values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.export.graph import Around, Graph, Node, build_graph, graph_logits, new_node
from kser.export.quantizers import QUANTIZE_CONFIGS, KernelQuantizer
from kser.export.ranges import Ranges


class FakeQuant(keras.layers.Layer):
    """Rounds to 256 levels of a fixed range."""

    def __init__(self, low: float, high: float, **kwargs):
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def call(self, inputs):
        return tf.quantization.fake_quant_with_min_max_args(inputs, self.low, self.high)


def fake_quantized(graph: Graph, ranges: Ranges, rounding: Callable = FakeQuant) -> keras.Model:
    """The network with every activation rounded as in the converted model.

    Args:
      rounding: makes the rounding layer from both ends of a range and a name.
    """

    return build_graph(with_input_node(graph), _rounded_after(ranges, rounding))


def fake_quantized_logits(graph: Graph, ranges: Ranges, features: np.ndarray, rounding: Callable = FakeQuant) -> np.ndarray:
    """The logits of `fake_quantized(graph, ranges, rounding)`, without making the Keras model."""
    return graph_logits(with_input_node(graph), features, _rounded_after(ranges, rounding))


def _rounded_after(ranges: Ranges, rounding: Callable) -> Around:
    def around(node: Node, layer: keras.layers.Layer) -> Callable:
        if node.name not in ranges:
            return layer
        after = rounding(*ranges[node.name], name=f"{node.name}_rounded")
        return lambda inputs: after(layer(inputs))

    return around


def with_input_node(graph: Graph) -> Graph:
    """The graph with a node of the input's name after the input, because the input is rounded too."""
    entrance = f"{graph.input_name}_exact"
    node = new_node(keras.layers.Activation("linear", name=graph.input_name), ((entrance, 0),))
    return dataclasses.replace(graph, input_name=entrance, nodes=(node, *graph.nodes))


def rounded_kernels(graph: Graph, axes: dict[str, int | None]) -> Graph:
    """The graph with every kernel rounded to 8-bit values."""
    return graph.replaced(*(_rounded_kernel(node, axes) for node in graph if _kernel_axis(node, axes) is not _NO_KERNEL))


_NO_KERNEL = object()


def _kernel_axis(node: Node, axes: dict[str, int | None]):
    config = QUANTIZE_CONFIGS[node.kind](node, axes.get(node.name))
    return config.axis if config.kernel else _NO_KERNEL


def _rounded_kernel(node: Node, axes: dict[str, int | None]) -> Node:
    kernel = tf.constant(node.weights[0], tf.float32)
    rounded = KernelQuantizer(_kernel_axis(node, axes))(kernel, False, {}).numpy()
    return node.with_weights(rounded.astype(np.float64), *node.weights[1:])
