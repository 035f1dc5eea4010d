"""LiteRT and TensorFlow Lite Micro on this computer; no other module opens an interpreter."""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tflite_micro import runtime as tflm

from kser.errors import ConfigError, ModelFileError
from kser.tflite.model_file import items, parse
from kser.tflite.op_graph import ModelDescription, Tensor, describe, op_name, tensor_of

DEFAULT_ARENA_BYTES = 16 << 20


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


def quantize(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """`values` as `tensor` stores them: divided by the scale, rounded half to even, shifted, clipped to its range."""
    if tensor.dtype == "float32":
        return np.asarray(values, np.float32)
    limits = np.iinfo(tensor.dtype)
    steps = np.rint(values / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(steps, limits.min, limits.max).astype(tensor.dtype)


def dequantize(values: np.ndarray, tensor: Tensor) -> np.ndarray:
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
    tensor: Tensor
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
        results = [(op, index) for op in graph.operators for index in items(op.outputs)]
        values: list[list[np.ndarray]] = [[] for _ in results]
        for clip in quantize(features, self.input):
            self._invoke(clip[np.newaxis])
            for kept, (_, index) in zip(values, results, strict=True):
                kept.append(self._interpreter.get_tensor(index))
        infos = [(op_name(model, op), tensor_of(model, graph.tensors[index])) for op, index in results]
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
    """TensorFlow Lite Micro on this computer: the interpreter and reference kernels a microcontroller runs.

    `logits(features)` takes normalized log-mel (n, num_frames, num_mels) float32 to logits (n, num_classes) float32, by the
    scales of the model's integers; `arena()` tells the bytes of tensor arena in use. It runs in this process, which a
    damaged model can crash: for one of unknown origin use `evaluate`, `predict` and `check_board`.

    Args:
      model_bytes: the .tflite, of one input (1, num_frames, num_mels) and one output (1, num_classes).
      name: what complaints call it.
      arena_bytes: size of the tensor arena.

    Raises:
      ModelFileError: no such model, one that TensorFlow Lite Micro cannot run, or, of `logits`, features that do not fit.

    Example:
      >>> interpreter = kser.TFLMInterpreter(model_bytes)
      >>> interpreter.logits(test.features).shape, interpreter.arena().total > 0
      ((6, 3), True)
    """

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


def _check_features(features: np.ndarray, tensor: Tensor, name: str) -> None:
    if features.dtype != np.float32 or features.shape[1:] != tensor.shape[1:]:
        expected = ", ".join(map(str, ("n", *tensor.shape[1:])))
        raise ModelFileError(f"{name} takes float32 features ({expected}), not {features.dtype} {features.shape}.")
