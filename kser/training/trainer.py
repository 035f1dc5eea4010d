"""Training: batches to weights, the best epoch chosen by unweighted recall on the validation speakers alone."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import tensorflow as tf
import tf_keras as keras

from kser.config import TrainConfig
from kser.models.hrf import HRFDense
from kser.models.inference import predict_logits
from kser.training.input_pipeline import EpochBatches, Part
from kser.training.metrics import score

CLIP_NORM = 5.0
# The cosine schedule ends at this share of the peak learning rate.
FINAL_LEARNING_RATE = 0.01
# Share of all steps the weights are averaged over.
AVERAGE_SHARE = 0.05
# Batches made at a time: enough that the change of turns costs nothing, few enough for any corpus to fit into memory.
BATCHES_AHEAD = 32


def learning_rate_schedule(config: TrainConfig, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from 0, then half a cosine down to 1 % of the peak (Loshchilov & Hutter 2017)."""
    warmup = round(config.warmup_share * config.epochs * steps_per_epoch)
    rest = max(1, config.epochs * steps_per_epoch - warmup)
    peak = config.learning_rate
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(peak, rest, FINAL_LEARNING_RATE)
    return keras.optimizers.schedules.CosineDecay(0.0, rest, FINAL_LEARNING_RATE, warmup_target=peak, warmup_steps=warmup)


def average_momentum(num_steps: int) -> float:
    """Of the exponential average of the weights (Polyak & Juditsky 1992), for a horizon of 5 % of the training.

    The few validation speakers then choose among networks that hardly jump from epoch to epoch, not the luckiest jump.
    """
    return 1 - 1 / max(1, AVERAGE_SHARE * num_steps)


def decay_kernels(model: keras.Model, rate, hrf_decay: str = "product") -> None:
    """Decoupled weight decay (Loshchilov & Hutter 2019) of the kernels the network acts with.

    A plain kernel shrinks by `rate * W`. With `hrf_decay` "product" the factors of an HRFDense follow the gradient of the
    same penalty `||W1 W2||^2 / 2` of their product (Khodak et al. 2021, arXiv 2105.01029), so that both networks are held
    alike; with "factors" each of them shrinks as a plain kernel does.
    """
    for layer in model.layers:
        if isinstance(layer, HRFDense):
            decay = product_decay(layer) if hrf_decay == "product" else layer.factors
            for factor, direction in zip(layer.factors, decay, strict=True):
                factor.assign_sub(rate * direction)
            continue
        for name in ("kernel", "depthwise_kernel"):
            variable = getattr(layer, name, None)
            if variable is not None:
                variable.assign_sub(rate * variable)


def product_decay(layer: HRFDense) -> list[tf.Tensor]:
    """The gradient of `||W1 W2 ...||^2 / 2` with respect to each factor: (W1 ... Wi-1)^T W (Wi+1 ...)^T."""
    kernel = layer.effective_kernel()
    gradients = []
    for i in range(len(layer.factors)):
        gradient = kernel
        for factor in layer.factors[:i]:
            gradient = tf.matmul(factor, gradient, transpose_a=True)
        for factor in reversed(layer.factors[i + 1 :]):
            gradient = tf.matmul(gradient, factor, transpose_b=True)
        gradients.append(gradient)
    return gradients


