"""What is inside a .tflite file, and the only place that opens an interpreter on one.

Schema: https://github.com/tensorflow/tensorflow/blob/v2.16.2/tensorflow/lite/schema/schema.fbs
"""

from __future__ import annotations

import bisect
import contextlib
import json
import math
import os
import re
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import flatbuffers
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tflite_micro import runtime as tflm

from kser.errors import ConfigError, ModelFileError

FILE_IDENTIFIER = b"TFL3"
METADATA_NAME = b"kser"
METADATA_VERSION = 1
BUFFER_ALIGNMENT = 16
DEFAULT_ARENA_BYTES = 16 << 20
# No board has more flash, and a .tflite is a flatbuffer, whose offsets end at 2 GB.
MAX_MODEL_BYTES = 64 << 20


def _names(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


OP_NAMES = _names(schema.BuiltinOperator)
TYPE_NAMES = _names(schema.TensorType)


# --- The file ---------------------------------------------------------------------------------------------------------


def read_model_file(path: str) -> bytes:
    """The bytes of a file that may be a model; one that is longer than a model can be is not read.

    Raises:
      ModelFileError: missing, unreadable, or too long.
    """
    try:
        with open(path, "rb") as file:
            # A device has no size and can be endless.
            too_long = os.fstat(file.fileno()).st_size > MAX_MODEL_BYTES
            content = b"" if too_long else file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
    if too_long or len(content) > MAX_MODEL_BYTES:
        raise ModelFileError(f"{path} is longer than {MAX_MODEL_BYTES >> 20} MB: no board here has flash for such a model.")
    return content


def parse(model_bytes: bytes, name: str = "The model") -> schema.ModelT:
    """The model as objects of the flatbuffer schema. `name` is what error messages call the file.

    Neither interpreter verifies a file, both crash on a truncated one: nothing that `parse` refuses may reach them.

    Raises:
      ModelFileError: not a TensorFlow Lite model, truncated, or with indices that point nowhere.
    """
    if not model_bytes:
        raise ModelFileError(f"{name} is empty.")
    if bytes(model_bytes[4:8]) != FILE_IDENTIFIER:
        raise ModelFileError(f"{name} is not a TensorFlow Lite model: it lacks the file identifier TFL3.")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(_StrictBytes(model_bytes), 0))
        whole = _indices_in_range(model)
    except Exception as error:  # damaged offsets can make the generated parser raise anything
        raise ModelFileError(f"{name} is truncated or damaged; write it again.") from error
    if not whole:
        raise ModelFileError(f"{name} is damaged; write it again.")
    return model


class _StrictBytes(bytes):
    """Bytes whose slices never end beyond the last byte: a plain slice hides that a string was cut off."""

    def __getitem__(self, key):
        if isinstance(key, slice) and key.stop is not None and key.stop > len(self):
            raise IndexError("slice beyond the end of the file")
        return super().__getitem__(key)


def _items(vector) -> tuple[int, ...]:
    """A vector of integers, which the generated parser gives as None when it is empty."""
    return () if vector is None else tuple(int(item) for item in vector)


def _indices_in_range(model: schema.ModelT) -> bool:
    def below(indices, count: int, lowest: int = 0) -> bool:
        return all(lowest <= i < count for i in indices)

    def graph_in_range(graph) -> bool:
        count = len(graph.tensors)
        return (
            below((t.buffer for t in graph.tensors), len(model.buffers))
            and below((op.opcodeIndex for op in graph.operators), len(model.operatorCodes))
            and below((i for op in graph.operators for i in _items(op.inputs)), count, lowest=-1)  # -1: optional, left out
            and below((i for op in graph.operators for i in _items(op.outputs)), count)
            and below([*_items(graph.inputs), *_items(graph.outputs)], count)
        )

    metadata_in_range = below((m.buffer for m in model.metadata or ()), len(model.buffers))
    return len(model.subgraphs) > 0 and metadata_in_range and all(map(graph_in_range, model.subgraphs))


