"""Utterances to log-mel features on disk, and features to the batches a network trains on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kser import audio, augment
from kser.atomic import replacing
from kser.config import AugmentConfig, FeatureConfig, RunConfig, to_dict
from kser.datasets.corpus import Corpus, Split
from kser.errors import AudioError, DatasetError
from kser.features import Normalization, batch_extractor, estimate_normalization

# Raised when the front end computes other numbers for the same settings.
CACHE_VERSION = 1
CHUNK_CLIPS = 16
EXTRACTOR_THREADS = 2
MAX_NAMED_FAILURES = 3


def default_cache_dir() -> str:
    """`$KSER_CACHE_DIR`, or kser's folder in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("KSER_CACHE_DIR") or os.path.join(base, "kser")


def load_features(corpus: Corpus, config: FeatureConfig, cache_dir: str = "") -> np.ndarray:
    """Log-mel of every utterance, (num_utterances, num_frames, num_mels) float32, read from the cache where it is there.

    The cache file's name is a hash of the corpus (names, sizes and times of its files) and of the settings; it appears
    when it is complete, so two runs at once or a killed one can do no harm.

    Raises:
      DatasetError: one or more audio files cannot be used; it names the first few and their number.
    """
    path = os.path.join(cache_dir or default_cache_dir(), f"{corpus.name}-{cache_key(corpus, config)}.npy")
    features = _read_cache(path, (len(corpus.utterances), config.num_frames, config.num_mels))
    if features is not None:
        return features
    features = extract_features([u.path for u in corpus.utterances], config)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, features)
    return features


def cache_key(corpus: Corpus, config: FeatureConfig) -> str:
    """A hash that changes when a file of the corpus or a setting of the front end does."""
    files = [(u.utterance_id, *_size_and_time(u.path)) for u in corpus.utterances]
    text = json.dumps([CACHE_VERSION, files, to_dict(config)])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0  # reading the file will tell what is wrong with it
    return status.st_size, status.st_mtime_ns


def _read_cache(path: str, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        features = np.load(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return features if features.shape == shape and features.dtype == np.float32 else None


def extract_features(paths: list[str], config: FeatureConfig, progress: bool = True) -> np.ndarray:
    """Log-mel of audio files, (len(paths), num_frames, num_mels) float32.

    Raises:
      DatasetError: one or more files cannot be used.
    """
    extract = batch_extractor(config)
    chunks = [paths[i : i + CHUNK_CLIPS] for i in range(0, len(paths), CHUNK_CLIPS)]
    features, failures = [], []
    with (
        ThreadPoolExecutor(EXTRACTOR_THREADS) as pool,
        tqdm(total=len(paths), desc="features", unit="clip", disable=not progress) as bar,
    ):
        for chunk_features, chunk_failures in pool.map(lambda chunk: _extract_chunk(chunk, config, extract), chunks):
            features.append(chunk_features)
            failures += chunk_failures
            bar.update(len(chunk_features) + len(chunk_failures))
    if failures:
        named = " ".join(str(f) for f in failures[:MAX_NAMED_FAILURES])
        raise DatasetError(f"{len(failures)} of {len(paths)} audio files cannot be used; mend or remove them: {named}")
    return np.concatenate(features)


def _extract_chunk(paths: list[str], config: FeatureConfig, extract) -> tuple[np.ndarray, list[AudioError]]:
    """Features of the files that can be used, and what is wrong with the others."""
    results = [_read_clip(path, config) for path in paths]
    failures = [r for r in results if isinstance(r, AudioError)]
    clips = np.reshape([r for r in results if not isinstance(r, AudioError)], (-1, config.clip_samples))
    return extract(clips.astype(np.float32)).numpy(), failures


def _read_clip(path: str, config: FeatureConfig) -> np.ndarray | AudioError:
    try:
        return audio.fix_clip(audio.load(path, config.upper_hz), config)
    except AudioError as error:
        return error


@dataclasses.dataclass(frozen=True)
class Part:
    """The validation or the test part: normalized clips (n, num_frames, num_mels) and label indices (n,)."""

    features: np.ndarray
    labels: np.ndarray


def label_indices(corpus: Corpus) -> np.ndarray:
    """(num_utterances,) int64 indices into `corpus.labels`."""
    index = {label: i for i, label in enumerate(corpus.labels)}
    return np.array([index[u.label] for u in corpus.utterances])


def evaluation_part(corpus: Corpus, features: np.ndarray, indices, normalization: Normalization) -> Part:
    """The clips `indices` as the network sees them."""
    indices = list(indices)
    return Part(normalization.apply(features[indices]), label_indices(corpus)[indices])


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The training part, in memory: raw log-mel (n, num_frames, num_mels), label indices (n,), and what batches need."""

    features: np.ndarray
    labels: np.ndarray
    num_classes: int
    normalization: Normalization
    class_weights: np.ndarray


def class_weights(labels: np.ndarray, num_classes: int, power: float) -> np.ndarray:
    """(num_classes,) float32 proportional to count^-power, 1 on average over the clips: 0 weighs all alike, 1 balances."""
    counts = np.maximum(np.bincount(labels, minlength=num_classes), 1).astype(np.float64)
    weights = counts**-power
    return (weights / np.mean(weights[labels])).astype(np.float32)


def training_data(corpus: Corpus, features: np.ndarray, split: Split, config: RunConfig) -> TrainingData:
    """The training part and what is estimated on it alone: normalization and class weights."""
    clips = features[list(split.train)]
    labels = label_indices(corpus)[list(split.train)]
    weights = class_weights(labels, len(corpus.labels), config.train.class_weight_power)
    normalization = estimate_normalization(clips, config.features.remove_level)
    return TrainingData(clips, labels, len(corpus.labels), normalization, weights)


def training_batches(
    data: TrainingData, config: FeatureConfig, augmentation: AugmentConfig, batch_size: int, seed: int, epoch: int
) -> tf.data.Dataset:
    """One epoch of (clips, targets, weights), shuffled and augmented; a function of `seed` and `epoch` alone.

    The last, smaller batch is dropped where there is a whole one: BatchNorm's statistics would suffer from it.

    Returns:
      Dataset of (batch, num_frames, num_mels), (batch, num_classes), (batch,), all float32.
    """
    rng = np.random.default_rng([seed, epoch])
    tf.random.set_seed(int(rng.integers(2**31)))
    order = rng.permutation(len(data.labels))
    features, labels = tf.constant(data.features), tf.constant(data.labels, tf.int32)
    weights = tf.constant(data.class_weights)

    def example(index):
        clip = augment.augment_sound(tf.gather(features, index), augmentation, config)
        clip = augment.mask(data.normalization.apply_graph(clip), augmentation)
        label = tf.gather(labels, index)
        return clip, tf.one_hot(label, data.num_classes), tf.gather(weights, label)

    def mix(clips, targets, example_weights):
        return *augment.mixup(clips, targets, augmentation.mixup), example_weights

    # AutoGraph would only read the source again, and need room for temporary files.
    example, mix = map(tf.autograph.experimental.do_not_convert, (example, mix))
    dataset = tf.data.Dataset.from_tensor_slices(order).map(example)
    dataset = dataset.batch(batch_size, drop_remainder=len(order) >= batch_size)
    return dataset.map(mix) if augmentation.mixup else dataset
