"""Matrix products of attention: over all tokens, and over local windows."""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from kser.errors import ConfigError
from kser.models.layers import register

# Smaller blocks would make the matrix products of local attention too small to be efficient.
MIN_BLOCK = 8


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
    """Block size of local attention: the number of queries in one matrix product.

    The smallest divisor of `num_tokens` that is no less than the overlap of the windows, so that nothing has to be padded;
    if there is none within two windows above that, the overlap itself.
    """
    smallest = max(MIN_BLOCK, window - 1)
    for block in range(smallest, smallest + 2 * window):
        if num_tokens % block == 0:
            return block
    return smallest


def first(x, count: int, axis: int):
    """The first `count` entries along an axis. By tf.slice, because the gradient of `x[...]` is many times slower."""
    size = [-1] * len(x.shape)
    size[axis] = count
    return tf.slice(x, [0] * len(size), size)


def blocks_of(x, block: int):
    """(batch, heads, num_tokens, d) to (batch * heads, blocks, block, d), the last one zero-padded."""
    num_tokens, dim = x.shape[2:]
    missing = -num_tokens % block
    if missing:
        x = tf.pad(x, ((0, 0), (0, 0), (0, missing), (0, 0)))
    return tf.reshape(x, (-1, (num_tokens + missing) // block, block, dim))


def key_blocks(x, block: int, window: int):
    """The keys or values that each block of queries attends to: (batch, heads, num_tokens, d) to
    (batch * heads, blocks, block + window - 1, d).

    A block's own tokens and half a window before and after it, zeros beyond the clip. Made by a PAD, a RESHAPE, two SLICEs
    and a CONCATENATION: each block and the beginning of the next one; there is no GATHER.
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

    A block of `block_size` queries is multiplied with all keys that any of them attends to, in one BATCH_MATMUL of fixed
    shape. Of its rows of block + window - 1 scores, row i needs columns i to i + window - 1. Reshaped to rows longer by one,
    the same numbers have these windows as their first columns (the skew of Music Transformer, arXiv 1809.04281), so a PAD, a
    RESHAPE and a SLICE leave exactly the windows, and no softmax is computed over masked scores.

    Cost per head: num_tokens * (block + window - 1) * d multiply-accumulates and num_tokens * (block + window - 1) scores,
    about (block + window) / window times those of the windows alone, and num_tokens / (block + window) times fewer than for
    full attention; keys and values are stored (block + window - 1) / block times.
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
    """Weighted sums of values over LocalScores' windows, with the skew undone.

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
