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

from kser.errors import ConfigError, ModelFileError
from kser.tflite.model_file import items, parse
from kser.tflite.op_graph import ModelDescription, Tensor, describe, graph_inputs, op_name, printable, tensor_of

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


class InterpreterError(ModelFileError):
    """A model that an interpreter does not load or run; `reason` is why, as the end of a sentence."""

    def __init__(self, name: str, library: str, reason: str):
        super().__init__(f"{name} does not run in {library}: {reason}.")
        self.reason = reason


@contextlib.contextmanager
def _interpreter_errors(library: str, name: str, arena_bytes: int = DEFAULT_ARENA_BYTES) -> Iterator[None]:
    """Silences an interpreter and turns its failure into one sentence."""
    with captured_log() as log:
        try:
            yield
        except (RuntimeError, ValueError, TypeError) as error:  # TypeError: of a tensor's type that NumPy does not have
            raise InterpreterError(name, library, _failure_reason(f"{log()}\n{error}", arena_bytes)) from error


def _failure_reason(log: str, arena_bytes: int) -> str:
    """The cause in an interpreter's log; its first complaint when it is none of the usual ones."""
    missing_op = re.search(r"Didn't find op for builtin opcode '(\w+)'|unresolved custom op: (\w+)", log)
    if missing_op:
        return f"the op {missing_op[1] or missing_op[2]} is missing there"
    if "registration from op code CUSTOM" in log:  # TFLM does not say which
        return "a custom op is missing there, which bin/doctor names"
    if re.search(r"Failed to (allocate|resize) .*missing: \d+|Too many buffers", log):
        return f"it needs a tensor arena of more than {arena_bytes} bytes"
    complaints = (line.strip() for line in log.splitlines() if not line.startswith(("INFO:", "WARNING:")))
    return printable(next(filter(None, complaints), "it does not say why")).rstrip(".")


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
    """A model of one input and one output in an interpreter: float features in, float logits out, clip by clip.

    Attributes:
      input: the tensor (1, ...), for a network of kser's (1, num_frames, num_mels).
      output: the tensor (1, ...), (1, num_classes).
    """

    library: str

    def __init__(self, model_bytes: bytes, name: str = "The model"):
        description = describe(model_bytes, name)
        _check_signature(description, name)
        self._name = name
        self._model_bytes = bytes(model_bytes)  # the interpreters read the weights in place: keep them alive
        (self.input,), (self.output,) = description.inputs, description.outputs

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Outputs (n, ...) float32 of inputs (n, ...) float32; of a network of kser's, logits (n, num_classes) of features
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

    def invoke(self, clip: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input_index, clip)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output_index)

    def computed_tensors(self, features: np.ndarray) -> list[ComputedTensor]:
        """What every node computes, in their order, of features (n, num_frames, num_mels); needs `keep_tensors`."""
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
        with _interpreter_errors(self.library, name, arena_bytes):
            self._interpreter = tflm.Interpreter.from_bytes(self._model_bytes, arena_size=arena_bytes)

    def invoke(self, clip: np.ndarray) -> np.ndarray:
        self._interpreter.set_input(clip, 0)
        self._interpreter.invoke()
        return self._interpreter.get_output(0)

    def arena(self) -> ArenaUsage:
        """What is in use once the model is loaded, whatever arena it was given.

        Loading itself can take more, see `smallest_arena_bytes`. A 32-bit board takes less: its pointers are half as long.
        """
        return _arena_usage(self._interpreter)


@dataclass(frozen=True)
class ArenaUsage:
    """Bytes of tensor arena: `head` for activations and scratch, `tail` for what lives as long as the interpreter, such as
    the TfLiteEvalTensor that it keeps of `eval_tensors` tensors."""

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
        raise RuntimeError("it does not tell its allocations")
    return ArenaUsage(eval_tensors=int(eval_tensors[1]), **{part: int(size) for part, size in used.items()})


def trial_run(model_bytes: bytes, name: str = "The model") -> ArenaUsage:
    """Runs any model once in TFLM, on zeros, and returns what is in use then.

    Raises:
      ModelFileError: no TensorFlow Lite model, or, an InterpreterError, one that does not load or run there.
    """
    model = parse(model_bytes, name)
    with _interpreter_errors(TFLMRunner.library, name):
        interpreter = tflm.Interpreter.from_bytes(model_bytes, arena_size=DEFAULT_ARENA_BYTES)
        for position, tensor in enumerate(graph_inputs(model)):
            interpreter.set_input(np.zeros(tensor.shape, tensor.dtype), position)
        interpreter.invoke()
        return _arena_usage(interpreter)


def smallest_arena_bytes(model_bytes: bytes, name: str = "The model") -> int:
    """The smallest arena, in steps of 16 bytes, that TFLM loads any model in on this computer.

    Small models need more to load than they keep: the memory planner's own tables come on top.

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
      ModelFileError: the model is damaged, has other inputs and outputs than a kser model, or does not run there.
    """
    require_interpreter(kind)
    runner = _RUNNERS[kind](model_bytes, name)
    if (len(runner.input.shape), len(runner.output.shape)) != (3, 2):
        raise ModelFileError(_other_signature([runner.input], [runner.output], name))
    return runner


def require_interpreter(kind: str) -> None:
    """Raises ConfigError unless `open_runner` knows the kind."""
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
