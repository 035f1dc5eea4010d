"""The PC's side of the serial link to a board in serial mode (`SerialLink` in deploy/kser_micro)."""

from __future__ import annotations

import contextlib
import enum
import errno
import itertools
import os
import struct
import time
import zlib
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import serial
from serial.tools import list_ports

from kser.errors import BoardError, ConfigError

# --- Frames, as specified in serial_frame.h ---------------------------------------------------------------------------

MAGIC = b"\xa5\xcb"
MAX_PAYLOAD_BYTES = 512
_HEADER = struct.Struct("<2sBBH")
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Frame:
    """A request, or its answer, which has the same type and sequence number."""

    type: int
    sequence: int
    payload: bytes = b""

    def encode(self) -> bytes:
        """Raises ConfigError if the payload is longer than a board's buffer."""
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise ConfigError(f"A frame holds at most {MAX_PAYLOAD_BYTES} bytes, not {len(self.payload)}.")
        head = _HEADER.pack(MAGIC, self.type, self.sequence, len(self.payload))
        return head + self.payload + _CRC.pack(zlib.crc32((head + self.payload)[len(MAGIC) :]))


class FrameDecoder:
    """Finds frames in a byte stream with lost, damaged or unrelated bytes.

    Attributes:
      skipped: number of bytes so far that belong to no frame.
    """

    def __init__(self):
        self.skipped = 0
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        self._bytes += data
        frames = []
        while (size := self._candidate()) is not None:
            content = bytes(self._bytes[:size])
            if _CRC.unpack(content[-_CRC.size :])[0] == zlib.crc32(content[len(MAGIC) : -_CRC.size]):
                _, kind, sequence, _ = _HEADER.unpack_from(content)
                frames.append(Frame(kind, sequence, content[_HEADER.size : -_CRC.size]))
                del self._bytes[:size]
            else:
                self._skip(1)
        return frames

    def _candidate(self) -> int | None:
        """The size of the possible frame at the beginning; None until more bytes arrive."""
        while True:
            begin = self._bytes.find(MAGIC)
            # The last byte may be the first of a magic number.
            self._skip(begin if begin >= 0 else max(0, len(self._bytes) - 1))
            if len(self._bytes) < _HEADER.size:
                return None
            length = _HEADER.unpack_from(self._bytes)[3]
            if length <= MAX_PAYLOAD_BYTES:
                size = _HEADER.size + length + _CRC.size
                return size if len(self._bytes) >= size else None
            self._skip(1)

    def _skip(self, count: int) -> None:
        self.skipped += count
        del self._bytes[:count]


# --- Line -------------------------------------------------------------------------------------------------------------


_MAX_BAUD = 1 << 31
_NO_SPEED = "Serial ports here do not support {} baud; usual are 115200 and 921600."


class SerialPort:
    """A serial port, opened exclusively: 8 bits, no parity, no flow control.

    A context manager.

    Raises:
      ConfigError: the system does not support the speed.
      BoardError: there is no such port, or it cannot be opened; in the methods: it has disappeared.
    """

    def __init__(self, path: str, baud: int):
        if not 0 < baud < _MAX_BAUD:
            raise ConfigError(_NO_SPEED.format(baud))
        self.path = path
        try:
            self._port = serial.Serial(path, baud, exclusive=True)
        except ValueError as error:
            raise ConfigError(_NO_SPEED.format(baud)) from error
        except OSError as error:
            raise BoardError(_unopened(path, error)) from error
        _keep_running(self._port)

    def __enter__(self) -> SerialPort:
        return self

    def __exit__(self, *_) -> None:
        self._port.close()

    def read(self, seconds: float) -> bytes:
        """The bytes received; empty if none arrive within so many seconds."""
        try:
            self._port.timeout = seconds
            first = self._port.read()
            return first + self._port.read(self._port.in_waiting) if first else b""
        except OSError as error:
            self._gone(error)

    def write(self, data: bytes, seconds: float) -> None:
        """Also raises BoardError if the port does not accept all bytes within so many seconds."""
        try:
            self._port.write_timeout = seconds
            self._port.write(data)
        except serial.SerialTimeoutException as error:
            raise BoardError(f"{self.path} accepts no data; press the board's reset button or plug it in again.") from error
        except OSError as error:
            self._gone(error)

    def _gone(self, error: OSError) -> NoReturn:
        raise BoardError(f"{self.path} has disappeared: the board was unplugged or has restarted; start again.") from error


