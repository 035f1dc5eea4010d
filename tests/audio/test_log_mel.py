"""The log-mel front end: the graph, its NumPy twin, physics they must obey, and normalization."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from kser.audio import reading
from kser.audio.device_log_mel import board_frames, loudest_dbfs
from kser.audio.log_mel import (
    MIN_STD,
    Normalization,
    analysis_window,
    batch_extractor,
    clip_moments,
    estimate_normalization,
    log_mel_graph,
    log_mel_numpy,
    mel_matrix,
)
from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from kser.datasets.files import find_audio
from kser.errors import ConfigError

DEFAULT = FeatureConfig()
OTHER = FeatureConfig(
    window_ms=25.0, hop_ms=12.5, num_mels=32, lower_hz=20.0, upper_hz=8000.0, log_floor=1e-6, clip_seconds=2.0
)
CONFIGS = pytest.mark.parametrize("config", [DEFAULT, OTHER], ids=["default", "other"])
TOLERANCE = 1e-4
EIGHT_MELS = FeatureConfig(num_mels=8)


@pytest.fixture(scope="module")
def recordings(speech_data_dir) -> list[np.ndarray]:
    """The 192 strong angry and strong fearful clips of RAVDESS, the loudest, and one in forty of all."""
    paths = list(find_audio(str(speech_data_dir / "ravdess_16k_flac")))
    loud = [path for path in paths if os.path.basename(path).startswith(("03-01-05-02-", "03-01-06-02-"))]
    chosen = sorted({*loud, *paths[::40]})
    assert len(loud) == 192 and len(chosen) > 200
    return [reading.load(path) for path in chosen]


def largest_difference(clips: np.ndarray, config: FeatureConfig) -> float:
    """Between graph and NumPy twin on (num_clips, clip_samples) float32."""
    graph = batch_extractor(config)(clips).numpy()
    twin = np.stack([log_mel_numpy(clip, config) for clip in clips])
    assert graph.shape == twin.shape == (len(clips), config.num_frames, config.num_mels)
    assert graph.dtype == twin.dtype == np.float32
    return float(np.abs(graph - twin).max())


@CONFIGS
def test_graph_and_numpy_agree_on_real_clips(recordings, config):
    clips = np.stack([reading.fix_clip(samples, config) for samples in recordings])
    assert np.abs(clips).max() > 0.9  # as loud as a recording can be
    assert largest_difference(clips, config) <= TOLERANCE


@CONFIGS
@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-2, 1.0])
def test_graph_and_numpy_agree_on_noise(config, level):
    clips = level * np.random.default_rng(1).uniform(-1, 1, (4, config.clip_samples))
    assert largest_difference(clips.astype(np.float32), config) <= TOLERANCE


@CONFIGS
def test_graph_and_numpy_agree_in_the_quiet_bands_beside_a_loud_sine(config):
    """What no recording has: every band but the sine's at the floor."""
    sines = [np.sin(2 * np.pi * f * np.arange(config.clip_samples) / SAMPLE_RATE_HZ) for f in (150, 1000, 4000)]
    assert largest_difference(np.stack(sines).astype(np.float32), config) <= TOLERANCE


@CONFIGS
def test_both_take_digital_silence_to_the_floor(config):
    expected = np.full((config.num_frames, config.num_mels), np.log(config.log_floor), np.float32)
    silence = np.zeros(config.clip_samples, np.float32)
    np.testing.assert_allclose(log_mel_numpy(silence, config), expected, rtol=1e-6)
    np.testing.assert_allclose(batch_extractor(config)(silence[None]).numpy()[0], expected, rtol=1e-6)


