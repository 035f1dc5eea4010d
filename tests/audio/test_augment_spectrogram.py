"""Augmentation: what each part leaves alone, how far it may go, and in which direction."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kser.audio import augment_spectrogram
from kser.audio.log_mel import batch_extractor, mel_matrix
from kser.config import AUGMENT_OFF, AugmentConfig, FeatureConfig
from tests import tiny

FEATURES = FeatureConfig(window_ms=32.0, hop_ms=16.0, num_mels=40, clip_seconds=1.0)
FRAMES, MELS = FEATURES.num_frames, FEATURES.num_mels
DRAWS = 60


def log_mel_clip(seed: int = 0) -> tf.Tensor:
    """A clip (FRAMES, MELS) of noise that swells and fades."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=FEATURES.clip_samples) * np.hanning(FEATURES.clip_samples) * 0.1
    return batch_extractor(FEATURES)(samples[None].astype(np.float32))[0]


def draws(function, seed: int = 0) -> np.ndarray:
    """(DRAWS, ...): the function's result again and again."""
    tf.random.set_seed(seed)
    return np.stack([function().numpy() for _ in range(DRAWS)])


def others(*seeds: int) -> augment_spectrogram.Others:
    """Clips of these seeds to take voices from."""
    clips = tf.stack([log_mel_clip(seed) for seed in seeds])
    return augment_spectrogram.Others(len(seeds), lambda indices: tf.gather(clips, indices))


def applied(clip: tf.Tensor, steps: str, voices: augment_spectrogram.Others | None = None) -> tf.Tensor:
    """The clip after the steps on features."""
    return augment_spectrogram.augment_features(clip, AugmentConfig(steps).steps("features"), FEATURES, voices)


@pytest.fixture
def at_the_top(monkeypatch):
    """Every uniform draw is its upper end."""
    monkeypatch.setattr(tf.random, "uniform", lambda shape, low, high: tf.fill(shape, tf.cast(high, tf.float32)))


@pytest.mark.parametrize(
    "steps", [tiny.AUGMENT.augment, "tempo:0.5,shift:10000", "warp:0.5", "gain:40", "noise:-20", "babble:-20", "spec:5"]
)
def test_shape_type_and_finiteness_are_kept(steps):
    clip, voices = log_mel_clip(), others(1, 2, 3)
    normalized = AugmentConfig(steps).steps("normalized")
    results = draws(lambda: augment_spectrogram.augment_normalized(applied(clip, steps, voices), normalized))
    assert results.shape == (DRAWS, FRAMES, MELS) and results.dtype == np.float32
    assert np.isfinite(results).all()
    assert len({r.tobytes() for r in results}) > DRAWS / 2  # another result nearly every time


def test_switched_off_returns_the_clip_bit_for_bit():
    clip = log_mel_clip()
    sound = applied(clip, AUGMENT_OFF.augment)
    np.testing.assert_array_equal(augment_spectrogram.augment_normalized(sound, AUGMENT_OFF.steps("normalized")), clip)


def test_the_steps_are_taken_in_the_order_given(monkeypatch):
    monkeypatch.setattr(augment_spectrogram, "change_tempo", lambda clip, strength: clip + strength)
    monkeypatch.setattr(augment_spectrogram, "shift", lambda clip, frames: clip * frames)
    one, hops = tf.ones((FRAMES, MELS)), 3 * FEATURES.hop_ms
    np.testing.assert_array_equal(applied(one, f"tempo:0.5,shift:{hops}"), 4.5 * one)
    np.testing.assert_array_equal(applied(one, f"shift:{hops},tempo:0.5"), 3.5 * one)
    np.testing.assert_array_equal(applied(one, f"tempo:0.5,shift:{hops},tempo:0.25"), 4.75 * one)


# Gain.


def test_gain_adds_one_constant_within_its_range():
    clip = log_mel_clip()
    added = draws(lambda: applied(clip, "gain:6") - clip)
    constants = added.mean(axis=(1, 2))
    np.testing.assert_allclose(added, np.broadcast_to(constants[:, None, None], added.shape), atol=1e-5)
    decibels = 10 * np.log10(np.exp(constants))
    assert np.abs(decibels).max() <= 6.001
    assert decibels.min() < -3 and decibels.max() > 3  # 60 draws miss an outer quarter once in 3 * 10^7


