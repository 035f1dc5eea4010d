"""A network in 8 bits: what is rounded where, the ranges it is rounded in, and training that feels the rounding.

Every tensor that a layer computes is rounded to 256 steps of a range, every kernel symmetrically to 255 (Jacob et al. 2018,
arXiv 1712.05877). `QUANTIZE_CONFIGS` says for every kind of layer how tensorflow-model-optimization is to do that; the
converter is then given the very ranges, in a graph in which each node is one operation of the device.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from kser.config import RANGES
from kser.errors import ConfigError, FoldError, KserError
from kser.export.fold import fold_model
from kser.export.graph import Graph, Node, build_graph, new_node, read_graph
from kser.export.linear import DENSE_KINDS
from kser.models.inference import predict_logits
from kser.models.layers import Scale
from kser.models.norms import Affine, L2Norm, WrittenOutRMS

Ranges = dict[str, tuple[float, float]]

STEPS = 255
# TensorFlow Lite gives the results of these operations a fixed scale.
SIGMOID_RANGE = (0.0, 255 / 256)
L2_RANGE = (-1.0, 127 / 128)
# What the ranges are measured on: values of each tensor, drawn from all clips.
SAMPLES = 1 << 16
BATCH_CLIPS = 32
TAIL = 1e-4
# Of the range of logits: the last bit of a folded kernel moves some entries by a step, in each of dozens of layers.
MAX_MEAN_DIFFERENCE = 2e-2
# Shares of the full range that are tried for the least squared error.
SHRINKAGES = np.linspace(1.0, 0.5, 26)


# --- One operation for each node --------------------------------------------------------------------------------------


def one_operation_each(graph: Graph) -> Graph:
    """The same network with activations and norms in the operations the device has for them, a node each.

    ReLU belongs to the layer before it; swish is a sigmoid and a product; an RMS norm an L2 norm and a factor.
    """
    for name in [node.name for node in graph]:
        node = graph[name]  # as it is by now: what it reads may have been rewritten
        if node.kind == "ReLU":
            graph = _relu_into_source(graph, node)
        elif node.kind == "RMSNorm":
            graph = _norm_and_affine(graph, node)
        elif node.kind in (*DENSE_KINDS, "Activation") and _activation(node) in ("sigmoid", "swish", "hard_swish"):
            graph = _activation_apart(graph, node)
    return graph


def _activation(node: Node) -> str:
    """The activation's name, which a function of kser's own has inside its description."""
    activation = node.config["activation"]
    return activation["config"].removeprefix("kser>") if isinstance(activation, dict) else activation


def _relu_into_source(graph: Graph, node: Node) -> Graph:
    source = graph.producer(node.inputs[0])
    if source is None or not source.is_linear("Conv2D", "Dense", "DepthwiseConv2D") or not graph.sole_consumer(source.name):
        return graph
    return graph.replaced(source.with_config(activation="relu")).without(node.name)


def _norm_and_affine(graph: Graph, node: Node) -> Graph:
    gamma, *beta = node.weights
    norm = new_node(L2Norm(node.config["epsilon"], name=node.name), node.inputs)
    layer = Affine(bool(beta), name=f"{node.name}_affine")
    affine = new_node(layer, ((node.name, 0),), gamma * len(gamma) ** 0.5, *beta)
    return graph.rewired({(node.name, 0): (affine.name, 0)}).replaced(norm).inserted(node.name, affine)


def _activation_apart(graph: Graph, node: Node) -> Graph:
    """The layer without its activation and, after it, that in nodes of its own."""
    if node.kind == "Activation" and _activation(node) != "swish":
        return graph
    source = (node.name, 0) if node.kind in DENSE_KINDS else node.inputs[0]
    if _activation(node) == "hard_swish":
        parts = [new_node(keras.layers.Activation("kser>hard_swish", name=f"{node.name}_hard_swish"), (source,))]
    else:
        parts = [new_node(keras.layers.Activation("sigmoid", name=f"{node.name}_sigmoid"), (source,))]
    if _activation(node) == "swish":
        product = keras.layers.Multiply(name=f"{node.name}_swish")
        parts.append(new_node(product, (source, (parts[0].name, 0))))
    graph = graph.rewired({(node.name, 0): (parts[-1].name, 0)})
    if node.kind in DENSE_KINDS:
        graph = graph.replaced(node.with_config(activation="linear"))
    return graph.inserted(node.name, *parts).pruned()


def written_out_norms(graph: Graph) -> Graph:
    """With every L2 norm in operations that have kernels for 16-bit activations."""
    for name in [node.name for node in graph if node.kind == "L2Norm"]:
        node = graph[name]
        norm = new_node(WrittenOutRMS(node.config["epsilon"], name=name), node.inputs)
        scale = new_node(Scale(graph.width(node) ** -0.5, name=f"{name}_length"), ((name, 0),))
        graph = graph.rewired({(name, 0): (scale.name, 0)}).replaced(norm).inserted(name, scale)
    return graph


# --- Ranges -----------------------------------------------------------------------------------------------------------


def is_moved(node: Node) -> bool:
    """Whether the node only moves numbers, whose scale then stays."""
    return QUANTIZE_CONFIGS[node.kind] is _unchanged


def fixed_range(node: Node) -> tuple[float, float] | None:
    """The range TensorFlow Lite demands of the node's operation, if it does."""
    if node.kind == "Softmax" or node.kind == "Activation" and _activation(node) == "sigmoid":
        return SIGMOID_RANGE
    return L2_RANGE if node.kind == "L2Norm" else None


