"""Quantization schemes: a float network to .tflite, with a bound of the difference that rounding may cause."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from kser.config import QuantizationConfig
from kser.export import convert, parity
from kser.export.device_ops import dense_as_convolution, one_operation_each, token_dense_axes, written_out_norms
from kser.export.fake_quant import fake_quantized, rounded_kernels
from kser.export.fold import prove
from kser.export.graph import Graph, build_graph, read_graph
from kser.export.parity import Bound, Stage
from kser.export.qat import folded, quantize_aware, require_same
from kser.export.ranges import Ranges, measure_ranges, symmetric
from kser.export.rewrites import MAX_REWRITE_DIFFERENCE
from kser.models.inference import predict_logits

INT16_STEPS = 2 * 32767
# LiteRT multiplies a Dense layer's scales in float32, TFLM in double: a few results round differently.
SAME_KERNELS_SHARE = 0.1
# Quantization-aware training of a network with the float network as teacher; returns one row per epoch.
Tune = Callable[[keras.Model, keras.Model], list[dict]]


@dataclass(frozen=True)
class Converted:
    """A converted model, the float graph it was made from, the stages before it, the bounds of its difference to them and
    between interpreters, what to report, and for int8 the simulated network with its ranges, which every operation must
    agree with."""

    model_bytes: bytes
    graph: Graph | None
    stages: tuple[Stage, ...]
    bound: Bound
    tflm_bound: Bound
    notes: dict
    simulated: tuple[Graph, Ranges] | None = None


def convert_by(
    settings: QuantizationConfig, model: keras.Model, representative: np.ndarray, clips: np.ndarray, tune: Tune | None
) -> Converted:
    """Converts a network without HRF (for `qat_hrf`: with it) by the scheme that `settings.quantize` names.

    Args:
      representative: (n, num_frames, num_mels) normalized clips of the training part, for the activation ranges.
      clips: likewise from the test part, to bound the effect of rounding on the logits.
      tune: quantization-aware training; only for `qat` and `qat_hrf`.
    """
    return _SCHEMES[settings.quantize](model, representative, clips, settings, tune)


def exact_bound(difference: float) -> Bound:
    """The bound for two stages that differ only by float32 rounding."""
    return Bound("max", difference, "float32 rounding")


def _float(model: keras.Model, representative, clips, settings, tune) -> Converted:
    return Converted(convert.to_float_tflite(model), None, (), *[exact_bound(MAX_REWRITE_DIFFERENCE)] * 2, {})


def _int16x8(model: keras.Model, representative, clips, settings, tune) -> Converted:
    graph = written_out_norms(one_operation_each(read_graph(model)))
    model_bytes = convert.to_int16x8_tflite(build_graph(graph), representative)
    ranges = measure_ranges(graph, representative)
    bound = parity.rounding_bound(graph, rounded_kernels(graph, {}), symmetric(ranges), clips, INT16_STEPS)
    # In 16 bits the two libraries use different tables for sigmoid and softmax.
    return Converted(model_bytes, graph, (), bound, bound, {})


def _ptq(model: keras.Model, representative, clips, settings: QuantizationConfig, tune) -> Converted:
    graph = one_operation_each(read_graph(model))
    ranges = measure_ranges(graph, representative, settings.ranges)
    return _int8(graph, ranges, _scale_axes(graph, settings), representative, clips, True, {})


def _qat(model: keras.Model, representative, clips, settings: QuantizationConfig, tune: Tune) -> Converted:
    graph = one_operation_each(read_graph(model))
    axes = _scale_axes(graph, settings)
    network = quantize_aware(graph, measure_ranges(graph, representative, settings.ranges), axes)
    rows = tune(network.model, build_graph(graph))
    trained = network.trained()
    before, after = build_graph(trained), folded(trained)
    proof = prove(before, build_graph(after), build_graph(folded(graph)), clips)
    notes = {"qat": rows, "fold_after_qat": dataclasses.asdict(proof)}
    rounded = fake_quantized(rounded_kernels(after, axes), network.ranges())
    require_same(network.model, rounded, clips)
    return _int8(after, network.ranges(), axes, representative, clips, False, notes)


def _int8(graph: Graph, ranges: Ranges, axes: dict, representative, clips, untrained: bool, notes: dict) -> Converted:
    rounded = rounded_kernels(graph, axes)
    integers = dense_as_convolution(rounded, axes)
    simulated = fake_quantized(integers, ranges)
    model_bytes = convert.to_int8_tflite(simulated, representative)
    bound = parity.rounding_bound(graph, rounded, ranges, clips)
    tflm_bound = Bound("mean", SAME_KERNELS_SHARE * bound.value, "the same kernels, except for how scales are multiplied")
    # Training changes the weights too, which no scale bounds.
    stage = Stage("fake_quant", predict_logits(simulated, clips), bound if untrained else None)
    return Converted(model_bytes, graph, (stage,), bound, tflm_bound, notes, (integers, ranges))


def _scale_axes(graph: Graph, settings: QuantizationConfig) -> dict[str, int]:
    return token_dense_axes(graph) if settings.dense_scales == "channel" else {}


_SCHEMES = {"ptq": _ptq, "qat": _qat, "qat_hrf": _qat, "int16x8": _int16x8, "float": _float}
