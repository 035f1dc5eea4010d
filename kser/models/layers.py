"""Small leaf layers that the backbones' flat graphs consist of."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras

register = keras.saving.register_keras_serializable(package="kser")


@register
def hard_swish(x):
    """`x relu6(x + 3) / 6` (Howard et al. 2019), in the form that TensorFlow Lite converts to one operation."""
    return x * (tf.nn.relu6(x + 3.0) * (1.0 / 6.0))


ACTIVATION_FUNCTIONS = {"relu": "relu", "swish": "swish", "hard_swish": hard_swish}


@register
class Deviation(keras.layers.Layer):
    """[mean, mean of squares] to the standard deviation `v / sqrt(v + epsilon)`, with `v` the variance. Written with RSQRT,
    because SQRT has no int8 kernel."""

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs):
        mean, square = inputs
        variance = tf.nn.relu(square - mean * mean)
        return variance * tf.math.rsqrt(variance + self.epsilon)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@register
class AddPositions(keras.layers.Layer):
    """Adds sinusoidal position encodings to (..., num_tokens, dim); `centred`: with mean 0 for each token."""

    def __init__(self, centred: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.centred = centred

    def call(self, inputs):
        table = sinusoid(*inputs.shape[-2:])
        table = table - table.mean(axis=1, keepdims=True) if self.centred else table
        return inputs + tf.constant(table, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "centred": self.centred}


def sinusoid(num_tokens: int, dim: int) -> np.ndarray:
    """(num_tokens, dim) float64: alternating sines and cosines, `sin(t / 10000^(2i / dim))` (Vaswani et al. 2017)."""
    frequencies = 10000.0 ** (-2 * (np.arange(dim) // 2) / dim)
    angles = np.arange(num_tokens)[:, None] * frequencies
    return np.where(np.arange(dim) % 2 == 0, np.sin(angles), np.cos(angles))


@register
class Scale(keras.layers.Layer):
    """`factor * x`: the half step of the Conformer's feed-forward networks."""

    def __init__(self, factor: float, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@register
class Split(keras.layers.Layer):
    """Splits the axis `axis` into `parts` equal outputs."""

    def __init__(self, parts: int, axis: int, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts
        self.axis = axis

    def call(self, inputs):
        return tf.split(inputs, self.parts, self.axis)

    def get_config(self):
        return {**super().get_config(), "parts": self.parts, "axis": self.axis}