def require_known(graph: Graph) -> None:
    """Raises KserError for a kind of layer that QUANTIZE_CONFIGS does not know."""
    unknown = sorted({node.kind for node in graph} - set(QUANTIZE_CONFIGS))
    if unknown:
        names = ", ".join(unknown)
        raise KserError(f"There is no QuantizeConfig for {names}; add one to kser.export.quantize.QUANTIZE_CONFIGS.")


def measure_ranges(graph: Graph, clips: np.ndarray, method: str = "minmax") -> Ranges:
    """The range of the input and of every tensor that is rounded, by the node's name.

    Args:
      clips: (n, num_frames, num_mels) normalized, n >= 1.
      method: one of config.RANGES.

    Raises:
      ConfigError: there are no clips, or no such method.
      KserError: a layer of an unknown kind.
    """
    if len(clips) == 0:
        raise ConfigError("Quantization needs at least one representative clip; there is none.")
    if method not in RANGES:
        raise ConfigError(f"There is no range method '{method}'; known: {', '.join(RANGES)}.")
    require_known(graph)
    rounded = [node for node in graph if not is_moved(node)]
    measured = {node.name for node in rounded if fixed_range(node) is None}
    values = {graph.input_name: clips.ravel(), **_sample(graph, clips, measured)}
    ranges = {name: _with_zero(*_METHODS[method](sample)) for name, sample in values.items()}
    return {**ranges, **{node.name: fixed_range(node) for node in rounded if node.name not in measured}}


