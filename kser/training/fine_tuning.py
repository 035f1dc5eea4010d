"""Quantization-aware training: fine-tunes a network with the rounding of its deployed form."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import tf_keras as keras

from kser.config import QuantizationConfig, RunConfig
from kser.errors import DivergenceError
from kser.models.inference import mean_divergence, predict_logits
from kser.training.input_pipeline import Part, TrainingData, epoch_batches
from kser.training.trainer import CLIP_NORM, FINAL_LEARNING_RATE, best_row, mean_loss, validate


class Tuner:
    """Continues the training of a model with a falling learning rate.

    With `settings.qat_targets` "network" it learns the probabilities of the float network as `teacher` (distillation, Hinton
    et al. 2015), and the best epoch is the one with the smallest divergence from them on the validation speakers; with
    "labels" both depend on the labels. Without a validation part the last epoch is kept.
    """

    def __init__(
        self,
        model: keras.Model,
        teacher: keras.Model,
        config: RunConfig,
        data: TrainingData,
        validation: Part | None,
        settings: QuantizationConfig,
    ):
        self.model, self.teacher, self.config, self.data, self.validation = model, teacher, config, data, validation
        self.imitates, self.epochs = settings.qat_targets == "network", settings.qat_epochs
        self.batches = epoch_batches(data, config)
        schedule = keras.optimizers.schedules.CosineDecay(
            settings.qat_learning_rate, self.epochs * self.batches.per_epoch, FINAL_LEARNING_RATE
        )
        self.optimizer = keras.optimizers.Adam(schedule, global_clipnorm=CLIP_NORM, jit_compile=False)
        smoothing = 0.0 if self.imitates else config.train.label_smoothing
        self.loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        self.wanted = None if validation is None else predict_logits(teacher, validation.features)
        self.step = tf.function(self._train_step, autograph=False)

    def run(self, progress) -> list[dict]:
        """Trains for all epochs; the model then has the weights of the best one.

        Args:
          progress: as in `trainer.train`.
        Raises:
          DivergenceError: a loss is not finite.
        Returns:
          One row per epoch; epoch 0 has the scores before training.
        """
        rows, best = [{"epoch": 0, **self._judge()}], self.model.get_weights()
        progress.start(0, self.epochs, self.batches.per_epoch)
        for epoch in range(1, self.epochs + 1):
            loss = self._epoch(epoch, progress.step)
            rows.append({"epoch": epoch, "loss": loss, **self._judge()})
            if self._best_row(rows) is rows[-1]:
                best = self.model.get_weights()
            progress.epoch(rows[-1])
        self.model.set_weights(best)
        return rows

    def _epoch(self, number: int, on_step: Callable[[], None]) -> float:
        # Epochs count on from the training, so that shuffling and augmentation are new.
        try:
            return mean_loss(self.step, self.batches.of(self.config.train.epochs + number - 1), on_step)
        except DivergenceError as error:
            raise DivergenceError(
                f"{error} It was epoch {number} of quantization-aware training. Lower qat_learning_rate and train again."
            ) from error

    def _judge(self) -> dict[str, float]:
        scores = validate(self.model, self.validation, self.data.num_classes)
        if self.imitates and scores:
            scores["val_divergence"] = mean_divergence(self.wanted, predict_logits(self.model, self.validation.features))
        return scores

    def _best_row(self, rows: list[dict]) -> dict:
        if "val_divergence" in rows[-1]:
            return min(rows, key=lambda row: row["val_divergence"])
        return best_row(rows)

    def _train_step(self, clips, targets, weights):
        targets = tf.nn.softmax(self.teacher(clips, training=False)) if self.imitates else targets
        with tf.GradientTape() as tape:
            value = self.loss(targets, self.model(clips, training=True), weights)
        gradients = tape.gradient(value, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
        return value
