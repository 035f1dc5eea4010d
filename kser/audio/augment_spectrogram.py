"""Augmentation of log-mel clips in TensorFlow; every function takes and returns (num_frames, num_mels) float32.

`AUGMENTATIONS` in config/augmentation.py lists all by name, with those of the waveform (augment_waveform.py), which are
computed in advance.

Random numbers come from stateful TensorFlow operations, as in tensorflow-io's masks: callers set `tf.random.set_seed` before
tracing these functions, and map them over the clips in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_io as tfio

from kser.audio.log_mel import hz_to_mel, mel_matrix
from kser.config import FeatureConfig

# (name, strength) in the order of application.
Steps = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Others:
    """The training part's raw log-mel, for babble: `read` takes (n,) indices below `count` to (n, num_frames, num_mels)."""

    count: int
    read: Callable[[tf.Tensor], tf.Tensor]


DB_TO_LN_POWER = np.log(10) / 10
# The signal-to-noise ratio is drawn between the configured one and this much above it.
SNR_RANGE_DB = 30.0
# Standard deviation of the ln power of a noise band from frame to frame.
NOISE_LN_STD = 0.5
EQUALIZER_KNOTS = 5
BABBLE_VOICES = 4
# SpecAugment at strength 1.
NUM_MASKS = 2
FREQ_MASK_SHARE, TIME_MASK_SHARE = 0.2, 0.08


def augment_features(clip: tf.Tensor, steps: Steps, features: FeatureConfig, others: Others) -> tf.Tensor:
    """Augmentations of the sound, applied to its raw log-mel in the order of the steps."""
    for name, strength in steps:
        if name == "tempo":
            clip = change_tempo(clip, strength)
        elif name == "shift":
            clip = shift(clip, strength / features.hop_ms)
        elif name == "warp":
            clip = warp_frequency(clip, strength, features)
        elif name == "filter":
            clip = equalize(clip, strength)
        elif name == "gain":
            clip = clip + tf.random.uniform((), -strength, strength) * DB_TO_LN_POWER
        elif name == "noise":
            clip = add_noise(clip, strength, features)
        elif name == "babble":
            clip = add_babble(clip, strength, others)
    return clip


def change_tempo(clip: tf.Tensor, strength: float) -> tf.Tensor:
    """Stretches the clip in time around its middle by a factor of 1 +- `strength`; it wraps around at the ends.

    Both ends are silence in nearly every clip, so wrapping around gives real frames instead of padding.
    """
    num_frames = clip.shape[0]
    rate = tf.random.uniform((), 1 - strength, 1 + strength)
    centre = (num_frames - 1) / 2
    positions = centre + (tf.range(num_frames, dtype=tf.float32) - centre) * rate
    floor = tf.floor(positions)
    fraction = (positions - floor)[:, None]
    lower = tf.cast(floor, tf.int32) % num_frames
    return tf.gather(clip, lower) * (1 - fraction) + tf.gather(clip, (lower + 1) % num_frames) * fraction


def shift(clip: tf.Tensor, max_frames: float) -> tf.Tensor:
    """Shifts the clip by up to `max_frames` frames either way, with wrap-around."""
    frames = tf.round(tf.random.uniform((), -max_frames, max_frames))
    return tf.roll(clip, tf.cast(frames, tf.int32), axis=0)


def warp_frequency(clip: tf.Tensor, strength: float, features: FeatureConfig) -> tf.Tensor:
    """Moves every frequency f to f / factor, with a factor within 1 +- `strength`: another vocal tract and pitch."""
    low, high = hz_to_mel(features.lower_hz), hz_to_mel(features.upper_hz)
    step = (high - low) / (features.num_mels + 1)
    centres = low + step * np.arange(1, features.num_mels + 1)
    centres_hz = tf.constant(700 * np.expm1(centres / 1127), tf.float32)
    factor = tf.random.uniform((), 1 - strength, 1 + strength)
    positions = (1127 * tf.math.log1p(centres_hz * factor / 700) - low) / step - 1
    positions = tf.clip_by_value(positions, 0, features.num_mels - 1)
    lower = tf.cast(tf.floor(positions), tf.int32)
    upper = tf.minimum(lower + 1, features.num_mels - 1)
    fraction = positions - tf.cast(lower, tf.float32)
    return tf.gather(clip, lower, axis=1) * (1 - fraction) + tf.gather(clip, upper, axis=1) * fraction


