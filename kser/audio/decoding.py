"""The samples of an audio file in any usual format: by libsndfile, or by ffmpeg for those that only ffmpeg reads."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from kser.audio import mp3_frames
from kser.errors import AudioError

LOSSLESS_EXTENSIONS = (".wav", ".flac", ".aif", ".aiff")
FFMPEG_EXTENSIONS = (".m4a", ".aac", ".wma", ".amr", ".3gp", ".webm")
AUDIO_EXTENSIONS = (*LOSSLESS_EXTENSIONS, ".mp3", ".ogg", ".oga", ".opus", *FFMPEG_EXTENSIONS)
FORMATS = "WAV, FLAC, AIFF, MP3, OGG or Opus, and M4A where ffmpeg is installed"

HEAD_BYTES = 32
GIT_LFS_HEAD = b"version https://git-lfs"
# Where a kind of file has its mark, the mark, what it is, and whether ffmpeg finds sound in it.
CONTENTS = (
    (4, b"ftyp", "MPEG-4 (M4A)", True),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM", True),
    (0, b"0&\xb2u", "Windows Media", True),
    (0, b"#!AMR", "AMR", True),
    (0, b"PK\x03\x04", "a ZIP archive", False),
    (0, b"%PDF", "a PDF document", False),
    (0, b"<", "a web page or XML", False),
)
# Sizes from here on, and 0, are what programs write before they know a length, such as to a pipe (0x7FFFF000 of SoX,
# 0x80000000 of arecord, 0xFFFFFFFF of ffmpeg); a finished file of this size is refused before.
UNKNOWN_SIZE = 0x7FFFF000
# Of float32: 2 GB. Compressed files of less than MAX_BYTES may hold far more.
MAX_SAMPLES = 500_000_000
OTHER_HEADS = (b"RIFF", b"fLaC", b"OggS", b"FORM")
OGG_PAGE_BYTES = 65536
UNRECOGNISED = (1, 7)  # error codes of libsndfile; the second comes from what is called .mp3 and is none


class Decoded(NamedTuple):
    """(num_samples, num_channels) float32, their rate, whether the file holds floating-point numbers, and whether it ends
    without the mark of its end."""

    samples: np.ndarray
    sample_rate_hz: int
    is_float: bool
    may_be_cut: bool = False


def decode(path: str, span: tuple[float, float] | None = None) -> Decoded:
    """The samples of a file, or those within `span`, (begin, end) in seconds.

    Raises:
      AudioError: truncated, damaged, not audio, a format that needs ffmpeg where that is missing, or without anything in
        `span`.
      OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
        if head.startswith(GIT_LFS_HEAD):
            raise AudioError(f"{path} is a Git LFS pointer, not the audio itself; fetch it with git lfs pull.")
        completed = _checked_wav(path, head, file)
        mp3 = _checked_mp3(path, head, file)
        may_be_cut = head.startswith(b"OggS") and not _ends_as_ogg(file)
    # By path, if possible: from memory libsndfile would call Python for every block, which blocks other threads.
    source = io.BytesIO(completed) if completed else os.fsencode(path)
    try:
        if mp3.is_unknown:
            return _decoded_by_ffmpeg(path, span)
        return _decoded(path, source, span, mp3.is_estimate)._replace(may_be_cut=may_be_cut and span is None)
    except soundfile.LibsndfileError as error:
        if _needs_ffmpeg(path, head):
            return _decoded_by_ffmpeg(path, span)
        raise AudioError(_refusal(path, head, error)) from error
    except MemoryError as error:
        raise AudioError(f"{path} does not fit into memory; cut it into utterances.") from error
    except TypeError as error:  # soundfile wants rate and channels for a name that ends with .raw
        raise AudioError(f"{path} is not a readable audio file (it has no header); encode it as WAV.") from error


def _decoded_by_ffmpeg(path: str, span: tuple[float, float] | None) -> Decoded:
    # Its floats are those of a lossy codec, which may exceed 1 a little.
    return _decoded(path, io.BytesIO(_by_ffmpeg(path)), span)._replace(is_float=False)


def _decoded(path: str, source, span: tuple[float, float] | None, is_estimate: bool = False) -> Decoded:
    """The samples of a path or stream; the length that its header gives may be an estimate."""
    with soundfile.SoundFile(source) as file:
        is_float = file.subtype in ("FLOAT", "DOUBLE")
        begin, end = (0, file.frames) if span is None else (round(seconds * file.samplerate) for seconds in span)
        if span and not 0 <= begin < min(end, file.frames):
            lasts = file.frames / file.samplerate
            raise AudioError(f"{path} lasts {lasts:.1f} s and contains nothing from {span[0]:g} to {span[1]:g} s.")
        wanted = min(end, file.frames) - begin
        # In a damaged FLAC file, or one written to a pipe, the header may announce 2^36 or 2^63 samples.
        if wanted * file.channels > MAX_SAMPLES:
            raise AudioError(
                f"{path} is not a readable audio file (its header announces more samples than fit into memory); encode it "
                "again, or cut it into utterances."
            )
        if begin:
            file.seek(begin)
        samples = file.read(wanted, dtype="float32", always_2d=True)
        if len(samples) < wanted and not is_estimate:
            raise AudioError(f"{path} is truncated: its header announces {wanted} samples, it has {len(samples)}.")
        return Decoded(samples, file.samplerate, is_float)


