"""Quantization: every layer covered, ranges as asked for, and the device's integers those that were trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import ACTIVATIONS, RANGES, FeatureConfig, HRFConfig
from kser.errors import ConfigError, FoldError, KserError
from kser.export import quantize
from kser.export.convert import to_int8_tflite, to_int16x8_tflite
from kser.export.fold import fold_model
from kser.export.graph import Graph, build_graph, new_node, read_graph
from kser.export.quantize import (
    KernelQuantizer,
    dense_as_convolution,
    fake_quantized,
    folded,
    measure_ranges,
    one_operation_each,
    quantize_aware,
    rounded_kernels,
    token_dense_axes,
    written_out_norms,
)
from kser.export.rewrites import DEPLOY_PASSES, deploy_model
from kser.models import attention, hrf, layers, norms
from kser.models.inference import predict_logits
from kser.models.presets import PRESETS, build_model
from kser.tflite import interpreter, model_file, op_graph
from tests.networks import NETWORKS, NUM_CLASSES, clips, network

HRF = HRFConfig(2)


def graph_of(backbone: str, passes=tuple(DEPLOY_PASSES), **changes) -> Graph:
    model = fold_model(network(backbone, **changes))
    return one_operation_each(read_graph(deploy_model(model, clips(), passes).model))


def logits(graph: Graph) -> np.ndarray:
    return predict_logits(build_graph(graph), clips())


# --- Every layer ------------------------------------------------------------------------------------------------------


def test_every_layer_of_kser_has_a_config():
    modules = (attention, hrf, layers, norms)
    own = [c for m in modules for c in vars(m).values() if isinstance(c, type) and issubclass(c, keras.layers.Layer)]
    missing = {c.__name__ for c in own if not c.__name__.startswith("_")} - set(quantize.QUANTIZE_CONFIGS)
    assert len(own) > 10 and not missing


@pytest.mark.parametrize("key", PRESETS, ids="-".join)
def test_every_layer_of_every_preset_has_a_config(key):
    if key[1] == "large":
        config = dataclasses.replace(PRESETS[key], num_layers=1, stage_layers=(1, 1, 1, 1))
    else:
        config = PRESETS[key]
    model = build_model(dataclasses.replace(config, hrf=HRF, pooling="statistics"), FeatureConfig(), NUM_CLASSES)
    for graph in (read_graph(model), one_operation_each(read_graph(model)), read_graph(fold_model(model))):
        quantize.require_known(graph)


def test_a_layer_without_a_config_is_named():
    graph = graph_of("convtransformer")
    stranger = new_node(keras.layers.LeakyReLU(name="stranger"), (graph.output,))
    graph = dataclasses.replace(graph, nodes=(*graph.nodes, stranger), output=("stranger", 0))
    with pytest.raises(KserError, match="no QuantizeConfig for LeakyReLU"):
        measure_ranges(graph, clips(2))


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


# --- Ranges -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conformer():
    return graph_of("conformer", num_layers=2)


def test_minmax_is_all_that_was_seen(conformer):
    ranges = measure_ranges(conformer, clips(), "minmax")
    model = build_graph(conformer)
    for node in conformer:
        if node.name not in ranges or quantize.fixed_range(node):
            continue
        seen = keras.Model(model.inputs, model.get_layer(node.name).output)(clips()).numpy()
        low, high = ranges[node.name]
        np.testing.assert_allclose((low, high), (min(seen.min(), 0), max(seen.max(), 1e-6)), rtol=1e-4, atol=1e-6)
    assert ranges["log_mel"] == (clips().min(), clips().max())


def test_ranges_the_device_fixes_are_those(conformer):
    ranges = measure_ranges(conformer, clips(4))
    fixed = {node.kind: ranges[node.name] for node in conformer if node.kind in ("Softmax", "L2Norm")}
    assert fixed == {"Softmax": (0, 255 / 256), "L2Norm": (-1, 127 / 128)}


def test_tensors_that_are_only_moved_have_none(conformer):
    ranges = measure_ranges(conformer, clips(4))
    moved = {node.name for node in conformer if node.kind in ("Reshape", "Permute", "Split")}
    assert moved and not moved & set(ranges)
    assert set(ranges) == {node.name for node in conformer} - moved | {"log_mel"}


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_outliers_do_not_widen_the_range(method):
    values = np.append(np.random.default_rng(0).normal(size=60000), [300.0, -200.0])
    low, high = quantize._METHODS[method](values)
    assert -200 < low < -3 and 3 < high < 300
    if method == "mse":
        assert quantize._squared_error(values, low, high) < quantize._squared_error(values, -200, 300)


def test_bad_settings_are_refused(conformer):
    with pytest.raises(ConfigError, match="at least one representative clip"):
        measure_ranges(conformer, clips(0))
    with pytest.raises(ConfigError, match="no range method 'guess'; known: minmax, percentile, mse"):
        measure_ranges(conformer, clips(2), "guess")


# --- Kernels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "axis"), [((6, 5), None), ((6, 5), -1), ((3, 3, 4, 5), 3), ((1, 7, 5, 1), 2)])
def test_kernels_are_rounded_to_their_steps(shape, axis):
    kernel = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    rounded = KernelQuantizer(axis)(tf.constant(kernel), False, {}).numpy()
    others = None if axis is None else tuple(i for i in range(len(shape)) if i != axis % len(shape))
    scale = np.abs(kernel).max(axis=others, keepdims=True) / 127
    np.testing.assert_allclose(rounded, np.rint(kernel / scale) * scale, rtol=0, atol=1e-6)


def test_rounding_passes_the_gradient():
    kernel = tf.Variable(np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(KernelQuantizer(-1)(kernel, True, {}) * 2.0)
    np.testing.assert_array_equal(tape.gradient(loss, kernel), np.full((4, 3), 2.0))


# --- The converted model ----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("backbone", "changes"), NETWORKS)
def test_int16_activations_leave_little_but_the_rounding_of_kernels(backbone, changes):
    graph = written_out_norms(graph_of(backbone, **{**changes, "activation": "swish"}))
    runner = interpreter.TFLMRunner(to_int16x8_tflite(build_graph(graph), clips()))
    assert runner.input.dtype == runner.output.dtype == "int16"
    exact = logits(rounded_kernels(graph, {}))
    assert np.abs(runner.logits(clips()) - exact).mean() < 0.02 * np.ptp(exact)


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


# --- Quantization-aware training --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hrf", "per_channel"), [(HRFConfig(), False), (HRF, True)])
@pytest.mark.parametrize(("backbone", "changes"), NETWORKS)
def test_what_is_trained_is_what_is_exported(backbone, changes, hrf, per_channel):
    model = network(backbone, **changes, hrf=hrf)
    graph = one_operation_each(read_graph(deploy_model(model, clips()).model))
    axes = token_dense_axes(graph) if per_channel else {}
    network_ = quantize_aware(graph, measure_ranges(graph, clips()), axes)
    after = folded(network_.trained())
    exported = fake_quantized(rounded_kernels(after, axes), network_.ranges())
    quantize.require_same(network_.model, exported, clips())
    assert not any(node.kind == "HRFDense" for node in after)
    exact, rounded = predict_logits(model, clips()), predict_logits(network_.model, clips())
    assert 0 < np.abs(exact - rounded).mean() < 0.1 * np.ptp(exact)


def test_training_moves_factors_and_ranges():
    model = network("convtransformer", hrf=HRF)
    graph = one_operation_each(read_graph(deploy_model(model, clips()).model))
    ranges = measure_ranges(graph, clips())
    aware = quantize_aware(graph, ranges, {})
    targets = tf.one_hot(np.arange(24) % NUM_CLASSES, NUM_CLASSES)
    optimizer = keras.optimizers.Adam(1e-2, jit_compile=False)

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, aware.model(clips(), training=True)))
        variables = aware.model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return float(loss)

    losses = [step() for _ in range(20)]
    assert losses[-1] < 0.9 * losses[0]
    before, after = graph["block_0_ffn_first"].weights, aware.trained()["block_0_ffn_first"].weights
    assert len(before) == 3 and all(np.abs(a - b).max() > 1e-3 for a, b in zip(before, after, strict=True))
    changed = [name for name, ends in aware.ranges().items() if ends != pytest.approx(ranges[name], rel=1e-6)]
    assert "block_0_ffn_add" in changed and "block_0_attention_weights" not in changed


def test_another_network_than_the_trained_one_is_refused(conformer):
    ranges = measure_ranges(conformer, clips())
    aware = quantize_aware(conformer, ranges, {})
    narrow = {name: (0.2 * low, 0.2 * high) if name.endswith("add") else (low, high) for name, (low, high) in ranges.items()}
    with pytest.raises(FoldError, match="rounds otherwise than the one that was trained"):
        quantize.require_same(aware.model, fake_quantized(rounded_kernels(conformer, {}), narrow), clips())