def _sample(graph: Graph, clips: np.ndarray, names: set[str]) -> dict[str, np.ndarray]:
    """Values of the tensors `names`: some from every batch of clips, drawn at random, always with its extremes."""
    model = build_graph(graph)
    tensors = {name: model.get_layer(name).output for name in sorted(names)}
    run = tf.function(keras.Model(model.inputs, tensors), autograph=False)
    rng = np.random.default_rng(0)
    count = -(-SAMPLES * BATCH_CLIPS // max(len(clips), BATCH_CLIPS))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(clips), BATCH_CLIPS):
        for name, tensor in run(clips[start : start + BATCH_CLIPS]).items():
            values = tensor.numpy().ravel()
            parts[name] += [rng.choice(values, min(count, values.size), replace=False), [values.min(), values.max()]]
    return {name: np.concatenate(part) for name, part in parts.items()}


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """A range has to hold the zero, exactly; and no range is empty."""
    return min(float(low), 0.0), max(float(high), 1e-6)


def symmetric(ranges: Ranges) -> Ranges:
    """Ranges as 16-bit activations have them: as far below the zero as above."""
    limits = {name: max(-low, high) for name, (low, high) in ranges.items()}
    return {name: (-limit, limit) for name, limit in limits.items()}


def _minmax(values: np.ndarray) -> tuple[float, float]:
    return values.min(), values.max()


def _percentile(values: np.ndarray) -> tuple[float, float]:
    return tuple(np.quantile(values, (TAIL, 1 - TAIL)))


def _least_squares(values: np.ndarray) -> tuple[float, float]:
    """Ends of the range moved in, one after the other, to where rounding and clipping together cost least."""
    low, high = _with_zero(*_minmax(values))
    high *= min(SHRINKAGES, key=lambda share: _squared_error(values, low, share * high))
    low *= min(SHRINKAGES, key=lambda share: _squared_error(values, share * low, high))
    return low, high


def _squared_error(values: np.ndarray, low: float, high: float) -> float:
    scale = (high - low) / STEPS
    return float(np.mean((np.rint(np.clip(values, low, high) / scale) * scale - values) ** 2))


_METHODS: dict[str, Callable] = {"minmax": _minmax, "percentile": _percentile, "mse": _least_squares}


# --- Quantizers and their configs -------------------------------------------------------------------------------------

_Quantizer = tfmot.quantization.keras.quantizers.Quantizer


class KernelQuantizer(_Quantizer):
    """Rounds a kernel to -127..127 steps of its largest entry, or of the largest of each output channel (`axis`).

    By the kernel as it is: the range that tensorflow-model-optimization's own keeps is of the step before.
    """

    def __init__(self, axis: int | None = None):
        self.axis = axis

    def build(self, tensor_shape, name, layer):
        return {}

    def __call__(self, inputs, training, weights, **kwargs):
        if self.axis is None:
            limit = tf.stop_gradient(tf.reduce_max(tf.abs(inputs)))
            return tf.quantization.fake_quant_with_min_max_vars(inputs, -limit, limit, narrow_range=True)
        order = _axis_last(len(inputs.shape), self.axis)
        kernel = tf.transpose(inputs, order)
        limit = tf.stop_gradient(tf.reduce_max(tf.abs(kernel), range(len(order) - 1)))
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -limit, limit, narrow_range=True)
        return tf.transpose(rounded, np.argsort(order))

    def get_config(self):
        return {"axis": self.axis}


def _axis_last(rank: int, axis: int) -> list[int]:
    axis %= rank
    return [*(i for i in range(rank) if i != axis), axis]


class ProductQuantizer(KernelQuantizer):
    """Rounds the product of an HRFDense's factors, when it is handed the last: the kernel that will be deployed."""

    def __init__(self, factors, axis: int | None = None):
        super().__init__(axis)
        self.factors = factors

    def __call__(self, inputs, training, weights, **kwargs):
        return super().__call__(functools.reduce(tf.matmul, [*self.factors, inputs]), training, weights)


class LayerConfig(tfmot.quantization.keras.QuantizeConfig):
    """What of a layer is rounded: its output, if there is a quantizer for it, and its kernel, if it has an attribute so
    called.

    Args:
      kernel: the attribute that holds the kernel, or None.
      axis: the kernel's axis of output channels, each with a scale of its own; None: one scale.
    """

    def __init__(self, output: _Quantizer | None, kernel: str | None = None, axis: int | None = None):
        self.output, self.kernel, self.axis = output, kernel, axis

    def get_weights_and_quantizers(self, layer):
        return [(getattr(layer, self.kernel), KernelQuantizer(self.axis))] if self.kernel else []

    def set_quantize_weights(self, layer, quantize_weights):
        for tensor in quantize_weights:
            setattr(layer, self.kernel, tensor)

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        return [self.output] if self.output else []

    def get_config(self):
        return {"output": self.output, "kernel": self.kernel, "axis": self.axis}


