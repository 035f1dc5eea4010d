"""Sound synthesis: glottal pulses and noise through a moving vocal tract, in a small room.

Glottal pulses (Rosenberg 1971), with jitter and shimmer per period, and aspiration noise in the open phase pass through a
cascade of formant resonators (Klatt 1980) that changes from phone to phone; fricatives and bursts are shaped noise.
  A. E. Rosenberg, Effect of glottal pulse shape on the quality of natural vowels, J. Acoust. Soc. Am. 49(2B), 1971.
  D. H. Klatt, Software for a cascade/parallel formant synthesizer, J. Acoust. Soc. Am. 67(3), 1980.

Tracks have one row per hop; N = num_samples is a whole number of hops.
"""

from __future__ import annotations

import math

import numpy as np

from kser.audio.synthesis.voices import Segment, Voice, from_decibels
from kser.config import SAMPLE_RATE_HZ

# Overlap-add of 16 ms windows every 4 ms; zero-padding lets the formants ring for 48 ms.
_HOP, _WINDOW, _FFT = 64, 256, 1024
_OVERSAMPLING = 3
_FORMANT_WIDTHS_HZ = (70, 100, 140)
_UPPER_FORMANTS_HZ = ((3500, 220), (4500, 320), (5500, 450), (6500, 600), (7500, 800))
_HIGHEST_FORMANT_HZ = 7400
_PEAK = 0.95
# Levels of the noise sources relative to the pulses, chosen from spectrograms.
_FRICATION, _ASPIRATION = 2.5, 10.0


def _track(segments: list[Segment], name: str, smoothing_seconds: float) -> np.ndarray:
    """The segments' values of `name` as smoothed steps over time: (num_hops + 1,) or (num_hops + 1, 3)."""
    values = np.array([getattr(segment, name) for segment in segments])
    ends = np.cumsum([segment.seconds for segment in segments])
    times = np.arange(_num_hops(segments) + 1) * (_HOP / SAMPLE_RATE_HZ)
    steps = values[np.minimum(np.searchsorted(ends, times, side="right"), len(ends) - 1)]
    return _smooth(steps, smoothing_seconds)


def _num_hops(segments: list[Segment]) -> int:
    return int(sum(segment.seconds for segment in segments) * SAMPLE_RATE_HZ / _HOP)


def _smooth(track: np.ndarray, seconds: float) -> np.ndarray:
    """Running Hann-weighted mean over `seconds` along the first axis."""
    half = max(1, round(seconds * SAMPLE_RATE_HZ / _HOP / 2))
    weights = np.hanning(2 * half + 3)[1:-1]
    padded = np.pad(track, [(half, half)] + [(0, 0)] * (track.ndim - 1), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=0) @ (weights / weights.sum())


def _at_rate(track: np.ndarray, oversampling: int = 1) -> np.ndarray:
    """A track (num_hops + 1,) interpolated to every sample: (num_hops * 64 * oversampling,)."""
    hops = len(track) - 1
    return np.interp(np.arange(hops * _HOP * oversampling) / (_HOP * oversampling), np.arange(hops + 1), track)


def speak(voice: Voice, segments: list[Segment], rng: np.random.Generator) -> np.ndarray:
    """The sound at the lips, of any level: (N,)."""
    source = _glottal_source(voice, segments, rng)
    noise = _FRICATION * _at_rate(_track(segments, "noise", 0.012)) * rng.standard_normal(len(source))
    spectra = _spectra(source) * _tract(voice, segments) + _spectra(noise) * _noise_band(segments)
    return _overlap_add(spectra)[: len(source)]


def _glottal_source(voice: Voice, segments: list[Segment], rng: np.random.Generator) -> np.ndarray:
    """Derivative of the glottal flow plus aspiration noise where the glottis is open: (N,)."""
    f0_hz = np.clip(voice.f0_hz * 2 ** (_track(segments, "f0_semitones", 0.14) / 12), 55, 600)
    position, gains = _glottal_cycles(voice, _at_rate(f0_hz, _OVERSAMPLING), rng)
    amplitude = gains[position.astype(int)] * _at_rate(_track(segments, "voice", voice.attack_seconds), _OVERSAMPLING)
    flow, derivative = _rosenberg(position % 1, voice.open_quotient)
    pulses = _decimate(derivative * amplitude, voice.tilt_db_per_octave)
    aspiration = (flow * amplitude)[::_OVERSAMPLING] * rng.standard_normal(len(pulses))
    return pulses + _ASPIRATION * voice.breath * aspiration


