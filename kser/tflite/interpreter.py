"""LiteRT and TensorFlow Lite Micro on this computer; no other module opens an interpreter."""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tflite_micro import runtime as tflm

from kser.errors import ConfigError, KserError, ModelFileError
from kser.tflite.model_file import items, parse
from kser.tflite.op_graph import ModelDescription, Tensor, describe, graph_inputs, op_name, printable, tensor_of

DEFAULT_ARENA_BYTES = 16 << 20


@contextlib.contextmanager
def captured_log() -> Iterator[Callable[[], str]]:
    """Captures what the process writes to stderr within the block, native code included; yields a function to read it.

    TensorFlow's and TFLM's C++ code bypasses `sys.stderr`, so file descriptor 2 is redirected, for all threads.
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


class InterpreterError(ModelFileError):
    """An interpreter does not load or run a model; `reason` is the end of a sentence."""

    def __init__(self, name: str, library: str, reason: str):
        super().__init__(f"{name} does not run in {library}: {reason}.")
        self.reason = reason


@contextlib.contextmanager
def _interpreter_errors(library: str, name: str, arena_bytes: int = DEFAULT_ARENA_BYTES) -> Iterator[None]:
    """Silences an interpreter and turns its error into one sentence."""
    with captured_log() as log:
        try:
            yield
        except (RuntimeError, ValueError, TypeError) as error:  # TypeError: a tensor type that NumPy does not have
            raise InterpreterError(name, library, _failure_reason(f"{log()}\n{error}", arena_bytes)) from error


def _failure_reason(log: str, arena_bytes: int) -> str:
    """The cause of an error, from an interpreter's log; its first message if it is none of the known ones."""
    missing_op = re.search(r"Didn't find op for builtin opcode '(\w+)'|unresolved custom op: (\w+)", log)
    if missing_op:
        return f"the op {missing_op[1] or missing_op[2]} is missing there"
    if "registration from op code CUSTOM" in log:  # TFLM does not say which
        return "a custom op is missing there (bin/doctor names it)"
    if re.search(r"Failed to (allocate|resize) .*missing: \d+|Too many buffers", log):
        return f"it needs a tensor arena of more than {arena_bytes} bytes"
    complaints = (line.strip() for line in log.splitlines() if not line.startswith(("INFO:", "WARNING:")))
    return printable(next(filter(None, complaints), "it gives no reason")).rstrip(".")


def quantize(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Quantizes `values` for `tensor`: divided by the scale, rounded half to even, shifted, clipped to its range."""
    if tensor.dtype == "float32":
        return np.asarray(values, np.float32)
    limits = np.iinfo(tensor.dtype)
    steps = np.rint(values / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(steps, limits.min, limits.max).astype(tensor.dtype)


def dequantize(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The real values, float32, of stored values of `tensor`."""
    if tensor.dtype == "float32":
        return np.asarray(values, np.float32)
    return (values.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)


class Runner(ABC):
    """A model with one input and one output in an interpreter: float features in, float logits out, clip by clip.

    Attributes:
      input: the input tensor (1, ...); in kser's networks (1, num_frames, num_mels).
      output: the output tensor (1, ...); in kser's networks (1, num_classes).
    """

    library: str

    def __init__(self, model_bytes: bytes, name: str = "The model"):
        description = describe(model_bytes, name)
        _check_signature(description, name)
        self._name = name
        self._model_bytes = bytes(model_bytes)  # the interpreters read the weights in place, so they must stay alive
        (self.input,), (self.output,) = description.inputs, description.outputs

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Outputs (n, ...) float32 of inputs (n, ...) float32; in kser's networks, logits (n, num_classes) of features
        (n, num_frames, num_mels).

        Raises:
          ModelFileError: the features do not fit the model, or the interpreter fails.
        """
        _check_features(np.asarray(features), self.input, self._name)
        outputs = np.empty((len(features), *self.output.shape[1:]), self.output.dtype)
        with _interpreter_errors(self.library, self._name):
            for index, clip in enumerate(quantize(features, self.input)):
                outputs[index] = self.invoke(clip[np.newaxis])[0]
        return dequantize(outputs, self.output)

    @abstractmethod
    def invoke(self, clip: np.ndarray) -> np.ndarray:
        """The output tensor (1, num_classes) of an input tensor (1, num_frames, num_mels), both as stored."""


@dataclass(frozen=True)
class ComputedTensor:
    """The result of a node: its op, its tensor, and the real values (n, *shape) for n clips."""

    op: str
    tensor: Tensor
    values: np.ndarray


class LiteRTRunner(Runner):
    """TensorFlow Lite (LiteRT) with its reference kernels.

    The reference kernels (BUILTIN_REF) compute the same bits as TFLM, except that they multiply a Dense layer's scales in
    float32 and TFLM in double, so that a few values round differently; the default, optimised kernels differ from both by
    up to one step. Their int8 SUM is wrong: use a mean instead.
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

    def invoke(self, clip: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input_index, clip)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output_index)

    def computed_tensors(self, features: np.ndarray) -> list[ComputedTensor]:
        """The results of all nodes, in order, for features (n, num_frames, num_mels); needs `keep_tensors`."""
        model = parse(self._model_bytes, self._name)
        graph = model.subgraphs[0]
        results = [(op_name(model, op), index) for op in graph.operators for index in items(op.outputs)]
        values: list[list[np.ndarray]] = [[] for _ in results]
        for clip in quantize(features, self.input):
            self.invoke(clip[np.newaxis])
            for kept, (_, index) in zip(values, results, strict=True):
                kept.append(self._interpreter.get_tensor(index))
        tensors = [tensor_of(model, graph.tensors[index]) for _, index in results]
        ops = [op for op, _ in results]
        return [ComputedTensor(op, t, dequantize(np.stack(v), t)) for op, t, v in zip(ops, tensors, values, strict=True)]


