"""The int8 ops a deployed network becomes, told from its graph without converting it.

`LOWERINGS` maps a kind of layer to the ops TensorFlow Lite's converter makes of it; what the converter does across layers
(an activation fused into the op before it, a RESHAPE left out, the order of the ops) is in `lower` and the helpers below.
tests/test_lowering.py compares the result, op by op, with networks that were really converted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from kser.arena import aligned, tensor_bytes, tensors_of
from kser.cost import Node, Tensor
from kser.errors import KserError
from kser.graph import Graph, Ref
from kser.graph import Node as Layer
from kser.layers import block_size

Shape = tuple[int, ...]
# Bytes of a .tflite beside its constants: the frame, the entry of an activation with its op, that of a constant, one more
# scale, and the names of the six operations that an L2 norm was made of.
FILE_FRAME, ACTIVATION_ENTRY, CONSTANT_ENTRY, SCALE_ENTRY, L2_NAMES = 2206, 254, 9.5, 12.5, 352


def lower(graph: Graph) -> tuple[Node, ...]:
    """The ops of a deployed network for a single clip in the order they run in, quantized after training, int8 throughout.

    A tensor is one object wherever it is read, as in `cost.graph_nodes`.

    Raises:
      KserError: a layer that does not convert, or of a kind that no backbone has after the fold.
    """
    lowering = _Lowering()
    reshaped: set[Ref] = set()
    source = Tensor((1, *graph.input_shape), name=graph.input_name)
    tensors: dict[Ref, Tensor] = {(graph.input_name, 0): source}
    for layer in graph:
        inputs = [tensors[ref] for ref in layer.inputs]
        outputs = _lowered(lowering, layer, inputs, layer.inputs[0] in reshaped)
        tensors.update(((layer.name, i), output) for i, output in enumerate(outputs))
        if layer.kind == "Reshape" and outputs[0].shape != inputs[0].shape:
            reshaped.add((layer.name, 0))
    output = tensors[graph.output]
    return tuple(_needed(_without_affine(_in_order(_needed(lowering.nodes, output), source)), output))


def file_bytes(nodes: Sequence[Node]) -> int:
    """Bytes of the .tflite without metadata: constants on 16-byte boundaries, tables and names as they are on average.

    The averages were fitted to converted networks of random sizes; benchmarks/README.md tells how close they come to others.
    """
    tensors = tensors_of(nodes)
    constants = [t for t in tensors if t.constant]
    tables = ACTIVATION_ENTRY * (len(tensors) - len(constants)) + CONSTANT_ENTRY * len(constants)
    names = L2_NAMES * sum(node.op == "L2_NORMALIZATION" for node in nodes)
    scales = SCALE_ENTRY * sum(t.num_scales for t in constants if t.num_scales > 1)
    return round(FILE_FRAME + tables + names + scales + sum(aligned(tensor_bytes(t)) for t in constants))


def _in_order(nodes: Sequence[Node], source: Tensor) -> list[Node]:
    """Ops as the converter orders them: depth first from the input, readers of a tensor from the last name to the first,
    each op before all that were left before it."""
    readers: dict[int, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.outputs[0].name, reverse=True):
        for x in node.inputs:
            readers.setdefault(id(x), []).append(node)

    def after(tensors: Sequence[Tensor]) -> Iterator[Node]:
        return iter([node for x in reversed(tensors) for node in readers.get(id(x), ())])

    left, seen, path = [], set(), [(None, after((source,)))]
    while path:
        node, following = path[-1]
        reader = next((r for r in following if id(r) not in seen), None)
        if reader is None:
            left.append(node)
            path.pop()
        else:
            seen.add(id(reader))
            path.append((reader, after(reader.outputs)))
    return left[-2::-1]


def _needed(nodes: Sequence[Node], output: Tensor) -> list[Node]:
    """The ops that lead to the output."""
    wanted, kept = {id(output)}, []
    for node in reversed(nodes):
        if any(id(y) in wanted for y in node.outputs):
            kept.append(node)
            wanted.update(map(id, node.inputs))
    return kept[::-1]


def _without_affine(nodes: Sequence[Node]) -> list[Node]:
    """FULLY_CONNECTED ops read what a norm's gamma and beta are applied to: the converter takes those into the kernel, even
    where others read the product as well."""
    producers = {id(y): node for node in nodes for y in node.outputs}

    def source(x: Tensor) -> Tensor:
        node = producers.get(id(x))
        return source(node.inputs[0]) if node is not None and _is_affine(node) else x

    def reading_source(node: Node) -> Node:
        return dataclasses.replace(node, inputs=(source(node.inputs[0]), *node.inputs[1:]))

    return [reading_source(node) if node.op == "FULLY_CONNECTED" else node for node in nodes]


def _is_affine(node: Node) -> bool:
    """Whether it multiplies with or adds a constant of each channel's own."""
    return node.op in ("MUL", "ADD") and node.inputs[1].constant and len(node.inputs[1].shape) == 1


