"""What HRF costs in training: the step of a factorized network against that of the plain one, in turns in one process.

.venv/bin/python -m benchmarks.hrf_step
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time

import numpy as np
from absl import app, flags

from kser.audio.log_mel import Normalization
from kser.cli.threads import use_threads
from kser.config import FeatureConfig, HRFConfig, RunConfig
from kser.models.presets import BACKBONES, build_model, preset
from kser.training import input_pipeline
from kser.training.trainer import Trainer

FLAGS = flags.FLAGS
flags.DEFINE_list("backbones", ",".join(BACKBONES), "Backbones to measure.")
flags.DEFINE_list("presets", "micro,light", "Presets to measure.")
flags.DEFINE_integer("expansion", 4, "HRF's expansion, before both Dense layers.", lower_bound=1)
flags.DEFINE_integer("steps", 60, "Steps of each network, taken in turns.", lower_bound=1)
flags.DEFINE_integer("threads", 1, "Threads TensorFlow may use.", lower_bound=0)

NUM_CLASSES = 8
WARM_UP_STEPS = 3


def make_trainer(backbone: str, name: str, expansion: int) -> Trainer:
    """The trainer of a preset on random clips."""
    model = dataclasses.replace(preset(backbone, name), hrf=HRFConfig(expansion=expansion))
    config = RunConfig(model=model)
    features = FeatureConfig()
    rng = np.random.default_rng(0)
    clips = rng.standard_normal((config.train.batch_size, features.num_frames, features.num_mels)).astype(np.float32)
    labels = rng.integers(0, NUM_CLASSES, len(clips))
    unit = Normalization(np.zeros(features.num_mels, np.float32), np.ones(features.num_mels, np.float32))
    rows, weights = np.arange(len(clips)), np.ones(NUM_CLASSES, np.float32)
    data = input_pipeline.TrainingData(clips, rows, labels, NUM_CLASSES, unit, weights)
    network = build_model(model, features, NUM_CLASSES, config.train.seed)
    return Trainer(network, input_pipeline.epoch_batches(data, config), config.train)


def step_seconds(trainer: Trainer, batch) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    trainer.step(*batch).numpy()
    return time.perf_counter() - start


def measure(backbone: str, name: str) -> str:
    """One line: median milliseconds of both and the median of their ratios, pair by pair."""
    trainers = [make_trainer(backbone, name, expansion) for expansion in (0, FLAGS.expansion)]
    batch = next(iter(trainers[0].batches.of(0)))
    for _ in range(WARM_UP_STEPS):
        [step_seconds(trainer, batch) for trainer in trainers]
    pairs = [[step_seconds(trainer, batch) for trainer in trainers] for _ in range(FLAGS.steps)]
    plain, hrf = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    return f"{backbone} {name}: plain {plain:.1f} ms, HRF x{FLAGS.expansion} {hrf:.1f} ms per step, median ratio {ratio:.3f}"


def main(_) -> None:
    use_threads(FLAGS.threads)
    for backbone, name in itertools.product(FLAGS.backbones, FLAGS.presets):
        print(measure(backbone, name), flush=True)


if __name__ == "__main__":
    app.run(main)