class ProductConfig(LayerConfig):
    """Of an HRFDense the product of the factors is rounded."""

    def get_weights_and_quantizers(self, layer):
        return [(layer.factors[-1], ProductQuantizer(layer.factors[:-1], self.axis))]

    def set_quantize_weights(self, layer, quantize_weights):
        (layer.acting_kernel,) = quantize_weights


def _unchanged(node: Node, axis) -> LayerConfig:
    return LayerConfig(None)


def _output(node: Node, axis) -> LayerConfig:
    quantizers, ends = tfmot.quantization.keras.quantizers, fixed_range(node)
    if ends:
        return LayerConfig(quantizers.FixedQuantizer(8, *ends, narrow_range=False))
    return LayerConfig(_moving_average())


def _moving_average() -> _Quantizer:
    return tfmot.quantization.keras.quantizers.MovingAverageQuantizer(8, per_axis=False, symmetric=False, narrow_range=False)


def _dense(node: Node, axis) -> LayerConfig:
    return LayerConfig(_moving_average(), "kernel", axis)


def _hrf_dense(node: Node, axis) -> LayerConfig:
    return ProductConfig(_moving_average(), axis=axis)


def _convolution(node: Node, axis) -> LayerConfig:
    return LayerConfig(_moving_average(), "kernel", 3)


def _depthwise(node: Node, axis) -> LayerConfig:
    return LayerConfig(_moving_average(), "depthwise_kernel", 2)


# Every kind of layer a network to be deployed consists of; `axis` is that of a Dense kernel's scales.
QUANTIZE_CONFIGS: dict[str, Callable[[Node, int | None], LayerConfig]] = {
    "Dense": _dense,
    "HRFDense": _hrf_dense,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    **dict.fromkeys(("Reshape", "Permute", "Split", "ZeroPadding2D", "AveragePooling2D", "Concatenate"), _unchanged),
    **dict.fromkeys(("Add", "Multiply", "Scale", "Affine", "AddPositions", "GlobalAveragePooling2D"), _output),
    **dict.fromkeys(("AttentionProduct", "LocalScores", "LocalMix", "Softmax", "Activation", "ReLU"), _output),
    **dict.fromkeys(("L2Norm", "RMSNorm", "WrittenOutRMS", "LayerNorm", "BatchNormalization", "Deviation"), _output),
}


# --- Networks ---------------------------------------------------------------------------------------------------------


class FakeQuant(keras.layers.Layer):
    """Rounds to 256 steps of a fixed range."""

    def __init__(self, low: float, high: float, **kwargs):
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def call(self, inputs):
        return tf.quantization.fake_quant_with_min_max_args(inputs, self.low, self.high)


def fake_quantized(graph: Graph, ranges: Ranges, rounding: Callable = FakeQuant) -> keras.Model:
    """The network with every activation rounded, as it is converted.

    Args:
      rounding: the layer that rounds, made of both ends of a range and a name.
    """

    def around(node: Node, layer):
        if node.name not in ranges:
            return layer
        after = rounding(*ranges[node.name], name=f"{node.name}_rounded")
        return lambda inputs: after(layer(inputs))

    return build_graph(_with_input_node(graph), around)


def _with_input_node(graph: Graph) -> Graph:
    """With the input passing a node of its own, of the input's name, for the input is rounded too."""
    entrance = f"{graph.input_name}_exact"
    node = new_node(keras.layers.Activation("linear", name=graph.input_name), ((entrance, 0),))
    return dataclasses.replace(graph, input_name=entrance, nodes=(node, *graph.nodes))


def rounded_kernels(graph: Graph, axes: dict[str, int | None]) -> Graph:
    """With every kernel at the values that its 8 bits can hold."""
    return graph.replaced(*(_rounded_kernel(node, axes) for node in graph if _kernel_axis(node, axes) is not _NO_KERNEL))


_NO_KERNEL = object()


