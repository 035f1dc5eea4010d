"""The leaf layers Keras 2 does not have, or has in a form that converts badly; backbones are flat graphs of these."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_FORM, HRF_INIT
from kser.errors import ConfigError

# Smaller blocks would leave the matrix product of local attention little to do at a time.
MIN_BLOCK = 8
# The converter knows an L2 norm by its form and an epsilon below a thousandth; any other becomes a float island.
MAX_L2_EPSILON = 9.9e-4

register = keras.saving.register_keras_serializable(package="kser")


@register
def hard_swish(x):
    """`x relu6(x + 3) / 6` (Howard et al. 2019), in the form that TensorFlow Lite knows as one operation."""
    return x * (tf.nn.relu6(x + 3.0) * (1.0 / 6.0))


ACTIVATION_FUNCTIONS = {"relu": "relu", "swish": "swish", "hard_swish": hard_swish}


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

    Example:
      >>> layer = kser.HRFDense(8, expansion=4, activation="relu")
      >>> layer(np.ones((2, 5, 3), np.float32)).shape
      TensorShape([2, 5, 8])
      >>> [tuple(factor.shape) for factor in layer.factors]
      [(3, 12), (12, 8)]
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


def _add_affine(layer: keras.layers.Layer, dim: int, center: bool) -> None:
    """Weights gamma and, with `center`, beta of (dim,)."""
    layer.gamma = layer.add_weight("gamma", (dim,), initializer="ones")
    if center:
        layer.beta = layer.add_weight("beta", (dim,), initializer="zeros")


class _Norm(keras.layers.Layer):
    """A norm over the last axis; `epsilon` bounds what it divides by."""

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@register
class LayerNorm(_Norm):
    """`gamma * c / sqrt(mean(c c) + epsilon) + beta` with `c = x - mean(x)`, over the last axis (Ba et al. 2016).

    Written out in operations that all have int8 kernels; Keras' own leaves a float island in the int8 graph. Without
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
    """`x / |x|` over the last axis: one L2_NORMALIZATION. `epsilon` bounds the mean square, as it does in an RMS norm.

    Over 100 values and more it bounds the sum of squares by MAX_L2_EPSILON instead, a smaller bound.
    """

    def call(self, inputs):
        return tf.math.l2_normalize(inputs, -1, epsilon=min(inputs.shape[-1] * self.epsilon, MAX_L2_EPSILON))


@register
class WrittenOutRMS(_Norm):
    """`x / sqrt(mean(x x) + epsilon)` over the last axis, in operations that take 16 bits; L2_NORMALIZATION does not."""

    def call(self, inputs):
        return inputs * tf.math.rsqrt(tf.reduce_mean(inputs * inputs, -1, keepdims=True) + self.epsilon)


