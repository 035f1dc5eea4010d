"""Training and test data without a corpus: arrays of log-mel or waveforms, and tf.data datasets."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from kser.audio import reading
from kser.audio.log_mel import Normalization, batch_extractor, clip_moments, estimate_normalization
from kser.config import NO_AUGMENTATION, SAMPLE_RATE_HZ, STAGES, AugmentConfig, DataConfig, FeatureConfig, RunConfig
from kser.errors import ConfigError
from kser.training.input_pipeline import EpochBatches, Part, TrainingData

# Augmentation stages that need kser's own raw log-mel or the waveform.
RAW_STAGES = ("sound", "features")


# --- Log-mel ----------------------------------------------------------------------------------------------------------


def checked(clips, labels, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips (n, num_frames, num_mels) as float32, and labels as indices (n,), from indices or one-hot rows.

    Raises:
      ConfigError: wrong shape or type, different lengths, empty, not finite, or a label out of range.
    """
    clips, labels = np.asarray(clips, np.float32), np.asarray(labels)
    if clips.ndim != 3 or len(clips) == 0:
        raise ConfigError(f"Clips must be normalized log-mel (n, num_frames, num_mels), n >= 1, not {clips.shape}.")
    if not np.isfinite(clips).all():
        raise ConfigError("The clips contain numbers that are not finite; fix or leave out those clips.")
    return clips, label_indices(labels, len(clips), num_classes)


def label_indices(labels, num_clips: int, num_classes: int) -> np.ndarray:
    """(n,) int64 from labels (n,) or one-hot rows (n, num_classes); raises ConfigError if they do not fit."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        labels = labels.argmax(1)
    if labels.shape != (num_clips,):
        raise ConfigError(
            f"{num_clips} clips need labels ({num_clips},), or ({num_clips}, {num_classes}); not {labels.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= num_classes:
        raise ConfigError(f"Labels must be whole numbers from 0 to {num_classes - 1}: there are {num_classes} classes.")
    return labels.astype(np.int64)


def training_data(data, num_classes: int) -> TrainingData:
    """A training part: that of a corpus unchanged, or (clips, labels) as one without normalization and class weights.

    Raises:
      ConfigError: neither of these, or labels that do not fit the classes.
    """
    if isinstance(data, TrainingData):
        if data.num_classes != num_classes:
            raise ConfigError(f"The model has {num_classes} classes, the training part {data.num_classes}.")
        return data
    clips, labels = checked(*_pair(data), num_classes)
    rows, weights = np.arange(len(clips)), np.ones(num_classes, np.float32)
    return TrainingData(clips, rows, labels, num_classes, _unchanged(clips.shape[2]), weights)


def _pair(data) -> tuple:
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise ConfigError(
            f"Data must be a part that load_split returned, (clips, labels) or a tf.data.Dataset, not {type(data).__name__}."
        )
    return tuple(data[:2])


def _unchanged(num_mels: int) -> Normalization:
    return Normalization(np.zeros(num_mels, np.float32), np.ones(num_mels, np.float32))


def part(data, num_classes: int) -> Part:
    """Data to score a model on: a part of a corpus, (clips, labels), (clips, labels, speakers), or a tf.data.Dataset.

    Raises:
      ConfigError: none of these, or labels that do not fit the classes.
    """
    if isinstance(data, Part):
        label_indices(data.labels, len(data.features), num_classes)
        return data
    if isinstance(data, TrainingData):
        return Part(data.normalized(), data.labels, None, _names(len(data.labels)))
    if isinstance(data, tf.data.Dataset):
        data = tuple(map(np.concatenate, zip(*dataset_arrays(data, num_classes), strict=True)))
    clips, labels = checked(*_pair(data), num_classes)
    speakers = np.asarray(data[2]) if len(data) == 3 else None
    if speakers is not None and speakers.shape != labels.shape:
        raise ConfigError(f"{len(labels)} clips need speakers ({len(labels)},), not {speakers.shape}.")
    return Part(clips, labels, speakers, _names(len(labels)))


def _names(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def some_clips(data, count: int) -> np.ndarray:
    """At most `count` clips (n, num_frames, num_mels) of an array of clips or of any training data."""
    if isinstance(data, TrainingData):
        return data.normalized(count)
    if isinstance(data, Part):
        return data.features[:count]
    if isinstance(data, tf.data.Dataset):
        batches = (batch[0] if isinstance(batch, tuple) else batch for batch in data.as_numpy_iterator())
        data = list(itertools.islice(itertools.chain.from_iterable(batches), count))
    return np.asarray(data[0] if isinstance(data, tuple) else data, np.float32)[:count]


# --- tf.data ----------------------------------------------------------------------------------------------------------


def dataset_batches(dataset: tf.data.Dataset, num_classes: int) -> EpochBatches:
    """A dataset of batches (clips, labels), one epoch long; it is read once in advance to count and check the batches.

    Raises:
      ConfigError: it is empty or infinite, or its elements are not such batches.
    """
    per_epoch = sum(1 for _ in dataset_arrays(dataset, num_classes))
    if per_epoch == 0:
        raise ConfigError("The dataset is empty.")

    def example(clips, labels):
        one_hot = tf.one_hot(labels, num_classes) if labels.shape.rank == 1 else tf.cast(labels, tf.float32)
        return tf.cast(clips, tf.float32), one_hot, tf.ones(tf.shape(clips)[:1])

    batches = dataset.map(tf.autograph.experimental.do_not_convert(example))
    return EpochBatches(lambda epoch: batches, per_epoch, num_classes)


def dataset_arrays(dataset: tf.data.Dataset, num_classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of a dataset as clips and label indices; raises ConfigError for other elements."""
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or [part.shape.rank for part in spec] not in ([3, 1], [3, 2]):
        form = "(batch, num_frames, num_mels) and (batch,) or (batch, num_classes)"
        raise ConfigError(f"A dataset must give batches (clips, labels), {form}.")
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ConfigError("The dataset is infinite; limit it to one epoch with take(steps).")
    return (checked(clips, labels, num_classes) for clips, labels in dataset.as_numpy_iterator())


