"""Augmentation of the waveform, before the front end; every function takes and returns (num_samples,) float32 at 16 kHz.

Nothing is normalized or clipped here, so a result may exceed the peak of its input: resampling and the telephone band
overshoot at steep edges, and a room keeps the RMS, not the peak. Only the telephone codec clips, at full scale.
"""

from __future__ import annotations

import hashlib

import numpy as np
import soxr

from kser.config import SAMPLE_RATE_HZ

# WSOLA: windows of 32 ms with half overlap; offsets of +-10 ms cover a period of any voice above 50 Hz.
HOP_SAMPLES = 256
MAX_OFFSET = 160
# Rooms: from the first reflections to the diffuse tail, with steadily falling energy.
MIXING_SECONDS = 0.04
EARLY_REFLECTIONS = 8
SHORTEST_RT60_SHARE = 0.2
# From a close microphone to one at twice the distance at which the room is as loud as the voice.
DIRECT_TO_REVERBERANT_DB = (-6.0, 12.0)
# Air and soft furnishing absorb high frequencies first.
HIGH_BAND_HZ, HIGH_BAND_RT60_SHARE = 2000.0, 0.6
TELEPHONE_RATE_HZ = 8000
# Stop band, pass band, pass band, stop band.
TELEPHONE_EDGES_HZ = (200.0, 300.0, 3400.0, 3700.0)
MU = 255
MU_LAW_STEPS = 127


def variant_rng(seed: int, utterance_id: str, variant: int) -> np.random.Generator:
    """The random generator of one variant of one clip: independent of the others, so the order of work does not matter."""
    key = f"{seed} {variant} {utterance_id}".encode(errors="surrogateescape")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest(), "big"))


def augment_sound(samples: np.ndarray, steps: tuple[tuple[str, float], ...], rng: np.random.Generator) -> np.ndarray:
    """Applies the steps of the stage "sound" in order, with random numbers from `rng`; without steps nothing changes.

    Args:
      samples: (num_samples,) float32.
      steps: (name, strength), as `AugmentConfig.steps("sound")` gives them.
    Returns:
      (num_samples,) float32; only "speed" changes the length.
    """
    for name, strength in steps:
        samples = _DRAWN[name](samples, strength, rng)
    return samples