def _kernel_axis(node: Node, axes: dict[str, int | None]):
    config = QUANTIZE_CONFIGS[node.kind](node, axes.get(node.name))
    return config.axis if config.kernel else _NO_KERNEL


def _rounded_kernel(node: Node, axes: dict[str, int | None]) -> Node:
    kernel = tf.constant(node.weights[0], tf.float32)
    rounded = KernelQuantizer(_kernel_axis(node, axes))(kernel, False, {}).numpy()
    return node.with_weights(rounded.astype(np.float64), *node.weights[1:])


@dataclass(frozen=True)
class QuantizeAware:
    """A network that rounds as the device will, and can be trained so. `graph` is what it was made of."""

    model: keras.Model
    graph: Graph
    variables: dict[str, list[tf.Variable]]

    def trained(self) -> Graph:
        """The graph with the weights as they are now; an HRFDense still with its factors."""
        return self.graph.replaced(
            *(
                node.with_weights(*(v.numpy().astype(np.float64) for v in self.variables[node.name]))
                for node in self.graph
                if node.weights
            )
        )

    def ranges(self) -> Ranges:
        """The ranges as they are now."""
        wrappers = {layer.name: layer for layer in self.model.layers}
        nodes = [node for node in self.graph if not is_moved(node)]
        ranges = {node.name: fixed_range(node) or _ends(wrappers[node.name]) for node in nodes}
        return {self.graph.input_name: _ends(wrappers[self.graph.input_name]), **ranges}


def _ends(wrapper) -> tuple[float, float]:
    return tuple(float(wrapper._output_quantizer_vars[end].numpy()) for end in ("min_var", "max_var"))


def quantize_aware(graph: Graph, ranges: Ranges, axes: dict[str, int | None]) -> QuantizeAware:
    """The network with every layer wrapped by tensorflow-model-optimization, starting from measured ranges.

    Args:
      axes: of Dense layers whose output channels have scales of their own, the axis -1 by name.
    """
    require_known(graph)
    variables: dict[str, list[tf.Variable]] = {}

    def around(node: Node, layer):
        variables[node.name] = list(layer.weights)
        config = QUANTIZE_CONFIGS[node.kind](node, axes.get(node.name))
        return tfmot.quantization.keras.QuantizeWrapperV2(layer, config, name_prefix="")

    graph = graph.replaced(*(node.with_config(form="product") for node in graph if node.kind == "HRFDense"))
    model = build_graph(_with_input_node(graph), around)
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
    """Raises FoldError unless both round alike, but for kernel entries that the fold moves across the edge of a step."""
    difference = np.abs(predict_logits(trained, clips) - predict_logits(exported, clips))
    if not difference.mean() <= MAX_MEAN_DIFFERENCE * np.ptp(predict_logits(trained, clips)):
        raise FoldError(
            f"The network to be converted rounds otherwise than the one that was trained: its logits differ by "
            f"{difference.mean():.2e} on average. Nothing was written."
        )


# --- Scales of Dense layers ---------------------------------------------------------------------------------------------


def token_dense_axes(graph: Graph) -> dict[str, int]:
    """The axis of scales for the Dense layers that act on tokens, which a 1 x 1 convolution can stand for."""
    model = build_graph(graph)
    names = (node.name for node in graph if node.kind in DENSE_KINDS)
    return {name: -1 for name in names if len(model.get_layer(name).output.shape) == 4}


def dense_as_convolution(graph: Graph, names) -> Graph:
    """The Dense layers `names` as the 1 x 1 convolutions they are: those have a scale for every output channel in every
    TensorFlow Lite Micro, old ones included."""
    return graph.replaced(*(_convolution_of(graph[name]) for name in names))


def _convolution_of(node: Node) -> Node:
    config = node.config
    layer = keras.layers.Conv2D(
        config["units"], 1, activation=config["activation"], use_bias=config["use_bias"], name=node.name
    )
    return new_node(layer, node.inputs, node.weights[0][np.newaxis, np.newaxis], *node.weights[1:])