def test_the_equalizer_adds_one_smooth_curve_to_all_frames_within_its_range():
    clip = log_mel_clip()
    added = draws(lambda: applied(clip, "filter:6") - clip)
    curves = added.mean(axis=1)
    np.testing.assert_allclose(added, np.broadcast_to(curves[:, None, :], added.shape), atol=1e-5)
    decibels = 10 * np.log10(np.exp(curves))
    assert np.abs(decibels).max() <= 6.001 and decibels.min() < -3 and decibels.max() > 3
    # Between five knots the steepest line falls or rises by the whole range in a quarter of the bands.
    assert np.abs(np.diff(decibels, axis=1)).max() <= 12 * 4 / (MELS - 1) + 1e-3
    assert curves.std(axis=1).min() > 0.01  # never only a gain


# Time.


def test_time_without_strength_is_the_identity():
    clip = log_mel_clip()
    np.testing.assert_array_equal(augment_spectrogram.change_tempo(clip, 0.0), clip)
    np.testing.assert_array_equal(augment_spectrogram.shift(clip, 0.0), clip)


def test_shift_goes_round_and_stays_within_its_range():
    clip = np.zeros((FRAMES, MELS), np.float32)
    clip[1] = 1  # a shift to the left must come in again at the right
    shifted = draws(lambda: augment_spectrogram.shift(tf.constant(clip), 5.0))
    np.testing.assert_array_equal(np.sort(shifted, axis=1)[:, -2:], np.float32([[[0] * MELS, [1] * MELS]] * DRAWS))
    places = (shifted.argmax(axis=1)[:, 0] - 1 + FRAMES // 2) % FRAMES - FRAMES // 2
    assert np.abs(places).max() <= 5
    assert places.min() < -1 and places.max() > 1


def test_a_shift_of_whole_frames_rolls_the_clip(at_the_top):
    clip = log_mel_clip()
    np.testing.assert_array_equal(augment_spectrogram.shift(clip, 3.0), np.roll(clip, 3, axis=0))


def test_a_shift_is_always_one_of_whole_frames():
    clip = log_mel_clip()
    rolled = {np.roll(clip, frames, axis=0).tobytes() for frames in range(-2, 3)}
    assert {shifted.tobytes() for shifted in draws(lambda: augment_spectrogram.shift(clip, 2.4))} == rolled


def test_the_shift_in_milliseconds_is_one_of_frames(at_the_top):
    clip = log_mel_clip()
    np.testing.assert_array_equal(applied(clip, f"shift:{4 * FEATURES.hop_ms}"), np.roll(clip, 4, axis=0))


def test_a_faster_tempo_pulls_both_sides_towards_the_middle(at_the_top):
    frames, half = 41, 20
    clip = np.zeros((frames, MELS), np.float32)
    clip[half] = 1
    clip[half - 12 : half - 10] = clip[half + 11 : half + 13] = 2
    faster = augment_spectrogram.change_tempo(tf.constant(clip), 0.25).numpy()[:, 0]
    assert faster[half] == pytest.approx(1, abs=1e-5)  # the middle stays
    # Two frames at 11 and 12 from the middle are read at 1.25 times the distance: found at 8.8 to 9.6.
    assert set(np.flatnonzero(faster > 1.5)) <= {half - 10, half - 9, half + 9, half + 10}
    assert faster[half - 9] > 1.5 and faster[half + 9] > 1.5


def test_tempo_never_leaves_the_range_of_the_clip():
    clip = log_mel_clip()
    warped = draws(lambda: augment_spectrogram.change_tempo(clip, 0.5))
    assert warped.min() >= np.min(clip) - 1e-4 and warped.max() <= np.max(clip) + 1e-4


# Frequency.


def peak_hz(clip) -> float:
    """Frequency of the loudest mel band, interpolated by a parabola."""
    means = np.asarray(clip).mean(axis=0)
    band = int(means.argmax())
    left, middle, right = means[band - 1 : band + 2]
    place = band + 1 + 0.5 * (left - right) / (left - 2 * middle + right)
    low, high = (1127 * np.log1p(f / 700) for f in (FEATURES.lower_hz, FEATURES.upper_hz))
    return 700 * np.expm1((low + place * (high - low) / (MELS + 1)) / 1127)


@pytest.fixture
def hump() -> tf.Tensor:
    """A smooth maximum in the middle of the mel bands, the same in all frames."""
    return tf.constant(np.tile(-(((np.arange(MELS) - MELS / 2) / 4) ** 2), (FRAMES, 1)), tf.float32)


def test_the_largest_factor_moves_a_peak_down(hump, at_the_top):
    warped = augment_spectrogram.warp_frequency(hump, 0.2, FEATURES)
    assert peak_hz(warped) == pytest.approx(peak_hz(hump) / 1.2, rel=0.02)


def test_the_smallest_factor_moves_a_peak_up(hump, monkeypatch):
    monkeypatch.setattr(tf.random, "uniform", lambda shape, low, high: tf.fill(shape, tf.cast(low, tf.float32)))
    assert peak_hz(augment_spectrogram.warp_frequency(hump, 0.2, FEATURES)) == pytest.approx(peak_hz(hump) / 0.8, rel=0.02)


def test_peaks_move_both_ways_within_the_strength(hump):
    ratios = np.array(
        [
            peak_hz(warped) / peak_hz(hump)
            for warped in draws(lambda: augment_spectrogram.warp_frequency(hump, 0.1, FEATURES))
        ]
    )
    assert 0.98 / 1.1 < ratios.min() < 0.97 and 1.03 < ratios.max() < 1.02 / 0.9


def test_warp_frequency_without_strength_is_the_identity():
    clip = log_mel_clip()
    np.testing.assert_allclose(augment_spectrogram.warp_frequency(clip, 0.0, FEATURES), clip, atol=1e-3)


def test_warp_frequency_treats_all_frames_alike():
    column = tf.constant(np.random.default_rng(0).normal(size=MELS), tf.float32)
    for warped in draws(lambda: augment_spectrogram.warp_frequency(tf.tile(column[None], (FRAMES, 1)), 0.3, FEATURES)):
        np.testing.assert_array_equal(warped, np.tile(warped[0], (FRAMES, 1)))


# Noise.


def test_noise_only_adds_power():
    clip = log_mel_clip()
    noisy, clip = draws(lambda: augment_spectrogram.add_noise(clip, 10.0, FEATURES)), clip.numpy()
    assert np.all(noisy >= clip) and np.all((noisy > clip).any(axis=(1, 2)))


def test_noise_is_as_far_below_the_clip_as_the_ratio_says():
    clip = tf.cast(log_mel_clip(), tf.float64).numpy()
    noisy = draws(lambda: augment_spectrogram.add_noise(tf.constant(clip, tf.float32), 10.0, FEATURES)).astype(np.float64)
    noise = (np.exp(noisy) - np.exp(clip)).mean(axis=(1, 2))
    ratios = 10 * np.log10(np.exp(clip).mean() / noise)
    # The drawn level is that of the median of a band of median width; the wide ones and the log-normal's tail add to it.
    bandwidth = mel_matrix(FEATURES).sum(axis=0)
    offset = 10 * np.log10(
        bandwidth.mean() / np.exp(np.log(bandwidth).mean()) * np.exp(augment_spectrogram.NOISE_LN_STD**2 / 2)
    )
    assert 10 - 0.5 < ratios.min() + offset < 16 and 34 < ratios.max() + offset < 10 + augment_spectrogram.SNR_RANGE_DB + 0.5


def test_noise_is_white():
    """Its power in a band is proportional to the band's width in FFT bins, as that of real white noise is."""
    silence = tf.fill((FRAMES, MELS), tf.constant(-20.0))
    silence = tf.tensor_scatter_nd_update(silence, [[0, 0]], [0.0])  # something for the ratio to refer to
    noisy = draws(lambda: augment_spectrogram.add_noise(silence, 10.0, FEATURES))[:, 1:]
    profile = np.log(np.exp(noisy) - np.exp(-20)).mean(axis=(0, 1))
    bandwidth = np.log(mel_matrix(FEATURES).sum(axis=0))
    np.testing.assert_allclose(profile - profile.mean(), bandwidth - bandwidth.mean(), atol=0.05)


# Babble.


def test_babble_only_adds_power():
    clip, voices = log_mel_clip(), others(1, 2, 3)
    noisy, clip = draws(lambda: augment_spectrogram.add_babble(clip, 10.0, voices)), clip.numpy()
    assert np.all(noisy >= clip) and np.all((noisy > clip).any(axis=(1, 2)))


def test_babble_is_as_far_below_the_clip_as_the_ratio_says():
    clip, voices = log_mel_clip(), others(1, 2, 3)
    noisy = draws(lambda: augment_spectrogram.add_babble(clip, 10.0, voices)).astype(np.float64)
    power = np.exp(clip.numpy().astype(np.float64))
    ratios = 10 * np.log10(power.mean() / (np.exp(noisy) - power).mean(axis=(1, 2)))
    assert 10 - 0.1 < ratios.min() < 16 and 34 < ratios.max() < 10 + augment_spectrogram.SNR_RANGE_DB + 0.1


def test_babble_is_the_sum_of_as_many_voices_as_are_drawn(monkeypatch):
    chosen = [3, 0, 3, 1]
    clips = np.stack([log_mel_clip(seed).numpy() for seed in range(1, 5)]).astype(np.float64)
    voices = augment_spectrogram.Others(4, lambda _: tf.constant(clips[chosen], tf.float32))
    assert len(chosen) == augment_spectrogram.BABBLE_VOICES
    monkeypatch.setattr(augment_spectrogram, "draw_snr", lambda snr_db: snr_db * augment_spectrogram.DB_TO_LN_POWER)
    clip = log_mel_clip()
    power, added = np.exp(clip.numpy().astype(np.float64)), np.exp(clips[chosen]).sum(axis=0)
    expected = np.log(power + added * power.mean() / added.mean() / 10**0.3)
    np.testing.assert_allclose(augment_spectrogram.add_babble(clip, 3.0, voices), expected, atol=1e-4)


def test_babble_is_drawn_from_all_the_others_and_from_nowhere_else():
    drawn = []
    clips = tf.stack([log_mel_clip(seed) for seed in range(7)])

    def read(indices):
        drawn.extend(indices.numpy().tolist())
        return tf.gather(clips, indices)

    draws(lambda: augment_spectrogram.add_babble(clips[0], 10.0, augment_spectrogram.Others(5, read)))
    assert len(drawn) == augment_spectrogram.BABBLE_VOICES * DRAWS and set(drawn) == set(range(5))


# Masks.


@pytest.fixture
def one_mask_of_mels(monkeypatch):
    monkeypatch.setattr(augment_spectrogram, "NUM_MASKS", 1)
    monkeypatch.setattr(augment_spectrogram, "TIME_MASK_SHARE", 0)


@pytest.fixture
def one_mask_of_frames(monkeypatch):
    monkeypatch.setattr(augment_spectrogram, "NUM_MASKS", 1)
    monkeypatch.setattr(augment_spectrogram, "FREQ_MASK_SHARE", 0)


def masked_mels(width: int) -> float:
    """The strength of masks at most this wide."""
    return width / (augment_spectrogram.FREQ_MASK_SHARE * MELS)


def masked_frames(width: int) -> float:
    return width / (augment_spectrogram.TIME_MASK_SHARE * FRAMES)


def test_frequency_masks_are_zero_within_their_width_and_nothing_else_changes(one_mask_of_mels):
    clip = log_mel_clip()
    for masked in draws(lambda: augment_spectrogram.mask(clip, masked_mels(6))):
        bands = np.flatnonzero((masked == 0).all(axis=0))
        assert len(bands) <= 6 and np.array_equal(bands, np.arange(len(bands)) + (bands[0] if len(bands) else 0))
        kept = np.setdiff1d(np.arange(MELS), bands)
        np.testing.assert_array_equal(masked[:, kept], clip.numpy()[:, kept])


def test_time_masks_are_zero_within_their_width_and_nothing_else_changes(one_mask_of_frames):
    clip = log_mel_clip()
    for masked in draws(lambda: augment_spectrogram.mask(clip, masked_frames(7))):
        frames = np.flatnonzero((masked == 0).all(axis=1))
        assert len(frames) <= 7 and np.array_equal(frames, np.arange(len(frames)) + (frames[0] if len(frames) else 0))
        kept = np.setdiff1d(np.arange(FRAMES), frames)
        np.testing.assert_array_equal(masked[kept], clip.numpy()[kept])


def test_masks_of_mels_reach_their_full_width(one_mask_of_mels):
    widths = (draws(lambda: augment_spectrogram.mask(tf.ones((FRAMES, MELS)), masked_mels(3))) == 0).all(axis=1).sum(axis=1)
    assert set(widths) == {0, 1, 2, 3}


def test_masks_of_frames_reach_their_full_width(one_mask_of_frames):
    widths = (
        (draws(lambda: augment_spectrogram.mask(tf.ones((FRAMES, MELS)), masked_frames(3))) == 0).all(axis=2).sum(axis=1)
    )
    assert set(widths) == {0, 1, 2, 3}


def test_a_mask_wider_than_the_mels_leaves_something(one_mask_of_mels):
    results = draws(lambda: augment_spectrogram.mask(tf.ones((9, 4)), 10.0))
    assert results.shape == (DRAWS, 9, 4) and results.any(axis=(1, 2)).all()


def test_a_mask_wider_than_the_frames_leaves_something(one_mask_of_frames):
    results = draws(lambda: augment_spectrogram.mask(tf.ones((4, 9)), 25.0))
    assert results.shape == (DRAWS, 4, 9) and results.any(axis=(1, 2)).all()


def test_a_strength_of_less_than_a_cell_masks_nothing():
    clip = tf.ones((5, 4))
    np.testing.assert_array_equal(draws(lambda: augment_spectrogram.mask(clip, 0.1)), np.ones((DRAWS, 5, 4)))


@pytest.mark.parametrize(("strength", "mels", "frames"), [(1.0, 8, 5), (0.5, 4, 2), (2.0, 16, 10), (5.0, MELS - 1, 24)])
def test_masks_are_two_of_each_kind_by_tensorflow_io_their_widths_shares_of_the_clip(monkeypatch, strength, mels, frames):
    calls = []
    monkeypatch.setattr(
        augment_spectrogram.tfio.audio, "freq_mask", lambda clip, width: calls.append(("freq", width)) or clip
    )
    monkeypatch.setattr(
        augment_spectrogram.tfio.audio, "time_mask", lambda clip, width: calls.append(("time", width)) or clip
    )
    augment_spectrogram.augment_normalized(log_mel_clip(), AugmentConfig(f"spec:{strength}").steps("normalized"))
    # 0.2 of 40 mels and 0.08 of 61 frames; theirs are exclusive bounds.
    assert calls == 2 * [("freq", mels + 1)] + 2 * [("time", frames + 1)]


# Mixup.


def test_mixup_takes_at_least_half_of_each_clip_and_the_rest_of_its_neighbour():
    rng = np.random.default_rng(0)
    clips = tf.constant(rng.normal(size=(16, 5, 4)), tf.float32)
    targets = tf.one_hot(np.arange(16), 16)
    tf.random.set_seed(0)
    mixed, mixed_targets = (t.numpy() for t in augment_spectrogram.mixup(clips, targets, 1.0))
    own = np.diag(mixed_targets)
    neighbour = mixed_targets[np.arange(16), np.arange(16) - 1]
    np.testing.assert_allclose(mixed_targets.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(own + neighbour, 1, atol=1e-6)
    assert own.min() >= 0.5 and len(np.unique(own.round(4))) > 8
    expected = own[:, None, None] * clips + neighbour[:, None, None] * np.roll(clips, 1, axis=0)
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


@pytest.mark.parametrize("alpha", [1e-3, 0.2, 10.0])
def test_mixup_shares_are_finite_at_any_strength(alpha):
    mixed, targets = augment_spectrogram.mixup(tf.ones((64, 2, 2)), tf.one_hot(np.arange(64) % 3, 3), alpha)
    np.testing.assert_allclose(mixed, 1, atol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(targets, axis=1), 1, atol=1e-5)