def _glottal_cycles(voice: Voice, f0_hz: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Number of cycles passed at every sample (num_samples,), and each cycle's shimmer gain (num_cycles,).

    Jitter: every period is `1 + jitter * normal` times 1 / F0 long.
    """
    cycles = np.cumsum(f0_hz) / (SAMPLE_RATE_HZ * _OVERSAMPLING)
    num_cycles = int(cycles[-1] * 1.1) + 3
    lengths = np.maximum(1 + voice.jitter * rng.standard_normal(num_cycles), 0.5)
    gains = from_decibels(voice.shimmer_db * rng.standard_normal(num_cycles))
    onsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.interp(cycles, onsets, np.arange(num_cycles + 1)), gains


def _rosenberg(phase: np.ndarray, open_quotient: float) -> tuple[np.ndarray, np.ndarray]:
    """Rosenberg's trigonometric pulse at `phase` in [0, 1): flow in [0, 1] and its derivative with respect to phase.

    Opens over two thirds of the open phase, 0.5 - 0.5 cos(pi p), and closes over one third, cos(pi p / 2).
    """
    opening, closing = open_quotient * 2 / 3, open_quotient / 3
    rise = np.pi * np.minimum(phase / opening, 1)
    fall = np.pi / 2 * np.clip((phase - opening) / closing, 0, 1)
    closed = phase >= open_quotient
    flow = (0.5 - 0.5 * np.cos(rise)) * np.cos(fall)
    derivative = np.pi / 2 * (np.sin(rise) / opening - np.sin(fall) / closing)
    return flow, np.where(closed, 0.0, derivative)


def _decimate(oversampled: np.ndarray, tilt_db_per_octave: float) -> np.ndarray:
    """Resamples to 16 kHz without aliases of the pulses' corners; adds the spectral tilt above 400 Hz: (N,)."""
    num_samples = len(oversampled) // _OVERSAMPLING
    length = _fast_length(num_samples)
    spectrum = np.fft.rfft(oversampled, length * _OVERSAMPLING)[: length // 2 + 1] / _OVERSAMPLING
    octaves = np.log2(np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ) / 400, 1))
    return np.fft.irfft(spectrum * from_decibels(tilt_db_per_octave * octaves), length)[:num_samples]


def _fast_length(num_samples: int) -> int:
    """The next length with small prime factors only, for a fast FFT; at most an eighth longer."""
    step = 1 << max(num_samples.bit_length() - 4, 0)
    return -(-num_samples // step) * step


def _spectra(signal: np.ndarray) -> np.ndarray:
    """Hann-windowed short-time spectra centred on the hops: (num_hops + 1, 513)."""
    padded = np.pad(signal, (_WINDOW // 2, _WINDOW // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    return np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)), _FFT)


def _overlap_add(spectra: np.ndarray) -> np.ndarray:
    """The inverse of `_spectra`, with up to 48 ms of ringing at the end."""
    parts = np.fft.irfft(spectra, _FFT).reshape(len(spectra), _FFT // _HOP, _HOP)
    total = np.zeros((len(spectra) + _FFT // _HOP, _HOP))
    for part in range(_FFT // _HOP):
        total[part : part + len(spectra)] += parts[:, part]
    overlap = _WINDOW / (2 * _HOP)  # the sum of the shifted Hann windows
    return total.ravel()[_WINDOW // 2 :] / overlap


def _tract(voice: Voice, segments: list[Segment]) -> np.ndarray:
    """Transfer function of the vocal tract at every hop: (num_hops + 1, 513) complex64."""
    formants = _track(segments, "formants_hz", 0.06)
    damping = np.ones(_FFT // 2 + 1, np.complex64)
    for frequency, width in _UPPER_FORMANTS_HZ:
        # A short vocal tract has fewer formants below 8 kHz; the rest are left out.
        if voice.formant_scale * frequency < _HIGHEST_FORMANT_HZ:
            damping = damping * _damping(voice.formant_scale * frequency, width)
    for index, width in enumerate(_FORMANT_WIDTHS_HZ):
        damping = damping * _damping(formants[:, index, None], width)
    return 1 / damping


def _damping(frequency_hz, width_hz: float) -> np.ndarray:
    """One over the transfer function of Klatt's resonator, which has gain 1 at 0 Hz: (..., 513) complex64."""
    delay = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1) / _FFT).astype(np.complex64)
    radius = math.exp(-math.pi * width_hz / SAMPLE_RATE_HZ)
    feedback = 2 * radius * np.cos(2 * np.pi * np.asarray(frequency_hz, np.float32) / SAMPLE_RATE_HZ)
    return (1 + (radius * delay) ** 2 - feedback * delay) * (1 / (1 + radius**2 - feedback))


def _noise_band(segments: list[Segment]) -> np.ndarray:
    """Gain of the frication noise, a resonance curve that follows the phones: (num_hops + 1, 513)."""
    frequencies = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE_HZ)
    centre = _track(segments, "noise_hz", 0.02)[:, None]
    width = _track(segments, "noise_width_hz", 0.02)[:, None]
    return 1 / (1 + ((frequencies - centre) / width) ** 2)


# Recording.


def record(speech: np.ndarray, level_dbfs: float, rng: np.random.Generator) -> np.ndarray:
    """The sound recorded in a small room at `level_dbfs` RMS over the whole clip, with microphone noise: (N,)."""
    heard = _reverberate(speech, rng)
    heard = heard * (from_decibels(level_dbfs) / np.sqrt(np.mean(heard**2)))
    heard = heard + _microphone_noise(len(heard), rng)
    return heard * min(1.0, _PEAK / np.abs(heard).max())


def _reverberate(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The direct sound plus exponentially decaying noise for the room: (N,)."""
    decay_seconds = rng.uniform(0.12, 0.3)
    times = np.arange(round(decay_seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    room = rng.standard_normal(len(times)) * from_decibels(-60 * times / decay_seconds)
    room *= from_decibels(-rng.uniform(9, 16)) / np.sqrt(np.sum(room**2))
    room[0] = 1
    length = _fast_length(len(speech) + len(room))
    return np.fft.irfft(np.fft.rfft(speech, length) * np.fft.rfft(room, length), length)[: len(speech)]


def _microphone_noise(num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of -64 to -54 dBFS that falls by 3 dB per octave: (N,)."""
    length = _fast_length(num_samples)
    spectrum = np.fft.rfft(rng.standard_normal(length)) / np.sqrt(1 + np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ) / 50)
    noise = np.fft.irfft(spectrum, length)[:num_samples]
    return noise * (from_decibels(rng.uniform(-64, -54)) / np.sqrt(np.mean(noise**2)))
