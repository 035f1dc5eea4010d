"""SpeechFormer's training step at its published size, against two that materialize the windows and one without attention.

.venv/bin/python -m benchmarks.speechformer_step

windows: the formulation of the authors' code: keys and values are projected once, and for every token those of its window
are laid out, (batch, heads, tokens, window, d).
keras: what Keras offers for it: the tokens of every window are laid out, (batch * tokens, window, dim), and Keras'
MultiHeadAttention, which projects what it is given, attends to them.
none: queries, keys and values are added up instead: what the step would take if local attention cost nothing.

Everything else is the same network with the same weights. The steps are taken in turns in one process; memory is the most a
process of its own took, for each.
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import subprocess
import sys
import time
from unittest import mock

# isort: off
import kser  # noqa: F401 (before TensorFlow, some of whose settings it fixes)

# isort: on
import numpy as np
import tensorflow as tf
import tf_keras as keras
from absl import app, flags

from kser.cli.threads import use_threads
from kser.config import FeatureConfig
from kser.models import blocks
from kser.models.attention import LocalMix, LocalScores
from kser.models.presets import build_model, preset
from kser.models.size import multiply_accumulates

KINDS = ("kser", "windows", "keras", "none")

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch_size", 8, "Clips per step.", lower_bound=1)
flags.DEFINE_integer("steps", 10, "Steps of each network, taken in turns.", lower_bound=1)
flags.DEFINE_integer("threads", 0, "Threads TensorFlow may use; 0: its default.", lower_bound=0)
flags.DEFINE_enum("memory_of", None, KINDS, "Only take two steps of this one and print the peak in bytes.")

# SpeechFormer-S on IEMOCAP: 651 frames of 128 mels, four classes.
FEATURES = FeatureConfig(num_mels=128, window_ms=25, clip_seconds=6.525)
NUM_CLASSES = 4
# A training step takes each product forward, for the gradient of its input and for that of its kernel.
PASSES = 3


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


def keras_attention(b: blocks.Builder, x, name: str, window: int):
    """`blocks.local_attention` by Keras' layer; the same function while the biases are zero, as they are at the start."""
    num_tokens, dim = x.shape[2:]
    queries = keras.layers.Lambda(lambda x: tf.reshape(x, (-1, 1, dim)), name=f"{name}_queries")(x)
    tokens = keras.layers.Lambda(lambda x: tf.reshape(windows(x, window), (-1, window, dim)), name=f"{name}_windows")(x)
    attention = keras.layers.MultiHeadAttention(b.config.num_heads, dim // b.config.num_heads, dropout=b.config.dropout)
    mixed = attention(queries, tokens)
    mixed = keras.layers.Lambda(lambda x: tf.reshape(x, (-1, 1, num_tokens, dim)), name=f"{name}_merge")(mixed)
    return b.dropout(mixed, f"{name}_dropout")


def no_attention(b: blocks.Builder, x, name: str, window: int):
    """What is around local attention: the projections, and the heads laid out."""
    return blocks.merge_heads(b, keras.layers.Add(name=f"{name}_none")(list(blocks.heads(b, x, name))), name)


REPLACED = {
    "kser": {},
    "windows": {"LocalScores": WindowScores, "LocalMix": WindowMix},
    "keras": {"local_attention": keras_attention},
    "none": {"local_attention": no_attention},
}


def make_model(kind: str) -> keras.Model:
    """SpeechFormer-S, its local attention one of KINDS."""
    with contextlib.ExitStack() as stack:
        for name, replacement in REPLACED[kind].items():
            stack.enter_context(mock.patch.object(blocks, name, replacement))
        return build_model(preset("speechformer", "large"), FEATURES, NUM_CLASSES)


def take_weights(model: keras.Model, other: keras.Model) -> None:
    """The weights of the other, whose kernels of attention may have their heads in another axis."""
    pairs = zip(other.get_weights(), model.get_weights(), strict=True)
    model.set_weights([given.reshape(own.shape) for given, own in pairs])


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
    # First: a process is counted the memory of the one that starts it, too.
    peaks = {kind: peak_bytes(kind) for kind in KINDS}
    models = {kind: make_model(kind) for kind in KINDS}
    macs = multiply_accumulates(models["kser"])
    print(f"{models['kser'].count_params()} parameters, {macs / 1e6:.0f} M multiply-accumulates a clip, {len(clips)} clips")
    for kind in ("windows", "keras"):
        take_weights(models[kind], models["kser"])
        print(f"logits of {kind} differ by at most {np.abs(models[kind](clips) - models['kser'](clips)).max():.1e}")
    steps = {kind: make_step(model) for kind, model in models.items()}
    [seconds(step, batch) for step in steps.values() for _ in range(2)]
    turns = [{kind: seconds(step, batch) for kind, step in steps.items()} for _ in range(FLAGS.steps)]
    for kind in KINDS:
        median = statistics.median(turn[kind] for turn in turns)
        ratio = statistics.median(turn[kind] / turn["kser"] for turn in turns)
        figures = [f"{kind}: {1e3 * median:.0f} ms a step, {ratio:.2f} times kser's"]
        if kind != "none":
            figures.append(f"{PASSES * macs * len(clips) / median / 1e9:.1f} G of kser's multiply-accumulates a second")
        print(", ".join([*figures, f"peak memory {peaks[kind] / 1e6:.0f} MB"]))
    bound = statistics.median(turn["windows"] / turn["none"] for turn in turns)
    print(f"with local attention for nothing: {bound:.2f} times as fast as windows")


if __name__ == "__main__":
    app.run(main)
