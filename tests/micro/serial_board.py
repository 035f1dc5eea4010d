"""Stands in for a board at a serial port: a pseudo-terminal, with the firmware built for this computer at its other end."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import threading
import tty
from collections.abc import Callable, Iterable
from pathlib import Path

from kser.export import convert
from kser.firmware import codegen
from kser.tflite import model_file, op_graph

# What passes every byte.
CLEAN: Callable[[bytes], bytes] = bytes


def write_sources(directory: Path, model_bytes: bytes, own_ops: Iterable[str]) -> None:
    """All that is generated for a model: settings, resolver without `own_ops`, and the model."""
    description = op_graph.describe(model_bytes)
    header, source = convert.cc_sources(model_bytes, "kser_model", "kser")
    texts = {
        "kser_settings.h": codegen.settings_source(model_file.read_metadata(model_bytes), description),
        "kser_resolver.h": codegen.resolver_source(description, own_ops),
        "kser_model.h": header,
        "kser_model.cc": source,
    }
    for name, text in texts.items():
        (directory / name).write_text(text)


class SerialBoard:
    """A running board and its port.

    Args:
      program: `toolchain.serial_board`; None: nobody answers.
      microphone: a file of 16-bit samples, which it hears again and again, and how many for each request.
      to_board, to_pc: what becomes of bytes on their way, none of which need arrive.

    Attributes:
      port: the pseudo-terminal's name.

    A context manager.
    """

    def __init__(self, program: Path | None, to_board=CLEAN, to_pc=CLEAN, microphone: tuple[Path, int] | None = None):
        self._microphone = [str(word) for word in microphone or ()]
        self._program, self._to_board, self._to_pc = program, to_board, to_pc
        # The terminal stays open here: else it would hang up when a PC closes it.
        self._line, self._terminal = pty.openpty()
        tty.setraw(self._terminal)
        self.port = os.ttyname(self._terminal)
        self._process: subprocess.Popen | None = None
        # A byte asks for a restart, the end of it for the end.
        self._orders, self._order = os.pipe()
        self._restarted = threading.Event()

    def __enter__(self) -> SerialBoard:
        self._start()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        os.close(self._order)
        self._thread.join()
        self._end()
        for descriptor in (self._orders, self._line, self._terminal):
            os.close(descriptor)

    def restart(self) -> None:
        """As the reset button does."""
        self._restarted.clear()
        os.write(self._order, b"r")
        self._restarted.wait()

    def _start(self) -> None:
        if self._program is not None:
            self._process = subprocess.Popen(
                [self._program, *self._microphone], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )

    def _end(self) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()

    def _carry(self) -> None:
        while True:
            board = [self._process.stdout] if self._process else []
            ready = select.select([self._orders, self._line, *board], [], [])[0]
            if self._orders in ready:
                if not os.read(self._orders, 1):
                    return
                self._end()
                self._start()
                self._restarted.set()
                continue
            if self._line in ready:
                data = self._to_board(os.read(self._line, 4096))
                if self._process is not None:
                    self._process.stdin.write(data)
            if board and board[0] in ready:
                os.write(self._line, self._to_pc(board[0].read(4096)))
