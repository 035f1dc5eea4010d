"""Training: what a killed run is continued to, how weights decay, which epoch is kept."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser import workflow
from kser.config import AUGMENT_OFF, AugmentConfig, DataPaths, TrainConfig
from kser.datasets.corpus import HeldOut, Protocol
from kser.errors import DatasetError, DivergenceError, KserWarning, RunError
from kser.models.hrf import HRFDense
from kser.training import run_directory
from kser.training import trainer as training
from kser.training.factor_updates import decay_kernels, product_decay
from kser.training.input_pipeline import epoch_batches, training_data
from kser.training.resumable import RunKeeper
from kser.training.trainer import (
    BATCHES_AHEAD,
    best_row,
    in_turns,
    learning_rate_schedule,
    mean_loss,
)
from tests import tiny, tiny_run


class Silent:
    """Progress that can be told to break off in the middle of an epoch, as a kill does."""

    def __init__(self, break_at_step: int | None = None):
        self.steps, self.break_at_step = 0, break_at_step

    def start(self, done, total, steps):
        self.done = done

    def step(self):
        self.steps += 1
        if self.steps == self.break_at_step:
            raise KeyboardInterrupt

    def epoch(self, row):
        pass


@pytest.fixture
def train_tiny(tmp_path, monkeypatch):
    """A function that trains the tiny run in a directory of `tmp_path`."""
    (tmp_path / "audio").mkdir()
    corpus = tiny.make_corpus(str(tmp_path / "audio"))
    tiny_run.use_corpus(monkeypatch, corpus)

    def train(name: str, progress, resume: bool = False, **settings):
        run_dir, paths = str(tmp_path / name), DataPaths(cache_dir=str(tmp_path / "cache"))
        if resume:
            return workflow.resume(run_dir, paths, progress)
        return workflow.train_new(run_dir, tiny.run_config(**settings), paths, progress)

    return train


def test_a_killed_run_resumes_to_the_same_bits(train_tiny, monkeypatch):
    monkeypatch.setattr(training, "AVERAGE_SHARE", 0.5)  # of a few steps only: the averages matter
    augment = AugmentConfig("speed:0.1,tempo:0.1,shift:200,warp:0.1,noise:10,babble:10,spec:2,mixup:0.2", 2)
    whole, whole_scores = train_tiny("whole", Silent(), augment=augment)
    with pytest.raises(KeyboardInterrupt):
        train_tiny("killed", Silent(break_at_step=3), augment=augment)
    progress = Silent()
    killed, killed_scores = train_tiny("killed", progress, resume=True)
    assert progress.done == 1  # the first epoch was not done again
    assert run_directory.read_history(whole, 3) == run_directory.read_history(killed, 3)
    for a, b in zip(
        run_directory.load_model(whole).get_weights(), run_directory.load_model(killed).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert whole_scores.to_dict() == killed_scores.to_dict()


def test_the_last_epoch_is_kept_where_the_validation_speakers_train_too(train_tiny, monkeypatch, tmp_path):
    learned_from = []

    def note(run, data, validation, *rest):
        learned_from.append((len(data.labels), None if validation is None else len(validation.labels)))
        return fit(run, data, validation, *rest)

    fit = workflow.train.fit
    monkeypatch.setattr(workflow.train, "fit", note)
    monkeypatch.setattr(training, "AVERAGE_SHARE", 0.0)  # the weights themselves, as the checkpoint holds them
    train_tiny("chosen", Silent())
    last, _ = train_tiny("last", Silent(), select="last")
    assert learned_from == [(18, 9), (27, None)]
    assert last.validation_speakers == () and last.test_speakers == ("a",)
    assert [sorted(row) for row in run_directory.read_history(last, 3)] == 3 * [["epoch", "learning_rate", "loss"]]
    metrics = json.loads((tmp_path / "last" / "metrics.json").read_text())
    assert (metrics["best_epoch"], metrics["val_UA"]) == (3, None)
    run_data = workflow.open_run(last.path, DataPaths(cache_dir=str(tmp_path / "cache")))[1]
    data = training_data(run_data.corpus, run_data.features, run_data.split, last.config)
    again = training.Trainer(run_directory.new_model(last), epoch_batches(data, last.config), last.config.train)
    assert len(RunKeeper(last, again).restore()) == 3
    for a, b in zip(run_directory.load_model(last).get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_validation_part_of_the_test_parts_session_cannot_be_trained_on(tmp_path, monkeypatch):
    corpus = tiny.make_corpus(str(tmp_path))
    session_of = {"a": "1", "b": "1", "c": "2", "d": "2"}
    corpus = dataclasses.replace(
        corpus,
        utterances=tuple(dataclasses.replace(u, session=session_of[u.speaker]) for u in corpus.utterances),
        protocols={"partners": Protocol("speaker", (HeldOut(("a",), ("b",)),))},
    )
    tiny_run.use_corpus(monkeypatch, corpus)
    paths = DataPaths(cache_dir=str(tmp_path / "cache"))
    with pytest.raises(DatasetError, match="the session of 9 of its clips occurs in training.*leave out --select=last"):
        workflow.train_new(str(tmp_path / "run"), tiny.run_config(select="last"), paths, Silent())
    assert not (tmp_path / "run").exists()
    config = tiny.run_config(epochs=1, validation_speakers=0, select="auto")
    with pytest.warns(KserWarning, match="'tiny' shares sessions with the test part.*--select=validation"):
        run, _ = workflow.train_new(str(tmp_path / "run"), config, paths, Silent())
    assert (run.validation_speakers, run.config.train.select) == (("b",), "validation")
    assert run_directory.load(run.path).config == run.config


def test_by_default_all_speakers_but_the_tested_are_trained_on(train_tiny):
    run, _ = train_tiny("run", Silent(), epochs=1, validation_speakers=0, select="auto")
    assert (run.validation_speakers, run.test_speakers, run.config.train.select) == ((), ("a",), "last")
    asked, _ = train_tiny("asked", Silent(), epochs=1, validation_speakers=1, select="auto")
    assert len(asked.validation_speakers) == 1 and asked.config.train.select == "validation"


def test_a_killed_run_without_validation_resumes_to_the_same_bits(train_tiny):
    whole, whole_scores = train_tiny("whole", Silent(), select="last")
    with pytest.raises(KeyboardInterrupt):
        train_tiny("killed", Silent(break_at_step=5), select="last")
    killed, killed_scores = train_tiny("killed", Silent(), resume=True)
    assert run_directory.read_history(whole, 3) == run_directory.read_history(killed, 3)
    assert whole_scores.to_dict() == killed_scores.to_dict()


def test_another_seed_gives_another_run(train_tiny):
    first, _ = train_tiny("first", Silent(), epochs=1)
    second, _ = train_tiny("second", Silent(), epochs=1, seed=1)
    assert run_directory.read_history(first, 1)[0]["loss"] != run_directory.read_history(second, 1)[0]["loss"]


def test_the_tones_are_learned(train_tiny):
    run, _ = train_tiny("run", Silent(), augment=AUGMENT_OFF, epochs=10, batch_size=4, learning_rate=1e-2)
    losses = [row["loss"] for row in run_directory.read_history(run, 10)]
    assert losses[-1] < 0.6 * losses[0]


def test_a_run_leaves_what_later_commands_need(train_tiny):
    run, _ = train_tiny("run", Silent())
    for name in ("config.json", "weights.h5", "history.csv", "metrics.json", "predictions.csv", "confusion.png"):
        assert os.path.exists(run.file(name)), name
    assert os.listdir(run.file("checkpoint"))
    assert os.listdir(run.file("tensorboard"))


def test_a_damaged_checkpoint_is_told(train_tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_tiny("run", Silent(break_at_step=3))
    for index in (tmp_path / "run" / "checkpoint").glob("*.index"):
        index.write_bytes(b"garbage")
    with pytest.raises(RunError, match="damaged"):
        train_tiny("run", Silent(), resume=True)


def test_product_decay_is_the_gradient_of_the_products_norm():
    layer = HRFDense(3, expansion=2)
    model = keras.Sequential([keras.Input((4,)), layer])
    with tf.GradientTape() as tape:
        penalty = tf.reduce_sum(layer.effective_kernel() ** 2) / 2
    expected = [w - 0.1 * g for w, g in zip(layer.get_weights(), tape.gradient(penalty, layer.factors), strict=False)]
    decay_kernels(model, tf.constant(0.1), "product")
    for weight, value in zip(layer.get_weights()[:2], expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("depth", [1, 3])
def test_product_decay_of_stacked_factors_is_the_gradient_too(depth):
    layer = HRFDense(3, expansion=2, depth=depth)
    layer.build((None, 4))
    with tf.GradientTape() as tape:
        penalty = tf.reduce_sum(layer.effective_kernel() ** 2) / 2
    for ours, expected in zip(product_decay(layer), tape.gradient(penalty, layer.factors), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_factor_decay_shrinks_each_factor():
    model = keras.Sequential([keras.Input((4,)), HRFDense(3, expansion=2)])
    before = model.get_weights()
    decay_kernels(model, tf.constant(0.25), "factors")
    for after, factor in zip(model.get_weights()[:2], before[:2], strict=True):
        np.testing.assert_allclose(after, 0.75 * factor, rtol=1e-6)


def test_batches_are_given_in_order_some_made_ahead():
    made = []

    def batches():
        for i in range(2 * BATCHES_AHEAD + 3):
            made.append(i)
            yield i

    given = []
    for i in in_turns(batches()):
        given.append(i)
        assert len(made) % BATCHES_AHEAD == 0 or len(made) == 2 * BATCHES_AHEAD + 3
    assert given == made


def test_plain_kernels_shrink_and_biases_stay():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, bias_initializer="ones")])
    kernel, bias = model.get_weights()
    decay_kernels(model, tf.constant(0.25))
    np.testing.assert_allclose(model.get_weights()[0], 0.75 * kernel, rtol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[1], bias)


def test_schedule_rises_then_falls():
    schedule = learning_rate_schedule(TrainConfig(epochs=10, learning_rate=1e-3, warmup_share=0.2), steps_per_epoch=10)
    rates = [float(schedule(step)) for step in range(100)]
    assert rates[0] == 0 and np.argmax(rates) in (19, 20) and max(rates) == pytest.approx(1e-3)
    assert np.all(np.diff(rates[20:]) < 0) and rates[-1] < 2e-5


def test_best_epoch_is_by_validation_recall_then_loss():
    rows = [{"val_UA": 0.5, "val_loss": 1.0}, {"val_UA": 0.6, "val_loss": 2.0}, {"val_UA": 0.6, "val_loss": 1.5}]
    assert best_row(rows) is rows[2]


def test_without_validation_the_last_epoch_is_the_best():
    rows = [{"loss": 1.0}, {"loss": 2.0}]
    assert best_row(rows) is rows[1]


def test_a_training_that_diverges_ends_in_a_sentence(train_tiny, monkeypatch):
    with pytest.raises(
        DivergenceError, match=r"diverged: the mean loss is .* for 3 epochs\. .*epoch 3, at a learning rate of"
    ):
        train_tiny("away", Silent(), epochs=4, learning_rate=10.0, hrf_decay="factors", weight_decay=0.0)


def test_a_loss_that_is_not_finite_is_told_with_its_step():
    with pytest.raises(DivergenceError, match="the loss is nan in step 2 of 3"):
        mean_loss(tf.constant, [[1.0], [float("nan")], [2.0]], lambda: None)
