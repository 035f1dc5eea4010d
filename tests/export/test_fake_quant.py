"""The device's scales and integers are those of the rounded float network."""

from __future__ import annotations

import numpy as np
import pytest

from kser.config import RANGES
from kser.export.convert import to_int8_tflite
from kser.export.fake_quant import fake_quantized, rounded_kernels
from kser.export.ranges import measure_ranges
from kser.models.inference import predict_logits
from kser.tflite import interpreter
from tests.export.graphs import graph_of
from tests.networks import NETWORKS, clips


@pytest.mark.parametrize("method", RANGES)
def test_the_device_has_the_scales_that_were_measured(method):
    graph = graph_of("conformer")
    ranges = measure_ranges(graph, clips(), method)
    model_bytes = to_int8_tflite(fake_quantized(rounded_kernels(graph, {}), ranges), clips(2))
    computed = interpreter.LiteRTRunner(model_bytes, keep_tensors=True).computed_tensors(clips(1))
    scales = {
        found.tensor.name.split("/")[1]: found.tensor.scale for found in computed if found.op in ("ADD", "BATCH_MATMUL")
    }
    assert len(scales) >= 5
    for name, scale in scales.items():
        low, high = ranges[name]
        assert scale == pytest.approx((high - low) / 255, rel=1e-3), name


@pytest.mark.parametrize(("backbone", "changes"), NETWORKS)
def test_int8_integers_are_close_to_the_rounded_network(backbone, changes):
    """Within a few steps of the logits: both round alike, and fixed-point arithmetic comes on top."""
    graph = graph_of(backbone, **changes)
    simulated = fake_quantized(rounded_kernels(graph, {}), measure_ranges(graph, clips()))
    runner = interpreter.TFLMRunner(to_int8_tflite(simulated, clips(4)))
    difference = np.abs(runner.logits(clips()) - predict_logits(simulated, clips()))
    assert difference.mean() < 4 * runner.output.scale
