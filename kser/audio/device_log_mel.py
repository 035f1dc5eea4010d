"""The front end of deploy/kser_micro, bit for bit: the same float32 operations on the same tables in the same order.

IEEE 754 rounds every sum, product and quotient alike on every computer, so the results here are the same integers as on a
board, provided that it uses the firmware's own FFT: those of CMSIS-DSP and esp-dsp add in another order, which changes a few
inputs by one step. The functions mirror the firmware's, for all frames at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kser.audio.log_mel import FeatureCode, Normalization, analysis_window, feature_code, hz_to_mel, mel_matrix
from kser.audio.reading import PCM16_FULL_SCALE
from kser.config import SAMPLE_RATE_HZ, FeatureConfig

# A minute in a few megabytes at a time.
FRAMES_AT_ONCE = 2048
DB_PER_NEPER = 4.34294482
LEAST_POWER = 1e-20  # keeps the logarithm finite

# --- Tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MelSegments:
    """`mel_matrix` in sparse form: between two band edges one triangle falls while the next one rises; their sum is 1.

    `first_bin` (num_mels + 2,) has the first bin of each segment between the num_mels + 2 edges, and the end of the last
    one; `rise` has for each of these bins the weight of the rising triangle. In segment s band s rises and s - 1 falls.
    """

    first_bin: np.ndarray
    rise: np.ndarray


def mel_segments(config: FeatureConfig) -> MelSegments:
    """Raises ConfigError if a band is empty."""
    mel_matrix(config)
    # The highest and the lowest bin have no weight: no band reaches the former, and DC is excluded.
    bins = hz_to_mel(np.linspace(0, SAMPLE_RATE_HZ / 2, config.fft_length // 2 + 1))[1:-1]
    edges = np.linspace(hz_to_mel(config.lower_hz), hz_to_mel(config.upper_hz), config.num_mels + 2)
    first_bin = 1 + np.searchsorted(bins, edges)
    used = bins[first_bin[0] - 1 : first_bin[-1] - 1]
    segment = np.searchsorted(edges, used, side="right") - 1
    return MelSegments(first_bin, (used - edges[segment]) / (edges[segment + 1] - edges[segment]))


def scaled_window(config: FeatureConfig) -> np.ndarray:
    """(window_samples,) float32 for 16-bit samples.

    Half of full scale, because the split of the complex into the real transform omits its factors of 1/2.
    """
    return (analysis_window(config) / (2 * PCM16_FULL_SCALE)).astype(np.float32)


def twiddles(config: FeatureConfig) -> np.ndarray:
    """(fft_length / 2, 2) float32, real and imaginary part of exp(-2 pi i k / fft_length)."""
    angles = 2 * np.pi * np.arange(config.fft_length // 2) / config.fft_length
    return np.stack([np.cos(angles), -np.sin(angles)], axis=1).astype(np.float32)


@dataclass(frozen=True)
class InputTables:
    """Conversion of codes to the model's input, (num_mels,) float32 each: input steps per code step, and the code of input
    zero (after subtraction of the clip's level, if that is removed)."""

    gain: np.ndarray
    centre: np.ndarray


def input_tables(normalization: Normalization, code: FeatureCode, scale: float) -> InputTables:
    """The conversion for a model whose input has the scale `scale`."""
    mean, std = (np.float64(values) for values in (normalization.mean, normalization.std))
    centre = mean if normalization.remove_level else mean - code.offset
    return InputTables((code.step / (std * scale)).astype(np.float32), (centre / code.step).astype(np.float32))


def mean_square_per_power(config: FeatureConfig) -> float:
    """The factor from the power in the mel bands to the mean square of the samples, full scale being 1."""
    return 2 / (config.fft_length * float(np.sum(analysis_window(config) ** 2)))


# --- Numbers ----------------------------------------------------------------------------------------------------------


def board_codes(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """(num_samples,) int16 to (num_frames, num_mels) int64: log-mel as a board stores it (see `FeatureCode`)."""
    return _codes(board_log_mel(samples, config), config)


def _codes(log_mel: np.ndarray, config: FeatureConfig) -> np.ndarray:
    code = feature_code(config)
    steps = (log_mel - np.float32(code.offset)) * (np.float32(1) / np.float32(code.step))
    return np.rint(steps).astype(np.int64)


def board_frames(samples: np.ndarray, config: FeatureConfig) -> tuple[np.ndarray, np.ndarray]:
    """(num_samples,) int16, however long, to (num_frames, num_mels) codes as `board_codes`, and (num_frames,) int8 levels.

    Levels are the frames' in dBFS, rounded.
    """
    num_frames = (len(samples) - config.window_samples) // config.hop_samples + 1
    codes, levels = [], []
    for begin in range(0, num_frames, FRAMES_AT_ONCE):
        last = min(begin + FRAMES_AT_ONCE, num_frames) - 1
        part = samples[begin * config.hop_samples : last * config.hop_samples + config.window_samples]
        mels = _board_mels(part, config)
        codes.append(_codes(_log_mel(mels, config), config).astype(np.int16))
        levels.append(_dbfs(mels, config))
    return np.concatenate(codes), np.concatenate(levels)


def board_input(codes: np.ndarray, tables: InputTables, zero_point: int, remove_level: bool) -> np.ndarray:
    """(num_frames, num_mels) codes to the model's int8 input of the same shape."""
    level = np.float32(codes.sum()) * (np.float32(1) / np.float32(codes.size)) if remove_level else np.float32(0)
    steps = (codes.astype(np.float32) - (tables.centre + level)) * tables.gain
    return (np.rint(np.clip(steps, -128 - zero_point, 127 - zero_point)) + zero_point).astype(np.int8)


def board_log_mel(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """(num_samples,) int16 to (num_frames, num_mels) float32, not normalized."""
    return _log_mel(_board_mels(samples, config), config)


def _log_mel(mels: np.ndarray, config: FeatureConfig) -> np.ndarray:
    return _log(mels + np.float32(config.log_floor)).T


def _dbfs(mels: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """(num_mels, num_frames) power to (num_frames,) int8: Dbfs of feature_window.cpp."""
    power = np.zeros(mels.shape[1], np.float32)
    for mel in mels:
        power = power + mel
    dbfs = np.float32(DB_PER_NEPER) * _log(power * np.float32(mean_square_per_power(config)) + np.float32(LEAST_POWER))
    return np.rint(np.clip(dbfs, -128, 127)).astype(np.int8)


def loudest_dbfs(features: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """(num_clips,) level in dBFS of the loudest frame of log-mel (num_clips, num_frames, num_mels), not normalized."""
    power = np.maximum(0, np.exp(features.astype(np.float64)) - config.log_floor).sum(axis=2).max(axis=1)
    return DB_PER_NEPER * np.log(power * mean_square_per_power(config) + LEAST_POWER)


def _board_mels(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """(num_samples,) int16 to the power in the mel bands, (num_mels, num_frames) float32."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, config.window_samples)[:: config.hop_samples]
    padded = np.zeros((config.fft_length, len(frames)), np.float32)
    padded[: config.window_samples] = (scaled_window(config) * frames.astype(np.float32)).T
    turns = twiddles(config)[..., np.newaxis]
    power = _split_power(*_complex_fft(padded[0::2], padded[1::2], turns), turns)
    return _mel_power(power, mel_segments(config))


# Complex numbers are pairs of (..., num_frames) float32: NumPy's complex product depends on the processor.


def _times(re: np.ndarray, im: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w_re, w_im = turns[:, 0], turns[:, 1]
    return re * w_re - im * w_im, re * w_im + im * w_re


def _complex_fft(re: np.ndarray, im: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two radix-2 stages in one pass, after a single stage if the length is not a power of four."""
    length = len(re)
    order = _bit_reversed(length)
    re, im, stride = re[order], im[order], 1
    if length.bit_length() % 2 == 0:
        re, im = (np.stack([x[0::2] + x[1::2], x[0::2] - x[1::2]], axis=1).reshape(x.shape) for x in (re, im))
        stride = 2
    while stride < length:
        re, im = _double_stage(re, im, stride, turns)
        stride *= 4
    return re, im


def _double_stage(re: np.ndarray, im: np.ndarray, stride: int, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = 2 * len(re) // (4 * stride)
    second, first = turns[0 : stride * step : step], turns[0 : 2 * stride * step : 2 * step]
    groups = (-1, 4, stride, re.shape[-1])
    (a_re, b_re, c_re, d_re), (a_im, b_im, c_im, d_im) = (np.moveaxis(x.reshape(groups), 1, 0) for x in (re, im))
    (b_re, b_im), (d_re, d_im) = _times(b_re, b_im, first), _times(d_re, d_im, first)
    even_re, even_im = _times(c_re + d_re, c_im + d_im, second)
    # Times -i: swaps the parts and negates the new imaginary one.
    minus_odd_im, odd_re = _times(c_re - d_re, c_im - d_im, second)
    odd_im = -minus_odd_im
    new_re = [a_re + b_re + even_re, a_re - b_re + odd_re, a_re + b_re - even_re, a_re - b_re - odd_re]
    new_im = [a_im + b_im + even_im, a_im - b_im + odd_im, a_im + b_im - even_im, a_im - b_im - odd_im]
    return tuple(np.stack(x, axis=1).reshape(re.shape) for x in (new_re, new_im))


def _bit_reversed(length: int) -> np.ndarray:
    order = np.zeros(1, np.int64)
    while len(order) < length:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def _split_power(re: np.ndarray, im: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """From the transform of even and odd samples to |X|^2 of all, (fft_length / 2, num_frames); bin 0 stays empty."""
    half = len(re) // 2
    low, high = np.arange(1, half + 1), np.arange(len(re) - 1, half - 1, -1)
    even_re, even_im = re[low] + re[high], im[low] - im[high]
    odd_re, odd_im = im[low] + im[high], re[high] - re[low]
    turned_re, turned_im = _times(odd_re, odd_im, turns[low])
    power = np.zeros_like(re)
    power[low] = (even_re + turned_re) ** 2 + (even_im + turned_im) ** 2
    power[high] = (even_re - turned_re) ** 2 + (even_im - turned_im) ** 2
    return power


def _mel_power(power: np.ndarray, segments: MelSegments) -> np.ndarray:
    """(num_mels, num_frames): summed bin after bin, because float32 sums depend on their order."""
    first, rise = segments.first_bin, segments.rise.astype(np.float32)
    num_mels = len(first) - 2
    mels = np.empty((num_mels, power.shape[1]), np.float32)
    rising = np.zeros(power.shape[1], np.float32)
    for segment in range(num_mels + 1):
        risen, rising, falling = rising, np.zeros_like(rising), np.zeros_like(rising)
        for k in range(first[segment], first[segment + 1]):
            part = rise[k - first[0]] * power[k]
            rising = rising + part
            falling = falling + (power[k] - part)
        if segment > 0:
            mels[segment - 1] = risen + falling
    return mels


def _log(x: np.ndarray) -> np.ndarray:
    """FastLog of fast_math.h, for positive normal float32."""
    bits = x.view(np.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> 23
    m = (bits - exponent * np.int32(1 << 23)).view(np.float32)
    one, two = np.float32(1), np.float32(2)
    s = (m - one) / (m + one)
    z = s * s
    series = two + z * (two / np.float32(3) + z * (two / np.float32(5) + z * (two / np.float32(7))))
    return exponent.astype(np.float32) * np.float32(0.693147182) + s * series