def _unopened(path: str, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"There is no port {path}; plug in the board and choose one of the available ports: {_ports()}."
    if error.errno == errno.EACCES:
        return f"You have no permission to open {path}; join its group, usually dialout, and log in again."
    if error.errno in (errno.EBUSY, errno.EAGAIN):
        return f"{path} is used by another program; close it, for instance a serial monitor."
    if error.errno is not None:
        return f"{path} cannot be opened: {os.strerror(error.errno)}."
    # The file is not a port; or Windows, which gives no error number.
    return f"{path} is not a usable serial port ({error}); available ports: {_ports()}."


def _ports() -> str:
    return ", ".join(port.device for port in list_ports.comports()) or "none"


def _keep_running(port: serial.Serial) -> None:
    """Keeps the port from hanging up on close, which would reset many boards."""
    try:
        import termios
    except ImportError:  # Windows
        return
    with contextlib.suppress(termios.error):  # already disappeared; the first read reports it
        attributes = termios.tcgetattr(port.fileno())
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)


# --- Board ------------------------------------------------------------------------------------------------------------

PROTOCOL_VERSION = 1
SILENCE = -1
_BLOCK_BYTES = MAX_PAYLOAD_BYTES
_OFFSET = struct.Struct("<I")
_PART_BYTES = MAX_PAYLOAD_BYTES - _OFFSET.size
_HELLO = struct.Struct("<BI5I2I")
_HEARD = struct.Struct("<II")
_DECISION = struct.Struct("<Ibf")
_MICROSECONDS = struct.Struct("<I")
_HEARD_HERE = struct.Struct("<I?")


class _Type(enum.IntEnum):
    HELLO = 1
    RESET = 2
    SAMPLES = 3
    DECIDE = 4
    FEATURES = 5
    INPUT = 6
    CLASSIFY = 7
    HEARD = 8
    REFUSED = 0x7F


class _Reason(enum.IntEnum):
    NO_HELLO = 1


@dataclass(frozen=True)
class Hello:
    """A board's description of itself; `cpu_hz` is 0 if unknown, `arena_bytes` is 0 if its model is not set up."""

    protocol: int
    metadata_hash: int
    num_frames: int
    num_mels: int
    num_classes: int
    window_samples: int
    hop_samples: int
    arena_bytes: int
    cpu_hz: int
    kser_version: str


@dataclass(frozen=True)
class BoardDecision:
    """The decision on one window: index of the label or SILENCE, logits (num_classes,) int8 as stored, averaged
    probabilities (num_classes,) float32, level of the loudest frame, and the time it took."""

    label: int
    logits: np.ndarray
    probabilities: np.ndarray
    loudest_dbfs: float
    microseconds: int


@dataclass(frozen=True)
class Heard:
    """What a board's microphone has brought since the last answer: (n,) int16, which the board has heard too.

    `first` is the place of the first sample among all that it has brought, modulo 2^32: samples that the board had no room
    for, because the line was too slow, leave a gap. `decision_due`: whether `Board.decide` has something to decide on.
    """

    first: int
    samples: np.ndarray
    decision_due: bool


