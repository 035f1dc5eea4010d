"""SpeechFormer's training step at its published size, against windows materialized key by key, in turns in one process.

.venv/bin/python -m benchmarks.speechformer_step

The peer is the formulation of the authors' code: for every token the keys and values of its window are laid out, (batch,
heads, tokens, window, d). Everything else is the same network with the same weights. Memory is the most a process of its own
took, for either.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

# isort: off
import kser  # noqa: F401 (before TensorFlow, some of whose settings it fixes)
# isort: on
import numpy as np
import tensorflow as tf
import tf_keras as keras
from absl import app, flags

from kser.backbones import blocks, build_model, preset
from kser.config import FeatureConfig
from kser.layers import LocalMix, LocalScores
from kser.threads import use_threads

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch_size", 8, "Clips per step.", lower_bound=1)
flags.DEFINE_integer("steps", 10, "Steps of each network, taken in turns.", lower_bound=1)
flags.DEFINE_integer("threads", 0, "Threads TensorFlow may use; 0: its default.", lower_bound=0)
flags.DEFINE_enum("memory_of", None, ["kser", "windows"], "Only take two steps of this one and print the peak in bytes.")

# SpeechFormer-S on IEMOCAP: 651 frames of 128 mels, four classes.
FEATURES = FeatureConfig(num_mels=128, window_ms=25, clip_seconds=6.525)
NUM_CLASSES = 4


def windows(x, window: int):
    """(batch, heads, tokens, d) to (batch, heads, tokens, window, d), zeros outside the clip."""
    padded = tf.pad(x, ((0, 0), (0, 0), (window // 2, window // 2), (0, 0)))
    return tf.gather(padded, np.arange(x.shape[2])[:, None] + np.arange(window), axis=2)


class WindowScores(LocalScores):
    """The scores of every token with its own copy of its window."""

    def call(self, inputs):
        queries, keys = inputs
        return tf.matmul(queries[..., None, :] * self.scale, windows(keys, self.window), transpose_b=True)[..., 0, :]


class WindowMix(LocalMix):
    """The means over every token's own copy of its window."""

    def call(self, inputs):
        weights, values = inputs
        return tf.matmul(weights[..., None, :], windows(values, self.window))[..., 0, :]


def make_model(kind: str) -> keras.Model:
    """SpeechFormer-S, its local attention by kser's layers or by windows."""
    ours = blocks.LocalScores, blocks.LocalMix
    if kind == "windows":
        blocks.LocalScores, blocks.LocalMix = WindowScores, WindowMix
    try:
        return build_model(preset("speechformer", "large"), FEATURES, NUM_CLASSES)
    finally:
        blocks.LocalScores, blocks.LocalMix = ours


def make_step(model: keras.Model):
    """A compiled training step with the authors' optimiser."""
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    optimizer.build(model.trainable_variables)
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(autograph=False)
    def step(clips, labels):
        with tf.GradientTape() as tape:
            loss = loss_function(labels, model(clips, training=True))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    return step


def seconds(step, batch) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    step(*batch).numpy()
    return time.perf_counter() - start


def peak_bytes(kind: str) -> int:
    """The most memory a process took that did nothing else."""
    arguments = [sys.executable, __file__, f"--memory_of={kind}", f"--batch_size={FLAGS.batch_size}"]
    return int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()[-1])


def main(_) -> None:
    use_threads(FLAGS.threads)
    rng = np.random.default_rng(0)
    clips = rng.standard_normal((FLAGS.batch_size, FEATURES.num_frames, FEATURES.num_mels)).astype(np.float32)
    batch = tf.constant(clips), tf.constant(rng.integers(0, NUM_CLASSES, FLAGS.batch_size))
    if FLAGS.memory_of:
        step = make_step(make_model(FLAGS.memory_of))
        [seconds(step, batch) for _ in range(2)]
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    models = [make_model(kind) for kind in ("kser", "windows")]
    models[1].set_weights(models[0].get_weights())
    difference = np.abs(models[0](clips) - models[1](clips)).max()
    steps = [make_step(model) for model in models]
    [seconds(step, batch) for step in steps for _ in range(2)]
    pairs = [[seconds(step, batch) for step in steps] for _ in range(FLAGS.steps)]
    ours, peer = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{models[0].count_params()} parameters, batch of {FLAGS.batch_size}; logits differ by at most {difference:.1e}")
    print(f"kser {ours:.0f} ms, windows {peer:.0f} ms per step, median ratio {ratio:.2f}")
    print(f"peak memory: kser {peak_bytes('kser') / 1e6:.0f} MB, windows {peak_bytes('windows') / 1e6:.0f} MB")


if __name__ == "__main__":
    app.run(main)
