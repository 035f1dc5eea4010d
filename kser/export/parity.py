"""Whether a model computes the same at every stage from Keras to the device, and if not, in which layer the error arises.

Each stage is compared with the one before it, within a bound that follows from the step between the two.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.export.fake_quant import fake_quantized_logits
from kser.export.graph import Graph, evaluator, graph_logits
from kser.export.layer_steps import layer_name
from kser.export.quantizers import is_moved
from kser.export.ranges import STEPS, Ranges
from kser.models.inference import softmax
from kser.tflite.interpreter import ComputedTensor, LiteRTRunner
from kser.training.metrics import METRICS, calibration_error, score

# Rounding errors are not independent: within a clip, and between neighbouring tokens, they are correlated.
ROUNDING_MARGIN = 3.0
# Clips on which layers are compared, and how many of the worst layers are named.
LAYER_CLIPS, WORST_LAYERS = 16, 8
_MOVING_OPS = {"RESHAPE", "TRANSPOSE", "SPLIT", "PAD", "SLICE", "CONCATENATION", "STRIDED_SLICE", "QUANTIZE"}


@dataclass(frozen=True)
class Bound:
    """The bound of the difference to the stage before: of the largest difference or the mean ("max", "mean")."""

    kind: str
    value: float
    because: str


@dataclass(frozen=True)
class Stage:
    """The logits of one stage, and the bound of their difference to the stage before, if there is one."""

    name: str
    logits: np.ndarray
    bound: Bound | None = None


@dataclass(frozen=True)
class LayerError:
    """A layer's int8 output compared with its float output: signal-to-noise ratio in dB over all values of some clips."""

    layer: str
    op: str
    snr_db: float


def rounding_bound(exact: Graph, rounded: Graph, ranges: Ranges, clips: np.ndarray, steps: int = STEPS) -> Bound:
    """Bound of the difference of the logits caused by rounding with the scales of `ranges`.

    Estimated by simulation: uniform noise from minus to plus half a step is added to every tensor of the network with
    `rounded` kernels. The bound is ROUNDING_MARGIN times the resulting mean difference of the logits.
    """
    noisy = fake_quantized_logits(rounded, ranges, clips, functools.partial(RandomRounding, steps))
    difference = np.abs(noisy - graph_logits(exact, clips))
    because = f"{ROUNDING_MARGIN:g} times the effect of random rounding errors of half a step"
    return Bound("mean", ROUNDING_MARGIN * float(difference.mean()), because)


class RandomRounding(keras.layers.Layer):
    """Adds a uniform error of at most half a step of a range, and clips to the range."""

    def __init__(self, steps: int, low: float, high: float, **kwargs):
        super().__init__(**kwargs)
        self.steps, self.low, self.high = steps, low, high

    def call(self, inputs):
        half = (self.high - self.low) / self.steps / 2
        # With a fixed seed the bound is reproducible.
        error = tf.random.stateless_uniform(tf.shape(inputs), (1, _seed(self.name)), -half, half)
        return tf.clip_by_value(inputs + error, self.low, self.high)


def _seed(name: str) -> int:
    return zlib.crc32(name.encode()) % 2**31


def compare(stages: Sequence[Stage], labels: np.ndarray) -> dict:
    """One row per stage, as JSON values, and the first stage that differs from the one before beyond its bound.

    Args:
      labels: (n,) true label indices of the clips the logits are of.
    """
    rows = [_row(stage, before, stages[0], labels) for stage, before in zip(stages, (None, *stages), strict=False)]
    beyond = [row["stage"] for row in rows if row.get("within") is False]
    return {"clips": len(labels), "stages": rows, "first_beyond_bound": beyond[0] if beyond else None}


def _row(stage: Stage, before: Stage | None, first: Stage, labels: np.ndarray) -> dict:
    decisions = stage.logits.argmax(1)
    scores = score(labels, decisions, stage.logits.shape[1])
    row = {
        "stage": stage.name,
        **{metric: getattr(scores, metric) for metric in METRICS},
        "calibration_error": calibration_error(labels, softmax(stage.logits)),
        "same_decision_as_first": float(np.mean(decisions == first.logits.argmax(1))),
        "mean_difference_from_first": float(np.abs(stage.logits - first.logits).mean()),
    }
    return row if before is None else {**row, **_against(stage, before)}


def _against(stage: Stage, before: Stage) -> dict:
    difference = np.abs(stage.logits - before.logits)
    figures = {"max": float(difference.max()), "mean": float(difference.mean())}
    row = {
        "against": before.name,
        "max_difference": figures["max"],
        "mean_difference": figures["mean"],
        "same_decision": float(np.mean(stage.logits.argmax(1) == before.logits.argmax(1))),
    }
    if stage.bound is None:
        return row
    bound = {"of": stage.bound.kind, "at_most": stage.bound.value, "because": stage.bound.because}
    return {**row, "bound": bound, "within": figures[stage.bound.kind] <= stage.bound.value}


def worst_layers(graph: Graph, model_bytes: bytes, clips: np.ndarray) -> list[LayerError]:
    """The layers whose int8 outputs differ most from the float network's, worst first.

    Args:
      graph: the float network, with one node for each operation of the converted model.
    """
    clips = clips[:LAYER_CLIPS]
    tensors = evaluator(graph)(tf.constant(clips))
    floats = {node.name: tensors[node.name, 0] for node in graph if not is_moved(node)}
    # If a layer takes several operations, the last one gives its output.
    integers = {layer_name(found.tensor.name): found for found in computed(model_bytes, clips)}
    errors = [
        LayerError(name, integers[name].op, _snr_db(exact.numpy(), integers[name].values))
        for name, exact in floats.items()
        if name in integers and integers[name].values.size == exact.numpy().size
    ]
    return sorted(errors, key=lambda error: error.snr_db)[:WORST_LAYERS]


def computed(model_bytes: bytes, clips: np.ndarray) -> list[ComputedTensor]:
    """The results of all nodes that compute; nodes that only move values carry the names of their inputs."""
    found = LiteRTRunner(model_bytes, keep_tensors=True).computed_tensors(clips)
    return [tensor for tensor in found if tensor.op not in _MOVING_OPS]


def _snr_db(exact: np.ndarray, rounded: np.ndarray) -> float:
    rounded = rounded.reshape(exact.shape)
    noise = np.mean((exact - rounded) ** 2)
    return float(10 * np.log10(np.mean(exact**2) / max(noise, 1e-30)))
