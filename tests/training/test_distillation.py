"""Distillation: what teachers answer, who may teach, and what a run taught by others records and learns."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from kser import workflow
from kser.audio.log_mel import Normalization
from kser.config import AUGMENT_OFF, DataPaths
from kser.datasets.labels import LABEL_SETS
from kser.datasets.protocols import make_split
from kser.errors import ConfigError, RunError
from kser.models.inference import predict_logits, softmax
from kser.models.presets import build_model
from kser.training import run_directory
from kser.training import trainer as training
from kser.training.distillation import mean_answer, open_teachers
from kser.training.input_pipeline import TrainingData, epoch_batches
from tests import tiny, tiny_run
from tests.tiny_run import Quiet


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.make_corpus(str(tmp_path_factory.mktemp("audio")))


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def teachers(corpus, cache_dir, tmp_path_factory) -> list[str]:
    """Two finished runs on the first split, one of them with mixed clips."""
    directory, paths = tmp_path_factory.mktemp("teachers"), DataPaths(cache_dir=cache_dir)
    settings = {"first": {"augment": AUGMENT_OFF}, "second": {"label_smoothing": 0.3}}
    with pytest.MonkeyPatch.context() as patch:
        tiny_run.use_corpus(patch, corpus)
        for name, changes in settings.items():
            workflow.train_new(str(directory / name), tiny.run_config(epochs=2, **changes), paths, Quiet())
    return [str(directory / name) for name in settings]


PAIRS = tiny.run_config(AUGMENT_OFF, epochs=1, protocol="pairs")


@pytest.fixture(scope="module")
def teachers_of_all_splits(corpus, cache_dir, tmp_path_factory) -> str:
    """A directory of both splits of PAIRS."""
    directory = str(tmp_path_factory.mktemp("splits") / "teachers")
    with pytest.MonkeyPatch.context() as patch:
        tiny_run.use_corpus(patch, corpus)
        workflow.train_all_splits(directory, PAIRS, DataPaths(cache_dir=cache_dir), Quiet())
    return directory


@pytest.fixture
def train(corpus, cache_dir, tmp_path, monkeypatch):
    """A function that trains the tiny run, taught by those given, in a directory of `tmp_path`."""
    tiny_run.use_corpus(monkeypatch, corpus)

    def train(name: str, teacher_dirs=(), progress=None, **settings):
        config, paths = tiny.run_config(**{"epochs": 2, **settings}), DataPaths(cache_dir=cache_dir)
        return workflow.train_new(str(tmp_path / name), config, paths, progress or Quiet(), teacher_dirs)

    return train


def open_on_first_split(corpus, run_dirs, **settings):
    config = tiny.run_config(**settings)
    split = make_split(corpus, "", config.data.split, config.data.validation_speakers, config.train.seed)
    return open_teachers(run_dirs, config, corpus, split)


# What they answer.


def test_the_answer_is_the_mean_of_what_each_says_of_the_clips_as_it_knows_them(corpus, teachers):
    num_frames, num_mels = tiny.FEATURES.num_frames, tiny.FEATURES.num_mels
    given = Normalization(np.full(num_mels, -3.0, np.float32), np.full(num_mels, 1.7, np.float32))
    raw = np.random.default_rng(0).normal(-3, 2, (5, num_frames, num_mels)).astype(np.float32)
    expected = []
    for path in teachers:
        run = run_directory.load(path)
        own = dataclasses.replace(run.normalization, remove_level=False)
        expected.append(softmax(predict_logits(run_directory.load_model(run), own.apply(raw))))
    answer = mean_answer(open_on_first_split(corpus, teachers), given)
    found = answer(tf.constant(given.apply(raw))).numpy()
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # they differ


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_targets_share_out_between_smoothed_labels_and_the_answer(share):
    config = tiny.run_config(teacher_share=share, label_smoothing=0.3)
    normalization = Normalization(np.zeros(16, np.float32), np.ones(16, np.float32))
    data = TrainingData(np.zeros((1, 1, 1)), np.zeros(1, int), np.zeros(1, int), 3, normalization, np.ones(3))
    labels, answer = tf.constant([[0.0, 1.0, 0.0]]), tf.constant([[0.2, 0.5, 0.3]])
    smoothed = np.array([[0.1, 0.8, 0.1]])
    batches = epoch_batches(data, config)
    model = build_model(config.model, config.features, 3)
    taught = training.Trainer(model, batches, config.train, lambda clips: answer)._targets(None, labels)
    np.testing.assert_allclose(taught, (1 - share) * smoothed + share * answer, atol=1e-6)
    np.testing.assert_allclose(training.Trainer(model, batches, config.train)._targets(None, labels), smoothed, atol=1e-6)


def test_a_pupil_of_nothing_but_answers_comes_closer_to_its_teacher_than_one_of_labels(train, teachers):
    def distance(run) -> float:
        clips = np.random.default_rng(0).normal(size=(64, tiny.FEATURES.num_frames, tiny.FEATURES.num_mels))
        models = [run_directory.load_model(run), run_directory.load_model(run_directory.load(teachers[0]))]
        ours, theirs = (softmax(predict_logits(model, clips.astype(np.float32))) for model in models)
        return float(np.abs(ours - theirs).mean())

    settings = {"epochs": 8, "batch_size": 4, "learning_rate": 1e-2, "augment": AUGMENT_OFF}
    taught, _ = train("taught", teachers[:1], teacher_share=1.0, **settings)
    alone, _ = train("alone", label_smoothing=0.0, **settings)
    assert distance(taught) < 0.5 * distance(alone)


# What is recorded, and resumed.


class KilledAtStep(Quiet):
    def __init__(self, number: int):
        self._left = number

    def step(self):
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


def test_a_run_records_its_teachers_and_resumes_with_them_to_the_same_bits(train, teachers, cache_dir, tmp_path):
    whole, _ = train("whole", teachers)
    recorded = json.loads((tmp_path / "whole" / "config.json").read_text())["teachers"]
    assert [teacher["run_dir"] for teacher in recorded] == teachers
    assert run_directory.load(whole.path).teachers == whole.teachers and len(set(whole.teachers)) == 2
    with pytest.raises(KeyboardInterrupt):
        train("killed", teachers, KilledAtStep(3))
    killed, _ = workflow.resume(str(tmp_path / "killed"), DataPaths(cache_dir=cache_dir), Quiet())
    assert run_directory.read_history(whole, 2) == run_directory.read_history(killed, 2)
    alone, _ = train("alone")
    assert alone.teachers == () and run_directory.read_history(alone, 2) != run_directory.read_history(whole, 2)


def test_a_run_from_before_there_were_teachers_has_none(train, tmp_path):
    run, _ = train("run")
    path = tmp_path / "run" / "config.json"
    values = json.loads(path.read_text())
    del values["teachers"], values["config"]["train"]["teacher_share"]
    path.write_text(json.dumps(values))
    assert dataclasses.replace(run_directory.load(run.path), normalization=None) == dataclasses.replace(
        run, normalization=None
    )


def test_a_teacher_that_is_not_what_it_was_is_told_on_resuming(train, teachers, cache_dir, tmp_path):
    teacher = tmp_path / "teacher"
    shutil.copytree(teachers[0], teacher)
    with pytest.raises(KeyboardInterrupt):
        train("killed", [str(teacher)], KilledAtStep(3))

    def resume_is_refused(words: str):
        with pytest.raises(RunError, match=words):
            workflow.resume(str(tmp_path / "killed"), DataPaths(cache_dir=cache_dir), Quiet())

    shutil.copy(run_directory.load(teachers[1]).file("weights.h5"), teacher)
    resume_is_refused("has different weights than at")
    (teacher / "weights.h5").unlink()
    resume_is_refused("has no weights.h5")
    teacher.rename(tmp_path / "elsewhere")
    resume_is_refused("is missing; restore it")


# Who may teach.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": 2}, r"was trained on speaker \w of this run's validation or test part \(\d such\)"),
        ({"validation_speakers": 2}, r"was trained on speaker \w of this run's validation or test part \(1 such\)"),
        ({"label_set": "extremes"}, "trained with other clips"),
    ],
)
def test_a_run_that_may_not_teach_leaves_no_pupil(train, teachers, tmp_path, monkeypatch, settings, message):
    monkeypatch.setitem(LABEL_SETS, "extremes", {"low": "deep", "high": "bright"})
    with pytest.raises(RunError, match=message):
        train("run", teachers[:1], **settings)
    assert list(tmp_path.iterdir()) == []


def test_who_learned_from_the_validation_speakers_teaches_only_where_none_validate(train, teachers, tmp_path):
    last, _ = train("last", select="last", epochs=1)
    with pytest.raises(RunError, match=r"was trained on speaker \w of this run's validation or test part \(1 such\)"):
        train("pupil", [last.path])
    assert not (tmp_path / "pupil").exists()
    pupil, _ = train("pupil", [last.path, teachers[0]], select="last", epochs=1)
    assert [teacher.run_dir for teacher in pupil.teachers] == [last.path, teachers[0]]


def test_who_chose_its_epoch_on_a_test_speaker_does_not_teach(corpus, train, teachers):
    teacher = run_directory.load(teachers[0])
    (chose,) = teacher.validation_speakers
    split = make_split(corpus, "", 1, 1, 0)
    turned = dataclasses.replace(split, validation_speakers=split.test_speakers, test_speakers=(chose,))
    with pytest.raises(RunError, match=rf"speaker {chose} of this run's test part chose its epoch"):
        open_teachers(teachers[:1], tiny.run_config(), corpus, turned)


def test_a_teacher_with_fewer_speakers_may_teach(corpus, train, teachers):
    assert len(open_on_first_split(corpus, [train("few", validation_speakers=2, epochs=1)[0].path])) == 1


def test_where_parts_share_speakers_only_the_very_same_parts_may_teach(corpus, teachers):
    config = tiny.run_config()
    split = make_split(corpus, "", 1, 1, 0)
    mixed = dataclasses.replace(split, train=(*split.train, *split.test[:1]), test=split.test[1:])
    assert len(open_teachers(teachers, config, corpus, mixed)) == 2
    for other in ({"validation_speakers": 2}, {"protocol": "singly"}, {"seed": 1}, {"select": "last"}):
        with pytest.raises(RunError, match="parts share speakers, and its parts were different"):
            open_teachers(teachers, tiny.run_config(**other), corpus, mixed)


def test_other_features_or_labels_cannot_teach(corpus, teachers):
    config = tiny.run_config()
    split = make_split(corpus, "", 1, 1, 0)
    other = dataclasses.replace(config, features=dataclasses.replace(tiny.FEATURES, log_floor=1e-3))
    with pytest.raises(RunError, match="other features"):
        open_teachers(teachers, other, corpus, split)


def test_an_unfinished_run_cannot_teach(corpus, train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train("killed", (), KilledAtStep(3))
    assert os.path.exists(tmp_path / "killed" / "weights.h5")
    with pytest.raises(RunError, match="is not finished and cannot be a teacher"):
        open_on_first_split(corpus, [str(tmp_path / "killed")])


def test_no_run_cannot_teach(train, tmp_path):
    with pytest.raises(RunError, match="is not a run directory"):
        train("run", [str(tmp_path / "nowhere")])
    assert list(tmp_path.iterdir()) == []


def test_each_split_is_taught_by_its_own_also_those_left_by_a_kill(
    corpus, teachers_of_all_splits, cache_dir, tmp_path, monkeypatch
):
    tiny_run.use_corpus(monkeypatch, corpus)
    paths, pupils = DataPaths(cache_dir=cache_dir), str(tmp_path / "pupils")
    with pytest.raises(KeyboardInterrupt):
        workflow.train_all_splits(pupils, PAIRS, paths, KilledAtStep(1), teacher_dirs=[teachers_of_all_splits])
    runs, _, _ = workflow.resume_all_splits(pupils, paths, Quiet())
    assert [[t.run_dir for t in run.teachers] for run in runs] == [[f"{teachers_of_all_splits}/split_{k}"] for k in (1, 2)]


def test_a_missing_teacher_of_any_split_is_told_before_the_first(corpus, teachers, cache_dir, tmp_path, monkeypatch):
    tiny_run.use_corpus(monkeypatch, corpus)
    shutil.copytree(teachers[0], tmp_path / "first" / "split_1")
    with pytest.raises(RunError, match="split_2 is not a run directory"):
        workflow.train_all_splits(
            str(tmp_path / "second"),
            tiny.run_config(),
            DataPaths(cache_dir=cache_dir),
            Quiet(),
            teacher_dirs=[str(tmp_path / "first")],
        )
    assert not (tmp_path / "second").exists()


def test_a_share_must_be_one():
    with pytest.raises(ConfigError, match="teacher_share must be a number from 0 to 1"):
        tiny.run_config(teacher_share=1.5)
