"""TFLM's headers, read once: their FlatBuffers schema takes the compiler three seconds, and most sources include it."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

# The slowest of what sources include.
HEADERS = (
    *("micro/kernels/kernel_util.h", "micro/micro_interpreter.h", "micro/micro_mutable_op_resolver.h"),
    "schema/schema_generated.h",
)
# Flags that leave what is precompiled as it is.
_FREE = ("-I", "-D", "-W", "-fsyntax-only", "-c", "-x", "c++")
_lock = threading.Lock()


def include_flags(command: Sequence[str], source: Path, tflm: Sequence[str]) -> list[str]:
    """Flags with which a compiler of `command` has the headers at hand, if the source includes them.

    Args:
      command: the compiler and all its flags but the source; they must be valid for the headers alone, too.
      tflm: those of `command` that say where the headers are.
    """
    if not _includes_tflm(command, source):
        return []
    kept = tuple(flag for flag in command if not flag.startswith(_FREE) and flag not in tflm)
    with _lock:
        header = _precompiled((*kept, *map(str, tflm)))
    return ["-Winvalid-pch", "-include", str(header)]


def _includes_tflm(command: Sequence[str], source: Path) -> bool:
    listed = subprocess.run([*command, "-M", "-MG", str(source)], capture_output=True, text=True).stdout
    return HEADERS[-1] in listed


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Removed when the process ends: a precompiled header takes a quarter of a gigabyte."""
    return tempfile.TemporaryDirectory(prefix="kser-headers-")


@functools.cache
def _precompiled(command: Iterable[str]) -> Path:
    header = Path(_folder().name) / f"{hashlib.sha256(str(command).encode()).hexdigest()[:16]}.h"
    header.write_text("".join(f'#include "tensorflow/lite/{name}"\n' for name in HEADERS))
    subprocess.run([*command, "-x", "c++-header", str(header), "-o", f"{header}.gch"], check=True, capture_output=True)
    return header
