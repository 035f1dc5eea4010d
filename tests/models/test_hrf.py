"""HRFDense: the function it computes, its starts and its forms."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_INIT
from kser.errors import ConfigError
from kser.models.hrf import HRFDense
from tests.models.leaf_layers import inputs, randomize

INPUT_DIM, UNITS, EXPANSION = 6, 5, 3
RANK = EXPANSION * INPUT_DIM


def glorot(seed: int = 3):
    return keras.initializers.GlorotUniform(seed)


def hrf_dense(init: str = "spectral", inner_bias: bool = False, units: int = UNITS, input_dim: int = INPUT_DIM, **kwargs):
    """A built HRFDense."""
    layer = HRFDense(units, EXPANSION, init, inner_bias, kernel_initializer=glorot(), **kwargs)
    layer.build((None, input_dim))
    return layer


def plain_dense(units: int = UNITS, input_dim: int = INPUT_DIM) -> keras.layers.Dense:
    layer = keras.layers.Dense(units, kernel_initializer=glorot())
    layer.build((None, input_dim))
    return layer


@pytest.mark.parametrize("inner_bias", [False, True])
@pytest.mark.parametrize("init", HRF_INIT)
def test_hrf_dense_is_the_chain_of_its_two_layers(init, inner_bias):
    layer = hrf_dense(init, inner_bias, activation="relu")
    randomize(layer)
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    bias_1 = weights[2] if inner_bias else 0.0
    x = inputs(2, 4, INPUT_DIM)
    expected = np.maximum(0, (x @ weights[0] + bias_1) @ weights[1] + weights[-1])
    # Float32 sums of RANK and INPUT_DIM products of values of order 1 to 10.
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("inner_bias", [False, True])
def test_effective_kernel_and_bias_are_what_the_layer_acts_with(inner_bias):
    layer = hrf_dense(inner_bias=inner_bias)
    randomize(layer)
    x = inputs(3, INPUT_DIM)
    np.testing.assert_allclose(layer(x), x @ layer.effective_kernel() + layer.effective_bias(), rtol=1e-5, atol=2e-5)


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
    layer = HRFDense(64, 4, "glorot", kernel_initializer=glorot())
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
    other = HRFDense(UNITS, EXPANSION, kernel_initializer=glorot(4))
    other.build((None, INPUT_DIM))
    assert not np.array_equal(one[0], other.get_weights()[0])


def test_hrf_dense_shapes():
    layer = hrf_dense(inner_bias=True)
    assert [w.shape for w in layer.get_weights()] == [(INPUT_DIM, RANK), (RANK, UNITS), (RANK,), (UNITS,)]
    assert layer(inputs(2, 3, 4, INPUT_DIM)).shape == layer.compute_output_shape((2, 3, 4, INPUT_DIM)) == (2, 3, 4, UNITS)


@pytest.mark.parametrize("expansion", [0, -1])
def test_hrf_dense_refuses_an_expansion_below_one(expansion):
    with pytest.raises(ConfigError, match=f"at least 1, not {expansion}"):
        HRFDense(UNITS, expansion)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("init", ["spectral", "identity"])
@pytest.mark.parametrize(("input_dim", "units"), [(6, 5), (4, 9), (1, 3)])
def test_a_deep_start_is_the_plain_layers_too(init, depth, input_dim, units):
    layer = HRFDense(units, EXPANSION, init, kernel_initializer=glorot(), depth=depth)
    layer.build((None, input_dim))
    assert len(layer.factors) == depth + 1
    kernel = plain_dense(units, input_dim).get_weights()[0]
    np.testing.assert_allclose(layer.effective_kernel(), kernel, rtol=0, atol=1e-5)


def test_hrf_dense_refuses_a_depth_below_one_and_an_unknown_form():
    with pytest.raises(ConfigError, match="depth of at least 1, not 0"):
        HRFDense(UNITS, EXPANSION, depth=0)
    with pytest.raises(ConfigError, match="form must be one of product, layers, not 'chain'"):
        HRFDense(UNITS, EXPANSION, form="chain")


def test_hrf_dense_refuses_an_unknown_start():
    with pytest.raises(ConfigError, match="spectral, identity, glorot, not 'zeros'"):
        HRFDense(UNITS, EXPANSION, "zeros")


@pytest.mark.parametrize("inner_bias", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_both_forms_are_the_same_function_with_the_same_gradients(depth, inner_bias):
    product, chain = (
        HRFDense(5, 3, inner_bias=inner_bias, activation="swish", depth=depth, form=form) for form in ("product", "layers")
    )
    x = np.random.default_rng(0).normal(size=(2, 7, 6)).astype(np.float32)
    product.build(x.shape)
    chain.build(x.shape)
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=w.shape).astype(np.float32) / np.sqrt(len(w)) for w in product.get_weights()]
    outputs, gradients = [], []
    for layer in (product, chain):
        layer.set_weights(weights)
        with tf.GradientTape() as tape:
            y = layer(x)
            loss = tf.reduce_sum(y**2)
        outputs.append(y)
        gradients.append(tape.gradient(loss, layer.trainable_weights))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)  # sums over 14 rows of gradients of order 10
