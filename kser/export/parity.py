"""Whether a model computes the same at every stage from Keras to the device, and where it does not, which layer is to blame.

Stages follow each other: each is held against the one before it, by a bound that follows from what lies between the two.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.export.fake_quant import fake_quantized
from kser.export.graph import Graph, build_graph
from kser.export.quantizers import is_moved
from kser.export.ranges import STEPS, Ranges
from kser.models.inference import predict_logits, softmax
from kser.tflite.interpreter import ComputedTensor, LiteRTRunner
from kser.training.metrics import METRICS, calibration_error, score

# Rounding errors are no random draws: those of one clip go the same way, those of neighbouring tokens too.
ROUNDING_MARGIN = 3.0
# Clips that the layers are compared on, and how many of the worst are named.
LAYER_CLIPS, WORST_LAYERS = 16, 8
_MOVING_OPS = {"RESHAPE", "TRANSPOSE", "SPLIT", "PAD", "SLICE", "CONCATENATION", "STRIDED_SLICE", "QUANTIZE"}


@dataclass(frozen=True)
class Bound:
    """What the logits may differ by from the stage before: the largest difference, or the mean over all ("max", "mean")."""

    kind: str
    value: float
    because: str


@dataclass(frozen=True)
class Stage:
    """The logits of one form of a model, and what they may differ by from the stage before, if anything bounds that."""

    name: str
    logits: np.ndarray
    bound: Bound | None = None


@dataclass(frozen=True)
class LayerError:
    """A layer's int8 result against its float one: signal-to-noise ratio in dB, over all values of some clips."""

    layer: str
    op: str
    snr_db: float


def rounding_bound(exact: Graph, rounded: Graph, ranges: Ranges, clips: np.ndarray, steps: int = STEPS) -> Bound:
    """What rounding by the scales of `ranges` is expected to do to the logits.

    Derived by letting chance round: to every tensor of the network with `rounded` kernels a number is added that is drawn
    evenly from half a step below to half a step above. The mean difference of the logits that this makes, three times.
    """
    noisy = fake_quantized(rounded, ranges, functools.partial(RandomRounding, steps))
    difference = np.abs(predict_logits(noisy, clips) - predict_logits(build_graph(exact), clips))
    because = f"{ROUNDING_MARGIN:g} times what errors of half a step, drawn at random, make of it"
    return Bound("mean", ROUNDING_MARGIN * float(difference.mean()), because)


class RandomRounding(keras.layers.Layer):
    """Adds an error of at most half of one of a range's steps, drawn evenly, and clips to the range."""

    def __init__(self, steps: int, low: float, high: float, **kwargs):
        super().__init__(**kwargs)
        self.steps, self.low, self.high = steps, low, high

    def call(self, inputs):
        half = (self.high - self.low) / self.steps / 2
        # Drawn by the operation's own seed: the bound is the same every time.
        error = tf.random.stateless_uniform(tf.shape(inputs), (1, _seed(self.name)), -half, half)
        return tf.clip_by_value(inputs + error, self.low, self.high)


def _seed(name: str) -> int:
    return zlib.crc32(name.encode()) % 2**31


def compare(stages: Sequence[Stage], labels: np.ndarray) -> dict:
    """A row for every stage, as JSON values, and which is the first to differ from the one before beyond its bound.

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
    """The layers whose integers are furthest from the float network's, worst first.

    Args:
      graph: the network in float, a node for each operation of the converted model.
    """
    clips = clips[:LAYER_CLIPS]
    model = build_graph(graph)
    tensors = {node.name: model.get_layer(node.name).output for node in graph if not is_moved(node)}
    floats = keras.Model(model.inputs, tensors)(clips, training=False)
    # Of a layer that takes several operations the last result is the layer's.
    integers = {_layer(found.tensor.name): found for found in computed(model_bytes, clips)}
    errors = [
        LayerError(name, integers[name].op, _snr_db(exact.numpy(), integers[name].values))
        for name, exact in floats.items()
        if name in integers and integers[name].values.size == exact.numpy().size
    ]
    return sorted(errors, key=lambda error: error.snr_db)[:WORST_LAYERS]


def computed(model_bytes: bytes, clips: np.ndarray) -> list[ComputedTensor]:
    """The results of all nodes that compute: those that move numbers carry the names of what they move."""
    found = LiteRTRunner(model_bytes, keep_tensors=True).computed_tensors(clips)
    return [tensor for tensor in found if tensor.op not in _MOVING_OPS]


def _layer(tensor_name: str) -> str:
    """The Keras layer of a tensor called `model/layer/operation;...`, the first being the one that made it."""
    parts = tensor_name.partition(";")[0].split("/")
    return parts[1] if len(parts) > 1 else tensor_name


def _snr_db(exact: np.ndarray, rounded: np.ndarray) -> float:
    rounded = rounded.reshape(exact.shape)
    noise = np.mean((exact - rounded) ** 2)
    return float(10 * np.log10(np.mean(exact**2) / max(noise, 1e-30)))