def _checked_wav(path: str, head: bytes, file: BinaryIO) -> bytes:
    """A WAV whose sizes are still 0, with those it has; empty for all other files, which libsndfile reads as they are.

    Raises:
      AudioError: it is truncated, which libsndfile reads without an error; its header still has the original length.
    """
    if head[:4] != b"RIFF":
        return b""
    num_bytes = os.fstat(file.fileno()).st_size
    riff_bytes = int.from_bytes(head[4:8], "little")
    if 0 < riff_bytes < UNKNOWN_SIZE and num_bytes < riff_bytes:
        raise AudioError(f"{path} is truncated: its header announces {riff_bytes + 8} bytes, it has {num_bytes}.")
    begin, data_bytes = _data_chunk(file, num_bytes)
    # Some programs count the headers as data.
    if data_bytes < UNKNOWN_SIZE and num_bytes < data_bytes:
        there = num_bytes - begin
        raise AudioError(f"{path} is truncated: its header announces {data_bytes} bytes of sound, it has {there}.")
    if data_bytes or begin >= num_bytes or riff_bytes == num_bytes - 8:
        return b""
    file.seek(0)
    data = bytearray(file.read())
    data[4:8] = (num_bytes - 8).to_bytes(4, "little")
    data[begin - 4 : begin] = (num_bytes - begin).to_bytes(4, "little")
    return bytes(data)


class _Mp3(NamedTuple):
    """What is known of the length of an MP3: nothing (False, False) of other files."""

    is_estimate: bool = False
    is_unknown: bool = False


def _checked_mp3(path: str, head: bytes, file: BinaryIO) -> _Mp3:
    """Whether a file's length is an estimate, as that of MP3 without an index, or cannot even be estimated.

    Raises:
      AudioError: an .mp3 without a frame, or much shorter than its index says; libsndfile would write of both to stderr.
    """
    if head.startswith(b"RIFF"):
        return _Mp3(is_estimate=head[20:22] in (b"\x50\0", b"\x55\0"))
    if not (head.startswith((b"ID3", b"\xff")) or (path.lower().endswith(".mp3") and head[:4] not in OTHER_HEADS)):
        return _Mp3()
    file.seek(0)
    data = file.read()
    begin = mp3_frames.first_frame(data)
    if begin < 0:
        raise AudioError(_unknown(path, head))
    announced, there = mp3_frames.announced_bytes(data, begin), len(data) - begin
    if there < 0.99 * announced:
        raise AudioError(f"{path} is truncated: its header announces {announced} bytes of sound, it has {there}.")
    return _Mp3(announced == 0, announced == 0 and not mp3_frames.has_constant_bit_rate(data, begin))


def _ends_as_ogg(file: BinaryIO) -> bool:
    """Whether the last page of an Ogg file has the mark of the end; if not, the file may be cut."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - OGG_PAGE_BYTES))
    data = file.read()
    last = data.rfind(b"OggS")
    return 0 <= last < len(data) - 5 and bool(data[last + 5] & 4)


def _data_chunk(file: BinaryIO, num_bytes: int) -> tuple[int, int]:
    """Where the sound of a WAV begins, and its size as announced; the end of the file and 0 if there is none."""
    position = 12
    while position + 8 <= num_bytes:
        file.seek(position)
        name, size = file.read(4), int.from_bytes(file.read(4), "little")
        position += 8
        if name == b"data":
            return position, size
        position += size + size % 2
    return num_bytes, 0


def _content(head: bytes) -> tuple[str, bool]:
    """What a file that libsndfile does not know is by its first bytes, "" if unknown, and whether ffmpeg may read it."""
    for begin, mark, name, for_ffmpeg in CONTENTS:
        if head[begin:].startswith(mark):
            return name, for_ffmpeg
    return "", False


def _needs_ffmpeg(path: str, head: bytes) -> bool:
    name, for_ffmpeg = _content(head)
    return for_ffmpeg or (not name and path.lower().endswith(FFMPEG_EXTENSIONS))


def _by_ffmpeg(path: str) -> bytes:
    """The first sound of a file as WAV."""
    if not shutil.which("ffmpeg"):
        raise AudioError(f"{path} is of a format that needs ffmpeg; install ffmpeg, or convert the file to WAV.")
    options = ("-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", b"file:" + os.fsencode(path))
    output = ("-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1")
    result = subprocess.run(["ffmpeg", *options, *output], capture_output=True, check=False)
    if result.returncode:
        said = result.stderr.decode(errors="replace").replace(path, "").strip().splitlines() or ["it failed"]
        reason = said[-1].removeprefix("file:").strip(" :.").replace(". ", ", ")
        raise AudioError(f"{path} is not a readable audio file (ffmpeg: {reason}).")
    return result.stdout


def _refusal(path: str, head: bytes, error: soundfile.LibsndfileError) -> str:
    """Why libsndfile cannot read a file, in words that say what to do."""
    if error.code in UNRECOGNISED:
        return _unknown(path, head)
    said = error.error_string.strip(" .").replace(". ", ", ")
    reason = f"it is damaged or of an unusual encoding: {said}"
    return f"{path} is not a readable audio file ({reason}); copy it again, or convert it to WAV of 16-bit PCM."


def _unknown(path: str, head: bytes) -> str:
    content = _content(head)[0] or "of no known format"
    return f"{path} is not a readable audio file (its content is {content}); it must be {FORMATS}."
