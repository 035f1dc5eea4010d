"""Reads and runs an untrusted .tflite in a child process with limits; the child may crash, hang or run out of memory.

No interpreter verifies a file: a flipped byte in a shape, an offset or an option can make it crash, hang or write out of
bounds, and can keep Python's flatbuffer code busy for hours. So the file is parsed and run only in the child, which returns
only JSON. A trial run in the child before the real run in the parent would not be enough: what a damaged model does depends
on the input and on the content of memory. The overhead is small: one fork, and for each clip far less than its inference.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import functools
import json
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from kser.errors import KserError, ModelFileError
from kser.tflite import interpreter, model_file
from kser.tflite.op_graph import Tensor

# A child with corrupted memory must not make the parent read a huge number of bytes.
_MAX_RESPONSE_BYTES = 64 << 20
# Number of clips per call, which share its time limit; a clip takes tens of milliseconds.
CLIPS_PER_CALL = 32


class SandboxError(ModelFileError):
    """The function did not return; the message is the end of a sentence, such as "crashes (SIGSEGV)"."""


@dataclass(frozen=True)
class Limits:
    """Limits of one call. `memory_bytes` is in addition to what the process has when it starts."""

    seconds: float = 120.0
    cpu_seconds: int = 60
    memory_bytes: int = 2 << 30


class Sandbox:
    """A child process that runs functions; forked at the first call, and again after a call that killed it.

    The child is a fork, so functions need no import, and TensorFlow is available if it is loaded. The child must not use
    TensorFlow's own runtime, whose threads do not survive a fork; the interpreters and the flatbuffer code have none. A
    damaged model may corrupt the child's memory without killing it: use a sandbox for one model only.

    A context manager; leaving it ends the child.
    """

    def __init__(self, limits: Limits = Limits()):  # noqa: B008 (frozen)
        self._limits = limits
        self._child: multiprocessing.Process | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def run(self, function: Callable, *arguments):
        """`function(*arguments)` in the child. The function must be defined in a module, its result must be a JSON value.

        Raises:
          ModelFileError: the function raised a KserError.
          SandboxError: it raised anything else, crashed, or exceeded a limit.
        """
        if self._child is None:
            self._start()
        try:
            self._connection.send((function, arguments))
            kind, value = json.loads(self._connection.recv_bytes(_MAX_RESPONSE_BYTES))
        except (EOFError, ConnectionError):
            raise SandboxError(self._ending()) from None
        except (OSError, ValueError):  # too long, or not JSON: the child may still be running
            self.close()
            raise SandboxError("ends without a result") from None
        if kind == "refused":
            raise ModelFileError(value)
        if kind == "failed":
            raise SandboxError(f"fails ({value})")
        return value

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.kill()
            self._reap()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        self._child = context.Process(target=_serve, args=(theirs, self._limits), daemon=True)
        self._child.start()
        theirs.close()

    def _reap(self) -> int:
        """Waits for the child's end, at the latest by its own timer; returns its exit code."""
        self._child.join()
        exit_code = self._child.exitcode
        self._connection.close()
        self._child = None
        return exit_code

    def _ending(self) -> str:
        """How the child ended."""
        number = -self._reap()
        if number == signal.SIGALRM:
            return f"takes longer than {self._limits.seconds:g} s"
        if number == signal.SIGXCPU:
            return f"takes more than {self._limits.cpu_seconds} s of processor time"
        return f"crashes ({signal.Signals(number).name})" if number > 0 else "ends without a result"


class SandboxedRunner:
    """An `interpreter.Runner` for an untrusted file or its bytes; the interpreter runs in a sandbox.

    Raises:
      ConfigError: there is no interpreter of that kind.
      ModelFileError: the file cannot be read; in the methods: it is damaged, not a kser model, or does not run.
    """

    def __init__(self, kind: str, model: str | bytes, sandbox: Sandbox):
        interpreter.require_interpreter(kind)
        in_memory = isinstance(model, bytes)
        self.name, self._sandbox = "The model" if in_memory else model, sandbox
        self._model = (kind, model if in_memory else model_file.read_model_file(model), self.name)

    def metadata(self) -> dict:
        """The metadata that `model_file.add_metadata` stored in the file."""
        return self._run(_metadata)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """The input (1, num_frames, num_mels) and the output (1, num_classes)."""
        return tuple(Tensor(**{**fields, "shape": tuple(fields["shape"])}) for fields in self._run(_tensors))

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
            return self._sandbox.run(function, *self._model, *arguments)
        except SandboxError as error:
            raise ModelFileError(f"{self.name} is damaged: running it {error}; write it again.") from error


# --- In the child -----------------------------------------------------------------------------------------------------


def _serve(connection: Connection, limits: Limits) -> None:
    """Answers requests until the parent closes the pipe; then exits without the parent's exit handlers."""
    try:
        _close_all_but(connection.fileno())
        _confine(limits)
        while True:
            function, arguments = connection.recv()
            _start_clocks(limits)
            answer = _answer(function, arguments)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send_bytes(answer)
    except (EOFError, ConnectionError):
        pass
    finally:
        os._exit(0)


def _close_all_but(kept: int) -> None:
    """Closes all other open files of the parent, above all the parent's end of the pipe."""
    os.closerange(3, kept)
    os.closerange(kept + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _confine(limits: Limits) -> None:
    """Silences the child, disables core files and the parent's signal handlers, and limits memory."""
    faulthandler.disable()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    # A test runner may have replaced these objects.
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower_limit(resource.RLIMIT_AS, _address_space() + limits.memory_bytes)


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _start_clocks(limits: Limits) -> None:
    """Has the kernel end the process after so many seconds, or so many seconds of processor time (counted in total)."""
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower_limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + limits.cpu_seconds + 1)


def _lower_limit(kind: int, soft: int) -> None:
    """Sets a soft limit, no higher than the hard one."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _answer(function: Callable, arguments: tuple) -> bytes:
    try:
        answer = ("value", function(*arguments))
    except KserError as error:
        answer = ("refused", str(error))
    except BaseException as error:  # damaged data can raise anything, also MemoryError and RecursionError
        answer = ("failed", type(error).__name__)
    return json.dumps(answer).encode()


# The interpreter stays open from one call to the next.
_open = functools.lru_cache(maxsize=1)(interpreter.open_runner)


def _metadata(kind: str, model_bytes: bytes, name: str) -> dict:
    return model_file.read_metadata(model_bytes, name)


def _tensors(kind: str, model_bytes: bytes, name: str) -> list[dict]:
    runner = _open(kind, model_bytes, name)
    return [dataclasses.asdict(runner.input), dataclasses.asdict(runner.output)]


def _logits(kind: str, model_bytes: bytes, name: str, features: np.ndarray) -> list[list[float]]:
    return _open(kind, model_bytes, name).logits(features).tolist()