@CONFIGS
def test_mel_matrix_is_that_of_tf_signal(config):
    """To float64's rounding, in which the two add up in another order; as float32 to the bit."""
    theirs = tf.signal.linear_to_mel_weight_matrix(
        config.num_mels, config.fft_length // 2 + 1, SAMPLE_RATE_HZ, config.lower_hz, config.upper_hz, tf.float64
    ).numpy()
    assert mel_matrix(config).shape == theirs.shape
    np.testing.assert_allclose(mel_matrix(config), theirs, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(mel_matrix(config).astype(np.float32), theirs.astype(np.float32))


@CONFIGS
def test_window_is_that_of_tf_signal(config):
    theirs = tf.signal.hann_window(config.window_samples, periodic=True, dtype=tf.float64).numpy()
    np.testing.assert_allclose(analysis_window(config), theirs, atol=1e-12)


@pytest.mark.parametrize(
    ("clip_samples", "num_frames"), [(1600, 1), (1600 + 159, 1), (1600 + 160, 2), (1600 + 161, 2), (3200, 11)]
)
def test_frames_that_do_not_fit_wholly_are_dropped(clip_samples, num_frames):
    config = FeatureConfig(window_ms=100.0, hop_ms=10.0, clip_seconds=clip_samples / SAMPLE_RATE_HZ)
    samples = np.random.default_rng(0).normal(size=clip_samples).astype(np.float32)
    assert config.num_frames == num_frames
    assert log_mel_numpy(samples, config).shape == (num_frames, config.num_mels)
    assert log_mel_graph(tf.constant(samples), config).shape == (num_frames, config.num_mels)


def test_a_frame_sees_its_window_and_nothing_else():
    config = FeatureConfig(window_ms=32.0, hop_ms=16.0)
    samples = np.zeros(config.clip_samples, np.float32)
    start = 20 * config.hop_samples
    samples[start + 1 : start + config.hop_samples] = 0.5  # within frames 20 and, as its second half, 19
    loud = log_mel_numpy(samples, config).max(axis=1) > np.log(config.log_floor) + 1e-3
    assert np.flatnonzero(loud).tolist() == [19, 20]


@pytest.mark.parametrize("num_mels", [80, 128])
def test_a_mel_band_without_fft_bin_is_refused_by_both(num_mels):
    config = FeatureConfig(num_mels=num_mels, window_ms=16.0, hop_ms=8.0)
    for make in (mel_matrix, batch_extractor, lambda c: log_mel_numpy(np.zeros(c.clip_samples), c)):
        with pytest.raises(ConfigError, match=rf"^\d+ of {num_mels} mel bands contain no FFT bin .*longer window.*\.$"):
            make(config)


@CONFIGS
@pytest.mark.parametrize("band", [2, 9, 17, 25, 31])
def test_a_sine_is_loudest_in_the_band_of_its_frequency(config, band):
    # Centres evenly spaced on O'Shaughnessy's scale, 2595 log10(1 + f / 700), written out here once more.
    low, high = (2595 * np.log10(1 + f / 700) for f in (config.lower_hz, config.upper_hz))
    centre_hz = 700 * (10 ** ((low + (band + 1) * (high - low) / (config.num_mels + 1)) / 2595) - 1)
    sine = 0.1 * np.sin(2 * np.pi * centre_hz * np.arange(config.clip_samples) / SAMPLE_RATE_HZ)
    assert set(log_mel_numpy(sine.astype(np.float32), config).argmax(axis=1)) == {band}


@CONFIGS
def test_white_noise_has_the_power_parseval_says(config):
    """E |STFT|^2 = variance * sum(window^2) in every bin, so band m holds that times the sum of its weights."""
    variance = 0.01
    noise = np.random.default_rng(2).normal(scale=np.sqrt(variance), size=20 * SAMPLE_RATE_HZ)
    power = (np.exp(log_mel_numpy(noise, config).astype(np.float64)) - config.log_floor).mean(axis=0)
    expected = variance * np.sum(analysis_window(config) ** 2) * mel_matrix(config).sum(axis=0)
    # Some 1000 independent exponentially distributed powers in the narrowest band: 3 %, and four of them.
    np.testing.assert_allclose(power, expected, rtol=0.13)
    assert power.sum() == pytest.approx(expected.sum(), rel=0.01)


def test_ten_times_louder_is_a_constant_more():
    samples = np.random.default_rng(3).uniform(-0.1, 0.1, DEFAULT.clip_samples)
    quiet = dataclasses.replace(DEFAULT, log_floor=1e-12)
    difference = log_mel_numpy(10 * samples, quiet) - log_mel_numpy(samples, quiet)
    np.testing.assert_allclose(difference, np.log(100), atol=1e-5)


# Normalization.


def random_features(seed: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(6, 50, 8)) * rng.uniform(0.5, 3, 8) + rng.uniform(-9, 3, 8)).astype(np.float32)


def normalization_of(features: np.ndarray, remove_level: bool = False) -> Normalization:
    return estimate_normalization(clip_moments(features), remove_level)


LEVEL = pytest.mark.parametrize("remove_level", [False, True])


