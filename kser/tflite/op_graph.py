"""The graph inside a .tflite: nodes, tensors, and figures that can be counted from the file alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tensorflow.lite.python import schema_py_generated as schema

from kser.tflite.model_file import OP_NAMES, TYPE_NAMES, items, parse

MAX_TEXT = 160
_ITEM_BYTES = {"int8": 1, "uint8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4, "int64": 8}


@dataclass(frozen=True)
class Tensor:
    """A tensor; real value = scale * (stored value - zero_point).

    Attributes:
      constant: whether its values are stored in the file.
      num_scales: 0: not quantized (`scale` is 0), 1: per tensor, more: per channel; `scale`, `zero_point` are the first.
      dynamic: the converter left a dimension open; `shape` has its traced value.
    """

    shape: tuple[int, ...]
    dtype: str = "int8"
    name: str = ""
    constant: bool = False
    num_scales: int = 1
    scale: float = 0.0
    zero_point: int = 0
    dynamic: bool = False

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Size of its values in bytes; of an unknown type, the most that it can be."""
        return self.elements * _ITEM_BYTES.get(self.dtype, 8)


@dataclass(frozen=True)
class Node:
    """An op with its tensors.

    An omitted optional input is None; `activation` says whether one is fused into the op; `adj_x`, `adj_y` are those of
    BATCH_MATMUL; the last three, of rows and columns, those of convolutions and pooling.
    """

    op: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    version: int = 1
    custom: bool = False
    activation: bool = False
    adj_x: bool = False
    adj_y: bool = False
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    same_padding: bool = False

    @property
    def dtype(self) -> str:
        """The type of the activations: that of the first non-constant input or output."""
        computed = [t for t in (*self.inputs, *self.outputs) if t is not None and not t.constant]
        return computed[0].dtype if computed else ""

    @property
    def output_elements(self) -> int:
        return sum(t.elements for t in self.outputs)

    @property
    def depth(self) -> int:
        """Multiply-accumulates per output element of a matrix op; 0 for other ops, and if shapes are missing."""
        if len(self.inputs) < 2 or not all(t is not None and t.shape for t in self.inputs[:2]):
            return 0
        return _DEPTHS[self.op](self) if self.op in _DEPTHS else 0


def graph_nodes(model: schema.ModelT) -> tuple[Node, ...]:
    """The nodes of all subgraphs, the main graph's first."""
    return tuple(node for graph in model.subgraphs for node in _subgraph_nodes(model, graph))


def _subgraph_nodes(model: schema.ModelT, graph: schema.SubGraphT) -> list[Node]:
    tensors = [tensor_of(model, t) for t in graph.tensors or ()]
    return [_node(model.operatorCodes[op.opcodeIndex], op, tensors) for op in graph.operators or ()]


def _node(code: schema.OperatorCodeT, op: schema.OperatorT, tensors: list[Tensor]) -> Node:
    options = op.builtinOptions
    return Node(
        op=_op_name(code),
        inputs=tuple(tensors[i] if i >= 0 else None for i in items(op.inputs)),
        outputs=tuple(tensors[i] for i in items(op.outputs)),
        version=code.version,
        custom=_builtin(code) == schema.BuiltinOperator.CUSTOM,
        activation=bool(getattr(options, "fusedActivationFunction", 0)),
        adj_x=bool(getattr(options, "adjX", False)),
        adj_y=bool(getattr(options, "adjY", False)),
        strides=(getattr(options, "strideH", 1), getattr(options, "strideW", 1)),
        dilations=(getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)),
        same_padding=hasattr(options, "strideH") and options.padding == schema.Padding.SAME,
    )


def op_name(model: schema.ModelT, op: schema.OperatorT) -> str:
    """The op's name in the schema; for a custom op its own name."""
    return _op_name(model.operatorCodes[op.opcodeIndex])


def _op_name(code: schema.OperatorCodeT) -> str:
    builtin = _builtin(code)
    if builtin == schema.BuiltinOperator.CUSTOM:
        return _text(code.customCode)
    return OP_NAMES.get(builtin, f"BUILTIN_{builtin}")