class TFLMRunner(Runner):
    """TensorFlow Lite Micro on this computer: the interpreter and the reference kernels that a microcontroller runs.

    `logits(features)` maps normalized log-mel (n, num_frames, num_mels) float32 to logits (n, num_classes) float32; it
    quantizes inputs and dequantizes outputs. `arena()` returns the bytes of tensor arena in use. A damaged model can crash
    this process: for an untrusted file use `evaluate`, `predict` and `check_board`.

    Args:
      model_bytes: the .tflite, with one input (1, num_frames, num_mels) and one output (1, num_classes).
      name: name of the model in error messages.
      arena_bytes: size of the tensor arena.

    Raises:
      ModelFileError: not such a model, or TensorFlow Lite Micro cannot run it; in `logits`, features of a wrong shape.

    Example:
      >>> interpreter = kser.TFLMInterpreter(model_bytes)
      >>> interpreter.logits(test.features).shape, interpreter.arena().total > 0
      ((6, 3), True)
    """

    library = "TensorFlow Lite Micro"

    def __init__(self, model_bytes: bytes, name: str = "The model", arena_bytes: int = DEFAULT_ARENA_BYTES):
        super().__init__(model_bytes, name)
        with _interpreter_errors(self.library, name, arena_bytes):
            self._interpreter = tflm.Interpreter.from_bytes(self._model_bytes, arena_size=arena_bytes)

    def invoke(self, clip: np.ndarray) -> np.ndarray:
        self._interpreter.set_input(clip, 0)
        self._interpreter.invoke()
        return self._interpreter.get_output(0)

    def arena(self) -> ArenaUsage:
        """The bytes in use once the model is loaded, however large the given arena is.

        Loading can need more, see `smallest_arena_bytes`. A 32-bit board needs less, because its pointers are half as long.
        """
        return _arena_usage(self._interpreter)


@dataclass(frozen=True)
class ArenaUsage:
    """Bytes of tensor arena: `head` for activations and scratch, `tail` for data that lives as long as the interpreter, such
    as one TfLiteEvalTensor for each of `eval_tensors` tensors."""

    total: int
    head: int
    tail: int
    eval_tensors: int


