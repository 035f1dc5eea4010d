"""Every layer has a QuantizeConfig, and kernels are rounded to their steps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import FeatureConfig, HRFConfig
from kser.export import quantizers
from kser.export.device_ops import one_operation_each
from kser.export.fold import fold_model
from kser.export.graph import read_graph
from kser.export.quantizers import KernelQuantizer
from kser.models import attention, hrf, layers, norms
from kser.models.presets import PRESETS, build_model
from tests.networks import NUM_CLASSES

HRF = HRFConfig(2)


def test_every_layer_of_kser_has_a_config():
    modules = (attention, hrf, layers, norms)
    own = [c for m in modules for c in vars(m).values() if isinstance(c, type) and issubclass(c, keras.layers.Layer)]
    missing = {c.__name__ for c in own if not c.__name__.startswith("_")} - set(quantizers.QUANTIZE_CONFIGS)
    assert len(own) > 10 and not missing


@pytest.mark.parametrize("key", PRESETS, ids="-".join)
def test_every_layer_of_every_preset_has_a_config(key):
    if key[1] == "large":
        config = dataclasses.replace(PRESETS[key], num_layers=1, stage_layers=(1, 1, 1, 1))
    else:
        config = PRESETS[key]
    model = build_model(dataclasses.replace(config, hrf=HRF, pooling="statistics"), FeatureConfig(), NUM_CLASSES)
    for graph in (read_graph(model), one_operation_each(read_graph(model)), read_graph(fold_model(model))):
        quantizers.require_known(graph)


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
