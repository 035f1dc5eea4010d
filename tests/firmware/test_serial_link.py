"""Frames and the serial port; with a board at its other end in tests/micro/test_serial_link.py."""

from __future__ import annotations

import os
import pty
import termios
import time
import tty

import numpy as np
import pytest

from kser.errors import BoardError, ConfigError
from kser.firmware.serial_link import MAGIC, MAX_PAYLOAD_BYTES, Board, Frame, FrameDecoder, SerialPort

FRAMES = [Frame(1, 0), Frame(3, 255, bytes(range(256)) * 2), Frame(5, 7, MAGIC * 5), Frame(0x7F, 8, b"no")]
WAIT = {"timeout_seconds": 0.3, "resend_seconds": 0.1}


@pytest.fixture
def line():
    """A pseudo-terminal's end for a board, and the name of the other."""
    board, terminal = pty.openpty()
    tty.setraw(terminal)
    yield board, os.ttyname(terminal)
    os.close(board)
    os.close(terminal)


# --- Frames -----------------------------------------------------------------------------------------------------------


def test_a_frame_is_what_the_firmware_reads():
    assert Frame(1, 2, b"abc").encode() == bytes.fromhex("a5cb 01 02 0300 616263 c19716fb")


def test_frames_come_back_however_they_are_cut():
    data = b"".join(frame.encode() for frame in FRAMES)
    for size in (1, 2, 7, len(data)):
        decoder = FrameDecoder()
        parts = (data[i : i + size] for i in range(0, len(data), size))
        assert [frame for part in parts for frame in decoder.feed(part)] == FRAMES
        assert decoder.skipped == 0


def test_no_frame_is_lost_to_garbage_before_it():
    rng = np.random.default_rng(0)
    # The beginning of a long frame that never goes on, of one that is too long, half a magic, text.
    heads = [Frame(3, 1, bytes(40)).encode()[:20], MAGIC + b"\x01\x01\xff\xff", MAGIC[:1], b"Guru Meditation\r\n"]
    for garbage in [*heads, *(rng.bytes(int(size)) for size in rng.integers(1, 600, 50))]:
        decoder = FrameDecoder()
        found = decoder.feed(garbage + b"".join(frame.encode() for frame in FRAMES) + bytes(600))
        assert found == FRAMES, garbage
        assert decoder.skipped >= len(garbage)


def test_a_changed_bit_makes_no_frame():
    data = Frame(3, 1, b"samples").encode()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert FrameDecoder().feed(bytes(changed) + bytes(MAX_PAYLOAD_BYTES)) == []


def test_a_payload_is_bounded():
    assert FrameDecoder().feed(Frame(1, 1, bytes(MAX_PAYLOAD_BYTES)).encode())
    with pytest.raises(ConfigError, match="at most 512 bytes"):
        Frame(1, 1, bytes(MAX_PAYLOAD_BYTES + 1)).encode()


# --- Port -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, words", [("missing", "There is no port .*missing"), (".", "opened: Is a directory")])
def test_no_port(tmp_path, name, words):
    with pytest.raises(BoardError, match=words):
        SerialPort(str(tmp_path / name), 115200)


def test_a_file_is_no_port(tmp_path):
    path = tmp_path / "file"
    path.touch()
    for no_port in (path, "/dev/null"):
        with pytest.raises(BoardError, match="is not a usable serial port"):
            SerialPort(str(no_port), 115200)


@pytest.mark.parametrize("baud", [-1, 0, 1 << 31, 1 << 40])
def test_an_unknown_speed(line, baud):
    with pytest.raises(ConfigError, match=f"do not support {baud} baud"):
        SerialPort(line[1], baud)


def test_a_port_is_one_program_s(line):
    with SerialPort(line[1], 115200), pytest.raises(BoardError, match="is used by another program"):
        SerialPort(line[1], 115200)
    SerialPort(line[1], 115200).__exit__()


def test_closing_does_not_hang_up(line):
    with SerialPort(line[1], 115200) as port:
        port.read(0)
    assert not termios.tcgetattr(line[0])[2] & termios.HUPCL


@pytest.mark.parametrize("baud", [115200, 250000])
def test_bytes_pass_unchanged(line, baud):
    board, name = line
    content = bytes(range(256))
    with SerialPort(name, baud) as port:
        port.write(content, 1)
        assert os.read(board, 1024) == content
        os.write(board, content)
        assert port.read(1) == content
        assert port.read(0) == b""


def test_a_port_that_takes_nothing_is_told(line):
    with SerialPort(line[1], 115200) as port, pytest.raises(BoardError, match="accepts no data"):
        port.write(bytes(1 << 20), 0.1)


def test_a_port_that_goes_away_is_told():
    board, terminal = pty.openpty()
    with SerialPort(os.ttyname(terminal), 115200) as port:
        os.close(board)
        with pytest.raises(BoardError, match="has disappeared"):
            port.read(1)
        with pytest.raises(BoardError, match="has disappeared"):
            port.write(b"x", 1)
    os.close(terminal)


# --- A board that is none ---------------------------------------------------------------------------------------------


def test_silence_is_told(line):
    begin = time.monotonic()
    with SerialPort(line[1], 115200) as port, pytest.raises(BoardError, match="sent nothing for 0.3 s"):
        Board(port, **WAIT)
    assert time.monotonic() - begin >= WAIT["timeout_seconds"]
    # It asked more than once.
    assert os.read(line[0], 4096).count(Frame(1, 0).encode()) > 1


def test_garbage_is_told(line):
    with SerialPort(line[1], 115200) as port:
        os.write(line[0], b"ets Jul 29 2019 12:21:46\r\n" * 20)
        with pytest.raises(BoardError, match="sends other data than a board in serial mode"):
            Board(port, **WAIT)


@pytest.mark.parametrize(
    "answer, words",
    [
        (Frame(1, 0), "another version"),
        (Frame(1, 0, b"\x02" + bytes(40)), "another version"),
        (Frame(1, 0, b"\x01"), "not of kser's protocol"),
        (Frame(1, 0, b"\x01" + bytes(32)), "could not set up its model"),
        (Frame(0x7F, 0, b"\x02Why?"), "refuses: Why"),
    ],
)
def test_an_answer_that_is_none_is_told(line, answer, words):
    with SerialPort(line[1], 115200) as port:
        os.write(line[0], answer.encode())
        with pytest.raises(BoardError, match=words):
            Board(port, **WAIT)
