"""A terminal of the operating system's, for what prints otherwise there than into a file."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from tests.imports import ROOT as REPOSITORY


def on_a_terminal(code: str, columns: int) -> str:
    """What a Python program prints where its output is a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**{k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}, "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=slave, stderr=slave, cwd=REPOSITORY, env=environment)
    os.close(slave)
    printed = b""
    while chunk := _read(master):
        printed += chunk
    os.close(master)
    assert process.wait() == 0, printed
    return printed.decode()


def _read(master: int) -> bytes:
    try:
        return os.read(master, 1 << 16)
    except OSError:  # how Linux says that the other end is closed
        return b""


def plain(printed: str) -> str:
    """Without the sequences that colour and move."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed)
