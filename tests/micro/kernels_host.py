"""Builds the kernels of deploy/kser_micro on this computer and runs models with them in a real TensorFlow Lite Micro.

The library is the one in the xmos-ai-tools package: headers and a shared object of TFLM, with its names in the namespace
`tflite_micro` and without BATCH_MATMUL, like the Arduino libraries.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from kser.tflite import interpreter, model_file
from tests.micro import toolchain

KERNELS = toolchain.LIBRARY / "kernels"
RUNNER = Path(__file__).with_name("kernels_runner.cpp")
CODES = {name: code for code, name in model_file.OP_NAMES.items()}
# Those with kernels of kser's; all but the last are in the library as well.
OWN_OPS = (
    *("LOGISTIC", "TANH", "HARD_SWISH", "SOFTMAX", "L2_NORMALIZATION", "MEAN", "ADD", "SUB", "MUL"),
    *("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "PAD", "BATCH_MATMUL"),
)


def missing_tool() -> str:
    """Why nothing can be built, as a reason to skip; empty if it can."""
    return toolchain.missing("g++") or toolchain.missing_tflm()


def build_runner(folder: Path, flags: Iterable[str] = toolchain.SANITIZERS) -> Path:
    """The compiled kernels_runner.cpp."""
    return toolchain.tflm_program(folder / "kernels_runner", KERNELS, [RUNNER, *toolchain.KERNEL_SOURCES], flags)


@dataclass(frozen=True)
class Reply:
    """Outputs (num_runs, bytes) of the first output tensor, and what the interpreter says of the model."""

    outputs: np.ndarray
    arena_bytes: int
    num_nodes: int


class RefusedError(Exception):
    """The model was not loaded, or not run."""


class HostTFLM:
    """A running kernels_runner."""

    def __init__(self, program: Path, log: Path):
        self.log = log
        self._log_file = open(log, "wb")
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log_file)

    def run(self, model_bytes: bytes, inputs: np.ndarray, own_ops: Iterable[str] = OWN_OPS) -> Reply:
        """The model on int8 inputs (num_runs, bytes), kser's kernels for the ops named.

        Raises:
          RefusedError: the interpreter could not load or run it.
        """
        codes = [CODES[op] for op in own_ops]
        content = np.ascontiguousarray(inputs, np.int8).tobytes()
        self._process.stdin.write(struct.pack(f"{len(codes) + 1}I", len(codes), *codes))
        for part in (model_bytes, content):
            self._process.stdin.write(struct.pack("I", len(part)) + part)
        self._process.stdin.flush()
        header = self._process.stdout.read(16)
        if len(header) < 16:
            raise AssertionError(f"The runner ended: {self.log.read_text(errors='replace')[-3000:]}")
        status, arena_bytes, num_nodes, size = struct.unpack("4I", header)
        if status:
            raise RefusedError(self.log.read_text(errors="replace")[-500:])
        outputs = np.frombuffer(self._process.stdout.read(size), np.int8)
        return Reply(outputs.reshape(len(inputs), -1), arena_bytes, num_nodes)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._log_file.close()


def run_wheel(model_bytes: bytes, inputs: np.ndarray) -> np.ndarray:
    """What the tflite-micro wheel makes of the inputs of `HostTFLM.run`."""
    graph = model_file.parse(model_bytes).subgraphs[0]
    shapes = [tuple(graph.tensors[i].shape) for i in graph.inputs]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    tflm = interpreter.tflm.Interpreter.from_bytes(model_bytes, arena_size=4 << 20)
    outputs = []
    for row in inputs:
        for index, part in enumerate(np.split(row, ends)):
            tflm.set_input(part.reshape(shapes[index]), index)
        tflm.invoke()
        outputs.append(tflm.get_output(0).ravel())
    return np.array(outputs)


def run_litert(model_bytes: bytes, inputs: np.ndarray) -> np.ndarray:
    """What LiteRT's reference kernels make of them. A Dense layer's scales they multiply in float32 as TFLM's sources do,
    which the wheel multiplies in double."""
    litert = tf.lite.Interpreter(
        model_content=model_bytes, experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    litert.allocate_tensors()
    details, (output, *_) = litert.get_input_details(), litert.get_output_details()
    ends = np.cumsum([int(np.prod(detail["shape"])) for detail in details])[:-1]
    outputs = []
    for row in inputs:
        for detail, part in zip(details, np.split(row, ends), strict=True):
            litert.set_tensor(detail["index"], part.reshape(detail["shape"]))
        litert.invoke()
        outputs.append(litert.get_tensor(output["index"]).ravel())
    return np.array(outputs)


# --- Models of one op -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spec:
    """A tensor: int8 with a scale, or one for each channel along an axis; or int32. `values` are the model's own."""

    shape: tuple[int, ...]
    scale: float | tuple[float, ...] = 1.0
    zero_point: int = 0
    values: tuple[int, ...] | None = None
    dtype: int | None = None
    axis: int = 0

    @property
    def type(self) -> int:
        """Of `schema.TensorType`: where none is given, int32 for values and int8 for others."""
        if self.dtype is not None:
            return self.dtype
        return schema.TensorType.INT8 if self.values is None else schema.TensorType.INT32

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape))


def one_op(op: str, inputs: Sequence[Spec], output: Spec, options: object | None = None) -> bytes:
    """A model of one node, with the options that the schema has for it (`SoftmaxOptionsT`, ...)."""
    return model_of([(op, [*range(len(inputs))], len(inputs), options)], [*inputs, output], len(inputs))


def model_of(nodes: Sequence[tuple[str, list[int], int, object | None]], specs: Sequence[Spec], num_inputs: int) -> bytes:
    """A model of nodes (op, inputs, output, options); the first `num_inputs` tensors are inputs, the last is the output."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    names = sorted({op for op, *_ in nodes})
    model.operatorCodes = [_operator_code(name) for name in names]
    graph.tensors = [_tensor(model, spec) for spec in specs]
    graph.inputs = np.array([i for i in range(num_inputs) if specs[i].values is None], np.int32)
    graph.outputs = np.array([len(specs) - 1], np.int32)
    graph.operators = [_operator(names.index(op), inputs, output, options) for op, inputs, output, options in nodes]
    return model_file.pack(model)


def _operator_code(name: str) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = CODES[name], 1
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    return code


def _operator(code: int, inputs: list[int], output: int, options: object | None) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    if options is not None:
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    return operator


def _tensor(model: schema.ModelT, spec: Spec) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = "t", np.array(spec.shape, np.int32), 0, spec.type
    if spec.values is not None:
        buffer = schema.BufferT()
        dtype = np.int8 if spec.type == schema.TensorType.INT8 else np.int32
        buffer.data = np.frombuffer(np.array(spec.values, dtype).tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.atleast_1d(np.array(spec.scale, np.float32))
    tensor.quantization.quantizedDimension = spec.axis
    tensor.quantization.zeroPoint = np.full(np.size(spec.scale), spec.zero_point, np.int64)
    return tensor
