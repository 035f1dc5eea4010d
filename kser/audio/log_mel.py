"""The log-mel front end, as tf.signal graph and as NumPy reference with the same results, and its normalization."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from kser.errors import ConfigError

# A band that hardly varies in training must not be amplified to unit variance.
MIN_STD = 1e-2
# On the loudest clips of RAVDESS the float32 error is 7e-5 with this floor, and 1.2e-4 with half of it.
FLOAT32_FLOOR = 2e-4
# A neper is 4.34 dB of power. int8 inputs of models trained on speech have steps of about 0.09.
MAX_CODE_STEP = 0.1


def hz_to_mel(frequency_hz):
    """HTK mel scale, the one of tf.signal: 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(np.asarray(frequency_hz, np.float64) / 700.0)


@functools.lru_cache(maxsize=8)
def mel_matrix(config: FeatureConfig) -> np.ndarray:
    """(fft_length / 2 + 1, num_mels) float64 triangles of peak 1, evenly spaced and linear in mel; DC has no weight.

    Equal to tf.signal.linear_to_mel_weight_matrix in float64. That function starts TensorFlow's runtime, which is hundreds
    of times slower and whose threads do not survive a fork, in commands that fork and otherwise need only NumPy.

    Raises:
      ConfigError: a band is so narrow that it contains no FFT bin.
    """
    bins = hz_to_mel(np.linspace(0, SAMPLE_RATE_HZ / 2, config.fft_length // 2 + 1))[:, None]
    edges = np.linspace(hz_to_mel(config.lower_hz), hz_to_mel(config.upper_hz), config.num_mels + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0, np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)))
    weights[0] = 0
    empty = np.flatnonzero(weights.sum(axis=0) == 0)
    if len(empty):
        raise ConfigError(
            f"{len(empty)} of {config.num_mels} mel bands contain no FFT bin (the first is band {empty[0]}); "
            "use fewer mels, a longer window or a higher lower_hz."
        )
    return weights


@functools.lru_cache(maxsize=8)
def analysis_window(config: FeatureConfig) -> np.ndarray:
    """(window_samples,) float64 periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.window_samples) / config.window_samples)


def log_mel_numpy(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """`ln(|STFT|^2 @ mel + log_floor)` without TensorFlow: the reference for the device's front end.

    Args:
      samples: (num_samples,) at 16 kHz.
    Returns:
      (num_frames, num_mels) float32; incomplete frames are dropped.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, config.window_samples)[:: config.hop_samples]
    spectrum = np.fft.rfft(frames * analysis_window(config), config.fft_length)
    power = spectrum.real**2 + spectrum.imag**2
    return np.log(power @ mel_matrix(config) + config.log_floor).astype(np.float32)


def log_mel_graph(samples: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """`log_mel_numpy` in tf.signal: (..., num_samples) float32 to (..., num_frames, num_mels) float32.

    float32 is twice as fast as float64, but the rounding errors of a loud band change a quiet neighbour, by an amount that
    only `log_floor` bounds. Below FLOAT32_FLOOR the transform is in float64, to stay within 1e-4 of `log_mel_numpy`.
    """
    dtype = tf.float32 if config.log_floor >= FLOAT32_FLOOR else tf.float64
    spectrum = tf.signal.stft(
        tf.cast(samples, dtype),
        config.window_samples,
        config.hop_samples,
        config.fft_length,
        window_fn=lambda length, dtype: tf.constant(analysis_window(config), dtype),
    )
    power = tf.cast(tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2, tf.float32)
    mels = tf.constant(mel_matrix(config), tf.float32)
    return tf.math.log(tf.matmul(power, mels) + config.log_floor)


@dataclass(frozen=True)
class FeatureCode:
    """How a board stores a log-mel value until its window is classified: `offset + step * code`, code a signed integer.

    One code is left unused at each end, for the rounding of the board's logarithm.
    """

    bits: int
    offset: float
    step: float

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The values of these codes, float32."""
        return (self.offset + self.step * codes).astype(np.float32)


def feature_code(config: FeatureConfig) -> FeatureCode:
    """The code that covers all possible values of the front end, from an empty band to full scale.

    No band exceeds the energy of the spectrum, fft_length * sum((window * samples)^2) (Parseval), with samples in [-1, 1].
    The code has 8 bits if their steps are at most MAX_CODE_STEP, which halves the memory for a window of features.
    """
    lowest = np.log(config.log_floor)
    highest = np.log(config.fft_length * np.sum(analysis_window(config) ** 2) + config.log_floor)
    code8, code16 = (FeatureCode(bits, (lowest + highest) / 2, (highest - lowest) / (2**bits - 4)) for bits in (8, 16))
    return code8 if code8.step <= MAX_CODE_STEP else code16


def batch_extractor(config: FeatureConfig):
    """A compiled function of (batch, clip_samples) float32 to (batch, num_frames, num_mels) float32."""
    mel_matrix(config)  # raises ConfigError for empty bands
    signature = [tf.TensorSpec([None, config.clip_samples], tf.float32)]
    return tf.function(lambda samples: log_mel_graph(samples, config), input_signature=signature, autograph=False)


@dataclass(frozen=True)
class Normalization:
    """Per-mel mean and standard deviation, (num_mels,) float32 each, and whether each clip's level is subtracted first."""

    mean: np.ndarray
    std: np.ndarray
    remove_level: bool = False

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Normalizes (..., num_frames, num_mels) to zero mean and unit variance over the training part, float32."""
        if self.remove_level:
            features = features - features.mean(axis=(-2, -1), keepdims=True)
        return ((features - self.mean) / self.std).astype(np.float32)

    def apply_graph(self, features: tf.Tensor) -> tf.Tensor:
        """`apply` in TensorFlow."""
        if self.remove_level:
            features = features - tf.reduce_mean(features, (-2, -1), keepdims=True)
        return (features - self.mean) / self.std

    def to_dict(self) -> dict:
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_dict(cls, values, config: FeatureConfig) -> Normalization:
        """The inverse of `to_dict` for features with these settings; raises ConfigError if they do not fit."""
        mean, std = (np.asarray(values[key], np.float32) for key in ("mean", "std"))
        if mean.shape != (config.num_mels,) or std.shape != mean.shape or not np.all((std > 0) & np.isfinite([mean, std])):
            raise ConfigError(
                f"A normalization of {config.num_mels} mel bands needs {config.num_mels} means and positive deviations."
            )
        return cls(mean, std, config.remove_level)


def clip_moments(features: np.ndarray) -> np.ndarray:
    """(num_clips, 2, num_mels) float64: means of x and of x^2 over the frames of each clip (.., num_frames, num_mels)."""
    squares = np.square(features, dtype=np.float64).mean(axis=1)
    return np.stack([features.mean(axis=1, dtype=np.float64), squares], axis=1)


def estimate_normalization(moments: np.ndarray, remove_level: bool = False) -> Normalization:
    """The normalization from the moments of the training part (`clip_moments`)."""
    mean, square = moments[:, 0], moments[:, 1]
    if remove_level:
        level = mean.mean(axis=1, keepdims=True)
        mean, square = mean - level, square - 2 * level * mean + level**2
    average = mean.mean(axis=0)
    std = np.sqrt(np.maximum(0, square.mean(axis=0) - average**2))
    return Normalization(average.astype(np.float32), np.maximum(std, MIN_STD).astype(np.float32), remove_level)
