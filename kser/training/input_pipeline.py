"""From features to validation and test parts, and to training batches."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kser.audio import augment_spectrogram
from kser.audio.log_mel import Normalization, estimate_normalization
from kser.config import AugmentConfig, FeatureConfig, RunConfig
from kser.datasets.corpus import Corpus
from kser.datasets.feature_cache import Features, load_variants
from kser.datasets.protocols import Split


@dataclasses.dataclass(frozen=True)
class Part:
    """The validation or the test part: normalized clips (n, num_frames, num_mels), label indices, speakers, names (n,).

    `speakers` is None if unknown. `decision` is that of the corpus (see `Corpus`).
    """

    features: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray | None
    utterance_ids: tuple[str, ...]
    decision: str = "utterance"


def label_indices(corpus: Corpus) -> np.ndarray:
    """(num_utterances,) int64 indices into `corpus.labels`."""
    index = {label: i for i, label in enumerate(corpus.labels)}
    return np.array([index[u.label] for u in corpus.utterances])


def evaluation_part(corpus: Corpus, features: Features, indices, normalization: Normalization) -> Part:
    """The clips `indices`, normalized."""
    indices = list(indices)
    chosen = [corpus.utterances[i] for i in indices]
    clips = normalization.apply(features.values[indices])
    names = tuple(u.utterance_id for u in chosen)
    speakers = np.array([u.speaker for u in chosen])
    return Part(clips, label_indices(corpus)[indices], speakers, names, corpus.decision)


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The training part: raw log-mel of all clips, the rows to train on, label indices (n,), and what batches need.

    `variants` (n, num_variants, num_frames, num_mels) are the training clips with augmented waveforms. `label_names` and
    `config` are the names of the labels and the log-mel settings; None if the clips are not kser's own log-mel.
    """

    features: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    num_classes: int
    normalization: Normalization
    class_weights: np.ndarray
    variants: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    config: RunConfig | None = None

    def clip(self, index: np.ndarray) -> np.ndarray:
        """Training clips (..., num_frames, num_mels) by index (...)."""
        return self.features[self.rows[index]]

    def normalized(self, count: int | None = None) -> np.ndarray:
        """All clips, or `count` evenly spaced ones, normalized: (count, num_frames, num_mels)."""
        chosen = np.arange(len(self.rows))
        if count is not None and count < len(chosen):
            chosen = np.linspace(0, len(chosen) - 1, count).astype(int)
        return self.normalization.apply(self.clip(chosen))


def class_weights(labels: np.ndarray, num_classes: int, power: float) -> np.ndarray:
    """(num_classes,) float32 proportional to count^-power, 1 on average over the clips; power 0: all equal, 1: balanced."""
    counts = np.maximum(np.bincount(labels, minlength=num_classes), 1).astype(np.float64)
    weights = counts**-power
    return (weights / np.mean(weights[labels])).astype(np.float32)


def training_data(corpus: Corpus, features: Features, split: Split, config: RunConfig, cache_dir: str = "") -> TrainingData:
    """The training part with normalization and class weights, which are estimated on it alone."""
    rows = np.array(split.train)
    labels = label_indices(corpus)[rows]
    weights = class_weights(labels, len(corpus.labels), config.train.class_weight_power)
    normalization = estimate_normalization(features.moments[rows], config.features.remove_level)
    variants = load_variants([corpus.utterances[i] for i in rows], config, cache_dir)
    names = corpus.labels
    return TrainingData(features.values, rows, labels, len(names), normalization, weights, variants, names, config)


def training_batches(
    data: TrainingData, config: FeatureConfig, augmentation: AugmentConfig, batch_size: int, seed: int, epoch: int
) -> tf.data.Dataset:
    """One epoch of (clips, targets, weights), shuffled and augmented; depends only on `seed` and `epoch`.

    The last, smaller batch is dropped unless it is the only one, because it would distort BatchNorm's statistics.

    Returns:
      Dataset of (batch, num_frames, num_mels), (batch, num_classes), (batch,), all float32.
    """
    rng = np.random.default_rng([seed, epoch])
    tf.random.set_seed(int(rng.integers(2**31)))
    order = rng.permutation(len(data.labels))
    labels, weights = tf.constant(data.labels, tf.int32), tf.constant(data.class_weights)
    read = functools.partial(_on_graph, data.clip, data.features.shape[1:])
    others = augment_spectrogram.Others(len(order), read)

    def example(index):
        clip = read(index) if data.variants is None else _read_variant(data, index)
        clip = augment_spectrogram.augment_features(clip, augmentation.steps("features"), config, others)
        clip = augment_spectrogram.augment_normalized(data.normalization.apply_graph(clip), augmentation.steps("normalized"))
        label = tf.gather(labels, index)
        return clip, tf.one_hot(label, data.num_classes), tf.gather(weights, label)

    def mix(clips, targets, example_weights):
        for _, alpha in augmentation.steps("batch"):
            clips, targets = augment_spectrogram.mixup(clips, targets, alpha)
            example_weights = tf.linalg.matvec(targets, weights)  # a mixed clip counts as its classes do, by their shares
        return clips, targets, example_weights

    # AutoGraph is not needed; it would read the source again and write temporary files.
    example, mix = map(tf.autograph.experimental.do_not_convert, (example, mix))
    dataset = tf.data.Dataset.from_tensor_slices(order).map(example)
    return dataset.batch(batch_size, drop_remainder=len(order) >= batch_size).map(mix)


@dataclasses.dataclass(frozen=True)
class EpochBatches:
    """Training data: the batches of an epoch (counted from 0), and their number.

    Each is (clips (batch, num_frames, num_mels), targets (batch, num_classes), weights (batch,)), all float32.
    """

    of: Callable[[int], tf.data.Dataset]
    per_epoch: int
    num_classes: int


def epoch_batches(data: TrainingData, config: RunConfig) -> EpochBatches:
    """The batches of a training part, shuffled and augmented according to the settings."""
    train = config.train

    def of(epoch: int) -> tf.data.Dataset:
        return training_batches(data, config.features, config.augment, train.batch_size, train.seed, epoch)

    return EpochBatches(of, max(1, len(data.labels) // train.batch_size), data.num_classes)


def _on_graph(function: Callable, shape: tuple[int, ...], *indices: tf.Tensor) -> tf.Tensor:
    """Reads clips by NumPy from within TensorFlow, so that a memory-mapped file is read clip by clip."""
    clips = tf.numpy_function(function, indices, tf.float32, stateful=False)
    return tf.ensure_shape(clips, (*indices[-1].shape, *shape))


def _read_variant(data: TrainingData, index: tf.Tensor) -> tf.Tensor:
    """The clip or one of its variants, all equally likely."""
    variant = tf.random.uniform((), 0, data.variants.shape[1] + 1, tf.int64)

    def read(variant, index):
        return data.clip(index) if variant == 0 else data.variants[index, variant - 1]

    return _on_graph(read, data.features.shape[1:], variant, index)
