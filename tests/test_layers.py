"""The leaf layers: against their formulas in float64, against Keras' own, and in training."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_INIT
from kser.errors import ConfigError
from kser.layers import AttentionProduct, HRFDense, LayerNorm, RMSNorm, Scale

INPUT_DIM, UNITS, EXPANSION = 6, 5, 3
RANK = EXPANSION * INPUT_DIM


def inputs(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


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


def randomize(layer: keras.layers.Layer, seed: int = 1) -> None:
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in layer.get_weights()])


# --- HRFDense ---------------------------------------------------------------------------------------------------------


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


def test_hrf_dense_refuses_an_unknown_start():
    with pytest.raises(ConfigError, match="spectral, identity, glorot, not 'zeros'"):
        HRFDense(UNITS, EXPANSION, "zeros")


# --- Norms, products --------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_attention_product_is_the_scaled_sum_over_the_last_axes(scale):
    left, right = inputs(2, 3, 5, 4), inputs(2, 3, 6, 4, seed=1)
    expected = scale * np.einsum("bhnd,bhmd->bhnm", left.astype(np.float64), right)
    np.testing.assert_allclose(AttentionProduct(scale)([left, right]), expected, rtol=1e-5, atol=1e-6)


def test_scale():
    x = inputs(2, 3)
    np.testing.assert_array_equal(Scale(0.5)(x), 0.5 * x)


# --- Settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        HRFDense(UNITS, EXPANSION, "identity", True, "swish", keras.initializers.GlorotUniform(7), name="h"),
        LayerNorm(1e-3, name="l"),
        RMSNorm(1e-3, name="r"),
        AttentionProduct(0.5, name="a"),
        Scale(0.5, name="s"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_settings_make_the_round_trip(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


def test_a_model_of_these_layers_is_saved_and_loaded(tmp_path):
    x = keras.Input((3, INPUT_DIM))
    hidden = RMSNorm()(LayerNorm()(HRFDense(UNITS, EXPANSION, inner_bias=True, activation="relu")(x)))
    model = keras.Model(x, Scale(0.5)(AttentionProduct(0.5)([hidden, hidden])))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clip = inputs(2, 3, INPUT_DIM)
    np.testing.assert_array_equal(loaded(clip), model(clip))
