"""From features to parts and batches: who is in them, how they are normalized, what one epoch consists of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kser.audio.log_mel import Normalization, clip_moments, estimate_normalization
from kser.config import AUGMENT_OFF, AugmentConfig, RunConfig, TrainConfig
from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.feature_cache import Features
from kser.datasets.protocols import make_split
from kser.training import input_pipeline
from tests import tiny

CONFIG = tiny.FEATURES
# 36 clips that nobody reads.
CORPUS = Corpus(
    "tiny",
    tiny.LABELS,
    tuple(
        Utterance(f"{speaker}-{label}-{take}", "nowhere.wav", label, speaker)
        for speaker in tiny.SPEAKERS
        for label in tiny.LABELS
        for take in range(3)
    ),
    tiny.PROTOCOLS,
)


# The parts.


def features_of(values: np.ndarray) -> Features:
    return Features(values, (), clip_moments(values))


def random_features() -> Features:
    shape = (len(CORPUS.utterances), CONFIG.num_frames, CONFIG.num_mels)
    return features_of(np.random.default_rng(0).normal(-5, 2, shape).astype(np.float32))


def split_of(number: int):
    return make_split(CORPUS, number=number, num_validation_speakers=1)


def run_config(remove_level: bool = False, **train) -> RunConfig:
    features = dataclasses.replace(CONFIG, remove_level=remove_level)
    return RunConfig(features=features, augment=AUGMENT_OFF, train=TrainConfig(**train))


@pytest.mark.parametrize("remove_level", [False, True])
def test_normalization_is_estimated_on_the_training_part_only(remove_level):
    split = split_of(2)
    values = random_features().values
    data = input_pipeline.training_data(CORPUS, features_of(values), split, run_config(remove_level))
    np.testing.assert_array_equal(data.clip(np.arange(len(split.train))), values[list(split.train)])
    expected = estimate_normalization(clip_moments(values[list(split.train)]), remove_level)
    values[[*split.validation, *split.test]] += 100
    again = input_pipeline.training_data(CORPUS, features_of(values), split, run_config(remove_level)).normalization
    for normalization in (data.normalization, again):
        np.testing.assert_array_equal(normalization.mean, expected.mean)
        np.testing.assert_array_equal(normalization.std, expected.std)
        assert normalization.remove_level is remove_level


def test_the_training_part_has_its_labels_and_copies_no_features():
    split, features = split_of(2), random_features()
    data = input_pipeline.training_data(CORPUS, features, split, run_config())
    assert [tiny.LABELS[i] for i in data.labels] == [CORPUS.utterances[i].label for i in split.train]
    assert data.features is features.values and data.variants is None


def test_evaluation_parts_are_normalized_clips_with_their_labels():
    split = split_of(2)
    features = random_features()
    data = input_pipeline.training_data(CORPUS, features, split, run_config())
    part = input_pipeline.evaluation_part(CORPUS, features, split.test, data.normalization)
    np.testing.assert_array_equal(part.features, data.normalization.apply(features.values[list(split.test)]))
    chosen = [CORPUS.utterances[i] for i in split.test]
    assert [tiny.LABELS[i] for i in part.labels] == [u.label for u in chosen]
    assert part.utterance_ids == tuple(u.utterance_id for u in chosen)
    assert part.speakers.tolist() == [u.speaker for u in chosen] == ["b"] * 9


def test_label_indices_follow_the_order_of_the_label_names():
    names = [CORPUS.labels[i] for i in input_pipeline.label_indices(CORPUS)]
    assert names == [u.label for u in CORPUS.utterances]


LABELS = np.array([0] * 8 + [1] * 2 + [2] * 2)


def test_class_weights_of_power_0_weigh_all_alike():
    np.testing.assert_array_equal(input_pipeline.class_weights(LABELS, 3, 0.0), [1, 1, 1])


def test_class_weights_of_power_1_balance_the_classes():
    weights = input_pipeline.class_weights(LABELS, 3, 1.0)
    np.testing.assert_allclose(weights, [0.5, 2, 2])  # 12 clips / 3 classes / count
    np.testing.assert_allclose(weights * np.bincount(LABELS), 4)


def test_class_weights_of_power_half_lie_between():
    weights = input_pipeline.class_weights(LABELS, 3, 0.5)
    assert weights[1] / weights[0] == pytest.approx(2)  # sqrt(8 / 2)
    assert weights[LABELS].mean() == pytest.approx(1)
    assert weights.dtype == np.float32


def test_class_weights_of_a_class_without_clips_are_finite():
    weights = input_pipeline.class_weights(LABELS, 4, 1.0)
    assert np.isfinite(weights).all()
    np.testing.assert_array_equal(weights[:3], input_pipeline.class_weights(LABELS, 3, 1.0))


def test_the_power_is_the_configured_one():
    split = split_of(1)
    uneven = dataclasses.replace(split, train=split.train[2:])
    data = input_pipeline.training_data(CORPUS, random_features(), uneven, run_config(class_weight_power=0.5))
    np.testing.assert_array_equal(data.class_weights, input_pipeline.class_weights(data.labels, 3, 0.5))
    assert len(set(data.class_weights)) == 2


# Batches.


def numbered_data(num_clips: int) -> input_pipeline.TrainingData:
    """Training clip i is i in all its cells, its label i % 3; between them lie clips of -1, which are of other parts."""
    numbers = np.stack([np.arange(num_clips), np.full(num_clips, -1)], axis=1).ravel()[::-1].astype(np.float32)
    rows = np.arange(2 * num_clips)[::-2]
    normalization = Normalization(np.zeros(CONFIG.num_mels, np.float32), np.ones(CONFIG.num_mels, np.float32))
    weights = np.array([0.5, 1.0, 2.0], np.float32)
    return input_pipeline.TrainingData(filled(numbers), rows, np.arange(num_clips) % 3, 3, normalization, weights)


def filled(numbers: np.ndarray) -> np.ndarray:
    """Clips that have each of these numbers (...) in all their cells: (..., num_frames, num_mels) float32."""
    return np.tile(numbers[..., None, None], (CONFIG.num_frames, CONFIG.num_mels)).astype(np.float32)


def batches(data, augmentation=AUGMENT_OFF, batch_size=4, seed=0, epoch=0):
    """The epoch as a list of (clips, targets, weights) arrays."""
    dataset = input_pipeline.training_batches(data, CONFIG, augmentation, batch_size, seed, epoch)
    return [tuple(t.numpy() for t in batch) for batch in dataset]


def assert_same(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_array_equal(a, b)


def augmented_data() -> input_pipeline.TrainingData:
    """Of split 1, with two variants of every training clip."""
    data = input_pipeline.training_data(CORPUS, random_features(), split_of(1), run_config())
    clips = data.clip(np.arange(len(data.rows)))
    return dataclasses.replace(data, variants=np.stack([clips + 1, clips - 1], axis=1))


def test_every_clip_comes_once_with_its_target_and_weight():
    epoch = batches(numbered_data(24))
    assert [len(clips) for clips, _, _ in epoch] == [4] * 6
    clips, targets, weights = (np.concatenate(parts) for parts in zip(*epoch, strict=True))
    assert clips.dtype == targets.dtype == weights.dtype == np.float32
    numbers = clips[:, 0, 0]
    assert sorted(numbers) == list(range(24)) and list(numbers) != list(range(24))
    np.testing.assert_array_equal(clips, np.broadcast_to(numbers[:, None, None], clips.shape))
    labels = numbers.astype(int) % 3
    np.testing.assert_array_equal(targets, np.eye(3)[labels])
    np.testing.assert_array_equal(weights, np.array([0.5, 1, 2])[labels])


@pytest.mark.parametrize(("num_clips", "batch_size", "sizes"), [(10, 4, [4, 4]), (8, 4, [4, 4]), (3, 8, [3])])
def test_only_a_smaller_last_batch_beside_whole_ones_is_dropped(num_clips, batch_size, sizes):
    assert [len(clips) for clips, _, _ in batches(numbered_data(num_clips), batch_size=batch_size)] == sizes


def test_the_epochs_order_differs_and_so_does_that_of_another_seed():
    data = numbered_data(24)
    orders = {
        tuple(np.concatenate([clips[:, 0, 0] for clips, _, _ in batches(data, seed=s, epoch=e)]))
        for s, e in ((0, 0), (0, 1), (1, 0), (1, 1))
    }
    assert len(orders) == 4


@pytest.mark.parametrize("remove_level", [False, True])
def test_without_augmentation_clips_are_normalized_as_in_evaluation(remove_level):
    split = split_of(1)
    features = random_features()
    data = input_pipeline.training_data(CORPUS, features, split, run_config(remove_level))
    part = input_pipeline.evaluation_part(CORPUS, features, split.train, data.normalization)
    clips = np.concatenate([clips for clips, _, _ in batches(data, batch_size=1)])
    order = np.random.default_rng([0, 0])
    order.integers(2**31)
    np.testing.assert_allclose(clips, part.features[order.permutation(len(clips))], atol=1e-5)


def test_an_epoch_is_a_function_of_seed_and_epoch():
    data, config = augmented_data(), AugmentConfig("tempo:0.1,shift:200,warp:0.1,gain:6,noise:10,babble:10,spec:2,mixup:0.2")
    first = batches(data, config, seed=3, epoch=2)
    tf.random.set_seed(12345)  # what others draw in between does not matter
    tf.random.uniform((3,))
    assert_same(batches(data, config, seed=3, epoch=2), first)
    batches(data, config, seed=3, epoch=1)
    assert_same(batches(data, config, seed=3, epoch=2), first)
    for other in (batches(data, config, seed=3, epoch=3), batches(data, config, seed=4, epoch=2)):
        assert all((a[0] != b[0]).any() for a, b in zip(first, other, strict=True))


def test_every_clip_is_augmented_by_draws_of_its_own():
    same = dataclasses.replace(numbered_data(8), features=numbered_data(8).features * 0)
    gains = np.concatenate([clips[:, 0, 0] for clips, _, _ in batches(same, AugmentConfig("gain:6"))])
    assert len(set(gains.tolist())) == 8


def test_mixup_mixes_targets_that_still_sum_to_1():
    epoch = batches(numbered_data(24), AugmentConfig("mixup:1"), batch_size=12)
    targets = np.concatenate([t for _, t, _ in epoch])
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert ((targets > 0.01) & (targets < 0.99)).any()
    clips = np.concatenate([c for c, _, _ in epoch])
    assert np.any(clips[:, 0, 0] % 1 > 0.01)  # between two numbers


def test_mixup_mixes_the_weights_of_the_classes_too():
    data = numbered_data(24)
    for _, targets, weights in batches(data, AugmentConfig("mixup:1"), batch_size=12):
        np.testing.assert_allclose(weights, targets @ data.class_weights, rtol=1e-6)
        assert len(np.unique(np.round(weights, 4))) > 3  # others than those of whole clips


def test_normalized_clips_are_masked_with_the_training_mean():
    data = dataclasses.replace(augmented_data(), variants=None)
    clips = np.concatenate([clips for clips, _, _ in batches(data, AugmentConfig("spec:2"), batch_size=1)])
    masked = clips == 0
    assert 0.05 < masked.mean() < 0.8
    whole = masked.all(axis=1, keepdims=True) | masked.all(axis=2, keepdims=True)  # frames and bands
    np.testing.assert_array_equal(masked, np.broadcast_to(whole, masked.shape))


def test_of_a_clip_itself_and_its_variants_each_is_as_likely():
    data = numbered_data(20)
    data = dataclasses.replace(data, variants=filled(np.arange(20)[:, None] + np.array([0.25, 0.5, 0.75])))
    seen = np.concatenate([clips[:, 0, 0] for epoch in range(30) for clips, _, _ in batches(data, epoch=epoch)])
    assert np.bincount(seen.astype(int)).tolist() == [30] * 20  # every clip once in every epoch, whichever of its forms
    shares = np.array([np.mean(seen % 1 == fraction) for fraction in (0, 0.25, 0.5, 0.75)])
    assert shares.sum() == pytest.approx(1)
    assert np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / len(seen))  # standard deviations of a share


def test_babble_is_of_training_clips_only():
    """Others are loud in a band that is quiet in all training clips."""
    data = numbered_data(12)
    features = np.zeros_like(data.features)
    features[:, :, 3] = 20
    features[data.rows, :, 3] = -20
    silent = dataclasses.replace(data, features=features)
    clips = np.concatenate([clips for clips, _, _ in batches(silent, AugmentConfig("babble:-20"))])
    assert clips[:, :, 3].max() < -10 and clips[:, :, :3].min() > 1e-6  # and there is babble


def test_clips_mapped_from_the_disk_are_read_as_others(tmp_path):
    data = numbered_data(12)
    np.save(tmp_path / "features.npy", data.features)
    mapped = dataclasses.replace(data, features=np.load(tmp_path / "features.npy", mmap_mode="r"))
    assert_same(batches(mapped), batches(data))
