"""The leaf layers: against their formulas in float64, against Keras' own, and in training."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_INIT
from kser.errors import ConfigError
from kser.models.layers import (
    AddPositions,
    AttentionProduct,
    Deviation,
    HRFDense,
    L2Norm,
    LayerNorm,
    LocalMix,
    LocalScores,
    RMSNorm,
    Scale,
    Split,
    block_size,
    hard_swish,
    sinusoid,
)

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


# --- Local attention --------------------------------------------------------------------------------------------------

LOCAL_CASES = [(40, 5), (23, 5), (50, 9), (10, 9), (3, 9), (1, 5), (131, 9), (12, 1), (247, 5)]


def windows(x: np.ndarray, window: int) -> np.ndarray:
    """(batch, heads, tokens, d) to (batch, heads, tokens, window, d), zeros outside the clip."""
    padded = np.pad(x, ((0, 0), (0, 0), (window // 2, window // 2), (0, 0)))
    return np.stack([padded[:, :, i : i + window] for i in range(x.shape[2])], axis=2)


def tokens_first(blocks: np.ndarray, heads: int, num_tokens: int) -> np.ndarray:
    """(batch * heads, blocks, block, n) to (batch, heads, tokens, n)."""
    return blocks.reshape(-1, heads, blocks.shape[1] * blocks.shape[2], blocks.shape[3])[:, :, :num_tokens]


@pytest.mark.parametrize(("num_tokens", "window"), LOCAL_CASES)
def test_local_scores_are_those_of_single_windows(num_tokens, window):
    queries, keys = inputs(2, 3, num_tokens, 4), inputs(2, 3, num_tokens, 4, seed=1)
    scores = LocalScores(window, 0.5)([queries, keys]).numpy()
    expected = 0.5 * np.einsum("bhtd,bhtwd->bhtw", queries, windows(keys, window))
    np.testing.assert_allclose(tokens_first(scores, 3, num_tokens), expected, rtol=1e-5, atol=1e-5)
    assert scores.shape[2] == block_size(num_tokens, window) and scores.shape[3] == window


@pytest.mark.parametrize(("num_tokens", "window"), LOCAL_CASES)
def test_local_attention_is_that_of_single_windows(num_tokens, window):
    queries, keys, values = (inputs(2, 3, num_tokens, 4, seed=seed) for seed in range(3))
    weights = tf.nn.softmax(LocalScores(window)([queries, keys]))
    scores = np.einsum("bhtd,bhtwd->bhtw", queries, windows(keys, window))
    expected = np.einsum("bhtw,bhtwd->bhtd", tf.nn.softmax(scores), windows(values, window))
    np.testing.assert_allclose(LocalMix(window)([weights, values]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [0, 4, -3])
def test_a_window_that_has_no_middle_is_refused(window):
    with pytest.raises(ConfigError, match=f"odd and positive, not {window}"):
        LocalScores(window)


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
        HRFDense(UNITS, EXPANSION, depth=3, form="layers", activation=hard_swish, name="d"),
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
    hidden = RMSNorm()(LayerNorm()(HRFDense(UNITS, EXPANSION, inner_bias=True, activation="relu")(x)))
    model = keras.Model(x, Scale(0.5)(AttentionProduct(0.5)([hidden, hidden])))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clip = inputs(2, 3, INPUT_DIM)
    np.testing.assert_array_equal(loaded(clip), model(clip))