class Trainer:
    """The state of a training, and the steps that change it.

    Args:
      model: (batch, num_frames, num_mels) to (batch, num_classes) logits; it is trained in place.
      teacher: what `distillation.mean_answer` returns; None: the labels alone are learned.
    """

    def __init__(self, model: keras.Model, batches: EpochBatches, config: TrainConfig, teacher: Callable | None = None):
        self.model, self.batches, self.config, self.teacher = model, batches, config, teacher
        num_steps = config.epochs * batches.per_epoch
        self.optimizer = keras.optimizers.Adam(
            learning_rate_schedule(config, batches.per_epoch),
            global_clipnorm=CLIP_NORM,
            use_ema=True,
            ema_momentum=average_momentum(num_steps),
            jit_compile=False,
        )
        self.optimizer.build(model.trainable_variables)
        self.loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        self.epoch = tf.Variable(0, dtype=tf.int64)
        # Nothing here needs AutoGraph, which would take ten times as long to trace.
        self.step = tf.function(self._train_step, autograph=False)

    def train_epoch(self, on_step: Callable[[], None]) -> float:
        """One pass over the training part; returns the mean loss."""
        loss = mean_loss(self.step, self.batches.of(int(self.epoch.numpy())), on_step)
        self.epoch.assign_add(1)
        return loss

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[keras.Model]:
        """The model with its averaged weights; the trained ones come back when the block ends."""
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
        """The labels, smoothed (Szegedy et al. 2016), and what the teachers say of these very clips; (batch, classes)."""
        smoothing, share = self.config.label_smoothing, self.config.teacher_share
        targets = labels * (1 - smoothing) + smoothing / self.batches.num_classes
        return targets if self.teacher is None else (1 - share) * targets + share * self.teacher(clips)


def mean_loss(step: Callable, batches: tf.data.Dataset, on_step: Callable[[], None]) -> float:
    """Takes a step for every batch; returns the mean of their losses."""
    losses = []
    for batch in in_turns(batches):
        losses.append(step(*batch))
        on_step()
    return float(tf.reduce_mean(tf.stack(losses)))


def in_turns(batches: Iterable) -> Iterator:
    """The batches, some made in advance and then given away before the next are made.

    Made side by side with the steps, as a prefetch would, they hold these up by three times what they cost themselves.
    """
    batches = iter(batches)
    while ready := list(itertools.islice(batches, BATCHES_AHEAD)):
        yield from ready


def validate(model: keras.Model, part: Part | None, num_classes: int) -> dict[str, float]:
    """Loss (cross-entropy in nats) and UA on a part; nothing where there is none."""
    if part is None:
        return {}
    logits = predict_logits(model, part.features)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(part.labels, logits)
    return {"val_loss": float(tf.reduce_mean(loss)), "val_UA": score(part.labels, logits.argmax(1), num_classes).UA}


def best_row(rows: list[dict]) -> dict:
    """The epoch with the highest validation UA, the lower loss deciding between equals; the last where none validates."""
    if "val_UA" not in rows[-1]:
        return rows[-1]
    return max(rows, key=lambda row: (row["val_UA"], -row["val_loss"]))


class Progress(Protocol):
    """Is told how far a training is."""

    def start(self, done: int, total: int, steps: int) -> None:
        """`done` of `total` epochs, of `steps` each, are done."""

    def step(self) -> None:
        """A step is done."""

    def epoch(self, row: dict) -> None:
        """An epoch is done, whose scores these are."""


class Keeper(Protocol):
    """Keeps what a training arrives at."""

    def best(self, model: keras.Model) -> None:
        """The model is better than all before it."""

    def epoch(self, rows: list[dict]) -> None:
        """An epoch is done, the last of these rows."""


class WeightsKeeper:
    """Keeps the weights of the best epoch in memory."""

    def best(self, model: keras.Model) -> None:
        self.weights = model.get_weights()

    def epoch(self, rows: list[dict]) -> None:
        pass


def train(trainer: Trainer, validation: Part | None, keeper: Keeper, progress: Progress, rows=()) -> list[dict]:
    """Trains to the configured number of epochs; the best one's averaged weights are the keeper's.

    Args:
      validation: chooses the best epoch; None: it is the last.
      rows: those of epochs already done.
    Returns:
      One row per epoch: epoch, loss, learning_rate and, with a validation part, val_loss and val_UA.
    """
    rows, epochs = list(rows), trainer.config.epochs
    progress.start(len(rows), epochs, trainer.batches.per_epoch)
    while len(rows) < epochs:
        loss = trainer.train_epoch(progress.step)
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
    """Trains the model and leaves it with the best epoch's averaged weights; rows as of `train`."""
    keeper = WeightsKeeper()
    rows = train(Trainer(model, batches, config, teacher), validation, keeper, progress)
    model.set_weights(keeper.weights)
    return rows
