"""Norms against their formulas and against Keras' own."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.models.norms import L2Norm, LayerNorm, RMSNorm
from tests.models.leaf_layers import inputs, randomize


def test_layer_norm_is_keras_own():
    x = 3 * inputs(2, 1, 5, 8) + 1
    own, keras_own = LayerNorm(), keras.layers.LayerNormalization(epsilon=1e-5)
    own.build(x.shape)
    keras_own.build(x.shape)
    randomize(own)
    keras_own.set_weights(own.get_weights())
    np.testing.assert_allclose(own(x), keras_own(x), rtol=1e-5, atol=1e-5)


def test_rms_norm_is_its_formula():
    x = 3 * inputs(2, 1, 5, 8) + 1
    layer = RMSNorm()
    layer.build(x.shape)
    randomize(layer)
    exact = x.astype(np.float64)
    expected = layer.get_weights()[0] * exact / np.sqrt(np.mean(exact**2, axis=-1, keepdims=True))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_rms_norm_bounds_the_mean_square_from_below():
    x = np.full((1, 4), 1e-4, np.float32)
    np.testing.assert_allclose(RMSNorm(epsilon=1e-4)(x), x / 1e-2, rtol=1e-5)
    np.testing.assert_array_equal(RMSNorm()(np.zeros((1, 4), np.float32)), 0)


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_norms_do_not_see_the_scale_of_a_token(norm):
    x = inputs(2, 3, 8)
    np.testing.assert_allclose(norm()(1000 * x), norm(epsilon=1e-12)(x), rtol=1e-4, atol=1e-4)


def test_l2_norm_is_an_rms_norm_without_its_factors():
    x = 3 * inputs(2, 5, 8) + 1
    rms = RMSNorm(center=True)
    rms.build(x.shape)
    randomize(rms)
    gamma, beta = rms.get_weights()
    np.testing.assert_allclose(L2Norm()(x) * gamma * 8**0.5 + beta, rms(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(L2Norm()(x), axis=-1), 1, rtol=1e-5)


def test_layer_norm_without_affine_is_one_with_ones_and_zeros():
    x = 3 * inputs(2, 5, 8) + 1
    bare = LayerNorm(affine=False)
    np.testing.assert_array_equal(bare(x), LayerNorm()(x))
    assert bare.weights == []
