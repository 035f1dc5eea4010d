"""Features on disk, and batches: what is cached and when, what bad files do, what one epoch consists of."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from kser import audio, pipeline
from kser.config import AUGMENT_OFF, SAMPLE_RATE_HZ, AugmentConfig, FeatureConfig, RunConfig, TrainConfig
from kser.datasets.corpus import Corpus, make_split
from kser.errors import DatasetError, KserError
from kser.features import Normalization, estimate_normalization, log_mel_numpy
from tests import tiny

CONFIG = tiny.FEATURES


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    """36 files, which a test may damage."""
    (tmp_path / "audio").mkdir()
    return tiny.make_corpus(str(tmp_path / "audio"))


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def no_audio(monkeypatch):
    """From here on, whoever reads audio fails."""

    def refuse(*args):
        raise AssertionError("audio was read")

    return lambda: monkeypatch.setattr(audio, "load", refuse)


def load(corpus: Corpus, cache: Path, config: FeatureConfig = CONFIG) -> np.ndarray:
    return pipeline.load_features(corpus, config, str(cache))


def only_file(cache: Path) -> Path:
    """The one file in the cache; a temporary one would be hidden, and is looked for too."""
    names = os.listdir(cache)
    assert len(names) == 1 and names[0].startswith("tiny-") and names[0].endswith(".npy"), names
    return cache / names[0]


# The cache.


def test_features_are_those_of_the_front_end_in_the_order_of_the_corpus(corpus, cache):
    features = load(corpus, cache)
    assert features.shape == (36, CONFIG.num_frames, CONFIG.num_mels) and features.dtype == np.float32
    for index in (0, 17, 35):
        clip = audio.fix_clip(audio.load(corpus.utterances[index].path), CONFIG)
        np.testing.assert_allclose(features[index], log_mel_numpy(clip, CONFIG), atol=1e-4)


def test_a_hit_is_bit_equal_and_reads_no_audio(corpus, cache, no_audio):
    first = load(corpus, cache)
    no_audio()
    np.testing.assert_array_equal(load(corpus, cache), first)
    only_file(cache)


@pytest.mark.parametrize(
    "setting",
    [
        {"window_ms": 33.0},
        {"hop_ms": 30.0},
        {"num_mels": 17},
        {"lower_hz": 61.0},
        {"upper_hz": 7500.0},
        {"log_floor": 2e-3},
        {"noise_dbfs": -74.0},
        {"clip_seconds": 0.61},
    ],
)
def test_the_key_changes_with_every_setting_of_the_front_end(corpus, setting):
    assert pipeline.cache_key(corpus, dataclasses.replace(CONFIG, **setting)) != pipeline.cache_key(corpus, CONFIG)


def test_the_key_changes_with_a_files_time_or_size(corpus):
    path, key = corpus.utterances[5].path, pipeline.cache_key(corpus, CONFIG)
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    later = pipeline.cache_key(corpus, CONFIG)
    with open(path, "ab") as file:
        file.write(b"\0\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len({key, later, pipeline.cache_key(corpus, CONFIG)}) == 3


def test_the_key_changes_with_the_utterances_and_their_order(corpus):
    fewer = dataclasses.replace(corpus, utterances=corpus.utterances[1:])
    turned = dataclasses.replace(corpus, utterances=corpus.utterances[::-1])
    assert len({pipeline.cache_key(c, CONFIG) for c in (corpus, fewer, turned)}) == 3


def test_a_changed_recording_is_read_again(corpus, cache):
    first = load(corpus, cache)
    soundfile.write(corpus.utterances[5].path, tiny.tone(2, 1, 99), SAMPLE_RATE_HZ)
    second = load(corpus, cache)
    assert np.flatnonzero((first != second).any(axis=(1, 2))).tolist() == [5]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:5],
        lambda whole: whole[:100],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: bytes(len(whole)),
        lambda whole: b"PK\x03\x04" + whole[4:],
        lambda whole: whole.replace(b"<f4", b"<f2"),
        lambda whole: whole.replace(b"(36, ", b"(35, "),
    ],
    ids=["empty", "magic", "header", "half", "one short", "zeros", "zip", "type", "shape"],
)
def test_a_damaged_file_is_ignored_and_rewritten(corpus, cache, no_audio, damage):
    first = load(corpus, cache)
    whole = only_file(cache).read_bytes()
    only_file(cache).write_bytes(damage(whole))
    np.testing.assert_array_equal(load(corpus, cache), first)
    assert only_file(cache).read_bytes() == whole
    no_audio()
    np.testing.assert_array_equal(load(corpus, cache), first)


def test_a_run_that_dies_while_writing_leaves_nothing(corpus, cache, monkeypatch):
    def die(file, features):
        file.write(b"half of the features")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", die)
    with pytest.raises(KeyboardInterrupt):
        load(corpus, cache)
    assert os.listdir(cache) == []
    monkeypatch.undo()
    assert load(corpus, cache).shape[0] == 36


def test_two_runs_at_once_leave_one_good_file(corpus, cache, no_audio, monkeypatch):
    extract, both = pipeline.extract_features, threading.Barrier(2, timeout=60)

    def wait_for_the_other(*args):
        both.wait()  # neither has written yet: both will
        features = extract(*args, progress=False)
        both.wait()
        return features

    monkeypatch.setattr(pipeline, "extract_features", wait_for_the_other)
    results = []
    threads = [threading.Thread(target=lambda: results.append(load(corpus, cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(*results)
    only_file(cache)
    no_audio()
    np.testing.assert_array_equal(load(corpus, cache), results[0])


def test_a_cache_that_cannot_be_written_is_told(corpus, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KserError, match=r"^Cannot write .*: Not a directory\.$"):
        load(corpus, tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"KSER_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/kser"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/kser"),
    ],
)
def test_where_the_cache_is_by_default(monkeypatch, environment, expected):
    for name in ("KSER_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert pipeline.default_cache_dir() == expected


def test_the_cache_is_in_the_default_place_if_none_is_given(corpus, cache, monkeypatch):
    monkeypatch.setenv("KSER_CACHE_DIR", str(cache))
    pipeline.load_features(corpus, CONFIG)
    only_file(cache)


# Bad files among good ones.


def test_bad_files_are_counted_and_the_first_are_named(corpus, cache):
    paths = [Path(corpus.utterances[i].path) for i in (3, 8, 20, 30, 35)]
    paths[0].write_bytes(b"")
    paths[1].write_bytes(paths[1].read_bytes()[:5000])
    paths[2].write_bytes(b"no audio at all, though it is called so")
    soundfile.write(paths[3], np.zeros(8000), SAMPLE_RATE_HZ)
    soundfile.write(paths[4], tiny.tone(0, 0, 0), 8000)
    with pytest.raises(DatasetError, match=r"^5 of 36 audio files cannot be used; mend or remove them: ") as error:
        load(corpus, cache)
    message = str(error.value)
    assert [str(path) in message for path in paths] == [True, True, True, False, False]
    assert "is empty" in message and "is truncated" in message and "not a readable audio file" in message
    assert not cache.exists()


@pytest.mark.parametrize("rate", [8000, 11025])
def test_recordings_sampled_too_slowly_for_the_features_are_refused(corpus, cache, rate):
    soundfile.write(corpus.utterances[0].path, tiny.tone(0, 0, 0), rate)
    with pytest.raises(DatasetError, match=rf"^1 of 36 .*is sampled at {rate} Hz"):
        load(corpus, cache)


def test_a_link_to_nowhere_is_a_bad_file(corpus, cache):
    path = Path(corpus.utterances[7].path)
    path.unlink()
    path.symlink_to("annexed-elsewhere.wav")
    with pytest.raises(DatasetError, match="^1 of 36 .*There is no audio file .*"):
        load(corpus, cache)


def test_all_files_bad(corpus, cache):
    for utterance in corpus.utterances:
        Path(utterance.path).write_bytes(b"")
    with pytest.raises(DatasetError, match="^36 of 36 "):
        load(corpus, cache)


# The parts.


def random_features(corpus: Corpus, seed: int = 0) -> np.ndarray:
    shape = (len(corpus.utterances), CONFIG.num_frames, CONFIG.num_mels)
    return np.random.default_rng(seed).normal(-5, 2, shape).astype(np.float32)


def run_config(remove_level: bool = False, **train) -> RunConfig:
    return RunConfig(dataclasses.replace(CONFIG, remove_level=remove_level), train=TrainConfig(**train))


@pytest.mark.parametrize("remove_level", [False, True])
def test_normalization_is_estimated_on_the_training_part_only(corpus, remove_level):
    split = make_split(corpus, 2, 1, seed=0)
    features = random_features(corpus)
    data = pipeline.training_data(corpus, features, split, run_config(remove_level))
    np.testing.assert_array_equal(data.features, features[list(split.train)])
    expected = estimate_normalization(features[list(split.train)], remove_level)
    features[[*split.validation, *split.test]] += 100
    again = pipeline.training_data(corpus, features, split, run_config(remove_level)).normalization
    for normalization in (data.normalization, again):
        np.testing.assert_array_equal(normalization.mean, expected.mean)
        np.testing.assert_array_equal(normalization.std, expected.std)
        assert normalization.remove_level is remove_level


def test_evaluation_parts_are_normalized_clips_with_their_labels(corpus):
    split = make_split(corpus, 2, 1, seed=0)
    features = random_features(corpus)
    data = pipeline.training_data(corpus, features, split, run_config())
    part = pipeline.evaluation_part(corpus, features, split.test, data.normalization)
    np.testing.assert_array_equal(part.features, data.normalization.apply(features[list(split.test)]))
    assert [tiny.LABELS[i] for i in part.labels] == [corpus.utterances[i].label for i in split.test]


def test_label_indices_follow_the_order_of_the_label_names(corpus):
    names = [corpus.labels[i] for i in pipeline.label_indices(corpus)]
    assert names == [u.label for u in corpus.utterances]


LABELS = np.array([0] * 8 + [1] * 2 + [2] * 2)


def test_class_weights_of_power_0_weigh_all_alike():
    np.testing.assert_array_equal(pipeline.class_weights(LABELS, 3, 0.0), [1, 1, 1])


def test_class_weights_of_power_1_balance_the_classes():
    weights = pipeline.class_weights(LABELS, 3, 1.0)
    np.testing.assert_allclose(weights, [0.5, 2, 2])  # 12 clips / 3 classes / count
    np.testing.assert_allclose(weights * np.bincount(LABELS), 4)


def test_class_weights_of_power_half_lie_between():
    weights = pipeline.class_weights(LABELS, 3, 0.5)
    assert weights[1] / weights[0] == pytest.approx(2)  # sqrt(8 / 2)
    assert weights[LABELS].mean() == pytest.approx(1)
    assert weights.dtype == np.float32


def test_class_weights_of_a_class_without_clips_are_finite():
    weights = pipeline.class_weights(LABELS, 4, 1.0)
    assert np.isfinite(weights).all()
    np.testing.assert_array_equal(weights[:3], pipeline.class_weights(LABELS, 3, 1.0))


def test_the_power_is_the_configured_one(corpus):
    split = make_split(corpus, 1, 1, seed=0)
    uneven = dataclasses.replace(split, train=split.train[2:])
    data = pipeline.training_data(corpus, random_features(corpus), uneven, run_config(class_weight_power=0.5))
    np.testing.assert_array_equal(data.class_weights, pipeline.class_weights(data.labels, 3, 0.5))
    assert len(set(data.class_weights)) == 2


# Batches.


def numbered_data(num_clips: int) -> pipeline.TrainingData:
    """Clip i is i in all its cells, its label i % 3."""
    numbers = np.arange(num_clips, dtype=np.float32)
    features = np.tile(numbers[:, None, None], (1, CONFIG.num_frames, CONFIG.num_mels))
    normalization = Normalization(np.zeros(CONFIG.num_mels, np.float32), np.ones(CONFIG.num_mels, np.float32))
    return pipeline.TrainingData(features, np.arange(num_clips) % 3, 3, normalization, np.array([0.5, 1.0, 2.0], np.float32))


def batches(data, augmentation=AUGMENT_OFF, batch_size=4, seed=0, epoch=0):
    """The epoch as a list of (clips, targets, weights) arrays."""
    dataset = pipeline.training_batches(data, CONFIG, augmentation, batch_size, seed, epoch)
    return [tuple(t.numpy() for t in batch) for batch in dataset]


def assert_same(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_array_equal(a, b)


def augmented_data(corpus: Corpus) -> pipeline.TrainingData:
    split = make_split(corpus, 1, 1, seed=0)
    return pipeline.training_data(corpus, random_features(corpus), split, run_config())


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
def test_without_augmentation_clips_are_normalized_as_in_evaluation(corpus, remove_level):
    split = make_split(corpus, 1, 1, seed=0)
    features = random_features(corpus)
    data = pipeline.training_data(corpus, features, split, run_config(remove_level))
    part = pipeline.evaluation_part(corpus, features, split.train, data.normalization)
    clips = np.concatenate([clips for clips, _, _ in batches(data, batch_size=1)])
    order = np.random.default_rng([0, 0])
    order.integers(2**31)
    np.testing.assert_allclose(clips, part.features[order.permutation(len(clips))], atol=1e-5)


def test_an_epoch_is_a_function_of_seed_and_epoch(corpus):
    data, config = augmented_data(corpus), AugmentConfig(freq_mask_mels=3, time_mask_frames=3)
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
    gains = np.concatenate([clips[:, 0, 0] for clips, _, _ in batches(same, dataclasses.replace(AUGMENT_OFF, gain_db=6.0))])
    assert len(set(gains.tolist())) == 8


def test_mixup_mixes_targets_that_still_sum_to_1():
    epoch = batches(numbered_data(24), dataclasses.replace(AUGMENT_OFF, mixup=1.0), batch_size=12)
    targets = np.concatenate([t for _, t, _ in epoch])
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert ((targets > 0.01) & (targets < 0.99)).any()
    clips = np.concatenate([c for c, _, _ in epoch])
    assert np.any(clips[:, 0, 0] % 1 > 0.01)  # between two numbers
