"""Whether every operation of an int8 model computes what its layer says, each judged on the integers that it really reads.

The logits of a network can hide a wrong operation: a bias of zero in one of fifty layers moves them by less than rounding
does. So each layer of the simulated integer network is given the integer model's own values as inputs, and its output is
compared with the integer one: errors do not add up along the network, and what is left is one rounding, at most about half
a step of the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kser.export.graph import Graph, Node, evaluator
from kser.export.quantizers import is_moved
from kser.export.ranges import STEPS, Ranges
from kser.tflite.interpreter import ComputedTensor, LiteRTRunner, dequantize, quantize

# Largest error of an operation, in steps of its output: 0.76 in the tests' networks, where a product rounds twice.
LARGEST = 1.0
# Of one that reads what another has rounded whose integers are not known.
LARGEST_AFTER_OTHERS = 4.0
# Scales are float32 in the file.
SCALE_ERROR = 1e-4


@dataclass(frozen=True)
class LayerSteps:
    """A layer's int8 output against the simulated network's, for the same integer inputs.

    Attributes:
      largest: the largest difference in steps of the output's scale.
      wrong: what is beyond its bound; "" if nothing is.
    """

    layer: str
    op: str
    largest: float
    wrong: str


def layer_steps(simulated: Graph, ranges: Ranges, model_bytes: bytes, clips: np.ndarray) -> list[LayerSteps]:
    """A row for each layer whose output is a tensor of the model, in order.

    Args:
      simulated: the network with rounded kernels and one node for each operation of the model.
      ranges: the activations' ranges, which give the scales.
      clips: (n, num_frames, num_mels) float32.
    """
    runner = LiteRTRunner(model_bytes, keep_tensors=True)
    found = by_layer(runner.computed_tensors(clips), simulated)
    comparison = _Comparison(found, ranges)
    entered = dequantize(quantize(clips, runner.input), runner.input)
    evaluator(simulated, comparison.around)(tf.constant(entered, tf.float32))
    return comparison.rows


def by_layer(tensors: list[ComputedTensor], graph: Graph) -> dict[str, ComputedTensor]:
    """The tensors by the layer that they are the output of: `model/layer/operation;...`, and the last is the network's."""
    named = {layer_name(found.tensor.name): found for found in tensors}
    return {**named, graph.output[0]: tensors[-1]} if tensors else named


def layer_name(tensor_name: str) -> str:
    """The Keras layer that computed a tensor called `model/layer/operation;...` (the first one listed)."""
    parts = tensor_name.partition(";")[0].split("/")
    return parts[1] if len(parts) > 1 else tensor_name


class _Comparison:
    """Compares layer by layer while the network is evaluated, and passes the integers on."""

    def __init__(self, found: Mapping[str, ComputedTensor], ranges: Ranges):
        self._found, self._ranges = found, ranges
        self.rows: list[LayerSteps] = []
        # Layers that round, but whose integers are not known; and layers that read of them.
        self._unknown: set[str] = set()

    def around(self, node: Node, layer):
        def call(inputs):
            exact = layer(inputs)
            integers = self._found.get(node.name)
            after_others = any(source in self._unknown for source, _ in node.inputs)
            if integers is None or _size(exact) != integers.values.size:
                if after_others or not is_moved(node):
                    self._unknown.add(node.name)
                return exact
            self.rows.append(self._row(node, exact.numpy(), integers, after_others))
            return tf.constant(integers.values.reshape(exact.shape), exact.dtype)

        return call

    def _row(self, node: Node, exact: np.ndarray, integers: ComputedTensor, after_others: bool) -> LayerSteps:
        tensor = integers.tensor
        low, high = self._ranges.get(node.name, (-np.inf, np.inf))
        steps = (integers.values.reshape(exact.shape) - np.clip(exact, low, high)) / tensor.scale
        largest = float(np.abs(steps).max())
        wrong = self._wrong_scale(node, tensor) or _beyond(largest, LARGEST_AFTER_OTHERS if after_others else LARGEST)
        return LayerSteps(node.name, integers.op, largest, wrong)

    def _wrong_scale(self, node: Node, tensor) -> str:
        if node.name not in self._ranges:
            return ""
        low, high = self._ranges[node.name]
        scale = (high - low) / STEPS
        if abs(tensor.scale / scale - 1) > SCALE_ERROR:
            return f"its scale is {tensor.scale:.6g} instead of {scale:.6g}"
        zero_point = round(-128 - low / scale)
        return "" if tensor.zero_point == zero_point else f"its zero point is {tensor.zero_point} instead of {zero_point}"


def _beyond(largest: float, bound: float) -> str:
    return "" if largest <= bound else f"a value is {largest:.2f} steps off, of which rounding explains {bound:g} at most"


def _size(tensors) -> int:
    return 0 if isinstance(tensors, (list, tuple)) else int(tf.size(tensors))
