"""The training loop; the best epoch is chosen by unweighted average recall (UA) on the validation speakers alone."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.config import TrainConfig
from kser.errors import DivergenceError
from kser.models.inference import predict_logits
from kser.training.factor_updates import FactorSteps, ScaledAdam, decay_kernels
from kser.training.input_pipeline import EpochBatches, Part
from kser.training.metrics import score

CLIP_NORM = 5.0
# The cosine schedule ends at this share of the peak learning rate.
FINAL_LEARNING_RATE = 0.01
# Share of all steps that the weight average spans.
AVERAGE_SHARE = 0.05
# Batches made at a time: enough that switching costs little, few enough to fit into memory.
BATCHES_AHEAD = 32
# A training has diverged where the mean loss is so many times that of guessing, ln(num_classes), in so many epochs in a row.
FAR_ABOVE_CHANCE, DIVERGED_EPOCHS = 3.0, 3


def learning_rate_schedule(config: TrainConfig, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from 0, then half a cosine down to 1 % of the peak (Loshchilov & Hutter 2017)."""
    warmup = round(config.warmup_share * config.epochs * steps_per_epoch)
    rest = max(1, config.epochs * steps_per_epoch - warmup)
    peak = config.learning_rate
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(peak, rest, FINAL_LEARNING_RATE)
    return keras.optimizers.schedules.CosineDecay(0.0, rest, FINAL_LEARNING_RATE, warmup_target=peak, warmup_steps=warmup)


def average_momentum(num_steps: int) -> float:
    """Decay of the exponential average of the weights (Polyak & Juditsky 1992), for a horizon of 5 % of the training.

    Averaged weights change little from epoch to epoch, so that few validation speakers do not choose a lucky epoch.
    """
    return 1 - 1 / max(1, AVERAGE_SHARE * num_steps)


class Trainer:
    """The state of a training, and the steps that change it.

    Args:
      model: from (batch, num_frames, num_mels) to logits (batch, num_classes); it is trained in place.
      teacher: the result of `distillation.mean_answer`; None: no distillation.
    """

    def __init__(self, model: keras.Model, batches: EpochBatches, config: TrainConfig, teacher: Callable | None = None):
        self.model, self.batches, self.config, self.teacher = model, batches, config, teacher
        num_steps = config.epochs * batches.per_epoch
        self.factor_steps = FactorSteps(model)
        self.optimizer = ScaledAdam(
            learning_rate_schedule(config, batches.per_epoch),
            scale_of=self.factor_steps.scale_of,
            global_clipnorm=CLIP_NORM,
            use_ema=True,
            ema_momentum=average_momentum(num_steps),
            jit_compile=False,
        )
        self.optimizer.build(model.trainable_variables)
        self.loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        self.epoch = tf.Variable(0, dtype=tf.int64)
        # Not needed, and AutoGraph makes tracing ten times slower.
        self.step = tf.function(self._train_step, autograph=False)

    def train_epoch(self, on_step: Callable[[], None]) -> float:
        """One pass over the training part; returns the mean loss.

        Raises:
          DivergenceError: a loss is not finite.
        """
        if self.config.hrf_balance == "adam":
            self.factor_steps.update()
        loss = mean_loss(self.step, self.batches.of(int(self.epoch.numpy())), on_step)
        self.epoch.assign_add(1)
        return loss

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[keras.Model]:
        """The model with its averaged weights; the current ones are restored when the block ends."""
        variables = self.model.trainable_variables
        trained = [variable.numpy() for variable in variables]
        self.optimizer.finalize_variable_values(variables)
        try:
            yield self.model
        finally:
            for variable, value in zip(variables, trained, strict=True):
                variable.assign(value)

    def _train_step(self, clips, targets, weights):
        targets = self._targets(clips, targets)
        with tf.GradientTape() as tape:
            loss = self.loss(targets, self.model(clips, training=True), weights)
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, variables)
        rate = self.config.weight_decay * self.optimizer.learning_rate
        decay_kernels(self.model, rate, self.config.hrf_decay)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def _targets(self, clips, labels):
        """Smoothed labels (Szegedy et al. 2016) mixed with the teachers' probabilities of these clips; (batch, classes)."""
        smoothing, share = self.config.label_smoothing, self.config.teacher_share
        targets = labels * (1 - smoothing) + smoothing / self.batches.num_classes
        return targets if self.teacher is None else (1 - share) * targets + share * self.teacher(clips)


def mean_loss(step: Callable, batches: tf.data.Dataset, on_step: Callable[[], None]) -> float:
    """Takes one step per batch; returns the mean loss.

    Raises:
      DivergenceError: a loss is not finite.
    """
    losses = []
    for batch in in_turns(batches):
        losses.append(step(*batch))
        on_step()
    finite = np.isfinite(tf.stack(losses).numpy())
    if not finite.all():
        step = int(np.argmin(finite))
        raise DivergenceError(f"The training diverged: the loss is {losses[step]:.4g} in step {step + 1} of {len(losses)}.")
    return float(tf.reduce_mean(tf.stack(losses)))


