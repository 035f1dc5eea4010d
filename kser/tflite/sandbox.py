"""Runs functions on bytes nobody vouches for, in a child process with limits, which may crash, hang or eat memory."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import pickle
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from kser.errors import KserError, ModelFileError

_LENGTH = struct.Struct("<Q")
# A child whose memory is corrupted must not make the parent wait for an absurd amount of bytes.
_MAX_RESPONSE_BYTES = 64 << 20


class ExaminationError(ModelFileError):
    """The function did not return: how it ended, as the end of a sentence ("crashes (SIGSEGV)")."""


@dataclass(frozen=True)
class Limits:
    """What one call may use. `memory_bytes` is on top of what the process has when it starts."""

    seconds: float = 120.0
    cpu_seconds: int = 60
    memory_bytes: int = 2 << 30


class Examiner:
    """A child process, forked at the first call and again after one that killed it, that runs one function after another.

    The child is a fork: functions need no import and TensorFlow, if loaded, is there. It must not use TensorFlow's own
    runtime, whose threads a fork leaves behind; the TFLM interpreter and the flatbuffer code have none. What a damaged
    model did to the child's memory without killing it stays until the next one: use an Examiner for one model only.

    A context manager; its end ends the child.
    """

    def __init__(self, limits: Limits = Limits()):  # noqa: B008 (frozen)
        self._limits = limits
        self._child = 0
        self._requests = self._responses = -1

    def __enter__(self) -> Examiner:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def run(self, function: Callable, *arguments):
        """`function(*arguments)` in the child. The function is one of a module, its result one of JSON's values.

        Raises:
          KserError: the one the function raised, as a ModelFileError.
          ExaminationError: it raised anything else, crashed, or passed a limit.
        """
        if not self._child:
            self._start()
        try:
            _write(self._requests, pickle.dumps((function, arguments)))
            answer = _read(self._responses, time.monotonic() + self._limits.seconds)
        except BrokenPipeError:
            answer = None
        except TimeoutError:
            self.close()
            raise ExaminationError(f"takes longer than {self._limits.seconds:g} s") from None
        if answer is None:
            raise ExaminationError(self._ending())
        return _result(answer)

    def close(self) -> None:
        """Ends the child."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            self._reap()

    def _start(self) -> None:
        (requests, self._requests), (self._responses, responses) = os.pipe(), os.pipe()
        self._child = os.fork()
        if self._child == 0:
            _serve(requests, responses, self._limits)
        os.close(requests)
        os.close(responses)

    def _reap(self) -> int:
        _, status = os.waitpid(self._child, 0)
        os.close(self._requests)
        os.close(self._responses)
        self._child = 0
        return status

    def _ending(self) -> str:
        """How the child, which has stopped answering, came to its end."""
        with contextlib.suppress(ProcessLookupError):
            # It may have sent nonsense and live on.
            if os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.05)
                os.kill(self._child, signal.SIGKILL)
        status = self._reap()
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number == signal.SIGXCPU:
            return f"takes more than {self._limits.cpu_seconds} s of processor time"
        return f"crashes ({signal.Signals(number).name})" if number else "ends without a result"


def _result(answer: bytes):
    try:
        kind, value = json.loads(answer)
    except ValueError:
        raise ExaminationError("ends without a result") from None
    if kind == "refused":
        raise ModelFileError(value)
    if kind == "failed":
        raise ExaminationError(f"fails ({value})")
    return value


# --- The child --------------------------------------------------------------------------------------------------------


def _serve(requests: int, responses: int, limits: Limits) -> NoReturn:
    try:
        _close_all_but(requests, responses)
        _confine(limits)
        while (request := _read(requests)) is not None:
            _limit_cpu(limits.cpu_seconds)
            _write(responses, _answer(*pickle.loads(request)))
    except BrokenPipeError:
        pass
    finally:
        os._exit(0)  # past whatever the parent has registered to be done at its own exit


def _close_all_but(*kept: int) -> None:
    """Whatever else the parent has open is none of the child's business, least of all its own ends of these pipes."""
    bounds = [2, *sorted(kept), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]
    for below, above in zip(bounds, bounds[1:], strict=False):
        os.closerange(below + 1, above)


def _confine(limits: Limits) -> None:
    """Silence, no core files, and a limit on the memory that can be asked for."""
    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    # A test runner may have put objects of its own there, which write elsewhere.
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _address_space() + limits.memory_bytes
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _limit_cpu(seconds: int) -> None:
    """So many seconds from now on: the limit itself counts from the process' start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))


def _answer(function: Callable, arguments: tuple) -> bytes:
    try:
        answer = ("value", function(*arguments))
    except KserError as error:
        answer = ("refused", str(error))
    except BaseException as error:  # whatever damaged data leads to, up to MemoryError and RecursionError
        answer = ("failed", type(error).__name__)
    return json.dumps(answer).encode()


# --- Messages: their length, then so many bytes -----------------------------------------------------------------------


def _write(descriptor: int, message: bytes) -> None:
    rest = memoryview(_LENGTH.pack(len(message)) + message)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read(descriptor: int, deadline: float | None = None) -> bytes | None:
    """The next message, or None at the end of the stream; raises TimeoutError at the deadline (of time.monotonic)."""
    head = _read_exactly(descriptor, _LENGTH.size, deadline)
    if head is None or deadline is not None and _LENGTH.unpack(head)[0] > _MAX_RESPONSE_BYTES:
        return None
    return _read_exactly(descriptor, _LENGTH.unpack(head)[0], deadline)


def _read_exactly(descriptor: int, count: int, deadline: float | None) -> bytes | None:
    content = bytearray()
    while len(content) < count:
        if deadline is not None and not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        part = os.read(descriptor, min(count - len(content), 1 << 20))
        if not part:
            return None
        content += part
    return bytes(content)
