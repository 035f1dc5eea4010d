"""Cost of a network, counted on its Keras graph."""

from __future__ import annotations

import math

import tf_keras as keras

from kser.models.attention import AttentionProduct, LocalMix, LocalScores, block_size
from kser.models.hrf import HRFDense


def multiply_accumulates(model: keras.Model) -> int:
    """Multiply-accumulates per clip in the matrix ops, as tflite.multiply_accumulates counts them after conversion."""
    return sum(count(layer) for layer in model.layers for kind, count in _COUNTS.items() if type(layer) is kind)


def num_tokens(model: keras.Model) -> tuple[int, ...]:
    """The different lengths of the residual stream in tokens, from the input on."""
    return tuple(dict.fromkeys(layer.output_shape[2] for layer in model.layers if isinstance(layer, keras.layers.Add)))


def _elements(shape) -> int:
    return math.prod(shape[1:])


def _dense(layer) -> int:
    return layer.input_shape[-1] * _elements(layer.output_shape)


def _convolution(layer) -> int:
    return math.prod(layer.kernel_size) * layer.input_shape[-1] * _elements(layer.output_shape)


def _depthwise(layer) -> int:
    return math.prod(layer.kernel_size) * _elements(layer.output_shape)


def _product(layer) -> int:
    return layer.input_shape[0][-1] * _elements(layer.output_shape)


def _local_scores(layer) -> int:
    return _local(layer.input_shape[0], layer.window)


def _local_mix(layer) -> int:
    return _local(layer.input_shape[1], layer.window)


def _local(heads_shape, window: int) -> int:
    _, num_heads, num_tokens, dim = heads_shape
    block = block_size(num_tokens, window)
    return num_heads * -(-num_tokens // block) * block * (block + window - 1) * dim


_COUNTS = {
    keras.layers.Dense: _dense,
    HRFDense: _dense,
    keras.layers.Conv2D: _convolution,
    keras.layers.DepthwiseConv2D: _depthwise,
    AttentionProduct: _product,
    LocalScores: _local_scores,
    LocalMix: _local_mix,
}
