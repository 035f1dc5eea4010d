"""A .tflite that nobody vouches for, read and run in a child process.

No interpreter verifies a file: a byte flipped in a shape, an offset or an option makes it crash, hang or write where it
should not, and Python's own flatbuffer code can be kept busy for hours. So all that looks into the file happens in the
child, from the first byte to the last logit, and only JSON comes back. A trial run there and the real one here would prove
less: what a damaged model does depends on the input and on what happens to lie in memory. The way through the pipe costs
little: a fork once, and for each clip far less than its inference.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from kser.errors import ModelFileError
from kser.tflite import interpreter, model_file, op_graph
from kser.tflite.sandbox import ExaminationError, Examiner

# So many share the time limit of one call; a clip takes tens of milliseconds.
CLIPS_PER_CALL = 32


class GuardedRunner:
    """What `interpreter.Runner` is, for a file or its bytes, with the interpreter in the examiner's child.

    Raises:
      ConfigError: there is no interpreter of that kind.
      ModelFileError: the file cannot be read; of the methods: it is damaged, no kser model, or does not run there.
    """

    def __init__(self, kind: str, model: str | bytes, examiner: Examiner):
        interpreter.require_interpreter(kind)
        in_memory = isinstance(model, bytes)
        self.name, self._examiner = "The model" if in_memory else model, examiner
        self._model = (kind, model if in_memory else model_file.read_model_file(model), self.name)

    def metadata(self) -> dict:
        """What `tflite.add_metadata` put into the file."""
        return self._run(_metadata)

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Those of the input, (1, num_frames, num_mels), and of the output, (1, num_classes)."""
        return tuple(map(tuple, self._run(_shapes)))

    def tensors(self) -> tuple[op_graph.Tensor, op_graph.Tensor]:
        """The input and the output."""
        return tuple(op_graph.Tensor(**{**info, "shape": tuple(info["shape"])}) for info in self._run(_tensors))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (n, num_classes) float32, all finite, of n >= 1 features (n, num_frames, num_mels) float32."""
        starts = range(0, len(features), CLIPS_PER_CALL)
        found = [self._run(_logits, features[start : start + CLIPS_PER_CALL]) for start in starts]
        logits = np.concatenate([np.array(rows, np.float32) for rows in found])
        if not np.isfinite(logits).all():
            raise ModelFileError(f"{self.name} is damaged: its logits are not finite; write it again.")
        return logits

    def _run(self, function: Callable, *arguments):
        try:
            return self._examiner.run(function, *self._model, *arguments)
        except ExaminationError as error:
            raise ModelFileError(f"{self.name} is damaged: running it {error}; write it again.") from error


# --- In the child -----------------------------------------------------------------------------------------------------


# The interpreter stays open from one call to the next.
_open = functools.lru_cache(maxsize=1)(interpreter.open_runner)


def _metadata(kind: str, model_bytes: bytes, name: str) -> dict:
    return model_file.read_metadata(model_bytes, name)


def _shapes(kind: str, model_bytes: bytes, name: str) -> list[tuple[int, ...]]:
    runner = _open(kind, model_bytes, name)
    return [runner.input.shape, runner.output.shape]


def _tensors(kind: str, model_bytes: bytes, name: str) -> list[dict]:
    runner = _open(kind, model_bytes, name)
    return [dataclasses.asdict(runner.input), dataclasses.asdict(runner.output)]


def _logits(kind: str, model_bytes: bytes, name: str, features: np.ndarray) -> list[list[float]]:
    return _open(kind, model_bytes, name).logits(features).tolist()
