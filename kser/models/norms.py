"""Norms over the last axis, written in operations that TFLM supports in int8."""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from kser.models.layers import register

# The converter recognizes an L2 norm by its form and an epsilon below 0.001; any other becomes a float island.
MAX_L2_EPSILON = 9.9e-4


class _Norm(keras.layers.Layer):
    """A norm over the last axis; `epsilon` bounds the divisor from below."""

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@register
class LayerNorm(_Norm):
    """`gamma * c / sqrt(mean(c c) + epsilon) + beta` with `c = x - mean(x)`, over the last axis (Ba et al. 2016).

    Written in operations that all have int8 kernels; Keras' own layer leaves a float island in the int8 graph. Without
    `affine` there is no gamma and no beta.
    """

    def __init__(self, epsilon: float = 1e-5, affine: bool = True, **kwargs):
        super().__init__(epsilon, **kwargs)
        self.affine = affine

    def build(self, input_shape):
        if self.affine:
            _add_affine(self, int(input_shape[-1]), center=True)
        super().build(input_shape)

    def call(self, inputs):
        centred = inputs - tf.reduce_mean(inputs, -1, keepdims=True)
        variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
        normalized = centred * tf.math.rsqrt(variance + self.epsilon)
        return normalized * self.gamma + self.beta if self.affine else normalized

    def get_config(self):
        return {**super().get_config(), "affine": self.affine}


@register
class L2Norm(_Norm):
    """`x / |x|` over the last axis: one L2_NORMALIZATION. `epsilon` bounds the mean square, as in an RMS norm.

    For 100 values and more it bounds the sum of squares by MAX_L2_EPSILON instead, which is smaller.
    """

    def call(self, inputs):
        return tf.math.l2_normalize(inputs, -1, epsilon=min(inputs.shape[-1] * self.epsilon, MAX_L2_EPSILON))


@register
class WrittenOutRMS(_Norm):
    """`x / sqrt(mean(x x) + epsilon)` over the last axis, in operations with 16-bit kernels; L2_NORMALIZATION has none."""

    def call(self, inputs):
        return inputs * tf.math.rsqrt(tf.reduce_mean(inputs * inputs, -1, keepdims=True) + self.epsilon)


@register
class RMSNorm(L2Norm):
    """`gamma * x / rms(x)` over the last axis (Zhang & Sennrich 2019), written as `gamma sqrt(d) * l2_normalize(x)`.

    One L2_NORMALIZATION and one MUL on the device; a LayerNorm takes nine nodes. With `center` there is a beta too.
    """

    def __init__(self, epsilon: float = 1e-5, center: bool = False, **kwargs):
        super().__init__(epsilon, **kwargs)
        self.center = center

    def build(self, input_shape):
        _add_affine(self, int(input_shape[-1]), self.center)
        super().build(input_shape)

    def call(self, inputs):
        scaled = super().call(inputs) * (self.gamma * inputs.shape[-1] ** 0.5)
        return scaled + self.beta if self.center else scaled

    def get_config(self):
        return {**super().get_config(), "center": self.center}


@register
class Affine(keras.layers.Layer):
    """`gamma * x` over the last axis, with `center` also `+ beta`: turns an L2 norm into an RMS norm."""

    def __init__(self, center: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.center = center

    def build(self, input_shape):
        _add_affine(self, int(input_shape[-1]), self.center)
        super().build(input_shape)

    def call(self, inputs):
        scaled = inputs * self.gamma
        return scaled + self.beta if self.center else scaled

    def get_config(self):
        return {**super().get_config(), "center": self.center}


def _add_affine(layer: keras.layers.Layer, dim: int, center: bool) -> None:
    """Weights gamma and, with `center`, beta of (dim,)."""
    layer.gamma = layer.add_weight("gamma", (dim,), initializer="ones")
    if center:
        layer.beta = layer.add_weight("beta", (dim,), initializer="zeros")
