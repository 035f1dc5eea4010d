"""Audio files to mono float32 at 16 kHz, and clips to one fixed length."""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.signal
import soxr

from kser.audio.decoding import decode
from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from kser.errors import AudioError, KserWarning

MIN_SECONDS = 0.1
MAX_CHANNELS = 2
MAX_BYTES = 500_000_000
# -80 dBFS: below any voice, above the dither of a 16-bit recording.
SILENCE_PEAK = 1e-4
# Channels that have nothing in common keep at least a quarter of the louder one's energy in their mean.
OPPOSITE_ENERGY = 0.01
# Integers in a floating-point file, by their largest: of 16, 24 and 32 bits. Less than 18 dB beyond 1 is a loud recording.
INTEGER_SCALES = (2**15, 2**23, 2**31)
INTEGERS_FROM = 8
ACTIVITY_FRAME_SAMPLES = 320
ACTIVITY_RANGE_DB = 35.0
CLICK_FRAMES = 5
# Of a recording without pauses the quietest tenth is voice too: so the range is at least 15 dB.
ROOM_PERCENTILE, ROOM_MARGIN_DB, LEAST_RANGE_DB = 10, 10.0, 15.0
_HIGH_PASS = scipy.signal.butter(4, 200, "highpass", fs=SAMPLE_RATE_HZ, output="sos")
_HIGH_PASS_START = scipy.signal.sosfilt_zi(_HIGH_PASS)
NOISE_SEED = 16000
PCM16_FULL_SCALE = 32768


@dataclass(frozen=True)
class Recording:
    """An audio file: (num_samples, num_channels) float32, sample rate, size, and the sha256 of its bytes.

    For a part of a file, the digest is that of the samples read. If `is_float`, the file holds floating-point numbers, which
    need not be in [-1, 1]. If `may_be_cut`, the file ends without the mark of its end.
    """

    samples: np.ndarray
    sample_rate_hz: int
    num_bytes: int
    digest: str
    is_float: bool = False
    may_be_cut: bool = False

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate_hz


def load(path: str, upper_hz: float = 0.0, span: tuple[float, float] | None = None) -> np.ndarray:
    """Reads an audio file as (num_samples,) float32 in [-1, 1] at 16 kHz; see `read` and `to_mono`.

    A `KserWarning` tells what had to be corrected.

    Raises:
      AudioError: the file cannot be used.
    """
    samples, remark = to_mono(read(path, span), path, upper_hz)
    if remark:
        warnings.warn(remark, KserWarning, stacklevel=2)
    return samples


def read(path: str, span: tuple[float, float] | None = None) -> Recording:
    """The samples of a file, or those within `span`, (begin, end) in seconds.

    Raises:
      AudioError: the file is missing, empty, truncated, not audio, a Git LFS pointer, larger than MAX_BYTES, or ends before
        `span` begins.
    """
    if not os.path.isfile(path):
        raise AudioError(f"There is no audio file {path}.")
    try:
        num_bytes = os.path.getsize(path)
        if num_bytes == 0:
            raise AudioError(f"{path} is empty.")
        if num_bytes > MAX_BYTES and span is None:
            raise AudioError(f"{path} has {num_bytes / 1e9:.1f} GB, too large for a clip of speech; cut it into utterances.")
        decoded = decode(path, span)
        digest = hashlib.sha256(decoded.samples.tobytes()).hexdigest() if span else _digest(path)
    except OSError as error:
        raise AudioError(f"{path} cannot be read ({error.strerror or error}).") from error
    return Recording(decoded.samples, decoded.sample_rate_hz, num_bytes, digest, decoded.is_float, decoded.may_be_cut)


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def to_mono(recording: Recording, path: str, upper_hz: float = 0.0) -> tuple[np.ndarray, str]:
    """(num_samples,) float32 at 16 kHz, averaged over one or two channels, and a sentence on what was corrected, or "".

    Of two channels of opposite phase the louder one is taken. Floating-point samples beyond 1 are scaled: integers by their
    full scale, others by the largest.

    Args:
      path: name of the recording in messages.
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
    low, high = samples.min(), samples.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise AudioError(f"{path} has samples that are not finite numbers.")
    scale = _full_scale(max(-low, high)) if recording.is_float else 1.0
    mono, opposite = _one_channel(samples / np.float32(scale) if scale > 1 else samples)
    if max(-mono.min(), mono.max()) < SILENCE_PEAK:
        raise AudioError(f"{path} is silent; use a recording with speech.")
    remarks = [f"has samples beyond 1 and was divided by {scale:g}"] if scale > 1 else []
    remarks += ["has two channels of opposite phase, of which the louder one was taken"] if opposite else []
    remarks += ["ends without the mark of its end and may be cut short"] if recording.may_be_cut else []
    return resample(mono, sample_rate_hz), f"{path} {' and '.join(remarks)}." if remarks else ""


def _full_scale(peak: float) -> float:
    """What to divide floating-point samples by: 1 if they are within 1, the full scale of the integers they were, or their
    peak."""
    if peak <= 1:
        return 1.0
    return next((float(scale) for scale in INTEGER_SCALES if INTEGERS_FROM < peak <= scale), float(peak))


def _one_channel(samples: np.ndarray) -> tuple[np.ndarray, bool]:
    """(num_samples,) of (num_samples, 1 or 2): their mean, or the louder one and True if the mean cancels most of it."""
    if samples.shape[1] == 1:
        return samples[:, 0], False
    mono = samples.mean(axis=1)
    energies = np.einsum("ij,ij->j", samples, samples)
    if np.dot(mono, mono) < OPPOSITE_ENERGY * energies.max():
        return samples[:, int(energies.argmax())], True
    return mono, False


def resample(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """(num_samples,) at `sample_rate_hz` to float32 at 16 kHz."""
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return samples.astype(np.float32, copy=False)
    return soxr.resample(samples, sample_rate_hz, SAMPLE_RATE_HZ).astype(np.float32)


def active_range(samples: np.ndarray) -> tuple[int, int]:
    """First and one-past-last sample of the voice in (num_samples,), by the levels of frames of 20 ms.

    A frame counts from 35 dB below the loudest or, where the room is louder than that, from 10 dB above the quietest tenth.
    Offsets, hum and what settles are filtered away before, and the median over 100 ms passes over clicks.
    """
    voice, _ = scipy.signal.sosfilt(_HIGH_PASS, samples, zi=_HIGH_PASS_START * samples[0])
    num_frames = max(1, len(samples) // ACTIVITY_FRAME_SAMPLES)
    frames = voice[: num_frames * ACTIVITY_FRAME_SAMPLES].reshape(num_frames, -1)
    energy = np.einsum("ij,ij->i", frames, frames)
    energy = scipy.ndimage.median_filter(energy, min(CLICK_FRAMES, num_frames), mode="nearest")
    level = 10 * np.log10(energy + np.finfo(np.float32).tiny)
    above_room = min(np.percentile(level, ROOM_PERCENTILE) + ROOM_MARGIN_DB, level.max() - LEAST_RANGE_DB)
    active = level >= max(level.max() - ACTIVITY_RANGE_DB, above_room)
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
