"""A node for each of the device's operations, and the same network."""

from __future__ import annotations

import numpy as np
import pytest

from kser.config import ACTIVATIONS
from kser.export.convert import to_int8_tflite, to_int16x8_tflite
from kser.export.device_ops import dense_as_convolution, one_operation_each, token_dense_axes, written_out_norms
from kser.export.fake_quant import fake_quantized, rounded_kernels
from kser.export.graph import build_graph, read_graph
from kser.export.ranges import measure_ranges
from kser.export.rewrites import deploy_model
from kser.models.inference import predict_logits
from kser.tflite import interpreter, model_file, op_graph
from tests.export.graphs import graph_of, logits
from tests.networks import NETWORKS, clips, network


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("backbone", "changes"), NETWORKS)
def test_one_operation_each_is_the_same_network(backbone, changes, activation):
    model = deploy_model(network(backbone, **{**changes, "activation": activation}), clips(), ["batch_norm"]).model
    graph = one_operation_each(read_graph(model))
    np.testing.assert_allclose(logits(graph), predict_logits(model, clips()), rtol=0, atol=1e-5)
    kinds = {node.kind for node in graph}
    assert not kinds & {"RMSNorm", "ReLU"}
    assert all(node.config["activation"] in ("linear", "relu") for node in graph if node.kind in ("Dense", "Conv2D"))
    assert one_operation_each(graph) == graph


@pytest.mark.parametrize(("backbone", "changes"), NETWORKS)
def test_int16_activations_leave_little_but_the_rounding_of_kernels(backbone, changes):
    graph = written_out_norms(graph_of(backbone, **{**changes, "activation": "swish"}))
    runner = interpreter.TFLMRunner(to_int16x8_tflite(build_graph(graph), clips()))
    assert runner.input.dtype == runner.output.dtype == "int16"
    exact = logits(rounded_kernels(graph, {}))
    assert np.abs(runner.logits(clips()) - exact).mean() < 0.02 * np.ptp(exact)


@pytest.fixture(scope="module")
def conformer():
    return graph_of("conformer", num_layers=2)


def test_a_scale_for_every_output_channel(conformer):
    axes = token_dense_axes(conformer)
    assert axes and "classifier" not in axes and set(axes.values()) == {-1}
    graph = dense_as_convolution(rounded_kernels(conformer, axes), axes)
    np.testing.assert_allclose(logits(graph), logits(rounded_kernels(conformer, axes)), rtol=0, atol=1e-5)
    ranges = measure_ranges(conformer, clips())
    model = model_file.parse(to_int8_tflite(fake_quantized(graph, ranges), clips(2)))
    main, ops = model.subgraphs[0], {}
    for op in main.operators:
        ops.setdefault(op_graph.op_name(model, op), []).append(op)
    assert len(ops["FULLY_CONNECTED"]) == 1
    for op in ops["CONV_2D"]:
        kernel = main.tensors[op.inputs[1]]
        assert len(kernel.quantization.scale) == kernel.shape[0]
