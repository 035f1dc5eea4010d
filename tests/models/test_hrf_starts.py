"""The starts of HRF: the function they give, what they follow, and that every entry learns."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_INIT
from kser.models.hrf import HRFDense
from tests.models.hrf_layers import EXPANSION, INPUT_DIM, UNITS, glorot, hrf_dense, plain_dense, train
from tests.models.leaf_layers import inputs


@pytest.mark.parametrize(("input_dim", "units"), [(6, 5), (5, 6), (6, 6), (1, 4), (4, 1)])
@pytest.mark.parametrize("init", ["spectral", "identity"])
def test_start_is_the_plain_layers(init, input_dim, units):
    kernel = plain_dense(units, input_dim).get_weights()[0]
    product = hrf_dense(init, units=units, input_dim=input_dim).effective_kernel().numpy()
    if init == "identity":
        np.testing.assert_array_equal(product, kernel)
    else:  # the factors are rounded to float32, entries are below 1
        np.testing.assert_allclose(product, kernel, rtol=0, atol=1e-6)


def test_spectral_start_is_balanced():
    first, second, _ = hrf_dense("spectral").get_weights()
    used = min(INPUT_DIM, UNITS)
    np.testing.assert_allclose(first[:, :used].T @ first[:, :used], second[:used] @ second[:used].T, atol=1e-6)


def test_glorot_start_has_glorots_variance():
    layer = HRFDense(64, kernel_initializer=glorot(), expansion=4, hrf_init="glorot")
    layer.build((None, 48))
    for factor in layer.get_weights()[:2]:
        limit = np.sqrt(6 / sum(factor.shape))
        # Over 9000 uniform draws: the variance's standard error is below 1 %.
        assert np.var(factor) == pytest.approx(limit**2 / 3, rel=0.05)
        assert np.abs(factor).max() <= limit and abs(factor.mean()) < 0.05 * limit


@pytest.mark.parametrize("init", HRF_INIT)
def test_no_entry_of_a_factor_is_dead(init):
    layer = hrf_dense(init, inner_bias=True)
    start = layer.get_weights()
    x, direction = inputs(7, INPUT_DIM), inputs(7, UNITS, seed=1)
    seen = [np.zeros_like(w) for w in start]
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) * direction)
        gradients = tape.gradient(loss, layer.trainable_weights)
        for variable, gradient, total in zip(layer.trainable_weights, gradients, seen, strict=True):
            total += np.abs(gradient)
            variable.assign_sub(0.01 * gradient)
    assert all((total > 0).all() for total in seen)
    assert all((after != before).all() for before, after in zip(start, layer.get_weights(), strict=True))


def test_start_is_repeated_by_the_seed_and_changed_by_another():
    one, again = hrf_dense("spectral").get_weights(), hrf_dense("spectral").get_weights()
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    other = HRFDense(UNITS, kernel_initializer=glorot(4), expansion=EXPANSION)
    other.build((None, INPUT_DIM))
    assert not np.array_equal(one[0], other.get_weights()[0])


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("init", ["spectral", "identity"])
@pytest.mark.parametrize(("input_dim", "units"), [(6, 5), (4, 9), (1, 3)])
def test_a_deep_start_is_the_plain_layers_too(init, depth, input_dim, units):
    layer = HRFDense(units, kernel_initializer=glorot(), expansion=EXPANSION, hrf_init=init, depth=depth)
    layer.build((None, input_dim))
    assert len(layer.factors) == depth + 1
    kernel = plain_dense(units, input_dim).get_weights()[0]
    np.testing.assert_allclose(layer.effective_kernel(), kernel, rtol=0, atol=1e-5)


@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_normal", "ones", keras.initializers.Constant(0.1)])
@pytest.mark.parametrize("init", ["spectral", "identity"])
def test_every_initializer_starts_it_as_the_dense(init, initializer):
    keras.utils.set_random_seed(5)
    dense = keras.layers.Dense(UNITS, kernel_initializer=initializer, bias_initializer="ones")
    dense.build((None, INPUT_DIM))
    keras.utils.set_random_seed(5)
    layer = HRFDense(UNITS, kernel_initializer=initializer, bias_initializer="ones", hrf_init=init)
    layer.build((None, INPUT_DIM))
    np.testing.assert_allclose(layer(inputs(3, INPUT_DIM)), dense(inputs(3, INPUT_DIM)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("init", HRF_INIT)
def test_an_unseeded_layer_follows_keras_seed(init):
    def start(seed: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(seed)
        layers = [HRFDense(UNITS, hrf_init=init) for _ in range(2)]
        for layer in layers:
            layer.build((None, INPUT_DIM))
        return [layer.get_weights() for layer in layers]

    (one, second), (again, _), (other, _) = start(1), start(1), start(2)
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    for different in (second, other):
        assert all((a != b).any() for a, b in zip(one[:2], different[:2], strict=True))


def test_layers_after_it_start_as_after_a_dense():
    def second(make) -> np.ndarray:
        keras.utils.set_random_seed(1)
        return keras.Sequential([keras.Input((INPUT_DIM,)), make(UNITS), keras.layers.Dense(3)]).layers[1].get_weights()[0]

    np.testing.assert_array_equal(second(HRFDense), second(keras.layers.Dense))


@pytest.mark.parametrize("init", ["identity", "spectral"])
def test_a_zero_start_learns_where_nothing_warns(init):
    """And where the warning says that it does not, it does not."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        layer = HRFDense(UNITS, kernel_initializer="zeros", hrf_init=init)
        kernel = train(layer).layers[0].effective_kernel().numpy()
    assert any("never learn" in str(w.message) for w in told) == (not kernel.any()) == (init == "spectral")
