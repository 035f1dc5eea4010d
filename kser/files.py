"""Files and directories that appear under their final name only when complete."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping

from kser.errors import ConfigError, KserError


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yields a temporary path in the directory of `path`; moves it to `path` if the block ends without an error.

    Raises:
      KserError: the disk is full, or the directory cannot be written to.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextlib.contextmanager
def temporary_beside(path: str) -> Iterator[str]:
    """Yields the path of an empty file in the directory of `path`, which is removed unless the block moved it.

    Raises:
      KserError: the disk is full, or the directory cannot be written to.
    """
    directory, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(directory, f".{name}.{uuid.uuid4().hex}{os.path.splitext(name)[1]}")
    try:
        os.makedirs(directory, exist_ok=True)
        # Not mkstemp: only the owner can read its files, and the usual mode would need a change of the process-wide umask.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise KserError(f"Cannot write {path}: {error.strerror}.") from error
    try:
        yield temporary
    except OSError as error:
        reason = error.strerror or f"the disk may be full ({error})"
        raise KserError(f"Cannot write {path}: {reason}.") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def write_bytes(path: str, data: bytes) -> None:
    """Writes `data` to `path` in one step; raises KserError where that fails."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(data)


def write_text(path: str, text: str) -> None:
    """Writes `text` in UTF-8 to `path` in one step; raises KserError where that fails."""
    write_bytes(path, text.encode())


def require_empty(path: str) -> None:
    """Raises ConfigError unless `path` is free or an empty directory."""
    if os.path.isdir(path) and not os.listdir(path) and not os.path.islink(path):
        return
    if os.path.lexists(path):
        raise ConfigError(f"{path} is not an empty directory; choose one that does not exist.")


def write_tree(path: str, files: Mapping[str, bytes]) -> None:
    """Writes the directory `path` with these files (by relative path) in one step.

    Raises:
      ConfigError: `path` exists already.
      KserError: the disk is full, or the directory cannot be written to.
    """
    require_empty(path)
    parent, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(parent, f".{name}.{uuid.uuid4().hex}")
    try:
        for relative, data in files.items():
            _write_new(os.path.join(temporary, relative), data)
        os.rename(temporary, os.path.abspath(path))
    except OSError as error:
        raise KserError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_new(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb") as file:
        file.write(data)
