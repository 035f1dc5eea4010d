"""The leaf layers Keras 2 does not have, or has in a form that converts badly; backbones are flat graphs of these."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_INIT
from kser.errors import ConfigError

register = keras.saving.register_keras_serializable(package="kser")


@register
class HRFDense(keras.layers.Layer):
    """A Dense layer trained as a high-rank factorization and deployed as a plain Dense (arXiv 2411.09339).

    `y = activation((x W1 + b1) W2 + b)` with `W1: (d_in, r)`, `W2: (r, units)`, `r = expansion * d_in`. Nothing stands
    between the factors, so it is computed as `x (W1 W2) + (b1 W2 + b)`: the same function, and far fewer operations when
    there are more frames than features.

    Starts (`hrf_init`), of which the first two give the very function a plain Dense with the same `kernel_initializer`
    starts with:
      spectral: W = U S V^T is drawn as the plain kernel would be; W1 = U sqrt(S), W2 = sqrt(S) V^T (Khodak et al. 2021).
      identity: W1 = I, W2 = W.
      glorot: both factors are drawn by Glorot's rule.
    Columns of W1 beyond those are random and the rows of W2 they meet zero: the product is unchanged, yet every entry
    gets a gradient, which zeros on both sides would never.

    Input (..., d_in), output (..., units).

    Raises:
      ConfigError: `expansion` below 1, or an unknown `hrf_init`.
    """

    def __init__(
        self,
        units: int,
        expansion: int,
        hrf_init: str = "spectral",
        inner_bias: bool = False,
        activation=None,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if expansion < 1:
            raise ConfigError(f"HRFDense needs an expansion of at least 1, not {expansion}; use Dense for a plain layer.")
        if hrf_init not in HRF_INIT:
            raise ConfigError(f"hrf_init must be one of {', '.join(HRF_INIT)}, not '{hrf_init}'.")
        self.units = units
        self.expansion = expansion
        self.hrf_init = hrf_init
        self.inner_bias = inner_bias
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        input_dim = int(input_shape[-1])
        rank = self.expansion * input_dim
        first, second = self._start(input_dim, rank)
        self.factor_1 = self.add_weight("factor_1", (input_dim, rank), initializer=_given(first))
        self.factor_2 = self.add_weight("factor_2", (rank, self.units), initializer=_given(second))
        self.bias_1 = self.add_weight("bias_1", (rank,), initializer="zeros") if self.inner_bias else None
        self.bias = self.add_weight("bias", (self.units,), initializer="zeros")
        super().build(input_shape)

    def _start(self, input_dim: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
        seed = getattr(self.kernel_initializer, "seed", None)
        rng = np.random.default_rng(seed)
        if self.hrf_init == "glorot":
            return _glorot(rng, input_dim, rank), _glorot(rng, rank, self.units)
        kernel = np.asarray(self.kernel_initializer((input_dim, self.units), tf.float32), np.float64)
        if self.hrf_init == "identity":
            first, second = np.eye(input_dim), kernel
        else:
            left, singular, right = np.linalg.svd(kernel, full_matrices=False)
            first, second = left * np.sqrt(singular), np.sqrt(singular)[:, None] * right
        extra = rank - first.shape[1]
        scale = np.linalg.norm(first) / np.sqrt(first.size)
        first = np.concatenate([first, scale * rng.standard_normal((input_dim, extra))], axis=1)
        return first, np.concatenate([second, np.zeros((extra, self.units))])

    def effective_kernel(self) -> tf.Tensor:
        """(d_in, units): the kernel this layer acts with."""
        return tf.matmul(self.factor_1, self.factor_2)

    def effective_bias(self) -> tf.Tensor:
        """(units,): the bias this layer acts with."""
        if self.bias_1 is None:
            return tf.convert_to_tensor(self.bias)
        return tf.linalg.matvec(self.factor_2, self.bias_1, transpose_a=True) + self.bias

    def call(self, inputs):
        return self.activation(tf.tensordot(inputs, self.effective_kernel(), 1) + self.effective_bias())

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "expansion": self.expansion,
            "hrf_init": self.hrf_init,
            "inner_bias": self.inner_bias,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _given(values: np.ndarray):
    return lambda shape, dtype=None, **kwargs: tf.constant(values, dtype, shape)


def _glorot(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    limit = np.sqrt(6 / (rows + columns))
    return rng.uniform(-limit, limit, (rows, columns))


class _Norm(keras.layers.Layer):
    """A norm over the last axis with a learned scale."""

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", (int(input_shape[-1]),), initializer="ones")
        super().build(input_shape)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@register
class LayerNorm(_Norm):
    """`gamma * c / sqrt(mean(c c) + epsilon) + beta` with `c = x - mean(x)`, over the last axis (Ba et al. 2016).

    Written out in operations that all have int8 kernels; Keras' own leaves a float island in the int8 graph.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.beta = self.add_weight("beta", (int(input_shape[-1]),), initializer="zeros")

    def call(self, inputs):
        centred = inputs - tf.reduce_mean(inputs, -1, keepdims=True)
        variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
        return centred * tf.math.rsqrt(variance + self.epsilon) * self.gamma + self.beta


@register
class RMSNorm(_Norm):
    """`gamma * x / rms(x)` over the last axis (Zhang & Sennrich 2019), written as `gamma sqrt(d) * l2_normalize(x)`.

    One L2_NORMALIZATION and one MUL on the device where a LayerNorm takes nine nodes. `epsilon` bounds the mean square.
    """

    def call(self, inputs):
        dim = inputs.shape[-1]
        return tf.math.l2_normalize(inputs, -1, epsilon=dim * self.epsilon) * (self.gamma * dim**0.5)


@register
class AttentionProduct(keras.layers.Layer):
    """`scale * a b^T` over the last two axes: (..., n, d) and (..., m, d) to (..., n, m).

    Both products of attention take this form (values come as (..., d, m)): without the transposition of the right
    operand TFLM would keep a transposed copy of it in the arena for good.
    """

    def __init__(self, scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        left, right = inputs
        return tf.matmul(left if self.scale == 1 else left * self.scale, right, transpose_b=True)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


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