def equalize(clip: tf.Tensor, range_db: float) -> tf.Tensor:
    """Applies a gain within +- `range_db` per frequency, linear between a few knots: another voice, room, microphone.

    FilterAugment, linear type (Nam et al. 2022, arXiv 2110.03282), with knots at fixed mels.
    """
    num_mels = clip.shape[1]
    knots = tf.random.uniform((EQUALIZER_KNOTS,), -range_db, range_db) * DB_TO_LN_POWER
    positions = np.linspace(0, EQUALIZER_KNOTS - 1, num_mels)
    lower = np.minimum(positions.astype(int), EQUALIZER_KNOTS - 2)
    fraction = (positions - lower).astype(np.float32)
    return clip + tf.gather(knots, lower) * (1 - fraction) + tf.gather(knots, lower + 1) * fraction


def add_noise(clip: tf.Tensor, snr_db: float, features: FeatureConfig) -> tf.Tensor:
    """Adds stationary white noise in the power domain at a random signal-to-noise ratio."""
    bandwidth = np.log(mel_matrix(features).sum(axis=0))
    level = ln_mean_power(clip) - draw_snr(snr_db)
    noise = level + tf.constant(bandwidth - bandwidth.mean(), tf.float32) + tf.random.normal(clip.shape, stddev=NOISE_LN_STD)
    return add_power(clip, noise)


def add_babble(clip: tf.Tensor, snr_db: float, others: Others) -> tf.Tensor:
    """Adds the voices of BABBLE_VOICES clips drawn from `others` in the power domain."""
    chosen = tf.random.uniform((BABBLE_VOICES,), 0, others.count, tf.int64)
    voices = tf.reduce_logsumexp(others.read(chosen), axis=0)
    return add_power(clip, voices - ln_mean_power(voices) + ln_mean_power(clip) - draw_snr(snr_db))


def draw_snr(snr_db: float) -> tf.Tensor:
    """ln of a power ratio, from `snr_db` to SNR_RANGE_DB above it."""
    return tf.random.uniform((), snr_db, snr_db + SNR_RANGE_DB) * DB_TO_LN_POWER


def ln_mean_power(clip: tf.Tensor) -> tf.Tensor:
    """ln of the mean over all cells of a log-mel clip's power."""
    return tf.reduce_logsumexp(clip) - np.log(clip.shape[0] * clip.shape[1])


def add_power(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """ln(exp(a) + exp(b)): the ln power of the sum of two uncorrelated sounds."""
    return tf.maximum(a, b) + tf.math.softplus(-tf.abs(a - b))


def augment_normalized(clip: tf.Tensor, steps: Steps) -> tf.Tensor:
    """Applies the augmentations of a normalized clip; there is only one, spec."""
    for _, strength in steps:
        clip = mask(clip, strength)
    return clip


def mask(clip: tf.Tensor, strength: float) -> tf.Tensor:
    """SpecAugment (Park et al. 2019) by tensorflow-io on a normalized clip; masked cells become 0, the training mean.

    `NUM_MASKS` masks over mels and as many over frames, up to `strength` times FREQ_MASK_SHARE and TIME_MASK_SHARE of the
    clip wide.
    """
    num_frames, num_mels = clip.shape
    mels, frames = (round(strength * s) for s in (FREQ_MASK_SHARE * num_mels, TIME_MASK_SHARE * num_frames))
    for _ in range(NUM_MASKS if mels else 0):
        clip = tfio.audio.freq_mask(clip, min(mels, num_mels - 1) + 1)
    for _ in range(NUM_MASKS if frames else 0):
        clip = tfio.audio.time_mask(clip, min(frames, num_frames - 1) + 1)
    return clip


def mixup(clips: tf.Tensor, targets: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """mixup (Zhang et al. 2018): mixes each clip and target with its neighbour in the batch by a Beta(alpha, alpha) share.

    Args:
      clips: (batch, num_frames, num_mels) normalized.
      targets: (batch, num_classes).
    """
    gammas = tf.random.gamma((2, tf.shape(clips)[0]), alpha) + 1e-8
    share = gammas[0] / (gammas[0] + gammas[1])
    share = tf.maximum(share, 1 - share)

    def mix(x, s):
        return s * x + (1 - s) * tf.roll(x, 1, axis=0)

    return mix(clips, share[:, None, None]), mix(targets, share[:, None])