@LEVEL
def test_normalized_features_have_zero_mean_and_unit_variance(remove_level):
    features = random_features()
    normalization = normalization_of(features, remove_level)
    normalized = normalization.apply(features)
    assert normalization.mean.shape == normalization.std.shape == (8,)
    assert normalization.mean.dtype == normalization.std.dtype == normalized.dtype == np.float32
    np.testing.assert_allclose(normalized.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(normalized.std(axis=(0, 1)), 1, atol=1e-5)


def test_moments_are_means_over_the_frames_of_each_clip():
    features = random_features()
    moments = clip_moments(features)
    assert moments.shape == (6, 2, 8) and moments.dtype == np.float64
    np.testing.assert_allclose(moments[3], [features[3].mean(axis=0), (features[3] ** 2).mean(axis=0)], rtol=1e-5)
    assert clip_moments(features[:0]).shape == (0, 2, 8)


@LEVEL
def test_normalization_is_that_of_all_frames_together(remove_level):
    features = random_features().astype(np.float64)
    normalization = normalization_of(features, remove_level)
    frames = features - features.mean(axis=(1, 2), keepdims=True) if remove_level else features
    np.testing.assert_allclose(normalization.mean, frames.mean(axis=(0, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalization.std, frames.std(axis=(0, 1)), rtol=1e-5)


def test_normalization_by_hand():
    features = np.array([[[1.0, 0.0]], [[3.0, 4.0]]], np.float32)  # two clips of one frame
    normalization = normalization_of(features)
    assert normalization.mean.tolist() == [2, 2] and normalization.std.tolist() == [1, 2]
    np.testing.assert_array_equal(normalization.apply(features[1]), [[1, 1]])


def test_the_level_of_a_clip_is_removed_before_the_rest_by_hand():
    features = np.array([[[1.0, 0.0]], [[3.0, 4.0]]], np.float32)  # levels 0.5 and 3.5; what remains: +-0.5 either way
    normalization = normalization_of(features, remove_level=True)
    assert normalization.mean.tolist() == [0, 0] and normalization.std.tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(normalization.apply(features), [[[1, -1]], [[-1, 1]]])


def test_gain_matters_only_where_the_level_is_kept():
    features = random_features()
    louder = features + np.arange(6, dtype=np.float32)[:, None, None]
    removed, kept = (normalization_of(features, remove_level) for remove_level in (True, False))
    np.testing.assert_allclose(removed.apply(louder), removed.apply(features), atol=1e-5)
    assert np.abs(kept.apply(louder) - kept.apply(features)).max() > 1


@LEVEL
def test_the_graph_normalizes_like_numpy_whole_batches_and_single_clips(remove_level):
    features = random_features()
    normalization = normalization_of(features, remove_level)
    expected = normalization.apply(features)
    np.testing.assert_allclose(normalization.apply_graph(tf.constant(features)), expected, atol=1e-5)
    np.testing.assert_allclose(normalization.apply_graph(tf.constant(features[3])), expected[3], atol=1e-5)
    np.testing.assert_allclose(normalization.apply(features[3]), expected[3], atol=1e-5)


def test_a_band_that_hardly_varies_is_not_blown_up():
    constant = np.full((3, 5, 2), -7.0, np.float32)
    normalization = normalization_of(constant)
    np.testing.assert_array_equal(normalization.std, np.float32(MIN_STD))
    np.testing.assert_array_equal(normalization.apply(constant), 0)


def test_the_mean_of_many_frames_is_exact():
    features = np.full((1000, 1000, 1), -9.21, np.float32)  # one after the other in float32, the sum is off by 0.1 %
    assert normalization_of(features).mean[0] == np.float32(-9.21)


@LEVEL
def test_normalization_survives_json_bit_for_bit(remove_level):
    normalization = normalization_of(random_features(), remove_level)
    config = dataclasses.replace(EIGHT_MELS, remove_level=remove_level)
    again = Normalization.from_dict(json.loads(json.dumps(normalization.to_dict())), config)
    assert again.remove_level is remove_level
    np.testing.assert_array_equal(again.mean, normalization.mean)
    np.testing.assert_array_equal(again.std, normalization.std)
    np.testing.assert_array_equal(again.apply(random_features(5)), normalization.apply(random_features(5)))


@pytest.mark.parametrize(
    "values",
    [
        {"mean": [0.0] * 8, "std": [1.0] * 7},
        {"mean": [0.0] * 7, "std": [1.0] * 7},
        {"mean": [0.0] * 8, "std": [1.0] * 7 + [0.0]},
        {"mean": [0.0] * 8, "std": [-1.0] * 8},
        {"mean": [0.0] * 8, "std": [float("nan")] * 8},
        {"mean": 0.0, "std": 1.0},
        {"mean": [[0.0] * 8], "std": [[1.0] * 8]},
    ],
)
def test_a_normalization_that_does_not_fit_the_features_is_refused(values):
    with pytest.raises(ConfigError, match="of 8 mel bands needs 8 means"):
        Normalization.from_dict(values, EIGHT_MELS)


def test_the_loudest_frame_of_a_training_clip_is_as_loud_as_a_board_finds_it():
    config = FeatureConfig()
    time = np.arange(config.clip_samples) / 16000
    for level in (0.5, 0.02):
        samples = level * np.sin(2 * np.pi * 440 * time) * np.linspace(0.2, 1, len(time))
        features = log_mel_numpy(samples, config)[np.newaxis]
        _, dbfs = board_frames(reading.to_pcm16(samples), config)
        assert abs(loudest_dbfs(features, config)[0] - dbfs.max()) < 0.6
