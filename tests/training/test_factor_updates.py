"""With HRF or without, a network learns and decays at the same rate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.models.hrf import HRFDense
from kser.training.factor_updates import FactorSteps, ScaledAdam, decay_kernels, step_ratio

D_IN, UNITS, RATE = 32, 128, 0.002
INITS, DEPTHS, EXPANSIONS = ("spectral", "identity", "glorot"), (1, 2, 3), (1, 2, 4, 8)
FORMS = list(itertools.product(INITS, DEPTHS, EXPANSIONS))


def network(layer: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input((D_IN,))
    return keras.Model(inputs, layer(inputs))


def hrf(init: str, depth: int, expansion: int) -> keras.Model:
    initializer = keras.initializers.GlorotUniform(3)
    return network(HRFDense(UNITS, kernel_initializer=initializer, hrf_init=init, depth=depth, expansion=expansion))


def kernel_of(model: keras.Model) -> np.ndarray:
    return np.array(model.layers[-1].kernel)


def first_step(model: keras.Model, balanced: bool) -> float:
    """How far the first step of a classifier moves the kernel, with a batch of 64 rows of unequal features."""
    rng = np.random.default_rng(7)
    rows = np.float32(rng.standard_normal((64, D_IN)) * np.geomspace(0.2, 2, D_IN))
    labels = rng.integers(0, UNITS, 64)
    steps = FactorSteps(model)
    if balanced:
        steps.update()
    optimizer = ScaledAdam(RATE, scale_of=steps.scale_of, jit_compile=False)
    before = kernel_of(model)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(rows)))
    variables = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return float(np.linalg.norm(kernel_of(model) - before))


@pytest.fixture(scope="module")
def plain_step() -> float:
    return first_step(network(keras.layers.Dense(UNITS)), balanced=True)


@pytest.mark.parametrize(("init", "depth", "expansion"), FORMS)
def test_the_first_step_of_the_product_is_that_of_a_plain_kernel(plain_step, init, depth, expansion):
    assert first_step(hrf(init, depth, expansion), balanced=True) == pytest.approx(plain_step, rel=0.2)


def test_unbalanced_the_product_learns_faster_the_wider_its_factors(plain_step):
    """Why there is a balance: as large as this the difference is without it."""
    ratios = [first_step(hrf("spectral", 1, expansion), balanced=False) / plain_step for expansion in EXPANSIONS]
    assert ratios == sorted(ratios) and ratios[0] > 1.2 and ratios[-1] > 5


def test_a_plain_kernel_moves_as_a_plain_kernel():
    assert step_ratio([np.eye(4) + 0.1]) == pytest.approx(1)


@pytest.mark.parametrize(("init", "depth", "expansion"), FORMS)
def test_the_product_decays_as_a_plain_kernel(init, depth, expansion):
    model = hrf(init, depth, expansion)
    before = kernel_of(model)
    decay_kernels(model, 0.05)
    np.testing.assert_allclose(kernel_of(model), 0.95 * before, rtol=1e-3, atol=1e-6)


def test_the_gradient_of_the_products_norm_decays_it_several_times_as_fast():
    model = hrf("spectral", 1, 4)
    before = kernel_of(model)
    decay_kernels(model, 1e-3, "product")
    assert np.linalg.norm(before - kernel_of(model)) > 5 * 1e-3 * np.linalg.norm(before)


def test_variables_that_are_no_factors_are_stepped_as_by_adam():
    results = []
    for optimizer in (keras.optimizers.Adam(RATE), ScaledAdam(RATE, scale_of=lambda variable: None)):
        model = network(keras.layers.Dense(UNITS, kernel_initializer=keras.initializers.GlorotUniform(3)))
        model.compile(optimizer, "mse")
        model.fit(np.ones((8, D_IN), np.float32), np.zeros((8, UNITS), np.float32), verbose=0, shuffle=False)
        results.append(kernel_of(model))
    np.testing.assert_array_equal(*results)
