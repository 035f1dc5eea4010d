"""Runs commands as `python -m kser.cli.NAME` does, each in a process of its own, without importing TensorFlow each time.

A server imports what the commands import and forks for every line of JSON on its stdin; the fork has its own arguments,
flags, stdout, stderr and exit status. TensorFlow starts its threads with its first operation, which only forks perform.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FLUSH_FAILED = 120  # the interpreter's own status


@dataclass(frozen=True)
class Outcome:
    """What a user gets to see of a command."""

    status: int
    stdout: str
    stderr: str


def assert_told(outcome: Outcome, *words: str) -> None:
    """Status 1, nothing printed, and one sentence alone on stderr that holds the words."""
    assert outcome.status == 1 and outcome.stdout == "", outcome
    (sentence,) = outcome.stderr.splitlines()
    assert sentence.startswith("Error: ") and sentence.endswith("."), sentence
    for word in words:
        assert word in sentence, sentence


class CommandServer:
    """The server's client. Commands run in `directory`, and cache features below it."""

    def __init__(self, directory: Path):
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KSER_CACHE_DIR": str(directory / "cache")}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=directory,
            env=environment,
        )

    def run(self, command: str, *arguments, stdout: str = "", max_file_bytes: int = -1) -> Outcome:
        """Runs `kser.cli.COMMAND` to its end.

        Args:
          stdout: a device to print to; what is printed is not returned then.
          max_file_bytes: longest file the command can write, as if the disk were full then; -1: any.
        """
        request = {"command": command, "arguments": list(map(str, arguments))}
        request |= {"stdout": stdout, "max_file_bytes": max_file_bytes}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


def _serve() -> None:
    from kser.cli import threads  # noqa: F401 (what the commands import once their flags are right)

    for line in sys.stdin:
        print(json.dumps(_outcome(json.loads(line))), flush=True)


def _outcome(request: dict) -> dict:
    """Runs the command in a fork; what it printed comes through pipes, which no limit on files holds for."""
    readers, writers = zip(os.pipe(), os.pipe(), strict=True)
    child = os.fork()
    if child == 0:
        _become(request, writers)
    for writer in writers:
        os.close(writer)
    with ThreadPoolExecutor(len(readers)) as pool:
        stdout, stderr = pool.map(_read, readers)
    return {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "stdout": stdout, "stderr": stderr}


def _read(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


def _become(request: dict, writers: tuple[int, int]) -> NoReturn:
    for descriptor, writer in zip((1, 2), writers, strict=True):
        os.dup2(writer, descriptor)
        os.close(writer)
    if request["stdout"]:
        os.dup2(os.open(request["stdout"], os.O_WRONLY), 1)
    if request["max_file_bytes"] >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["max_file_bytes"], request["max_file_bytes"]))
    sys.argv = [request["command"], *request["arguments"]]
    os._exit(_run(request["command"]))


def _run(command: str) -> int:
    """Runs the command's module as a program; returns the exit status the interpreter would end with."""
    try:
        runpy.run_module(f"kser.cli.{command}", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    try:
        sys.stdout.flush()
    except OSError:
        traceback.print_exc()
        status = FLUSH_FAILED
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    _serve()
