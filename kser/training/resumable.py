"""A training that can be resumed from its run directory after a kill, with bit-identical results."""

from __future__ import annotations

import os
from collections.abc import Callable

import tensorflow as tf
import tf_keras as keras

from kser.errors import RunError
from kser.training import run_directory
from kser.training.input_pipeline import Part, TrainingData, epoch_batches
from kser.training.run_directory import Run
from kser.training.trainer import Progress, Trainer, train


def fit(
    run: Run, data: TrainingData, validation: Part | None, progress: Progress, teacher: Callable | None = None
) -> tuple[keras.Model, list[dict]]:
    """Trains a run to its configured number of epochs, starting from the last checkpoint if there is one.

    The averaged weights of the best epoch are kept in the run directory; without a validation part, of the last.

    Args:
      teacher: the result of `distillation.mean_answer`; None: no distillation.
    Returns:
      The network with the weights kept, and one row per epoch, as of `trainer.train`.
    """
    trainer = Trainer(run_directory.new_model(run), epoch_batches(data, run.config), run.config.train, teacher)
    keeper = RunKeeper(run, trainer)
    rows = train(trainer, validation, keeper, progress, keeper.restore())
    return run_directory.with_weights(run, trainer.model), rows


class RunKeeper:
    """Saves the state of a training, its best weights and its history in a run directory."""

    def __init__(self, run: Run, trainer: Trainer):
        self.run = run
        self.writer = tf.summary.create_file_writer(os.path.join(run.path, "tensorboard"))
        checkpoint = tf.train.Checkpoint(
            model=trainer.model,
            optimizer=trainer.optimizer,
            epoch=trainer.epoch,
            dropout=dropout_generators(trainer.model),
        )
        self.checkpoints = tf.train.CheckpointManager(checkpoint, run.file("checkpoint"), max_to_keep=1)
        self.num_epochs = trainer.epoch

    def restore(self) -> list[dict]:
        """Restores the training from its last checkpoint, if there is one; returns the rows of the epochs done.

        Raises:
          RunError: the checkpoint or the history is damaged.
        """
        try:
            self.checkpoints.restore_or_initialize()
        except (tf.errors.OpError, ValueError, AssertionError, KeyError) as error:
            where = self.run.file("checkpoint")
            raise RunError(f"The checkpoint in {where} is damaged; train again into a new directory.") from error
        return run_directory.read_history(self.run, int(self.num_epochs.numpy()))

    def best(self, model: keras.Model) -> None:
        run_directory.save_weights(self.run, model)

    def epoch(self, rows: list[dict]) -> None:
        """Saves the checkpoint last: after a kill, files newer than it are written again on resuming, with the same values.

        Raises:
          RunError: it cannot be written.
        """
        run_directory.write_history(self.run, rows)
        try:
            self._write_scalars(rows[-1])
            self.checkpoints.save()
        except (tf.errors.OpError, OSError) as error:
            where = self.run.path
            raise RunError(f"Cannot write to {where}; is the disk full? Free some and continue with --resume.") from error

    def _write_scalars(self, row: dict) -> None:
        with self.writer.as_default(step=row["epoch"]):
            for name in row.keys() - {"epoch"}:
                tf.summary.scalar(name, row[name])
        self.writer.flush()


def dropout_generators(model: keras.Model) -> list[tf.random.Generator]:
    """The random state of all dropout layers, which Keras 2 has in a private attribute and not in its checkpoints."""
    return [layer._random_generator._generator for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
