"""Quantization-aware training: what is trained is what is exported."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import HRFConfig
from kser.errors import FoldError
from kser.export import qat
from kser.export.device_ops import one_operation_each, token_dense_axes
from kser.export.fake_quant import fake_quantized, rounded_kernels
from kser.export.graph import read_graph
from kser.export.qat import folded, quantize_aware
from kser.export.ranges import measure_ranges
from kser.export.rewrites import deploy_model
from kser.models.inference import predict_logits
from tests.export.graphs import graph_of
from tests.networks import NETWORKS, NUM_CLASSES, clips, network

HRF = HRFConfig(2)


@pytest.fixture(scope="module")
def conformer():
    return graph_of("conformer", num_layers=2)


@pytest.mark.parametrize(("hrf", "per_channel"), [(HRFConfig(), False), (HRF, True)])
@pytest.mark.parametrize(("backbone", "changes"), NETWORKS)
def test_what_is_trained_is_what_is_exported(backbone, changes, hrf, per_channel):
    model = network(backbone, **changes, hrf=hrf)
    graph = one_operation_each(read_graph(deploy_model(model, clips()).model))
    axes = token_dense_axes(graph) if per_channel else {}
    network_ = quantize_aware(graph, measure_ranges(graph, clips()), axes)
    after = folded(network_.trained())
    exported = fake_quantized(rounded_kernels(after, axes), network_.ranges())
    qat.require_same(network_.model, exported, clips())
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
    with pytest.raises(FoldError, match="does not round like the one that was trained"):
        qat.require_same(aware.model, fake_quantized(rounded_kernels(conformer, {}), narrow), clips())
