"""Training: batches to weights, the best epoch chosen by unweighted recall on the validation speakers alone."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf
import tf_keras as keras

from kser.config import RunConfig, TrainConfig
from kser.errors import RunError
from kser.models.hrf import HRFDense
from kser.models.inference import predict_logits
from kser.training import run_directory
from kser.training.input_pipeline import Part, TrainingData, training_batches
from kser.training.metrics import score
from kser.training.run_directory import Run

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


def dropout_generators(model: keras.Model) -> list[tf.random.Generator]:
    """The state of all dropout: Keras 2 keeps it in a private attribute, and out of its own checkpoints."""
    return [layer._random_generator._generator for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


class Trainer:
    """The state of a training, and the steps that change it."""

    def __init__(self, run: Run, data: TrainingData, teacher: Callable | None = None):
        self.run, self.data, self.teacher = run, data, teacher
        config = run.config.train
        # Dropout then draws from generators that a checkpoint can hold; its default would start anew on resuming.
        keras.backend.experimental.enable_tf_random_generator()
        self.model = run_directory.new_model(run)
        self.steps_per_epoch = max(1, len(data.labels) // config.batch_size)
        schedule = learning_rate_schedule(config, self.steps_per_epoch)
        momentum = average_momentum(config.epochs * self.steps_per_epoch)
        self.optimizer = keras.optimizers.Adam(
            schedule, global_clipnorm=CLIP_NORM, use_ema=True, ema_momentum=momentum, jit_compile=False
        )
        self.optimizer.build(self.model.trainable_variables)
        self.loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        self.epoch = tf.Variable(0, dtype=tf.int64)
        checkpoint = tf.train.Checkpoint(
            model=self.model, optimizer=self.optimizer, epoch=self.epoch, dropout=dropout_generators(self.model)
        )
        self.checkpoints = tf.train.CheckpointManager(checkpoint, run.file("checkpoint"), max_to_keep=1)
        # Nothing here needs AutoGraph, which would take ten times as long to trace.
        self.step = tf.function(self._train_step, autograph=False)

    def restore(self) -> int:
        """Continues from the last checkpoint, if there is one; returns the number of epochs already done.

        Raises:
          RunError: the checkpoint is damaged.
        """
        try:
            self.checkpoints.restore_or_initialize()
        except (tf.errors.OpError, ValueError, AssertionError, KeyError) as error:
            where = self.run.file("checkpoint")
            raise RunError(f"The checkpoint in {where} is damaged; train again into another directory.") from error
        return int(self.epoch.numpy())

    def train_epoch(self, on_step: Callable[[], None]) -> float:
        """One pass over the training part; returns the mean loss."""
        batches = epoch_batches(self.data, self.run.config, int(self.epoch.numpy()))
        loss = mean_loss(self.step, batches, on_step)
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
        config = self.run.config.train
        decay_kernels(self.model, config.weight_decay * self.optimizer.learning_rate, config.hrf_decay)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def _targets(self, clips, labels):
        """The labels, smoothed (Szegedy et al. 2016), and what the teachers say of these very clips; (batch, classes)."""
        config = self.run.config.train
        targets = labels * (1 - config.label_smoothing) + config.label_smoothing / self.data.num_classes
        if self.teacher is None:
            return targets
        return (1 - config.teacher_share) * targets + config.teacher_share * self.teacher(clips)


def epoch_batches(data: TrainingData, config: RunConfig, epoch: int) -> tf.data.Dataset:
    """The batches of one epoch, counted from 0, of a run's training."""
    train = config.train
    return training_batches(data, config.features, config.augment, train.batch_size, train.seed, epoch)


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


def fit(run: Run, data: TrainingData, validation: Part | None, progress, teacher: Callable | None = None) -> list[dict]:
    """Trains to the configured number of epochs, from the last checkpoint where there is one.

    The best epoch's averaged weights are kept in the run directory; without a validation part those of the last.

    Args:
      progress: an object with `start(done, total, steps)`, `step()` and `epoch(row)`, told how far the training is.
      teacher: what `distillation.mean_answer` returns; None: the labels alone are learned.
    Returns:
      One row per epoch: epoch, loss, learning_rate and, with a validation part, val_loss and val_UA.
    """
    trainer = Trainer(run, data, teacher)
    epochs = run.config.train.epochs
    rows = run_directory.read_history(run, trainer.restore())
    writer = tf.summary.create_file_writer(os.path.join(run.path, "tensorboard"))
    progress.start(len(rows), epochs, trainer.steps_per_epoch)
    while len(rows) < epochs:
        loss = trainer.train_epoch(progress.step)
        with trainer.averaged_weights() as model:
            rows.append({"epoch": len(rows) + 1, "loss": loss, **validate(model, validation, data.num_classes)})
            if best_row(rows) is rows[-1]:
                run_directory.save_weights(run, model)
        rows[-1]["learning_rate"] = float(trainer.optimizer.learning_rate)
        _keep(run, trainer, rows, writer)
        progress.epoch(rows[-1])
    return rows


def _keep(run: Run, trainer: Trainer, rows: list[dict], writer) -> None:
    """The checkpoint last: whatever a kill leaves newer than it is written again, with the same values, on resuming."""
    run_directory.write_history(run, rows)
    try:
        _write_scalars(writer, rows[-1])
        trainer.checkpoints.save()
    except (tf.errors.OpError, OSError) as error:
        raise RunError(f"Cannot write to {run.path}; is the disk full? Free some and continue with --resume.") from error


def _write_scalars(writer, row: dict) -> None:
    with writer.as_default(step=row["epoch"]):
        for name in row.keys() - {"epoch"}:
            tf.summary.scalar(name, row[name])
    writer.flush()