def _draw_speed(samples: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return change_speed(samples, rng.uniform(1 - strength, 1 + strength))


def _draw_pitch(samples: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return shift_pitch(samples, rng.uniform(-strength, strength))


def _draw_room(samples: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    rt60 = rng.uniform(SHORTEST_RT60_SHARE * strength, strength)
    return place_in_room(samples, room_impulse_response(rt60, rng.uniform(*DIRECT_TO_REVERBERANT_DB), rng))


def _draw_codec(samples: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return telephone(samples) if rng.random() < strength else samples


_DRAWN = {"speed": _draw_speed, "pitch": _draw_pitch, "room": _draw_room, "codec": _draw_codec}


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Plays `factor` times as fast: (num_samples / factor,), every frequency `factor` times as high (Ko et al. 2015)."""
    return soxr.resample(samples, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ)


def shift_pitch(samples: np.ndarray, semitones: float) -> np.ndarray:
    """Scales every frequency, formants included, by 2^(semitones / 12), in the same number of samples."""
    factor = 2 ** (semitones / 12)
    return _fit(change_speed(stretch(samples, factor), factor), len(samples))


def stretch(samples: np.ndarray, factor: float) -> np.ndarray:
    """Stretches the samples by `factor` (0.5 to 2) at the same pitch: WSOLA (Verhelst and Roelands 1993).

    Every window is taken from within MAX_OFFSET of its nominal place, where its first half correlates best with the
    continuation of the window before, so that the overlap adds in phase.

    Returns:
      (round(num_samples * factor),) float32.
    """
    num_samples = round(len(samples) * factor)
    # Room for the offsets, and for the last window when the stride is longest.
    margin = MAX_OFFSET + 4 * HOP_SAMPLES
    padded = np.pad(samples, margin)
    starts = margin + (np.arange(-(-num_samples // HOP_SAMPLES) + 1) * HOP_SAMPLES / factor).astype(int) - HOP_SAMPLES
    window = np.hanning(2 * HOP_SAMPLES + 1)[:-1].astype(np.float32)
    output = np.zeros((len(starts) + 1) * HOP_SAMPLES, np.float32)
    for index, start in enumerate(_aligned(padded, starts)):
        place = index * HOP_SAMPLES
        output[place : place + 2 * HOP_SAMPLES] += window * padded[start : start + 2 * HOP_SAMPLES]
    return output[HOP_SAMPLES : HOP_SAMPLES + num_samples]


def _aligned(samples: np.ndarray, starts: np.ndarray) -> list[int]:
    """`starts`, each moved to where the normalized correlation with the continuation of the window before is largest."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    energy = np.maximum(energy[HOP_SAMPLES:] - energy[:-HOP_SAMPLES], 0)
    # A floor, so that zeros in a pause and rounding of the sums do not look like a perfect match.
    norm = np.sqrt(energy + 1e-6 * energy.max() + np.finfo(np.float32).tiny)
    aligned = [int(starts[0])]
    for start in starts[1:]:
        follow = aligned[-1] + HOP_SAMPLES
        low, high = start - MAX_OFFSET, start + MAX_OFFSET
        match = np.correlate(samples[low : high + HOP_SAMPLES], samples[follow : follow + HOP_SAMPLES], "valid")
        aligned.append(int(low + np.argmax(match / norm[low : high + 1])))
    return aligned


def place_in_room(samples: np.ndarray, impulse_response: np.ndarray) -> np.ndarray:
    """The samples convolved with an impulse response whose first tap is the direct sound; same length, alignment and RMS.

    Reverberation after the last sample is cut off.
    """
    num_samples = len(samples)
    taps = impulse_response[:num_samples]
    length = _fft_length(num_samples + len(taps))
    heard = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(taps, length), length)[:num_samples]
    level = _rms(heard)
    return (heard * (_rms(samples) / level)).astype(np.float32) if level else samples


def room_impulse_response(rt60: float, direct_to_reverberant_db: float, rng: np.random.Generator) -> np.ndarray:
    """A random room impulse response: direct sound, a few reflections, then decaying noise (Polack 1988).

    The envelope of both is 10^(-3 t / rt60), and the reflections carry as much energy per second as the noise would, so the
    decay is straight from the start. Above HIGH_BAND_HZ the noise decays in HIGH_BAND_RT60_SHARE of the time.

    Args:
      rt60: seconds in which the energy below HIGH_BAND_HZ falls by 60 dB, at least 0.01.
      direct_to_reverberant_db: energy of the direct sound over that of everything after it.
    Returns:
      (rt60 * 16000,) float64; the first tap, the direct sound, is 1.
    """
    mixing = round(min(MIXING_SECONDS, rt60 / 4) * SAMPLE_RATE_HZ)
    response = _diffuse_tail(rt60, rng)
    response[:mixing] = 0
    delays = 1 + rng.choice(mixing - 1, EARLY_REFLECTIONS, replace=False)
    # Walls reflect pressure in phase, so reflections have no random signs.
    response[delays] = np.sqrt(mixing / EARLY_REFLECTIONS) * _decay(delays, rt60)
    response *= 10 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.sum(response**2))
    response[0] = 1
    return response


def _diffuse_tail(rt60: float, rng: np.random.Generator) -> np.ndarray:
    num_taps = round(rt60 * SAMPLE_RATE_HZ)
    length = _fft_length(num_taps)
    noise = rng.standard_normal(length)
    spectrum = np.fft.rfft(noise)
    spectrum[round(HIGH_BAND_HZ / SAMPLE_RATE_HZ * length) :] = 0
    low = np.fft.irfft(spectrum, length)[:num_taps]
    taps = np.arange(num_taps)
    return low * _decay(taps, rt60) + (noise[:num_taps] - low) * _decay(taps, HIGH_BAND_RT60_SHARE * rt60)


def _decay(taps: np.ndarray, rt60: float) -> np.ndarray:
    return np.exp(taps * (-3 * np.log(10) / (rt60 * SAMPLE_RATE_HZ)))


def telephone(samples: np.ndarray) -> np.ndarray:
    """Simulates an 8 kHz telephone: 300-3400 Hz, then 8-bit mu-law, clipping at full scale; same length."""
    narrow = soxr.resample(_telephone_band(samples), SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ)
    return _fit(soxr.resample(mu_law(narrow), TELEPHONE_RATE_HZ, SAMPLE_RATE_HZ), len(samples))


def _telephone_band(samples: np.ndarray) -> np.ndarray:
    """Band-passes without delay; an odd number of samples grows by one, because 8 kHz needs half of them."""
    # The filter rings for 1 / 100 Hz either way; padding keeps that from wrapping around.
    length = _fft_length(len(samples) + SAMPLE_RATE_HZ // 50)
    frequencies = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    gain = 0.5 - 0.5 * np.cos(np.pi * np.interp(frequencies, TELEPHONE_EDGES_HZ, (0, 1, 1, 0)))
    filtered = np.fft.irfft(np.fft.rfft(samples, length) * gain, length)
    return filtered[: len(samples) + len(samples) % 2].astype(np.float32)


def mu_law(samples: np.ndarray) -> np.ndarray:
    """Encodes in 8 bits and decodes: F(x) = sgn(x) ln(1 + 255 |x|) / ln 256, rounded to 127 steps either side of zero.

    ITU-T G.711 approximates this curve by straight pieces. The code has two zeros, hence 255 values; silence stays
    silence, and values beyond +-1 are clipped.
    """
    magnitude = np.minimum(np.abs(samples), 1)
    code = np.round(MU_LAW_STEPS * np.log1p(MU * magnitude) / np.log1p(MU))
    return (np.sign(samples) * np.expm1(code / MU_LAW_STEPS * np.log1p(MU)) / MU).astype(np.float32)


def _fit(samples: np.ndarray, num_samples: int) -> np.ndarray:
    """Crops or zero-pads to a length: resampling rounds it to the nearest sample."""
    return np.pad(samples[:num_samples], (0, max(0, num_samples - len(samples))))


def _fft_length(num_samples: int) -> int:
    """The smallest power of two that is no less."""
    return 1 << (num_samples - 1).bit_length()


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