class _AlignedBuilder(flatbuffers.Builder):
    """Puts byte vectors on 16-byte boundaries, as the schema's `force_align` demands and generated Python code does not.

    Optimised kernels on microcontrollers load weights 16 bytes at a time; TensorFlow's own converter rewrites its
    result through the unaligned Python code.
    """

    def StartVector(self, element_size, num_elements, alignment):  # noqa: N802 (overrides flatbuffers' name)
        return super().StartVector(element_size, num_elements, BUFFER_ALIGNMENT if element_size == 1 else alignment)


def pack(model: schema.ModelT) -> bytes:
    """The inverse of `parse`, every buffer on a 16-byte boundary of the file."""
    builder = _AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


# --- Metadata ---------------------------------------------------------------------------------------------------------


def add_metadata(model_bytes: bytes, metadata: dict) -> bytes:
    """The model with `metadata` (JSON values) inside, in place of any that kser put there before.

    It is a buffer named "kser" in `Model.metadata`, UTF-8 JSON with a `schema_version`; interpreters ignore it.

    Raises:
      ModelFileError: `model_bytes` is no TensorFlow Lite model.
    """
    model = parse(model_bytes)
    _metadata_buffer(model).data = np.frombuffer(encode_metadata(metadata), np.uint8)
    return pack(model)


def encode_metadata(metadata: dict) -> bytes:
    """The buffer's content for `metadata`; for what `read_metadata` returned, the bytes it was read from."""
    content = json.dumps({**metadata, "schema_version": METADATA_VERSION}, ensure_ascii=False, allow_nan=False)
    return content.encode("utf-8")


def _metadata_buffer(model: schema.ModelT) -> schema.BufferT:
    """The buffer registered under kser's name, appended empty if there is none."""
    model.metadata = model.metadata or []
    for entry in model.metadata:
        if entry.name == METADATA_NAME:
            return model.buffers[entry.buffer]
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers)
    model.metadata.append(entry)
    model.buffers.append(schema.BufferT())
    return model.buffers[-1]


def read_metadata(model_bytes: bytes, name: str = "The model") -> dict:
    """What `add_metadata` put into the model.

    Raises:
      ModelFileError: no TensorFlow Lite model, none of kser's metadata, damaged metadata, or of a newer kser.
    """
    data = _metadata_buffer(parse(model_bytes, name)).data
    if data is None:
        raise ModelFileError(f"{name} has no kser metadata; the model.tflite that bin/fold_and_convert writes has.")
    try:
        metadata = json.loads(bytes(data).decode("utf-8"))
        version = int(metadata.pop("schema_version"))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelFileError(f"{name} has damaged kser metadata; write it again with bin/fold_and_convert.") from error
    if version > METADATA_VERSION:
        raise ModelFileError(
            f"{name} has kser metadata of version {version}, this kser reads up to {METADATA_VERSION}; update kser."
        )
    return metadata


# --- What a model consists of -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TensorInfo:
    """A tensor: real value = scale * (stored value - zero_point); scale 0 means not quantized."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class ModelDescription:
    """A model's main graph.

    `ops` counts nodes by op name, most frequent first. `float_islands` names the float tensors computed inside a
    model whose input is integer: a converter leaves them where it cannot quantize, and no error tells.
    """

    num_bytes: int
    num_nodes: int
    ops: dict[str, int]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    float_islands: tuple[str, ...]


def describe(model_bytes: bytes, name: str = "The model") -> ModelDescription:
    """Nodes, tensors and sizes of a model, read from the file alone.

    Raises:
      ModelFileError: no TensorFlow Lite model.
    """
    model = parse(model_bytes, name)
    graph = model.subgraphs[0]
    ops = Counter(op_name(model, op) for op in graph.operators)
    return ModelDescription(
        num_bytes=len(model_bytes),
        num_nodes=len(graph.operators),
        ops=dict(ops.most_common()),
        inputs=tuple(_tensor_info(graph.tensors[i]) for i in _items(graph.inputs)),
        outputs=tuple(_tensor_info(graph.tensors[i]) for i in _items(graph.outputs)),
        float_islands=_float_islands(graph),
    )


def op_name(model: schema.ModelT, op: schema.OperatorT) -> str:
    """The op's name in the schema, of a custom op the name it has itself."""
    code = model.operatorCodes[op.opcodeIndex]
    # Files from before 2020 hold the code in the 8-bit field; both are written for ops below 127.
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == schema.BuiltinOperator.CUSTOM:
        return code.customCode.decode()
    return OP_NAMES.get(builtin, f"BUILTIN_{builtin}")