# --- Waveforms --------------------------------------------------------------------------------------------------------


def split_of_waveforms(
    train, validation, test, labels: Sequence[str], features: FeatureConfig, augment: AugmentConfig
) -> tuple[TrainingData, Part | None, Part]:
    """Parts from (waveforms, labels) or (waveforms, labels, speakers), normalized by the training part."""
    config = RunConfig(DataConfig("waveforms"), features, augment=augment)
    raw = log_mel(_pair(train)[0], features)
    normalization = estimate_normalization(clip_moments(raw), features.remove_level)
    indices, weights = label_indices(train[1], len(raw), len(labels)), np.ones(len(labels), np.float32)
    data = TrainingData(
        *(raw, np.arange(len(raw)), indices, len(labels), normalization, weights), None, tuple(labels), config
    )

    def normalized(given) -> Part:
        return part((normalization.apply(log_mel(_pair(given)[0], features)), *given[1:]), len(labels))

    return data, None if validation is None else normalized(validation), normalized(test)


def log_mel(waveforms: Sequence[np.ndarray], config: FeatureConfig) -> np.ndarray:
    """(n, num_frames, num_mels) float32 from n recordings (num_samples,) in [-1, 1] at 16 kHz, of any lengths.

    Raises:
      ConfigError: there are none, or one has a wrong shape or type.
      AudioError: one is too short, silent, or not finite.
    """
    if len(waveforms) == 0:
        raise ConfigError("There are no waveforms.")
    clips = [reading.fix_clip(samples_of(w, f"Waveform {i}", config), config) for i, w in enumerate(waveforms)]
    return batch_extractor(config)(np.stack(clips)).numpy()


def samples_of(waveform, name: str, config: FeatureConfig) -> np.ndarray:
    """A recording as float32, with the same checks as for files; `name` is used in error messages."""
    samples = np.asarray(waveform)
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise ConfigError(f"{name} must be (num_samples,) floats in [-1, 1] at 16 kHz, not {samples.dtype} {samples.shape}.")
    recording = reading.Recording(samples.astype(np.float32)[:, np.newaxis], SAMPLE_RATE_HZ, samples.nbytes, "")
    return reading.to_mono(recording, name, config.upper_hz)[0]


# --- Augmentation -----------------------------------------------------------------------------------------------------


def without_stages(config: AugmentConfig, stages: Sequence[str]) -> AugmentConfig:
    """The augmentation without the steps of these stages."""
    steps = [f"{name}:{strength:g}" for s in STAGES if s not in stages for name, strength in config.steps(s)]
    return dataclasses.replace(config, augment=",".join(steps) or NO_AUGMENTATION)


def augmentation(given: str | None, data: TrainingData) -> AugmentConfig:
    """The augmentation of these clips: the given one; for None the one they were loaded with, or all possible default steps.

    Raises:
      ConfigError: a step is not possible for them.
    """
    own = data.config.augment if data.config else without_stages(AugmentConfig(), RAW_STAGES)
    if given is None:
        return own
    chosen = AugmentConfig(given, own.augment_variants)
    if not data.config and any(chosen.steps(stage) for stage in RAW_STAGES):
        possible = without_stages(chosen, RAW_STAGES).augment
        raise ConfigError(
            f"Arrays of log-mel can only have {possible} of augment={given!r}; the rest needs kser's own front end."
        )
    if chosen.steps("sound") != own.steps("sound"):
        raise ConfigError("Waveforms are augmented when a split is loaded: give these steps to load_split(augment=...) too.")
    return chosen
