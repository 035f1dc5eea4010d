"""A network in the device's operations, one node each; with 1 x 1 convolutions where a kernel has a scale per channel."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.export.graph import DENSE_KINDS, Graph, Node, evaluator, new_node
from kser.models.layers import Scale
from kser.models.norms import Affine, L2Norm, WrittenOutRMS

# Activations that cannot be fused into a device operation, unlike ReLU.
_APART = ("sigmoid", "softmax", "swish", "hard_swish")


def one_operation_each(graph: Graph) -> Graph:
    """The same network with activations and norms in the device's operations, one node each.

    ReLU is fused into the layer before it; swish becomes a sigmoid and a product, an RMS norm an L2 norm and a factor.
    """
    for name in [node.name for node in graph]:
        node = graph[name]  # the current node: its inputs may have been rewritten
        if node.kind == "ReLU":
            graph = _relu_into_source(graph, node)
        elif node.kind == "RMSNorm":
            graph = _norm_and_affine(graph, node)
        elif node.kind in (*DENSE_KINDS, "Activation") and activation_of(node) in _APART:
            graph = _activation_apart(graph, node)
    return graph


def activation_of(node: Node) -> str:
    """The activation's name; for kser's own functions it is inside the serialized description."""
    activation = node.config.get("activation") or "linear"
    name = activation["config"] if isinstance(activation, dict) else activation
    return name.removeprefix("kser>") if isinstance(name, str) else "a user's own"


def _relu_into_source(graph: Graph, node: Node) -> Graph:
    source = graph.producer(node.inputs[0])
    if source is None or not source.is_linear("Conv2D", "Dense", "DepthwiseConv2D") or not graph.sole_consumer(source.name):
        return graph
    if node.config["max_value"] is not None or node.config["negative_slope"] or node.config["threshold"]:
        return graph
    return graph.replaced(source.with_config(activation="relu")).without(node.name)


def _norm_and_affine(graph: Graph, node: Node) -> Graph:
    gamma, *beta = node.weights
    norm = new_node(L2Norm(node.config["epsilon"], name=node.name), node.inputs)
    layer = Affine(bool(beta), name=f"{node.name}_affine")
    affine = new_node(layer, ((node.name, 0),), gamma * len(gamma) ** 0.5, *beta)
    return graph.rewired({(node.name, 0): (affine.name, 0)}).replaced(norm).inserted(node.name, affine)


def _activation_apart(graph: Graph, node: Node) -> Graph:
    """The layer without its activation, followed by nodes of the activation."""
    if node.kind == "Activation" and activation_of(node) not in ("swish", "softmax"):
        return graph
    source = (node.name, 0) if node.kind in DENSE_KINDS else node.inputs[0]
    if activation_of(node) == "softmax":
        parts = [new_node(keras.layers.Softmax(name=f"{node.name}_softmax"), (source,))]
    elif activation_of(node) == "hard_swish":
        parts = [new_node(keras.layers.Activation("kser>hard_swish", name=f"{node.name}_hard_swish"), (source,))]
    else:
        parts = [new_node(keras.layers.Activation("sigmoid", name=f"{node.name}_sigmoid"), (source,))]
    if activation_of(node) == "swish":
        product = keras.layers.Multiply(name=f"{node.name}_swish")
        parts.append(new_node(product, (source, (parts[0].name, 0))))
    graph = graph.rewired({(node.name, 0): (parts[-1].name, 0)})
    if node.kind in DENSE_KINDS:
        graph = graph.replaced(node.with_config(activation="linear"))
    return graph.inserted(node.name, *parts).pruned()


def written_out_norms(graph: Graph) -> Graph:
    """The graph with every L2 norm in operations that have kernels for 16-bit activations."""
    for name in [node.name for node in graph if node.kind == "L2Norm"]:
        node = graph[name]
        norm = new_node(WrittenOutRMS(node.config["epsilon"], name=name), node.inputs)
        scale = new_node(Scale(graph.width(node) ** -0.5, name=f"{name}_length"), ((name, 0),))
        graph = graph.rewired({(name, 0): (scale.name, 0)}).replaced(norm).inserted(name, scale)
    return graph


def token_dense_axes(graph: Graph) -> dict[str, int]:
    """For Dense layers on tokens, which 1 x 1 convolutions can replace: the axis of their scales, by layer name."""
    tensors = evaluator(graph)(tf.zeros((1, *graph.input_shape)))
    names = (node.name for node in graph if node.kind in DENSE_KINDS)
    return {name: -1 for name in names if len(tensors[name, 0].shape) == 4}


def dense_as_convolution(graph: Graph, names) -> Graph:
    """The graph with the Dense layers `names` as equal 1 x 1 convolutions, for which every version of TensorFlow Lite Micro
    supports a scale per output channel."""
    return graph.replaced(*(_convolution_of(graph[name]) for name in names))


def _convolution_of(node: Node) -> Node:
    config = node.config
    layer = keras.layers.Conv2D(
        config["units"], 1, activation=config["activation"], use_bias=config["use_bias"], name=node.name
    )
    return new_node(layer, node.inputs, node.weights[0][np.newaxis, np.newaxis], *node.weights[1:])