class Board:
    """A board in serial mode. A greeting is repeated until it answers, because opening a port restarts many boards.

    Args:
      timeout_seconds: how long to wait for an answer.
      resend_seconds: interval after which a request is sent again.

    Attributes:
      hello: the board's description of itself.

    Raises:
      BoardError: the board does not answer, uses another protocol, or has no model; in the methods: it stops answering,
        has restarted, or refuses the request.
    """

    def __init__(self, port: SerialPort, timeout_seconds: float = 10.0, resend_seconds: float = 1.0):
        self._port, self._timeout, self._resend = port, timeout_seconds, resend_seconds
        self._decoder = FrameDecoder()
        self._sequences = itertools.cycle(range(256))
        self._heard = 0
        self.hello = self._greet()

    def _greet(self) -> Hello:
        answer = self._ask(_Type.HELLO)
        if not answer or answer[0] != PROTOCOL_VERSION:
            raise BoardError(f"The board at {self._port.path} runs another version of kser; generate its sketch again.")
        hello = Hello(*self._unpack(_HELLO, answer), answer[_HELLO.size :].decode("ascii", "replace"))
        if hello.arena_bytes == 0:
            raise BoardError(
                f"The board at {self._port.path} could not set up its model; its sketch without KSER_SERIAL prints why."
            )
        return hello

    def reset(self) -> None:
        """Resets the board's sound buffer and decisions."""
        self._ask(_Type.RESET)
        self._heard = 0

    def play(self, samples: np.ndarray) -> list[float]:
        """Sends (num_samples,) int16 to the board as sound.

        Returns:
          For each block of samples that completed frames, the microseconds per frame.
        """
        data = samples.astype("<i2").tobytes()
        times = [self._play_block(data[i : i + _BLOCK_BYTES]) for i in range(0, len(data), _BLOCK_BYTES)]
        return [microseconds / frames for frames, microseconds in times if frames]

    def _play_block(self, block: bytes) -> tuple[int, int]:
        """The number of frames that the block completed, and their microseconds."""
        before = self._heard
        heard, microseconds = self._unpack(_HEARD, self._ask(_Type.SAMPLES, block))
        self._heard += len(block) // 2
        if heard != self._heard:
            raise BoardError(f"The board at {self._port.path} has received {heard} of {self._heard} samples; start again.")
        return self._frames(heard) - self._frames(before), microseconds

    def _frames(self, samples: int) -> int:
        return max(0, 1 + (samples - self.hello.window_samples) // self.hello.hop_samples)

    def decide(self) -> BoardDecision:
        """The decision on the current window of sound; the window must be complete."""
        answer = self._ask(_Type.DECIDE)
        microseconds, label, loudest_dbfs = self._unpack(_DECISION, answer)
        logits = self._array(answer, _DECISION.size, np.int8)
        probabilities = self._array(answer, _DECISION.size + len(logits), "<f4")
        return BoardDecision(label, logits, probabilities, loudest_dbfs, microseconds)

    def heard(self) -> Heard:
        """What the microphone has brought since the last call, or since `reset`; raises BoardError also without one."""
        answer = self._ask(_Type.HEARD)
        first, decision_due = self._unpack(_HEARD_HERE, answer)
        data = answer[_HEARD_HERE.size :]
        if len(data) % 2:
            self._misunderstood()
        return Heard(first, np.frombuffer(data, "<i2"), decision_due)

    def features(self) -> np.ndarray:
        """(num_frames, num_mels) int8: the input of the last decision, or the last one given to `classify`."""
        size = self.hello.num_frames * self.hello.num_mels
        values = b""
        while len(values) < size:
            answer = self._ask(_Type.FEATURES, _OFFSET.pack(len(values)))
            (offset,), part = self._unpack(_OFFSET, answer), answer[_OFFSET.size :]
            if offset != len(values) or not 0 < len(part) <= size - len(values):
                self._misunderstood()
            values += part
        return np.frombuffer(values, np.int8).reshape(self.hello.num_frames, self.hello.num_mels)

    def classify(self, inputs: np.ndarray) -> tuple[np.ndarray, int]:
        """Logits (num_classes,) int8 of the model for (num_frames, num_mels) int8, and microseconds; ignores the sound."""
        data = np.asarray(inputs, np.int8).tobytes()
        for offset in range(0, len(data), _PART_BYTES):
            self._ask(_Type.INPUT, _OFFSET.pack(offset) + data[offset : offset + _PART_BYTES])
        answer = self._ask(_Type.CLASSIFY)
        (microseconds,) = self._unpack(_MICROSECONDS, answer)
        return self._array(answer, _MICROSECONDS.size, np.int8), microseconds

    def _ask(self, kind: _Type, payload: bytes = b"") -> bytes:
        """The answer's payload. Repeats the request if there is none, because frames may be lost in both directions."""
        request = Frame(kind, next(self._sequences), payload)
        deadline = time.monotonic() + self._timeout
        skipped = self._decoder.skipped
        while time.monotonic() < deadline:
            self._port.write(request.encode(), self._timeout)
            answer = self._answer_to(request, min(deadline, time.monotonic() + self._resend))
            if answer is not None:
                return answer
        if self._decoder.skipped > skipped:
            raise BoardError(
                f"{self._port.path} sends other data than a board in serial mode; flash the sketch with KSER_SERIAL=1, and "
                "give its baud rate with --baud."
            )
        raise BoardError(
            f"{self._port.path} sent nothing for {self._timeout:g} s; flash the sketch with KSER_SERIAL=1, press its "
            "reset button, or wait longer with --timeout."
        )

    def _answer_to(self, request: Frame, deadline: float) -> bytes | None:
        while (left := deadline - time.monotonic()) > 0:
            for frame in self._decoder.feed(self._port.read(left)):
                # A duplicate answer, to a repeated request, has an earlier sequence number.
                if frame.sequence == request.sequence and frame.type == _Type.REFUSED:
                    self._refused(frame.payload)
                if (frame.type, frame.sequence) == (request.type, request.sequence):
                    return frame.payload
        return None

    def _refused(self, payload: bytes) -> NoReturn:
        if payload[:1] == bytes([_Reason.NO_HELLO]):
            raise BoardError(f"The board at {self._port.path} has restarted; start again.")
        raise BoardError(f"The board at {self._port.path} refuses: {payload[1:].decode('ascii', 'replace')}")

    def _unpack(self, form: struct.Struct, payload: bytes) -> tuple:
        if len(payload) < form.size:
            self._misunderstood()
        return form.unpack_from(payload)

    def _array(self, payload: bytes, offset: int, dtype) -> np.ndarray:
        """(num_classes,)"""
        kind = np.dtype(dtype)
        if len(payload) < offset + self.hello.num_classes * kind.itemsize:
            self._misunderstood()
        return np.frombuffer(payload, kind, self.hello.num_classes, offset)

    def _misunderstood(self) -> NoReturn:
        raise BoardError(
            f"The board at {self._port.path} gave an answer that is not of kser's protocol; generate its sketch again."
        )
