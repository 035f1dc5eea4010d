"""What a function does in the child process that it must not do in this one."""

from __future__ import annotations

import os
import signal
import time

import pytest

from kser.errors import KserError, ModelFileError
from kser.tflite.sandbox import ExaminationError, Examiner, Limits

BRIEF = Limits(seconds=20, cpu_seconds=5, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def examiner():
    with Examiner(BRIEF) as examiner:
        yield examiner


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def spin():
    while True:
        pass


def double(number):
    return 2 * number


def refuse():
    raise KserError("A sentence.")


def write_nonsense():
    """A reply that is none, as a child with a corrupted memory might send."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            pass
    time.sleep(30)


@pytest.mark.parametrize(
    "function, arguments, message",
    [
        (crash, (), r"^crashes \(SIGSEGV\)$"),
        (os.abort, (), r"^crashes \(SIGABRT\)$"),
        (os._exit, (3,), "^ends without a result$"),
        (spin, (), "^takes more than 1 s of processor time$"),
        (time.sleep, (600,), "^takes longer than 3 s$"),
        (bytearray, (1 << 30,), r"^fails \(MemoryError\)$"),
        (double, ({},), r"^fails \(TypeError\)$"),
        (write_nonsense, (), "^(ends without a result|crashes .SIGKILL.)$"),
    ],
)
def test_a_function_that_does_not_return_is_told_of_and_the_next_one_runs(function, arguments, message):
    # Only who sleeps may meet the limit on wall time: on a busy computer a second of processor time takes its time.
    seconds = 3 if function is time.sleep else 300
    with Examiner(Limits(seconds, cpu_seconds=1, memory_bytes=256 << 20)) as examiner:
        with pytest.raises(ExaminationError, match=message):
            examiner.run(function, *arguments)
        assert examiner.run(double, 21) == 42


def test_errors_of_the_function_keep_their_sentence(examiner):
    with pytest.raises(ModelFileError, match=r"^A sentence\.$") as error:
        examiner.run(refuse)
    assert not isinstance(error.value, ExaminationError)


def test_one_child_runs_function_after_function_and_ends_with_the_examiner():
    with Examiner(BRIEF) as examiner:
        child = examiner.run(os.getpid)
        assert child == examiner.run(os.getpid) != os.getpid()
        assert examiner.run(len, bytes(5 << 20)) == 5 << 20
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_what_the_child_prints_is_seen_nowhere(capfd, examiner):
    examiner.run(os.system, "echo noise; echo noise >&2")
    examiner.run(print, "noise")
    assert capfd.readouterr() == ("", "")