def output_shape(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """The shape of a layer's first output for a single clip, from those of its inputs; likewise before the rewrites."""
    if layer.kind == "BatchNormalization":
        return shapes[0]
    return _lowered(_Lowering(), layer, [Tensor(shape) for shape in shapes])[0].shape


def _lowered(b: _Lowering, layer: Layer, inputs: Sequence[Tensor], reshaped: bool = False) -> tuple[Tensor, ...]:
    """Appends the ops of a layer, which reads what a Reshape layer has `reshaped`; returns its outputs."""
    if layer.kind not in LOWERINGS:
        raise KserError(f"Layer '{layer.name}' is a {layer.kind}, whose ops kser.lowering does not know.")
    b.input_is_reshaped = reshaped
    outputs = LOWERINGS[layer.kind](b, layer, *inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


class _Lowering:
    """Collects ops; equal shape and index constants are one tensor, as the converter makes them."""

    def __init__(self):
        self.input_is_reshaped = False
        self.nodes: list[Node] = []
        self._constants: dict[tuple, Tensor] = {}
        self._producers: dict[int, Node] = {}

    def op(self, op: str, name: str, inputs: Sequence[Tensor], *shapes: Shape, **options):
        """Appends an op; returns its output, or several."""
        # Ranges are measured, so hardly two tensors have one scale: the tables of kernels are not shared.
        scale = float(len(self.nodes) + 1)
        outputs = tuple(Tensor(shape, name=f"{name}:{i}" if i else name, scale=scale) for i, shape in enumerate(shapes))
        self.nodes.append(Node(op, tuple(inputs), outputs, **options))
        self._producers.update((id(output), self.nodes[-1]) for output in outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def indices(self, *values: int, shape: Shape | None = None) -> Tensor:
        """An int32 constant."""
        return self.shared((len(values),) if shape is None else shape, "int32", values, num_scales=0)

    def shared(self, shape: Shape, dtype: str, content, num_scales: int = 1) -> Tensor:
        """A constant that is in the file once, however many ops read it."""
        key = (shape, dtype, content)
        if key not in self._constants:
            self._constants[key] = Tensor(shape, dtype, str(content), constant=True, num_scales=num_scales)
        return self._constants[key]

    def weights(self, name: str, shape: Shape, dtype: str = "int8", num_scales: int = 1) -> Tensor:
        """A constant of one layer's own."""
        return Tensor(shape, dtype, name, constant=True, num_scales=num_scales)

    def reshaped_from(self, x: Tensor) -> Tensor:
        """What a RESHAPE made `x` of; `x` itself if none did."""
        node = self._producers.get(id(x))
        return node.inputs[0] if node is not None and node.op == "RESHAPE" else x

    def reshape(self, name: str, x: Tensor, shape: Shape) -> Tensor:
        """One RESHAPE, if any, in place of one after another."""
        x = self.reshaped_from(x)
        return x if x.shape == shape else self.op("RESHAPE", name, (x, self.indices(*shape)), shape)

    def transpose(self, name: str, x: Tensor, order: Sequence[int]) -> Tensor:
        """A TRANSPOSE, or where it moves nothing but axes of length 1, a RESHAPE."""
        shape = tuple(x.shape[axis] for axis in order)
        moved = [axis for axis in order if x.shape[axis] > 1]
        if moved == sorted(moved):
            return self.reshape(name, x, shape)
        return self.op("TRANSPOSE", name, (x, self.indices(*order)), shape)

    def pad(self, name: str, x: Tensor, *paddings: tuple[int, int]) -> Tensor:
        amounts = self.indices(*(n for pair in paddings for n in pair), shape=(len(paddings), 2))
        shape = tuple(size + sum(pair) for size, pair in zip(x.shape, paddings, strict=True))
        return self.op("PAD", name, (x, amounts), shape)

    def slice(self, name: str, x: Tensor, begin: Shape, size: Shape) -> Tensor:
        shape = tuple(length - start if n < 0 else n for length, start, n in zip(x.shape, begin, size, strict=True))
        return self.op("SLICE", name, (x, self.indices(*begin), self.indices(*size)), shape)

    def mean(self, name: str, x: Tensor, *axes: int, shape: Shape) -> Tensor:
        return self.op("MEAN", name, (x, self.indices(*axes, shape=() if axes == (-1,) else None)), shape)

    def activation(self, name: str, x: Tensor, function: str) -> Tensor:
        """ReLU is fused into the op before it."""
        if "hard_swish" in function:
            return self.op("HARD_SWISH", f"{name}/mul_1", (x,), x.shape)
        if function in ("sigmoid", "swish", "silu"):
            gate = self.op("LOGISTIC", f"{name}/Sigmoid", (x,), x.shape)
            return gate if function == "sigmoid" else self.op("MUL", f"{name}/mul_1", (x, gate), x.shape)
        return x


# --- Layers -----------------------------------------------------------------------------------------------------------


def _activation_of(layer: Layer) -> str:
    """The name of a layer's activation, which for own functions is part of what they are serialized as."""
    return str(layer.config.get("activation") or "linear")


def _dense(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    kernel = layer.weights[0].T.shape
    weights = b.weights(f"{layer.name}/kernel", kernel)
    bias = b.weights(f"{layer.name}/bias", kernel[:1], "int32")
    shape = (*x.shape[:-1], kernel[0])
    if not b.input_is_reshaped:
        y = b.op("FULLY_CONNECTED", f"{layer.name}/Tensordot", (x, weights, bias), shape)
        return b.activation(layer.name, y, _activation_of(layer))
    # The reshape before it merges with that to the rows of a matrix, and none is left where the last axis stays.
    rows, source = math.prod(x.shape[:-1]), b.reshaped_from(x)
    if source.shape[-1] != x.shape[-1]:
        source = b.reshape(f"{layer.name}/Tensordot/Reshape", source, (rows, x.shape[-1]))
    y = b.op("FULLY_CONNECTED", f"{layer.name}/Tensordot/MatMul", (source, weights, bias), (rows, kernel[0]))
    return b.activation(layer.name, b.reshape(f"{layer.name}/Tensordot", y, shape), _activation_of(layer))


def _conv(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    height, width, channels, filters = layer.weights[0].shape
    kernel = b.weights(f"{layer.name}/kernel", (filters, height, width, channels), num_scales=filters)
    return _convolved(b, "CONV_2D", layer, x, kernel, filters)


def _depthwise(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    height, width, channels, _ = layer.weights[0].shape
    kernel = b.weights(f"{layer.name}/kernel", (1, height, width, channels), num_scales=channels)
    return _convolved(b, "DEPTHWISE_CONV_2D", layer, x, kernel, channels)


def _convolved(b: _Lowering, op: str, layer: Layer, x: Tensor, kernel: Tensor, channels: int) -> Tensor:
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


def _add(b: _Lowering, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    # An ADD broadcasts the rows of a matrix by itself.
    matrix = b.reshaped_from(y)
    y = matrix if matrix.shape == y.shape[-2:] else y
    return b.op("ADD", f"{layer.name}/add", (x, y), x.shape)


def _multiply(b: _Lowering, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    return b.op("MUL", f"{layer.name}/mul", (x, y), x.shape)


def _scale(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    return b.op("MUL", f"{layer.name}/mul", (x, b.shared((), "int8", layer.config["factor"])), x.shape)


def _positions(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    table = b.shared(x.shape[-2:], "int8", ("positions", layer.config["centred"]))
    return b.op("ADD", f"{layer.name}/add", (x, table), x.shape)


def _reshape(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    return b.reshape(f"{layer.name}/Reshape", x, (1, *layer.config["target_shape"]))


def _permute(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    return b.transpose(f"{layer.name}/transpose", x, (0, *layer.config["dims"]))


def _split(b: _Lowering, layer: Layer, x: Tensor) -> tuple[Tensor, ...]:
    axis, parts = layer.config["axis"], layer.config["parts"]
    shape = (*x.shape[:axis], x.shape[axis] // parts, *x.shape[axis + 1 :])
    return b.op("SPLIT", f"{layer.name}/split", (b.indices(axis, shape=()), x), *[shape] * parts)


def _softmax(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    return b.op("SOFTMAX", f"{layer.name}/Softmax", (x,), x.shape)


def _product(b: _Lowering, name: str, x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
    if scale != 1:
        x = b.op("MUL", f"{name}/mul", (x, b.shared((), "int8", scale)), x.shape)
    return b.op("BATCH_MATMUL", f"{name}/MatMul", (x, y), (*x.shape[:-1], y.shape[-2]), adj_y=True)


def _attention_product(b: _Lowering, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    return _product(b, layer.name, x, y, layer.config["scale"])


def _l2_norm(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    return b.op("L2_NORMALIZATION", f"{layer.name}/l2_normalize", (x,), x.shape)


def _rms_norm(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    y = _l2_norm(b, layer, x)
    return _affine(b, layer, y, layer.config["center"])


def _affine(b: _Lowering, layer: Layer, x: Tensor, with_beta: bool) -> Tensor:
    x = b.op("MUL", f"{layer.name}/mul_1", (x, b.weights(f"{layer.name}/gamma", x.shape[-1:])), x.shape)
    if not with_beta:
        return x
    return b.op("ADD", f"{layer.name}/add_1", (x, b.weights(f"{layer.name}/beta", x.shape[-1:])), x.shape)


def _layer_norm(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    name, row = layer.name, (*x.shape[:-1], 1)
    centred = b.op("SUB", f"{name}/sub", (x, b.mean(f"{name}/Mean", x, -1, shape=row)), x.shape)
    variance = b.mean(f"{name}/Mean_1", b.op("MUL", f"{name}/mul", (centred, centred), x.shape), -1, shape=row)
    epsilon = b.shared((), "int8", layer.config["epsilon"])
    root = b.op("RSQRT", f"{name}/Rsqrt", (b.op("ADD", f"{name}/add", (variance, epsilon), row),), row)
    y = b.op("MUL", f"{name}/mul_0", (centred, root), x.shape)
    return _affine(b, layer, y, True) if layer.config["affine"] else y


def _global_mean(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    return b.mean(f"{layer.name}/Mean", x, 1, 2, shape=(1, x.shape[-1]))


def _pool(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    size = _windows(layer, x.shape[1:3], tuple(layer.config["pool_size"]))
    return b.op("AVERAGE_POOL_2D", f"{layer.name}/AvgPool", (x,), (1, *size, x.shape[-1]), **_steps(layer))


def _zero_padding(b: _Lowering, layer: Layer, x: Tensor) -> Tensor:
    return b.pad(f"{layer.name}/Pad", x, (0, 0), *map(tuple, layer.config["padding"]), (0, 0))


def _concatenate(b: _Lowering, layer: Layer, *inputs: Tensor) -> Tensor:
    shape = (*inputs[0].shape[:-1], sum(x.shape[-1] for x in inputs))
    return b.op("CONCATENATION", f"{layer.name}/concat", inputs, shape)


def _deviation(b: _Lowering, layer: Layer, mean: Tensor, square: Tensor) -> Tensor:
    name, shape = layer.name, mean.shape
    power = b.op("MUL", f"{name}/mul", (mean, mean), shape)
    variance = b.op("SUB", f"{name}/sub", (square, power), shape)
    shifted = b.op("ADD", f"{name}/add", (variance, b.shared((), "int8", layer.config["epsilon"])), shape)
    return b.op("MUL", f"{name}/mul_1", (variance, b.op("RSQRT", f"{name}/Rsqrt", (shifted,), shape)), shape)


def _blocks(b: _Lowering, name: str, x: Tensor, block: int) -> Tensor:
    """kser.layers.blocks_of."""
    num_heads, num_tokens, dim = x.shape[1:]
    missing = -num_tokens % block
    if missing:
        x = b.pad(f"{name}/Pad", x, (0, 0), (0, 0), (0, missing), (0, 0))
    return b.reshape(f"{name}/Reshape", x, (num_heads, (num_tokens + missing) // block, block, dim))


def _key_blocks(b: _Lowering, name: str, x: Tensor, block: int, window: int) -> Tensor:
    """kser.layers.key_blocks."""
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


def _local_scores(b: _Lowering, layer: Layer, queries: Tensor, keys: Tensor) -> Tensor:
    name, window = layer.name, layer.config["window"]
    block = block_size(queries.shape[2], window)
    blocks = _blocks(b, f"{name}/queries", queries, block)
    scores = _product(b, name, blocks, _key_blocks(b, f"{name}/keys", keys, block, window), layer.config["scale"])
    rows, num_blocks, _, width = scores.shape
    x = b.reshape(f"{name}/rows", scores, (rows, num_blocks, block * width))
    x = b.pad(f"{name}/skew", x, (0, 0), (0, 0), (0, block))
    x = b.reshape(f"{name}/skewed", x, (rows, num_blocks, block, width + 1))
    return b.slice(f"{name}/windows", x, (0, 0, 0, 0), (-1, -1, -1, window))


def _local_mix(b: _Lowering, layer: Layer, weights: Tensor, values: Tensor) -> Tensor:
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
