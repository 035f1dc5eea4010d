"""High-rank factorization (HRF): a Dense layer trained as a product of matrices, and the starts of these."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_FORM, HRF_INIT
from kser.errors import ConfigError
from kser.models.layers import register


@register
class HRFDense(keras.layers.Layer):
    """A Dense layer trained as a high-rank factorization and deployed as a plain Dense (arXiv 2411.09339).

    `y = activation((x W1 + b1) W2 + b)` with `W1: (d_in, r)`, `W2: (r, units)`, `r = expansion * d_in`, or with `depth`
    layers inserted instead of one: `W1: (d_in, r)`, then `(r, r)`, at last `(r, units)`. Nothing stands between the
    factors, so in the form `product` the kernels are multiplied first, `x (W1 W2) + (b1 W2 + b)`: the same function, and
    far fewer operations when there are more frames than features. The form `layers` applies them one by one.

    Starts (`hrf_init`), of which the first two give the very function a plain Dense with the same `kernel_initializer`
    starts with:
      spectral: W = U S V^T is drawn as the plain kernel would be, and S shared out evenly among the n factors: U S^(1/n),
        S^(1/n), ..., S^(1/n) V^T (Khodak et al. 2021).
      identity: all factors but the last are the identity, which is W.
      glorot: all factors are drawn by Glorot's rule.
    Of the columns beyond those, all factors but the last hold random numbers and the last zeros: the product is unchanged,
    yet every entry gets a gradient, which zeros everywhere would never.

    Input (..., d_in), output (..., units).

    Raises:
      ConfigError: `expansion` or `depth` below 1, an unknown `hrf_init` or `form`.
    """

    def __init__(
        self,
        units: int,
        expansion: int,
        hrf_init: str = "spectral",
        inner_bias: bool = False,
        activation=None,
        kernel_initializer="glorot_uniform",
        depth: int = 1,
        form: str = "product",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if expansion < 1:
            raise ConfigError(f"HRFDense needs an expansion of at least 1, not {expansion}; use Dense for a plain layer.")
        if depth < 1:
            raise ConfigError(f"HRFDense needs a depth of at least 1, not {depth}; use Dense for a plain layer.")
        _check_choice("hrf_init", hrf_init, HRF_INIT)
        _check_choice("form", form, HRF_FORM)
        self.units = units
        self.expansion = expansion
        self.hrf_init = hrf_init
        self.inner_bias = inner_bias
        self.depth = depth
        self.form = form
        # Quantization-aware training lets the product act as it will be deployed, by a tensor set here.
        self.acting_kernel = None
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        input_dim = int(input_shape[-1])
        rank = self.expansion * input_dim
        self.factors = [
            self.add_weight(f"factor_{i}", values.shape, initializer=_given(values))
            for i, values in enumerate(self._start(input_dim, rank), 1)
        ]
        inner = range(1, self.depth + 1) if self.inner_bias else ()
        self.inner_biases = [self.add_weight(f"bias_{i}", (rank,), initializer="zeros") for i in inner]
        self.bias = self.add_weight("bias", (self.units,), initializer="zeros")
        super().build(input_shape)

    def _start(self, input_dim: int, rank: int) -> list[np.ndarray]:
        rng = np.random.default_rng(getattr(self.kernel_initializer, "seed", None))
        if self.hrf_init == "glorot":
            dims = [input_dim, *[rank] * self.depth, self.units]
            return [_glorot(rng, rows, columns) for rows, columns in zip(dims, dims[1:], strict=False)]
        kernel = np.asarray(self.kernel_initializer((input_dim, self.units), tf.float32), np.float64)
        first, middle, last = (
            _identity_factors(kernel) if self.hrf_init == "identity" else _spectral_factors(kernel, self.depth)
        )
        return _widened(rng, first, [middle] * (self.depth - 1), last, rank)

    def effective_kernel(self) -> tf.Tensor:
        """(d_in, units): the product of the factors."""
        return functools.reduce(tf.matmul, self.factors)

    def effective_bias(self) -> tf.Tensor:
        """(units,): the bias this layer acts with."""
        bias = tf.convert_to_tensor(self.bias)
        for i, inner in enumerate(self.inner_biases, 1):
            row = functools.reduce(tf.matmul, self.factors[i:], inner[tf.newaxis])
            bias = row[0] + bias
        return bias

    def call(self, inputs):
        if self.form == "product":
            kernel = self.effective_kernel() if self.acting_kernel is None else self.acting_kernel
            return self.activation(tf.tensordot(inputs, kernel, 1) + self.effective_bias())
        biases = [*(self.inner_biases or [0.0] * self.depth), self.bias]
        for factor, bias in zip(self.factors, biases, strict=True):
            inputs = tf.tensordot(inputs, factor, 1) + bias
        return self.activation(inputs)

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
            "depth": self.depth,
            "form": self.form,
        }


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, not '{value}'.")


def _given(values: np.ndarray):
    return lambda shape, dtype=None, **kwargs: tf.constant(values, dtype, shape)


def _glorot(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    limit = np.sqrt(6 / (rows + columns))
    return rng.uniform(-limit, limit, (rows, columns))


def _identity_factors(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First, middle and last factor: only the last differs from the identity."""
    identity = np.eye(len(kernel))
    return identity, identity, kernel


def _spectral_factors(kernel: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First, middle and last factor: all with the same singular values."""
    left, singular, right = np.linalg.svd(kernel, full_matrices=False)
    shared = singular ** (1 / (depth + 1))
    return left * shared, np.diag(shared), shared[:, None] * right


def _widened(rng, first: np.ndarray, middles: list[np.ndarray], last: np.ndarray, rank: int) -> list[np.ndarray]:
    """The factors at their full inner width, with the same product."""
    used, extra = first.shape[1], rank - first.shape[1]
    scale = np.linalg.norm(first) / np.sqrt(first.size)
    result = [np.concatenate([first, scale * rng.standard_normal((len(first), extra))], axis=1)]
    for middle in middles:
        wide = np.zeros((rank, rank))
        wide[:used, :used] = middle
        wide[used:, used:] = rng.standard_normal((extra, extra)) / np.sqrt(max(1, extra))
        result.append(wide)
    return [*result, np.concatenate([last, np.zeros((extra, last.shape[1]))])]
