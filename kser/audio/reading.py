"""Audio files to mono float32 at 16 kHz, and clips to one fixed length."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from kser.errors import AudioError

MIN_SECONDS = 0.1
MAX_CHANNELS = 2
MAX_BYTES = 500_000_000
GIT_LFS_HEAD = b"version https://git-lfs"
GIT_LFS_HEAD_BYTES = len(GIT_LFS_HEAD)
# -80 dBFS: below any voice, above the dither of a 16-bit recording.
SILENCE_PEAK = 1e-4
ACTIVITY_FRAME_SAMPLES = 320
ACTIVITY_RANGE_DB = 35.0
NOISE_SEED = 16000
PCM16_FULL_SCALE = 32768


@dataclass(frozen=True)
class Recording:
    """An audio file: (num_samples, num_channels) float32 in [-1, 1], sample rate, size, and the sha256 of its bytes.

    For a part of a file, the digest is that of the samples read.
    """

    samples: np.ndarray
    sample_rate_hz: int
    num_bytes: int
    digest: str

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate_hz


def load(path: str, upper_hz: float = 0.0, span: tuple[float, float] | None = None) -> np.ndarray:
    """Reads a PCM or FLAC file as (num_samples,) float32 in [-1, 1] at 16 kHz; see `read` and `to_mono`.

    Raises:
      AudioError: the file cannot be used.
    """
    return to_mono(read(path, span), path, upper_hz)


def read(path: str, span: tuple[float, float] | None = None) -> Recording:
    """The samples of a file, or those within `span`, (begin, end) in seconds.

    Raises:
      AudioError: the file is missing, empty, truncated, not audio, a Git LFS pointer, larger than MAX_BYTES, or ends before
        `span` begins.
    """
    if not os.path.isfile(path):
        raise AudioError(f"There is no audio file {path}.")
    num_bytes = os.path.getsize(path)
    if num_bytes == 0:
        raise AudioError(f"{path} is empty.")
    if num_bytes > MAX_BYTES and span is None:
        raise AudioError(f"{path} has {num_bytes / 1e9:.1f} GB, too large for a clip of speech; cut it into utterances.")
    try:
        samples, sample_rate_hz, digest = _read_whole(path) if span is None else _read_span(path, span)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path} is not a readable audio file ({_error_text(error)}).") from error
    except (ValueError, MemoryError) as error:
        # In a damaged FLAC file, or one written to a pipe, the header may announce 2^36 or 2^63 samples.
        raise AudioError(
            f"{path} is not a readable audio file (its header announces more samples than fit into memory); encode it again."
        ) from error
    return Recording(samples, sample_rate_hz, num_bytes, digest)


def _read_whole(path: str) -> tuple[np.ndarray, int, str]:
    with open(path, "rb") as file:
        data = file.read()
    _check_head(path, data[:GIT_LFS_HEAD_BYTES], len(data))
    # Read by path again, not from memory: libsndfile would call Python for every block, which blocks other threads.
    found = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    return *found, hashlib.sha256(data).hexdigest()


def _read_span(path: str, span: tuple[float, float]) -> tuple[np.ndarray, int, str]:
    with open(path, "rb") as file:
        _check_head(path, file.read(GIT_LFS_HEAD_BYTES), os.path.getsize(path))
    with soundfile.SoundFile(os.fsencode(path)) as file:
        begin, end = (round(seconds * file.samplerate) for seconds in span)
        if not 0 <= begin < min(end, file.frames):
            lasts = file.frames / file.samplerate
            raise AudioError(f"{path} lasts {lasts:.1f} s and contains nothing from {span[0]:g} to {span[1]:g} s.")
        file.seek(begin)
        samples = file.read(end - begin, dtype="float32", always_2d=True)
        return samples, file.samplerate, hashlib.sha256(samples.tobytes()).hexdigest()


def to_mono(recording: Recording, path: str, upper_hz: float = 0.0) -> np.ndarray:
    """(num_samples,) float32 at 16 kHz, averaged over one or two channels.

    Args:
      path: name of the recording in error messages.
      upper_hz: the highest frequency used; a file with a lower Nyquist frequency is refused.

    Raises:
      AudioError: too short, silent, more than two channels (it is unknown which one carries the voice), samples that are
        not finite, or sampled below `2 * upper_hz`.
    """
    samples, sample_rate_hz = recording.samples, recording.sample_rate_hz
    if samples.shape[1] > MAX_CHANNELS:
        raise AudioError(f"{path} has {samples.shape[1]} channels; extract the one that carries the voice first.")
    if sample_rate_hz < 2 * upper_hz:
        raise AudioError(
            f"{path} is sampled at {sample_rate_hz} Hz and has nothing above {sample_rate_hz / 2:g} Hz, but the features "
            f"reach {upper_hz:g} Hz; use a recording of {SAMPLE_RATE_HZ} Hz or more, or a lower upper_hz."
        )
    if len(samples) < MIN_SECONDS * sample_rate_hz:
        raise AudioError(
            f"{path} holds {len(samples)} samples at {sample_rate_hz} Hz; at least {MIN_SECONDS:g} s are needed."
        )
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    low, high = mono.min(), mono.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise AudioError(f"{path} has samples that are not finite numbers.")
    if max(-low, high) < SILENCE_PEAK:
        raise AudioError(f"{path} is silent; use a recording with speech.")
    return resample(mono, sample_rate_hz)


def resample(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """(num_samples,) at `sample_rate_hz` to float32 at 16 kHz."""
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return samples.astype(np.float32, copy=False)
    return soxr.resample(samples, sample_rate_hz, SAMPLE_RATE_HZ).astype(np.float32)


def _check_head(path: str, head: bytes, num_bytes: int) -> None:
    """Refuses a truncated WAV, which libsndfile reads without an error; its header still has the original length."""
    if head == GIT_LFS_HEAD:
        raise AudioError(f"{path} is a Git LFS pointer, not the audio itself; fetch it with git lfs pull.")
    declared = int.from_bytes(head[4:8], "little")
    streamed = declared in (0, 0xFFFFFFFF)
    if head[:4] == b"RIFF" and not streamed and num_bytes < declared:
        raise AudioError(f"{path} is truncated: its header announces {declared + 8} bytes, it has {num_bytes}.")


def _error_text(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".").strip()


def active_range(samples: np.ndarray) -> tuple[int, int]:
    """First and one-past-last sample of the part of (num_samples,) within 35 dB of the loudest 20 ms."""
    num_frames = max(1, len(samples) // ACTIVITY_FRAME_SAMPLES)
    frames = samples[: num_frames * ACTIVITY_FRAME_SAMPLES].reshape(num_frames, -1)
    energy = np.einsum("ij,ij->i", frames, frames)
    active = energy >= energy.max() * 10 ** (-ACTIVITY_RANGE_DB / 10)
    begin, end = int(active.argmax()), num_frames - int(active[::-1].argmax())
    return begin * ACTIVITY_FRAME_SAMPLES, min(len(samples), end * ACTIVITY_FRAME_SAMPLES)


def fix_clip(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """A clip of exactly `config.clip_samples`, centred on the active part, plus microphone noise.

    Samples outside the recording are zero before the noise is added. The noise is the same for every clip and covers all of
    it, so that padding looks like the digital zeros of a studio recording and does not reveal the recording's length.

    Args:
      samples: (num_samples,) float32 at 16 kHz.
    Returns:
      (clip_samples,) float32.
    """
    begin, end = active_range(samples)
    start = (begin + end - config.clip_samples) // 2
    source = samples[max(0, start) : max(0, start + config.clip_samples)]
    clip = microphone_noise(config.clip_samples, config.noise_dbfs).copy()
    offset = max(0, -start)
    clip[offset : offset + len(source)] += source
    return clip


@functools.lru_cache(maxsize=4)
def microphone_noise(num_samples: int, level_dbfs: float) -> np.ndarray:
    """(num_samples,) float32 white Gaussian noise with an RMS of `level_dbfs`; the same on every call."""
    noise = np.random.default_rng(NOISE_SEED).standard_normal(num_samples)
    return (noise * 10 ** (level_dbfs / 20)).astype(np.float32)


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as int16, rounded and clipped, as a 16-bit converter gives them."""
    return np.clip(np.rint(samples * PCM16_FULL_SCALE), -PCM16_FULL_SCALE, PCM16_FULL_SCALE - 1).astype(np.int16)
