"""How every kind of layer is quantized to 8 bits, as QuantizeConfigs of tensorflow-model-optimization.

Every tensor that a layer computes is rounded to 256 levels of a range, every kernel symmetrically to 255 (Jacob et al. 2018,
arXiv 1712.05877). `QUANTIZE_CONFIGS` has the configuration for every kind of layer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kser.errors import KserError
from kser.export.device_ops import activation_of
from kser.export.graph import Graph, Node

# TensorFlow Lite demands a fixed output scale for these operations.
SIGMOID_RANGE = (0.0, 255 / 256)
L2_RANGE = (-1.0, 127 / 128)
_KNOWN_ACTIVATIONS = ("linear", "relu", "sigmoid", "hard_swish")


def is_moved(node: Node) -> bool:
    """Whether the node only moves values and so keeps their scale."""
    return QUANTIZE_CONFIGS[node.kind] is _unchanged


def fixed_range(node: Node) -> tuple[float, float] | None:
    """The output range that TensorFlow Lite demands of the node's operation; None if it demands none."""
    if node.kind == "Softmax" or node.kind == "Activation" and activation_of(node) == "sigmoid":
        return SIGMOID_RANGE
    return L2_RANGE if node.kind == "L2Norm" else None


def is_known(graph: Graph) -> bool:
    """Whether every layer has a QuantizeConfig and only activations that are rounded as on the device."""
    return all(node.kind in QUANTIZE_CONFIGS and activation_of(node) in _KNOWN_ACTIVATIONS for node in graph)


def require_known(graph: Graph) -> None:
    """Raises KserError for a kind of layer that is not in QUANTIZE_CONFIGS."""
    unknown = sorted({node.kind for node in graph} - set(QUANTIZE_CONFIGS))
    if unknown:
        names = ", ".join(unknown)
        raise KserError(f"There is no QuantizeConfig for {names}; add one to kser.export.quantizers.QUANTIZE_CONFIGS.")


_Quantizer = tfmot.quantization.keras.quantizers.Quantizer


class KernelQuantizer(_Quantizer):
    """Rounds a kernel to -127..127 steps, scaled by its largest entry, or by the largest of each output channel (`axis`).

    The range is that of the current kernel; tensorflow-model-optimization's own quantizer uses that of the step before.
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
    """Rounds the product of an HRFDense's factors, the kernel that is deployed, when it is called with the last factor."""

    def __init__(self, factors, axis: int | None = None):
        super().__init__(axis)
        self.factors = factors

    def __call__(self, inputs, training, weights, **kwargs):
        return super().__call__(functools.reduce(tf.matmul, [*self.factors, inputs]), training, weights)


class LayerConfig(tfmot.quantization.keras.QuantizeConfig):
    """What is quantized of a layer: its output, if there is a quantizer for it, and its kernel, if it has that attribute.

    Args:
      kernel: name of the attribute that holds the kernel, or None.
      axis: the kernel's axis of output channels, if each has its own scale; None: one scale.
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
    """For an HRFDense: rounds the product of the factors."""

    def get_weights_and_quantizers(self, layer):
        return [(layer.factors[-1], ProductQuantizer(layer.factors[:-1], self.axis))]

    def set_quantize_weights(self, layer, quantize_weights):
        (layer.kernel,) = quantize_weights


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


# Every kind of layer that a deployed network may contain; `axis` is that of a Dense kernel's scales.
QUANTIZE_CONFIGS: dict[str, Callable[[Node, int | None], LayerConfig]] = {
    "Dense": _dense,
    "HRFDense": _hrf_dense,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    **dict.fromkeys(("Reshape", "Flatten", "Permute", "Split", "Concatenate", "ZeroPadding2D"), _unchanged),
    **dict.fromkeys(("AveragePooling2D", "MaxPooling2D"), _unchanged),
    **dict.fromkeys(("Add", "Multiply", "Scale", "Affine", "AddPositions", "GlobalAveragePooling2D"), _output),
    **dict.fromkeys(("AttentionProduct", "LocalScores", "LocalMix", "Softmax", "Activation", "ReLU"), _output),
    **dict.fromkeys(("L2Norm", "RMSNorm", "WrittenOutRMS", "LayerNorm", "BatchNormalization", "Deviation"), _output),
}