def _builtin(code: schema.OperatorCodeT) -> int:
    # Files from before 2020 have the code in the 8-bit field; both fields are written for ops below 127.
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def tensor_of(model: schema.ModelT, tensor: schema.TensorT) -> Tensor:
    """A tensor from the schema's object."""
    quantization = tensor.quantization
    zero_points = items(quantization.zeroPoint) if quantization else ()
    scales = () if quantization is None or quantization.scale is None else quantization.scale
    buffer = model.buffers[tensor.buffer]
    return Tensor(
        shape=items(tensor.shape),
        dtype=TYPE_NAMES.get(tensor.type, f"type_{tensor.type}").lower(),
        name=_text(tensor.name),
        constant=buffer.data is not None and len(buffer.data) > 0,
        num_scales=len(scales),
        scale=float(scales[0]) if len(scales) else 0.0,
        zero_point=zero_points[0] if zero_points else 0,
        dynamic=any(size < 0 for size in items(tensor.shapeSignature)),
    )


def printable(text: str) -> str:
    """A text from an untrusted file, without control characters and not too long."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_TEXT])


def _text(content: bytes | None) -> str:
    return printable((content or b"?").decode("utf-8", errors="replace"))


def tensors_of(nodes: Iterable[Node]) -> list[Tensor]:
    """The tensors of a graph, each once, constants included; tensors are compared by identity."""
    found = {id(t): t for node in nodes for t in (*node.inputs, *node.outputs) if t is not None}
    return list(found.values())


def multiply_accumulates(nodes: Iterable[Node]) -> int:
    """Multiply-accumulates per inference in the matrix ops: dense, convolutions, products of activations."""
    return sum(node.output_elements * node.depth for node in nodes)


# Kernels are stored as (out, in), (out, height, width, in) and (1, height, width, out).
_DEPTHS: dict[str, Callable[[Node], int]] = {
    "FULLY_CONNECTED": lambda node: node.inputs[1].shape[-1],
    "CONV_2D": lambda node: math.prod(node.inputs[1].shape[1:]),
    "DEPTHWISE_CONV_2D": lambda node: math.prod(node.inputs[1].shape[1:3]),
    "BATCH_MATMUL": lambda node: node.inputs[0].shape[-2:][0 if node.adj_x else -1],
}


def float_islands(inputs: Iterable[Tensor], nodes: Iterable[Node]) -> tuple[str, ...]:
    """Names of the float tensors computed inside a model whose `inputs` are integers.

    A converter leaves them where it cannot quantize, without an error.
    """
    if any(t.dtype.startswith("float") for t in inputs):
        return ()
    return tuple(t.name for node in nodes for t in node.outputs if t.dtype.startswith("float"))


# --- Whole models -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelDescription:
    """A model's main graph.

    `ops` counts nodes by op name, most frequent first; `float_islands` are those of the function of this name.
    """

    num_bytes: int
    num_nodes: int
    ops: dict[str, int]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    float_islands: tuple[str, ...]
    multiply_accumulates: int


def describe(model_bytes: bytes, name: str = "The model") -> ModelDescription:
    """Nodes, tensors and sizes of a model, read from the file alone.

    Raises:
      ModelFileError: not a TensorFlow Lite model.
    """
    model = parse(model_bytes, name)
    graph = model.subgraphs[0]
    nodes = _subgraph_nodes(model, graph)
    inputs, outputs = graph_inputs(model), tuple(tensor_of(model, graph.tensors[i]) for i in items(graph.outputs))
    return ModelDescription(
        num_bytes=len(model_bytes),
        num_nodes=len(nodes),
        ops=dict(Counter(node.op for node in nodes).most_common()),
        inputs=inputs,
        outputs=outputs,
        float_islands=float_islands(inputs, nodes),
        multiply_accumulates=multiply_accumulates(nodes),
    )


def graph_inputs(model: schema.ModelT) -> tuple[Tensor, ...]:
    """The inputs of the main graph."""
    graph = model.subgraphs[0]
    return tuple(tensor_of(model, graph.tensors[i]) for i in items(graph.inputs))