def _converging_epoch(trainer: Trainer, progress: Progress, rows: Sequence[dict]) -> float:
    try:
        loss = trainer.train_epoch(progress.step)
        _require_converging([*(row["loss"] for row in rows), loss], trainer)
    except DivergenceError as error:
        kept = f"the weights kept are those of epoch {best_row(rows)['epoch']}" if rows else "no epoch's weights were kept"
        rate = float(trainer.optimizer.learning_rate)
        raise DivergenceError(
            f"{error} It was epoch {len(rows) + 1}, at a learning rate of {rate:.2g}; {kept}. "
            "Lower learning_rate and train again."
        ) from error
    return loss


def _require_converging(losses: Sequence[float], trainer: Trainer) -> None:
    """Raises DivergenceError if the last epochs' mean losses are far above that of guessing."""
    limit = FAR_ABOVE_CHANCE * math.log(trainer.batches.num_classes)
    last = losses[-DIVERGED_EPOCHS:]
    if min(last) > limit and (len(last) == DIVERGED_EPOCHS or len(losses) == trainer.config.epochs):
        raise DivergenceError(
            f"The training diverged: the mean loss is {losses[-1]:.4g}; it was above {limit:.1f} for {len(last)} epochs."
        )


def in_turns(batches: Iterable) -> Iterator:
    """The batches, prepared a few at a time, alternating with the training steps.

    Preparing them in parallel, as prefetch does, slows the steps down by three times the cost of the batches.
    """
    batches = iter(batches)
    while ready := list(itertools.islice(batches, BATCHES_AHEAD)):
        yield from ready


def validate(model: keras.Model, part: Part | None, num_classes: int) -> dict[str, float]:
    """Loss (cross-entropy in nats) and UA on a part; empty if there is none."""
    if part is None:
        return {}
    logits = predict_logits(model, part.features)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(part.labels, logits)
    return {"val_loss": float(tf.reduce_mean(loss)), "val_UA": score(part.labels, logits.argmax(1), num_classes).UA}


def best_row(rows: list[dict]) -> dict:
    """The epoch with the highest validation UA, ties broken by the lower loss; without validation the last."""
    if "val_UA" not in rows[-1]:
        return rows[-1]
    return max(rows, key=lambda row: (row["val_UA"], -row["val_loss"]))


class Progress(Protocol):
    """Receives the progress of a training."""

    def start(self, done: int, total: int, steps: int) -> None:
        """`done` of `total` epochs are done; each has `steps` steps."""

    def step(self) -> None:
        """A step is done."""

    def epoch(self, row: dict) -> None:
        """An epoch is done, with these scores."""


class Keeper(Protocol):
    """Saves the results of a training."""

    def best(self, model: keras.Model) -> None:
        """The model is better than all before it."""

    def epoch(self, rows: list[dict]) -> None:
        """An epoch is done; its row is the last of these."""


class WeightsKeeper:
    """Keeps the weights of the best epoch in memory, at first the initial ones."""

    def __init__(self, weights: list[np.ndarray]):
        self.weights = weights

    def best(self, model: keras.Model) -> None:
        self.weights = model.get_weights()

    def epoch(self, rows: list[dict]) -> None:
        pass


def train(trainer: Trainer, validation: Part | None, keeper: Keeper, progress: Progress, rows=()) -> list[dict]:
    """Trains to the configured number of epochs; the keeper saves the averaged weights of the best one.

    Args:
      validation: the part that chooses the best epoch; None: the last epoch is kept.
      rows: those of epochs already done.
    Raises:
      DivergenceError: a loss is not finite, or stays far above chance.
    Returns:
      One row per epoch: epoch, loss, learning_rate and, with a validation part, val_loss and val_UA.
    """
    rows, epochs = list(rows), trainer.config.epochs
    progress.start(len(rows), epochs, trainer.batches.per_epoch)
    while len(rows) < epochs:
        loss = _converging_epoch(trainer, progress, rows)
        with trainer.averaged_weights() as model:
            scores = validate(model, validation, trainer.batches.num_classes)
            rows.append({"epoch": len(rows) + 1, "loss": loss, **scores})
            if best_row(rows) is rows[-1]:
                keeper.best(model)
        rows[-1]["learning_rate"] = float(trainer.optimizer.learning_rate)
        keeper.epoch(rows)
        progress.epoch(rows[-1])
    return rows


def fit(
    model: keras.Model,
    batches: EpochBatches,
    validation: Part | None,
    config: TrainConfig,
    progress: Progress,
    teacher: Callable | None = None,
) -> list[dict]:
    """Trains the model, which then has the averaged weights of the best epoch; returns rows as `train`.

    Raises:
      DivergenceError: as `train`; the model has the best epoch's weights then too, or its initial ones.
    """
    keeper = WeightsKeeper(model.get_weights())
    try:
        return train(Trainer(model, batches, config, teacher), validation, keeper, progress)
    finally:
        model.set_weights(keeper.weights)
