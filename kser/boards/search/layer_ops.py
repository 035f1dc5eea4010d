"""The int8 ops into which TensorFlow Lite's converter turns each kind of layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from kser.boards.search.op_builder import OpBuilder, Shape
from kser.errors import KserError
from kser.export.graph import Node as Layer
from kser.models.attention import block_size
from kser.tflite.op_graph import Tensor


def output_shape(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """The shape of a layer's first output for a single clip, from those of its inputs; also before the rewrites."""
    if layer.kind == "BatchNormalization":
        return shapes[0]
    return append_ops(OpBuilder(), layer, [Tensor(shape) for shape in shapes])[0].shape


def append_ops(b: OpBuilder, layer: Layer, inputs: Sequence[Tensor], reshaped: bool = False) -> tuple[Tensor, ...]:
    """Appends the ops of a layer; `reshaped`: its input comes from a Reshape layer. Returns its outputs."""
    if layer.kind not in LOWERINGS:
        raise KserError(f"Layer '{layer.name}' is a {layer.kind}, whose ops kser.boards.search.layer_ops does not know.")
    b.input_is_reshaped = reshaped
    outputs = LOWERINGS[layer.kind](b, layer, *inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _activation_of(layer: Layer) -> str:
    """The name of a layer's activation; for kser's own functions it is inside the serialized description."""
    return str(layer.config.get("activation") or "linear")


def _dense(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    kernel = layer.weights[0].T.shape
    weights = b.weights(f"{layer.name}/kernel", kernel)
    bias = b.weights(f"{layer.name}/bias", kernel[:1], "int32")
    shape = (*x.shape[:-1], kernel[0])
    if not b.input_is_reshaped:
        y = b.op("FULLY_CONNECTED", f"{layer.name}/Tensordot", (x, weights, bias), shape)
        return b.activation(layer.name, y, _activation_of(layer))
    # A reshape before it merges with the reshape to matrix rows; if the last axis stays, none is left.
    rows, source = math.prod(x.shape[:-1]), b.reshaped_from(x)
    if source.shape[-1] != x.shape[-1]:
        source = b.reshape(f"{layer.name}/Tensordot/Reshape", source, (rows, x.shape[-1]))
    y = b.op("FULLY_CONNECTED", f"{layer.name}/Tensordot/MatMul", (source, weights, bias), (rows, kernel[0]))
    return b.activation(layer.name, b.reshape(f"{layer.name}/Tensordot", y, shape), _activation_of(layer))


def _conv(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    height, width, channels, filters = layer.weights[0].shape
    kernel = b.weights(f"{layer.name}/kernel", (filters, height, width, channels), num_scales=filters)
    return _convolved(b, "CONV_2D", layer, x, kernel, filters)


def _depthwise(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    height, width, channels, _ = layer.weights[0].shape
    kernel = b.weights(f"{layer.name}/kernel", (1, height, width, channels), num_scales=channels)
    return _convolved(b, "DEPTHWISE_CONV_2D", layer, x, kernel, channels)


def _convolved(b: OpBuilder, op: str, layer: Layer, x: Tensor, kernel: Tensor, channels: int) -> Tensor:
    bias = b.weights(f"{layer.name}/bias", (channels,), "int32", num_scales=channels)
    shape = (1, *_windows(layer, x.shape[1:3], kernel.shape[1:3]), channels)
    y = b.op(op, f"{layer.name}/Conv2D", (x, kernel, bias), shape, **_steps(layer))
    return b.activation(layer.name, y, _activation_of(layer))


def _steps(layer: Layer) -> dict:
    """How the windows of a kernel or pool lie in an image."""
    return {"strides": tuple(layer.config["strides"]), "same_padding": layer.config["padding"] == "same"}


def _windows(layer: Layer, size: Shape, kernel: Shape) -> Shape:
    """Positions of a kernel or pool in an image."""
    same = layer.config["padding"] == "same"
    lengths = size if same else tuple(n - k + 1 for n, k in zip(size, kernel, strict=True))
    return tuple(-(-n // step) for n, step in zip(lengths, layer.config["strides"], strict=True))


def _add(b: OpBuilder, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    # ADD broadcasts over the rows of a matrix.
    matrix = b.reshaped_from(y)
    y = matrix if matrix.shape == y.shape[-2:] else y
    return b.op("ADD", f"{layer.name}/add", (x, y), x.shape)


def _multiply(b: OpBuilder, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    return b.op("MUL", f"{layer.name}/mul", (x, y), x.shape)


def _scale(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    return b.op("MUL", f"{layer.name}/mul", (x, b.shared((), "int8", layer.config["factor"])), x.shape)


def _positions(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    table = b.shared(x.shape[-2:], "int8", ("positions", layer.config["centred"]))
    return b.op("ADD", f"{layer.name}/add", (x, table), x.shape)


def _reshape(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    return b.reshape(f"{layer.name}/Reshape", x, (1, *layer.config["target_shape"]))


def _permute(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    return b.transpose(f"{layer.name}/transpose", x, (0, *layer.config["dims"]))


def _split(b: OpBuilder, layer: Layer, x: Tensor) -> tuple[Tensor, ...]:
    axis, parts = layer.config["axis"], layer.config["parts"]
    shape = (*x.shape[:axis], x.shape[axis] // parts, *x.shape[axis + 1 :])
    return b.op("SPLIT", f"{layer.name}/split", (b.indices(axis, shape=()), x), *[shape] * parts)


def _softmax(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    return b.op("SOFTMAX", f"{layer.name}/Softmax", (x,), x.shape)


def _product(b: OpBuilder, name: str, x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
    if scale != 1:
        x = b.op("MUL", f"{name}/mul", (x, b.shared((), "int8", scale)), x.shape)
    return b.op("BATCH_MATMUL", f"{name}/MatMul", (x, y), (*x.shape[:-1], y.shape[-2]), adj_y=True)


def _attention_product(b: OpBuilder, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    return _product(b, layer.name, x, y, layer.config["scale"])


def _l2_norm(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    return b.op("L2_NORMALIZATION", f"{layer.name}/l2_normalize", (x,), x.shape)


def _rms_norm(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    y = _l2_norm(b, layer, x)
    return _affine(b, layer, y, layer.config["center"])


def _affine(b: OpBuilder, layer: Layer, x: Tensor, with_beta: bool) -> Tensor:
    x = b.op("MUL", f"{layer.name}/mul_1", (x, b.weights(f"{layer.name}/gamma", x.shape[-1:])), x.shape)
    if not with_beta:
        return x
    return b.op("ADD", f"{layer.name}/add_1", (x, b.weights(f"{layer.name}/beta", x.shape[-1:])), x.shape)


def _layer_norm(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    name, row = layer.name, (*x.shape[:-1], 1)
    centred = b.op("SUB", f"{name}/sub", (x, b.mean(f"{name}/Mean", x, -1, shape=row)), x.shape)
    variance = b.mean(f"{name}/Mean_1", b.op("MUL", f"{name}/mul", (centred, centred), x.shape), -1, shape=row)
    epsilon = b.shared((), "int8", layer.config["epsilon"])
    root = b.op("RSQRT", f"{name}/Rsqrt", (b.op("ADD", f"{name}/add", (variance, epsilon), row),), row)
    y = b.op("MUL", f"{name}/mul_0", (centred, root), x.shape)
    return _affine(b, layer, y, True) if layer.config["affine"] else y


def _global_mean(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    return b.mean(f"{layer.name}/Mean", x, 1, 2, shape=(1, x.shape[-1]))


def _pool(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    size = _windows(layer, x.shape[1:3], tuple(layer.config["pool_size"]))
    return b.op("AVERAGE_POOL_2D", f"{layer.name}/AvgPool", (x,), (1, *size, x.shape[-1]), **_steps(layer))


def _zero_padding(b: OpBuilder, layer: Layer, x: Tensor) -> Tensor:
    return b.pad(f"{layer.name}/Pad", x, (0, 0), *map(tuple, layer.config["padding"]), (0, 0))


def _concatenate(b: OpBuilder, layer: Layer, *inputs: Tensor) -> Tensor:
    shape = (*inputs[0].shape[:-1], sum(x.shape[-1] for x in inputs))
    return b.op("CONCATENATION", f"{layer.name}/concat", inputs, shape)


def _deviation(b: OpBuilder, layer: Layer, mean: Tensor, square: Tensor) -> Tensor:
    name, shape = layer.name, mean.shape
    power = b.op("MUL", f"{name}/mul", (mean, mean), shape)
    variance = b.op("SUB", f"{name}/sub", (square, power), shape)
    shifted = b.op("ADD", f"{name}/add", (variance, b.shared((), "int8", layer.config["epsilon"])), shape)
    return b.op("MUL", f"{name}/mul_1", (variance, b.op("RSQRT", f"{name}/Rsqrt", (shifted,), shape)), shape)


def _blocks(b: OpBuilder, name: str, x: Tensor, block: int) -> Tensor:
    """kser.models.attention.blocks_of."""
    num_heads, num_tokens, dim = x.shape[1:]
    missing = -num_tokens % block
    if missing:
        x = b.pad(f"{name}/Pad", x, (0, 0), (0, 0), (0, missing), (0, 0))
    return b.reshape(f"{name}/Reshape", x, (num_heads, (num_tokens + missing) // block, block, dim))


def _key_blocks(b: OpBuilder, name: str, x: Tensor, block: int, window: int) -> Tensor:
    """kser.models.attention.key_blocks."""
    num_heads, num_tokens, dim = x.shape[1:]
    overlap, before, num_blocks = window - 1, (window - 1) // 2, -(-num_tokens // block)
    length = block + overlap if num_blocks == 1 else (num_blocks + 1) * block
    paddings = ((0, 0), (0, 0), (before, length - num_tokens - before), (0, 0))
    x = b.pad(f"{name}/Pad", x, *paddings) if any(map(any, paddings)) else x
    if num_blocks == 1:
        return b.reshape(f"{name}/Reshape", x, (num_heads, 1, length, dim))
    x = b.reshape(f"{name}/Reshape", x, (num_heads, num_blocks + 1, block, dim))
    own = b.slice(f"{name}/Slice", x, (0, 0, 0, 0), (-1, num_blocks, -1, -1))
    behind = b.slice(f"{name}/Slice_1", x, (0, 1, 0, 0), (-1, num_blocks, overlap, -1))
    return b.op("CONCATENATION", f"{name}/concat", (own, behind), (num_heads, num_blocks, block + overlap, dim))


def _local_scores(b: OpBuilder, layer: Layer, queries: Tensor, keys: Tensor) -> Tensor:
    name, window = layer.name, layer.config["window"]
    block = block_size(queries.shape[2], window)
    blocks = _blocks(b, f"{name}/queries", queries, block)
    scores = _product(b, name, blocks, _key_blocks(b, f"{name}/keys", keys, block, window), layer.config["scale"])
    rows, num_blocks, _, width = scores.shape
    x = b.reshape(f"{name}/rows", scores, (rows, num_blocks, block * width))
    x = b.pad(f"{name}/skew", x, (0, 0), (0, 0), (0, block))
    x = b.reshape(f"{name}/skewed", x, (rows, num_blocks, block, width + 1))
    return b.slice(f"{name}/windows", x, (0, 0, 0, 0), (-1, -1, -1, window))


def _local_mix(b: OpBuilder, layer: Layer, weights: Tensor, values: Tensor) -> Tensor:
    name, window = layer.name, layer.config["window"]
    num_heads, num_tokens, dim = values.shape[1:]
    num_blocks, block = weights.shape[1:3]
    width = block + window - 1
    x = b.pad(f"{name}/a_pad", weights, (0, 0), (0, 0), (0, 0), (0, block))
    x = b.reshape(f"{name}/rows", x, (num_heads, num_blocks, block * (width + 1)))
    x = b.slice(f"{name}/unskew", x, (0, 0, 0), (-1, -1, block * width))
    x = b.reshape(f"{name}/unskewed", x, (num_heads, num_blocks, block, width))
    columns = b.transpose(f"{name}/columns", _key_blocks(b, f"{name}/values", values, block, window), (0, 1, 3, 2))
    mixed = b.reshape(f"{name}/mixed", _product(b, name, x, columns), (1, num_heads, num_blocks * block, dim))
    if num_blocks * block == num_tokens:
        return mixed
    return b.slice(f"{name}/own", mixed, (0, 0, 0, 0), (-1, -1, num_tokens, -1))


LOWERINGS: dict[str, Callable] = {
    "Activation": lambda b, layer, x: b.activation(layer.name, x, _activation_of(layer)),
    "Add": _add,
    "AddPositions": _positions,
    "AttentionProduct": _attention_product,
    "AveragePooling2D": _pool,
    "Concatenate": _concatenate,
    "Conv2D": _conv,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Deviation": _deviation,
    "GlobalAveragePooling2D": _global_mean,
    "L2Norm": _l2_norm,
    "LayerNorm": _layer_norm,
    "LocalMix": _local_mix,
    "LocalScores": _local_scores,
    "Multiply": _multiply,
    "Permute": _permute,
    "RMSNorm": _rms_norm,
    "ReLU": lambda b, layer, x: x,
    "Reshape": _reshape,
    "Scale": _scale,
    "Softmax": _softmax,
    "Split": _split,
    "ZeroPadding2D": _zero_padding,
}