def _tensor_info(tensor: schema.TensorT) -> TensorInfo:
    quantization = tensor.quantization
    quantized = quantization is not None and quantization.scale is not None
    return TensorInfo(
        name=tensor.name.decode(),
        shape=_items(tensor.shape),
        dtype=TYPE_NAMES.get(tensor.type, f"type_{tensor.type}").lower(),
        scale=float(quantization.scale[0]) if quantized else 0.0,
        zero_point=int(quantization.zeroPoint[0]) if quantized else 0,
    )


def _float_islands(graph: schema.SubGraphT) -> tuple[str, ...]:
    floats = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.FLOAT64)
    if any(graph.tensors[i].type in floats for i in _items(graph.inputs)):
        return ()
    computed = (graph.tensors[i] for op in graph.operators for i in _items(op.outputs))
    return tuple(tensor.name.decode() for tensor in computed if tensor.type in floats)


# Multiply-accumulates of an op from the shapes of its two first inputs and its output. Kernels are stored as
# (out, in), (out, height, width, in) and (1, height, width, out).
_MULTIPLY_ACCUMULATES = {
    "FULLY_CONNECTED": lambda x, kernel, y, options: math.prod(y) * kernel[-1],
    "CONV_2D": lambda x, kernel, y, options: math.prod(y) * math.prod(kernel[1:]),
    "DEPTHWISE_CONV_2D": lambda x, kernel, y, options: math.prod(y) * math.prod(kernel[1:3]),
    "BATCH_MATMUL": lambda x, kernel, y, options: math.prod(y) * x[-2 if options.adjX else -1],
}


def multiply_accumulates(model_bytes: bytes, name: str = "The model") -> int:
    """Multiply-accumulates of one inference in the matrix ops: dense, convolutions, products of activations.

    Raises:
      ModelFileError: no TensorFlow Lite model.
    """
    model = parse(model_bytes, name)
    graph = model.subgraphs[0]
    total = 0
    for op in graph.operators:
        count = _MULTIPLY_ACCUMULATES.get(op_name(model, op))
        if count:
            x, kernel, y = (_items(graph.tensors[i].shape) for i in (*op.inputs[:2], op.outputs[0]))
            total += count(x, kernel, y, op.builtinOptions)
    return total


# --- Interpreters -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def captured_log() -> Iterator[Callable[[], str]]:
    """Keeps what the process writes to stderr in the block, native code included, and yields a function to read it.

    TensorFlow's and TFLM's C++ log past `sys.stderr`, so file descriptor 2 itself is redirected, for all threads.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:

        def read() -> str:
            sys.stderr.flush()
            log.seek(0)
            return log.read().decode(errors="replace")

        saved = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield read
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def _interpreter_errors(library: str, name: str) -> Iterator[None]:
    """Silences an interpreter and turns its failure into one sentence."""
    with captured_log() as log:
        try:
            yield
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(f"{name} does not run in {library}: {_reason(f'{log()}{error}')}.") from error


def _reason(log: str) -> str:
    """The cause in an interpreter's log; its last line when it is none of the usual ones."""
    missing_op = re.search(r"Didn't find op for builtin opcode '(\w+)'|unresolved custom op: (\w+)", log)
    if missing_op:
        return f"the op {missing_op[1] or missing_op[2]} is missing there"
    if "registration from op code CUSTOM" in log:  # TFLM does not say which
        return "a custom op is missing there, which bin/doctor names"
    if re.search(r"Failed to (allocate|resize) .*missing: \d+|Too many buffers", log):
        return "the tensor arena is too small for it"
    return log.strip().splitlines()[-1].rstrip(".")


