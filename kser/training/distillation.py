"""Distillation (Hinton et al. 2015): a network learns the probabilities of teacher networks besides the labels.

As in Beyer et al. 2022 (arXiv 2106.05237) the teachers see the same augmented and mixed clips as the student.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import tensorflow as tf

from kser.audio.log_mel import Normalization
from kser.config import RunConfig
from kser.datasets.corpus import Corpus
from kser.datasets.protocols import Split
from kser.errors import RunError
from kser.training import run_directory
from kser.training.run_directory import Run, Teacher


def open_teachers(run_dirs: Sequence[str], config: RunConfig, corpus: Corpus, split: Split) -> tuple[Teacher, ...]:
    """The finished runs that are the teachers of a run with these settings on this corpus and split.

    Raises:
      RunError: not a usable run; one with another corpus, labels or features; or one that was trained on speakers of the
        new run's validation or test part, which would leak.
    """
    return tuple(_open_teacher(path, config, corpus, split) for path in run_dirs)


def _open_teacher(path: str, config: RunConfig, corpus: Corpus, split: Split) -> Teacher:
    if not _is_run(path):
        raise RunError(
            f"{path or 'The empty path'} is not a run directory; --teachers takes directories that bin/train wrote."
        )
    run = run_directory.load(path)
    if not os.path.isfile(run.file(run_directory.METRICS)):
        raise RunError(
            f"{path} is not finished and cannot be a teacher yet; finish it with bin/train --resume --run_dir={path}."
        )
    for what, theirs, ours in (
        ("clips", run.corpus, corpus.fingerprint()),
        ("labels", run.labels, corpus.labels),
        ("features", run.config.features, config.features),
    ):
        if theirs != ours:
            raise RunError(f"{path} cannot teach this run: it was trained with other {what}. Train a teacher with the same.")
    _require_ignorance(path, run, config, corpus, split)
    return Teacher(os.path.abspath(path), run_directory.weights_digest(run))


def _require_ignorance(path: str, run: Run, config: RunConfig, corpus: Corpus, split: Split) -> None:
    """Raises RunError if the teacher was trained on anything in this run's validation or test part."""
    held_out = {*split.validation_speakers, *split.test_speakers}
    known = sorted(held_out - {*run.validation_speakers, *run.test_speakers})
    if known:
        raise RunError(
            f"{path} cannot teach this run: it was trained on speaker {known[0]} of this run's validation or test part "
            f"({len(known)} such). Train a teacher with the same --split, --validation_speakers, --select and --seed."
        )
    chose = sorted({*split.test_speakers} & {*run.validation_speakers})
    if chose and run.config.train.select == "validation":
        raise RunError(
            f"{path} cannot teach this run: speaker {chose[0]} of this run's test part chose its epoch. Train a teacher "
            "with the same --split and --validation_speakers, or with --select=last."
        )
    # If parts share speakers, teacher and student must have exactly the same parts.
    shared = held_out & {corpus.utterances[i].speaker for i in split.train}
    if shared and _what_parts(run.config) != _what_parts(config):
        raise RunError(
            f"{path} cannot teach this run: parts share speakers, and its parts were different. Train a teacher with the "
            "same --protocol, --split, --validation_speakers, --select and --seed."
        )


def _what_parts(config: RunConfig) -> tuple:
    """All settings that decide which clip is in which part."""
    return config.data, config.train.select, config.train.seed


def mean_answer(teachers: Sequence[Teacher], normalization: Normalization) -> Callable[[tf.Tensor], tf.Tensor]:
    """A TensorFlow function from clips (batch, num_frames, num_mels) to the teachers' mean probabilities (batch, classes).

    Args:
      normalization: that of the clips; for every teacher they are converted to its own normalization.

    Raises:
      RunError: the weights of a teacher are missing, damaged, or not those it had when the training began.
    """
    runs = [_unchanged(teacher) for teacher in teachers]
    answers = [functools.partial(_answer, run_directory.load_model(run), run.normalization, normalization) for run in runs]
    return lambda clips: tf.add_n([answer(clips) for answer in answers]) / len(answers)


def _is_run(path: str) -> bool:
    return os.path.isfile(os.path.join(path, run_directory.CONFIG))


def _unchanged(teacher: Teacher) -> Run:
    if not _is_run(teacher.run_dir):
        raise RunError(f"{teacher.run_dir}, a teacher of this run, is missing; restore it, or train this run again.")
    run = run_directory.load(teacher.run_dir)
    if run_directory.weights_digest(run) != teacher.weights_sha256:
        raise RunError(
            f"{teacher.run_dir}, a teacher of this run, has different weights than at its start; train this run again."
        )
    return run


def _answer(model, own: Normalization, given: Normalization, clips: tf.Tensor) -> tf.Tensor:
    # A clip's level, if removed, is subtracted before either normalization.
    clips = (clips * given.std + given.mean - own.mean) / own.std
    return tf.nn.softmax(model(clips, training=False))
