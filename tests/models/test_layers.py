"""The small leaf layers against their formulas, and the settings of every leaf layer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.models.attention import AttentionProduct, LocalMix, LocalScores
from kser.models.hrf import HRFDense
from kser.models.layers import AddPositions, Deviation, Scale, Split, hard_swish, sinusoid
from kser.models.norms import L2Norm, LayerNorm, RMSNorm
from tests.models.leaf_layers import inputs

INPUT_DIM, UNITS, EXPANSION = 6, 5, 3


def test_deviation_is_the_standard_deviation():
    x = 3 * inputs(50, 4) + 1
    result = Deviation(epsilon=1e-12)([x.mean(0), (x * x).mean(0)])
    np.testing.assert_allclose(result, x.std(0), rtol=1e-4)
    np.testing.assert_array_equal(Deviation()([np.ones(3, np.float32), np.full(3, 0.9, np.float32)]), 0)  # by rounding


def test_positions_are_sines_and_cosines():
    table = sinusoid(7, 6)
    for t in range(7):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            np.testing.assert_allclose(table[t, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)], atol=1e-12)
    x = inputs(2, 1, 7, 6)
    np.testing.assert_allclose(AddPositions()(x), x + table, atol=1e-6)
    centred = AddPositions(centred=True)(x) - x
    np.testing.assert_allclose(centred, (table - table.mean(1, keepdims=True))[None, None].repeat(2, 0), atol=1e-6)


def test_split_gives_equal_parts():
    x = inputs(2, 6, 3)
    for i, part in enumerate(Split(3, axis=1)(x)):
        np.testing.assert_array_equal(part, x[:, 2 * i : 2 * i + 2])


def test_hard_swish():
    x = np.linspace(-5, 5, 41, dtype=np.float32)
    np.testing.assert_allclose(hard_swish(tf.constant(x)), x * np.clip(x + 3, 0, 6) / 6, rtol=1e-6, atol=1e-6)


def test_scale():
    x = inputs(2, 3)
    np.testing.assert_array_equal(Scale(0.5)(x), 0.5 * x)


@pytest.mark.parametrize(
    "layer",
    [
        HRFDense(
            UNITS, "swish", hrf_init="identity", inner_bias=True, kernel_initializer=keras.initializers.GlorotUniform(7)
        ),
        LayerNorm(1e-3, name="l"),
        RMSNorm(1e-3, name="r"),
        AttentionProduct(0.5, name="a"),
        Scale(0.5, name="s"),
        HRFDense(UNITS, hard_swish, expansion=EXPANSION, depth=3, form="layers", name="d"),
        LayerNorm(affine=False, name="b"),
        RMSNorm(center=True, name="c"),
        L2Norm(1e-3, name="n"),
        LocalScores(5, 0.5, name="ls"),
        LocalMix(5, name="lm"),
        AddPositions(True, name="p"),
        Deviation(1e-3, name="v"),
        Split(3, 1, name="t"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_settings_make_the_round_trip(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


def test_a_model_of_these_layers_is_saved_and_loaded(tmp_path):
    x = keras.Input((3, INPUT_DIM))
    hidden = RMSNorm()(LayerNorm()(HRFDense(UNITS, "relu", expansion=EXPANSION, inner_bias=True)(x)))
    model = keras.Model(x, Scale(0.5)(AttentionProduct(0.5)([hidden, hidden])))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clip = inputs(2, 3, INPUT_DIM)
    np.testing.assert_array_equal(loaded(clip), model(clip))