def _arena_usage(tflm_interpreter) -> ArenaUsage:
    with captured_log() as log:
        tflm_interpreter.print_allocations()
        used = dict(re.findall(r"Arena allocation (total|head|tail) (\d+) bytes", log()))
        eval_tensors = re.search(r"'TfLiteEvalTensor data' used .* for (\d+) ", log())
    if len(used) < 3 or not eval_tensors:
        where = tempfile.gettempdir()
        raise KserError(f"Cannot write TensorFlow Lite Micro's report of its arena to {where}; free some space there.")
    return ArenaUsage(eval_tensors=int(eval_tensors[1]), **{part: int(size) for part, size in used.items()})


def trial_run(model_bytes: bytes, name: str = "The model") -> ArenaUsage:
    """Runs any model once in TFLM on zeros; returns the arena in use afterwards.

    Raises:
      ModelFileError: not a TensorFlow Lite model; InterpreterError, a subclass: it does not load or run in TFLM.
    """
    model = parse(model_bytes, name)
    with _interpreter_errors(TFLMRunner.library, name):
        interpreter = tflm.Interpreter.from_bytes(model_bytes, arena_size=DEFAULT_ARENA_BYTES)
        for position, tensor in enumerate(graph_inputs(model)):
            interpreter.set_input(np.zeros(tensor.shape, tensor.dtype), position)
        interpreter.invoke()
        return _arena_usage(interpreter)


def smallest_arena_bytes(model_bytes: bytes, name: str = "The model") -> int:
    """The smallest arena, in steps of 16 bytes, in which TFLM loads the model on this computer.

    Small models need more for loading than afterwards, because of the memory planner's own tables.

    Raises:
      ModelFileError: as `trial_run`.
    """

    def loads(arena_bytes: int) -> bool:
        try:
            tflm.Interpreter.from_bytes(model_bytes, arena_size=arena_bytes)
        except RuntimeError:
            return False
        return True

    sizes = range(trial_run(model_bytes, name).total, DEFAULT_ARENA_BYTES, 16)
    with captured_log():
        steps = bisect.bisect_left(sizes, True, key=loads)
    return sizes[steps] if steps < len(sizes) else DEFAULT_ARENA_BYTES


_RUNNERS: dict[str, type[Runner]] = {"tflite": LiteRTRunner, "tflm": TFLMRunner}


def open_runner(kind: str, model_bytes: bytes, name: str = "The model") -> Runner:
    """A runner by name: "tflite" or "tflm".

    Raises:
      ConfigError: another kind.
      ModelFileError: the model is damaged, does not have the inputs and outputs of a kser model, or does not run.
    """
    require_interpreter(kind)
    runner = _RUNNERS[kind](model_bytes, name)
    if (len(runner.input.shape), len(runner.output.shape)) != (3, 2):
        raise ModelFileError(_other_signature([runner.input], [runner.output], name))
    return runner


def require_interpreter(kind: str) -> None:
    """Raises ConfigError for a kind that `open_runner` does not know."""
    if kind not in _RUNNERS:
        raise ConfigError(f"There is no interpreter '{kind}'; known: {', '.join(_RUNNERS)}.")


def _check_signature(description: ModelDescription, name: str) -> None:
    tensors = (*description.inputs, *description.outputs)
    single = len(description.inputs) == len(description.outputs) == 1
    if not single or any(tensor.shape[:1] != (1,) for tensor in tensors):
        raise ModelFileError(_other_signature(description.inputs, description.outputs, name))
    unknown = {t.dtype for t in (*description.inputs, *description.outputs)} - {"float32", "int8", "int16", "uint8"}
    if unknown:
        raise ModelFileError(f"{name} has an input or output of type {', '.join(sorted(unknown))}, which kser does not run.")


def _other_signature(inputs: Sequence[Tensor], outputs: Sequence[Tensor], name: str) -> str:
    shapes = [[tensor.shape for tensor in tensors] for tensors in (inputs, outputs)]
    return (
        f"{name} must have one input (1, num_frames, num_mels) and one output (1, num_classes); "
        f"it has inputs {shapes[0]} and outputs {shapes[1]}."
    )


def _check_features(features: np.ndarray, tensor: Tensor, name: str) -> None:
    if features.dtype != np.float32 or features.shape[1:] != tensor.shape[1:]:
        expected = ", ".join(map(str, ("n", *tensor.shape[1:])))
        raise ModelFileError(f"{name} takes float32 features ({expected}), not {features.dtype} {features.shape}.")