def quantize(values: np.ndarray, tensor: TensorInfo) -> np.ndarray:
    """`values` as `tensor` stores them: divided by the scale, rounded half to even, shifted, clipped to its range."""
    if tensor.dtype == "float32":
        return np.asarray(values, np.float32)
    limits = np.iinfo(tensor.dtype)
    steps = np.rint(values / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(steps, limits.min, limits.max).astype(tensor.dtype)


def dequantize(values: np.ndarray, tensor: TensorInfo) -> np.ndarray:
    """The real values, float32, of what `tensor` stores."""
    if tensor.dtype == "float32":
        return np.asarray(values, np.float32)
    return (values.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)


class Runner(ABC):
    """A model in an interpreter: float features in, float logits out, clip by clip.

    Attributes:
      input: the tensor (1, num_frames, num_mels).
      output: the tensor (1, num_classes).
    """

    library: str

    def __init__(self, model_bytes: bytes, name: str = "The model"):
        description = describe(model_bytes, name)
        _check_signature(description, name)
        self._name = name
        self._model_bytes = bytes(model_bytes)  # the interpreters read the weights in place: keep them alive
        (self.input,), (self.output,) = description.inputs, description.outputs

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (n, num_classes) float32 of features (n, num_frames, num_mels) float32.

        Raises:
          ModelFileError: the features do not fit the model, or the interpreter fails.
        """
        _check_features(np.asarray(features), self.input, self._name)
        outputs = np.empty((len(features), *self.output.shape[1:]), self.output.dtype)
        with _interpreter_errors(self.library, self._name):
            for index, clip in enumerate(quantize(features, self.input)):
                outputs[index] = self._invoke(clip[np.newaxis])[0]
        return dequantize(outputs, self.output)

    @abstractmethod
    def _invoke(self, clip: np.ndarray) -> np.ndarray:
        """The output tensor for the input tensor, both as stored."""


@dataclass(frozen=True)
class ComputedTensor:
    """The result of a node: its op, its tensor, and the real values (n, *shape) for n clips."""

    op: str
    tensor: TensorInfo
    values: np.ndarray


class LiteRTRunner(Runner):
    """TensorFlow Lite for desktops, with its reference kernels.

    The reference kernels (BUILTIN_REF) compute the same bits as TFLM, save that they multiply a Dense layer's scales in
    float32 and TFLM does in double, which now and then rounds a value otherwise; the default, optimised ones differ from
    both by up to one step. Only int8 SUM is wrong in them: reduce by a mean instead.
    """

    library = "TensorFlow Lite"

    def __init__(self, model_bytes: bytes, name: str = "The model", keep_tensors: bool = False):
        super().__init__(model_bytes, name)
        resolver = tf.lite.experimental.OpResolverType.BUILTIN_REF
        with _interpreter_errors(self.library, name):
            self._interpreter = tf.lite.Interpreter(
                model_content=self._model_bytes,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=keep_tensors,
            )
            self._interpreter.allocate_tensors()
        self._input_index = self._interpreter.get_input_details()[0]["index"]
        self._output_index = self._interpreter.get_output_details()[0]["index"]

    def _invoke(self, clip: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input_index, clip)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output_index)

    def computed_tensors(self, features: np.ndarray) -> list[ComputedTensor]:
        """What every node computes, in their order, of features (n, num_frames, num_mels); needs `keep_tensors`."""
        model = parse(self._model_bytes, self._name)
        graph = model.subgraphs[0]
        results = [(op, index) for op in graph.operators for index in _items(op.outputs)]
        values: list[list[np.ndarray]] = [[] for _ in results]
        for clip in quantize(features, self.input):
            self._invoke(clip[np.newaxis])
            for kept, (_, index) in zip(values, results, strict=True):
                kept.append(self._interpreter.get_tensor(index))
        infos = [(op_name(model, op), _tensor_info(graph.tensors[index])) for op, index in results]
        return [
            ComputedTensor(op, info, dequantize(np.stack(kept), info))
            for (op, info), kept in zip(infos, values, strict=True)
        ]


@dataclass(frozen=True)
class ArenaUsage:
    """Bytes of tensor arena. `head` holds activations and scratch, `tail` what lives as long as the interpreter."""

    total: int
    head: int
    tail: int


def open_tflm(model_bytes: bytes, arena_bytes: int = DEFAULT_ARENA_BYTES):
    """TFLM's own interpreter on any model; it refuses one with exceptions of its own and complaints on stderr."""
    return tflm.Interpreter.from_bytes(model_bytes, arena_size=arena_bytes)


class TFLMRunner(Runner):
    """TensorFlow Lite Micro on this computer: the interpreter and reference kernels a microcontroller runs."""

    library = "TensorFlow Lite Micro"

    def __init__(self, model_bytes: bytes, name: str = "The model", arena_bytes: int = DEFAULT_ARENA_BYTES):
        super().__init__(model_bytes, name)
        with _interpreter_errors(self.library, name):
            self._interpreter = open_tflm(self._model_bytes, arena_bytes)

    def _invoke(self, clip: np.ndarray) -> np.ndarray:
        self._interpreter.set_input(clip, 0)
        self._interpreter.invoke()
        return self._interpreter.get_output(0)

    def arena(self) -> ArenaUsage:
        """Bytes in use once the model is loaded, whatever arena it was given.

        Loading itself can take more, see `smallest_arena_bytes`. A 32-bit board takes less: its pointers are half as long.
        """
        with captured_log() as log:
            self._interpreter.print_allocations()
            used = dict(re.findall(r"Arena allocation (total|head|tail) (\d+) bytes", log()))
        return ArenaUsage(**{part: int(size) for part, size in used.items()})


def smallest_arena_bytes(model_bytes: bytes, name: str = "The model") -> int:
    """The smallest arena, in steps of 16 bytes, that TFLM loads the model in on this computer.

    Small models need more to load than they keep: the memory planner's own tables come on top.

    Raises:
      ModelFileError: the model does not run in TFLM.
    """

    def loads(arena_bytes: int) -> bool:
        try:
            TFLMRunner(model_bytes, name, arena_bytes)
        except ModelFileError:
            return False
        return True

    return smallest_that_loads(TFLMRunner(model_bytes, name).arena().total, loads)


def smallest_that_loads(used: int, loads: Callable[[int], bool]) -> int:
    """The smallest arena from `used` bytes on, in steps of 16, that a model loads in: what it keeps, or little more."""
    sizes = range(used, DEFAULT_ARENA_BYTES, 16)
    return sizes[bisect.bisect_left(sizes, True, key=loads)]


_RUNNERS: dict[str, type[Runner]] = {"tflite": LiteRTRunner, "tflm": TFLMRunner}


def open_runner(kind: str, model_bytes: bytes, name: str = "The model") -> Runner:
    """A runner by name: "tflite" or "tflm".

    Raises:
      ConfigError: another kind.
      ModelFileError: the model is damaged, has other inputs and outputs than a kser model, or does not run there.
    """
    require_interpreter(kind)
    return _RUNNERS[kind](model_bytes, name)


def require_interpreter(kind: str) -> None:
    """Raises ConfigError unless `open_runner` knows the kind."""
    if kind not in _RUNNERS:
        raise ConfigError(f"There is no interpreter '{kind}'; known: {', '.join(_RUNNERS)}.")


def _check_signature(description: ModelDescription, name: str) -> None:
    shapes = [[t.shape for t in tensors] for tensors in (description.inputs, description.outputs)]
    if [[len(shape) for shape in group] for group in shapes] != [[3], [2]] or {s[0] for g in shapes for s in g} != {1}:
        raise ModelFileError(
            f"{name} must have one input (1, num_frames, num_mels) and one output (1, num_classes); "
            f"it has inputs {shapes[0]} and outputs {shapes[1]}."
        )
    unknown = {t.dtype for t in (*description.inputs, *description.outputs)} - {"float32", "int8", "int16", "uint8"}
    if unknown:
        raise ModelFileError(f"{name} has an input or output of type {', '.join(sorted(unknown))}, which kser does not run.")


def _check_features(features: np.ndarray, tensor: TensorInfo, name: str) -> None:
    if features.dtype != np.float32 or features.shape[1:] != tensor.shape[1:]:
        expected = ", ".join(map(str, ("n", *tensor.shape[1:])))
        raise ModelFileError(f"{name} takes float32 features ({expected}), not {features.dtype} {features.shape}.")
