"""Augmentation of log-mel clips, on the graph; every function takes and returns (num_frames, num_mels) float32.

The draws are stateful TensorFlow random operations, as tensorflow-io's masks are: whoever traces these functions sets
`tf.random.set_seed` first and maps them over the clips in order.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_io as tfio

from kser.config import AugmentConfig, FeatureConfig
from kser.features import hz_to_mel, mel_matrix

DB_TO_LN_POWER = np.log(10) / 10
# The additive noise is drawn between the configured signal-to-noise ratio and this much above it.
NOISE_SNR_RANGE_DB = 30.0
# Spread of the ln power of a noise band from frame to frame.
NOISE_LN_STD = 0.5
EQUALIZER_KNOTS = 5


def augment_sound(clip: tf.Tensor, config: AugmentConfig, features: FeatureConfig) -> tf.Tensor:
    """What may have happened before the microphone, on a raw log-mel clip: its tempo, place, pitch, filter, gain, noise."""
    if config.stretch or config.shift_ms:
        clip = warp_time(clip, config.stretch, config.shift_ms / features.hop_ms)
    if config.pitch:
        clip = warp_frequency(clip, config.pitch, features)
    if config.equalizer_db:
        clip = equalize(clip, config.equalizer_db)
    if config.gain_db:
        clip = clip + tf.random.uniform((), -config.gain_db, config.gain_db) * DB_TO_LN_POWER
    if config.noise_snr_db:
        clip = add_noise(clip, config.noise_snr_db, features)
    return clip


def warp_time(clip: tf.Tensor, stretch: float, shift_frames: float) -> tf.Tensor:
    """Reads the clip at another rate (1 +- `stretch`) and from another place; what leaves at one end comes in at the other.

    Both ends are silence in nearly every clip, so going round keeps real frames where a fill would invent some.
    """
    num_frames = clip.shape[0]
    rate = tf.random.uniform((), 1 - stretch, 1 + stretch)
    shift = tf.random.uniform((), -shift_frames, shift_frames)
    centre = (num_frames - 1) / 2
    positions = centre + (tf.range(num_frames, dtype=tf.float32) - centre) * rate + shift
    floor = tf.floor(positions)
    fraction = (positions - floor)[:, None]
    lower = tf.cast(floor, tf.int32) % num_frames
    return tf.gather(clip, lower) * (1 - fraction) + tf.gather(clip, (lower + 1) % num_frames) * fraction


def warp_frequency(clip: tf.Tensor, strength: float, features: FeatureConfig) -> tf.Tensor:
    """Moves every frequency f to f / factor, the factor within 1 +- `strength`: another vocal tract and pitch."""
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
    """Gives every frequency its own gain within +- `range_db`, linear between a few knots: another voice, room, microphone.

    FilterAugment of linear type (Nam et al. 2022, arXiv 2110.03282), with knots at fixed mels.
    """
    num_mels = clip.shape[1]
    knots = tf.random.uniform((EQUALIZER_KNOTS,), -range_db, range_db) * DB_TO_LN_POWER
    positions = np.linspace(0, EQUALIZER_KNOTS - 1, num_mels)
    lower = np.minimum(positions.astype(int), EQUALIZER_KNOTS - 2)
    fraction = (positions - lower).astype(np.float32)
    return clip + tf.gather(knots, lower) * (1 - fraction) + tf.gather(knots, lower + 1) * fraction


def add_noise(clip: tf.Tensor, snr_db: float, features: FeatureConfig) -> tf.Tensor:
    """Adds stationary white noise in the power domain, its level below the clip's mean power by the drawn ratio."""
    bandwidth = np.log(mel_matrix(features).sum(axis=0))
    level = (
        tf.math.log(tf.reduce_mean(tf.exp(clip)))
        - tf.random.uniform((), snr_db, snr_db + NOISE_SNR_RANGE_DB) * DB_TO_LN_POWER
    )
    noise = level + tf.constant(bandwidth - bandwidth.mean(), tf.float32) + tf.random.normal(clip.shape, stddev=NOISE_LN_STD)
    return tf.maximum(clip, noise) + tf.math.softplus(-tf.abs(clip - noise))


def mask(clip: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """SpecAugment (Park et al. 2019) by tensorflow-io, on a normalized clip: masked cells become 0, the training mean."""
    for _ in range(config.freq_masks if config.freq_mask_mels else 0):
        clip = tfio.audio.freq_mask(clip, min(config.freq_mask_mels, clip.shape[1] - 1) + 1)
    for _ in range(config.time_masks if config.time_mask_frames else 0):
        clip = tfio.audio.time_mask(clip, min(config.time_mask_frames, clip.shape[0] - 1) + 1)
    return clip


def mixup(clips: tf.Tensor, targets: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each clip and its target with its neighbour in the batch by a Beta(alpha, alpha) share (Zhang et al. 2018).

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
