"""Spoilt int8 models are found out, and the layer is named."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from kser.export.convert import to_int8_tflite
from kser.export.device_ops import one_operation_each
from kser.export.fake_quant import fake_quantized, rounded_kernels
from kser.export.graph import read_graph
from kser.export.layer_steps import layer_name, layer_steps
from kser.export.ranges import measure_ranges
from kser.export.rewrites import deploy_model
from kser.tflite import model_file, op_graph
from tests.networks import clips, network

BACKBONES = ("conformer", "convtransformer", "speechformer")
MUTANTS = 70  # of each backbone
WEIGHTED = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")


def with_biases(graph, rng):
    """Biases as training gives: an untrained network's are zero."""
    nodes = [node for node in graph if len(node.weights) == 2 and node.weights[1].ndim == 1]
    return graph.replaced(*(n.with_weights(n.weights[0], rng.normal(0, 0.1, n.weights[1].shape)) for n in nodes))


@pytest.fixture(scope="module", params=BACKBONES)
def quantized(request):
    """The simulated network, its ranges, and the converted model."""
    graph = one_operation_each(read_graph(deploy_model(network(request.param), clips()).model))
    graph = with_biases(graph, np.random.default_rng(1))
    rounded, ranges = rounded_kernels(graph, {}), measure_ranges(graph, clips())
    return rounded, ranges, to_int8_tflite(fake_quantized(rounded, ranges), clips(4))


def beyond(quantized, model_bytes) -> list[str]:
    rounded, ranges, _ = quantized
    return [row.layer for row in layer_steps(rounded, ranges, model_bytes, clips()[:2]) if row.wrong]


def test_every_layer_of_a_sound_model_is_within_its_bound(quantized):
    rounded, ranges, model_bytes = quantized
    rows = layer_steps(rounded, ranges, model_bytes, clips())
    assert [row for row in rows if row.wrong] == []
    assert len(rows) > 0.6 * len(rounded.nodes) and rows[-1].layer == rounded.output[0]


# --- Mutations: each changes one thing of one operation; it returns the layer, or None where there is nothing to change ---


def _values(model, tensor):
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), op_graph_dtype(tensor)).copy()


def op_graph_dtype(tensor):
    return {2: np.int32, 9: np.int8}[tensor.type]


def _store(model, tensor, values):
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def zero_bias(model, graph, op, name, rng):
    if name not in WEIGHTED or len(op.inputs) < 3 or op.inputs[2] < 0:
        return False
    tensor, output = graph.tensors[op.inputs[2]], graph.tensors[op.outputs[0]]
    values = _values(model, tensor)
    # What is less than a step of the output changes nothing that could be told from rounding.
    if np.abs(values * tensor.quantization.scale[0]).max() < 2 * output.quantization.scale[0]:
        return False
    _store(model, tensor, np.zeros_like(values))
    return True


def wrong_scale(model, graph, op, name, rng):
    if name not in WEIGHTED:
        return False
    tensor = graph.tensors[op.inputs[1]]
    tensor.quantization.scale = np.float32(tensor.quantization.scale) * np.float32(1.02)
    return True


def wrong_output_scale(model, graph, op, name, rng):
    tensor = graph.tensors[op.outputs[0]]
    if name not in (*WEIGHTED, "ADD", "MUL"):
        return False
    tensor.quantization.scale = np.float32(tensor.quantization.scale) * np.float32(1.02)
    return True


def wrong_zero_point(model, graph, op, name, rng):
    if name not in (*WEIGHTED, "ADD", "MUL"):
        return False
    tensor = graph.tensors[op.outputs[0]]
    zero_point = np.int64(tensor.quantization.zeroPoint)
    tensor.quantization.zeroPoint = zero_point + np.where(zero_point < 0, 1, -1)
    return True


def swapped_heads(model, graph, op, name, rng):
    """Two halves of a kernel's outputs change places, as two heads would; their biases stay."""
    if name not in ("FULLY_CONNECTED", "CONV_2D"):
        return False
    tensor = graph.tensors[op.inputs[1]]
    values = _values(model, tensor).reshape(tensor.shape)
    half = len(values) // 2
    if half < 2:
        return False
    _store(model, tensor, np.concatenate([values[half : 2 * half], values[:half], values[2 * half :]]))
    return True


MUTATIONS = (zero_bias, wrong_scale, wrong_output_scale, wrong_zero_point, swapped_heads)


def mutants(model_bytes, count):
    """(mutation, layer, model) of `count` models with one thing wrong, drawn evenly over mutations and operations."""
    rng, sound = np.random.default_rng(2), model_file.parse(model_bytes)
    number = len(sound.subgraphs[0].operators)
    while count:
        mutation, index = MUTATIONS[count % len(MUTATIONS)], int(rng.integers(number))
        model = copy.deepcopy(sound)
        graph = model.subgraphs[0]
        op = graph.operators[index]
        if mutation(model, graph, op, op_graph.op_name(model, op), rng):
            count -= 1
            yield mutation.__name__, layer_name(graph.tensors[op.outputs[0]].name.decode()), model_file.pack(model)


def test_nearly_all_mutants_are_caught_and_the_layer_is_named(quantized):
    rounded = quantized[0]
    missed = []
    for mutation, layer, model_bytes in mutants(quantized[2], MUTANTS):
        layer = layer if layer in [node.name for node in rounded] else rounded.output[0]
        if layer not in beyond(quantized, model_bytes):
            missed.append((mutation, layer))
    assert len(missed) <= 0.05 * MUTANTS, missed