@register
class RMSNorm(L2Norm):
    """`gamma * x / rms(x)` over the last axis (Zhang & Sennrich 2019), written as `gamma sqrt(d) * l2_normalize(x)`.

    One L2_NORMALIZATION and one MUL on the device where a LayerNorm takes nine nodes. With `center` there is a beta too.
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


def block_size(num_tokens: int, window: int) -> int:
    """Queries that local attention takes together: at least as many as its windows overlap, and a share of the clip.

    The smallest such divisor of `num_tokens`, so that nothing has to be filled up; where there is none at most as long as
    two windows, the smallest block.
    """
    smallest = max(MIN_BLOCK, window - 1)
    for block in range(smallest, smallest + 2 * window):
        if num_tokens % block == 0:
            return block
    return smallest


def first(x, count: int, axis: int):
    """The first `count` entries along an axis; the gradient of tf.slice is a pad, that of `x[...]` many times dearer."""
    size = [-1] * len(x.shape)
    size[axis] = count
    return tf.slice(x, [0] * len(size), size)


def blocks_of(x, block: int):
    """(batch, heads, num_tokens, d) to (batch * heads, blocks, block, d), zeros filling up the last."""
    num_tokens, dim = x.shape[2:]
    missing = -num_tokens % block
    if missing:
        x = tf.pad(x, ((0, 0), (0, 0), (0, missing), (0, 0)))
    return tf.reshape(x, (-1, (num_tokens + missing) // block, block, dim))


def key_blocks(x, block: int, window: int):
    """What each block of queries can see: (batch, heads, num_tokens, d) to (batch * heads, blocks, block + window - 1, d).

    A block's own tokens and half a window before and behind it, zeros beyond the clip: the clip in blocks, and beside each
    the beginning of the next. A PAD, a RESHAPE, two SLICEs, a CONCATENATION, and not a single token gathered by itself.
    """
    num_tokens, overlap = x.shape[2], window - 1
    num_blocks = -(-num_tokens // block)
    before = overlap // 2
    length = block + overlap if num_blocks == 1 else (num_blocks + 1) * block
    x = tf.pad(x, ((0, 0), (0, 0), (before, length - num_tokens - before), (0, 0)))
    if num_blocks == 1:
        return tf.reshape(x, (-1, 1, length, x.shape[-1]))
    x = blocks_of(x, block)
    own = first(x, num_blocks, axis=1)
    behind = tf.slice(x, (0, 1, 0, 0), (-1, num_blocks, overlap, -1))
    return tf.concat([own, behind], axis=2)


class _Local(keras.layers.Layer):
    """A product of local attention over windows of `window` (odd) tokens."""

    def __init__(self, window: int, **kwargs):
        super().__init__(**kwargs)
        if window < 1 or window % 2 == 0:
            raise ConfigError(f"The window of local attention must be odd and positive, not {window}.")
        self.window = window

    def get_config(self):
        return {**super().get_config(), "window": self.window}


@register
class LocalScores(_Local):
    """`scale * q_i . k_j` for the `window` tokens j around each token i (sliding windows as in Longformer, 2004.05150).

    [queries, keys], (batch, heads, num_tokens, d) each, to (batch * heads, blocks, block, window); rows beyond the last
    token are zero, and so is the score of a key outside the clip.

    Blocks of `block_size` queries meet the keys that any of them can see, in one BATCH_MATMUL of fixed shape. In its rows
    of block + window - 1 scores, row i needs columns i to i + window - 1: read again with rows longer by one, the same
    numbers have these windows as their first columns (the skew of Music Transformer, arXiv 1809.04281), so a PAD, a
    RESHAPE and a SLICE leave exactly the windows, and no softmax is spent on what a mask would hide.

    Cost per head: num_tokens * (block + window - 1) * d multiply-accumulates and num_tokens * (block + window - 1) scores,
    about (block + window) / window times what single windows would take and num_tokens / (block + window) times less than
    the whole map; keys and values are held (block + window - 1) / block times.
    """

    def __init__(self, window: int, scale: float = 1.0, **kwargs):
        super().__init__(window, **kwargs)
        self.scale = scale

    def call(self, inputs):
        queries, keys = inputs
        block = block_size(queries.shape[2], self.window)
        queries = blocks_of(queries if self.scale == 1 else queries * self.scale, block)
        scores = tf.matmul(queries, key_blocks(keys, block, self.window), transpose_b=True)
        num_blocks, _, width = scores.shape[1:]
        scores = tf.pad(tf.reshape(scores, (-1, num_blocks, block * width)), ((0, 0), (0, 0), (0, block)))
        return first(tf.reshape(scores, (-1, num_blocks, block, width + 1)), self.window, axis=3)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@register
class LocalMix(_Local):
    """Means of values by the weights of LocalScores' windows, the skew undone.

    [weights (batch * heads, blocks, block, window), values (batch, heads, num_tokens, d)] to
    (batch, heads, num_tokens, d).
    """

    def call(self, inputs):
        weights, values = inputs
        num_heads, num_tokens, dim = values.shape[1:]
        num_blocks, block = weights.shape[1:3]
        width = block + self.window - 1
        weights = tf.pad(weights, ((0, 0), (0, 0), (0, 0), (0, block)))
        weights = first(tf.reshape(weights, (-1, num_blocks, block * (width + 1))), block * width, axis=2)
        weights = tf.reshape(weights, (-1, num_blocks, block, width))
        columns = tf.transpose(key_blocks(values, block, self.window), (0, 1, 3, 2))
        mixed = tf.reshape(tf.matmul(weights, columns, transpose_b=True), (-1, num_heads, num_blocks * block, dim))
        return mixed if num_blocks * block == num_tokens else first(mixed, num_tokens, axis=2)


@register
class Deviation(keras.layers.Layer):
    """[mean, mean of squares] to the standard deviation, `v / sqrt(v + epsilon)` with `v` the variance: RSQRT has an int8
    kernel, SQRT has none."""

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
    """Adds the sinusoid of each token's place to (..., num_tokens, dim); `centred`: less its mean over a token."""

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
    """(num_tokens, dim) float64: sines and cosines in turns, `sin(t / 10000^(2i / dim))` (Vaswani et al. 2017)."""
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
    """Cuts the axis `axis` into `parts` equal parts, one output each."""

    def __init__(self, parts: int, axis: int, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts
        self.axis = axis

    def call(self, inputs):
        return tf.split(inputs, self.parts, self.axis)

    def get_config(self):
        return {**super().get_config(), "parts": self.parts, "axis": self.axis}


@register
class Affine(keras.layers.Layer):
    """`gamma * x` over the last axis, with `center` also `+ beta`: what an L2 norm lacks to be an RMS norm."""

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
