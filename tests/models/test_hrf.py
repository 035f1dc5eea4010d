"""HRFDense: the function it computes, its starts and its forms, and that it takes the place of a Dense."""

from __future__ import annotations

import inspect
import operator

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_INIT
from kser.errors import ConfigError
from kser.models.hrf import HRFDense
from tests.models.hrf_layers import EXPANSION, INPUT_DIM, RANK, UNITS, glorot, hrf_dense, train
from tests.models.leaf_layers import inputs, randomize


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


def test_hrf_dense_shapes():
    layer = hrf_dense(inner_bias=True)
    assert [w.shape for w in layer.get_weights()] == [(INPUT_DIM, RANK), (RANK, UNITS), (RANK,), (UNITS,)]
    assert layer(inputs(2, 3, 4, INPUT_DIM)).shape == layer.compute_output_shape((2, 3, 4, INPUT_DIM)) == (2, 3, 4, UNITS)


@pytest.mark.parametrize("expansion", [0, -1])
def test_hrf_dense_refuses_an_expansion_below_one(expansion):
    with pytest.raises(ConfigError, match=f"expansion >= 1, not {expansion}"):
        HRFDense(UNITS, expansion=expansion)


def test_hrf_dense_refuses_a_depth_below_one_and_an_unknown_form():
    with pytest.raises(ConfigError, match="depth >= 1, not 0"):
        HRFDense(UNITS, depth=0)
    with pytest.raises(ConfigError, match="form must be one of product, layers, not 'chain'"):
        HRFDense(UNITS, form="chain")


def test_hrf_dense_refuses_an_unknown_start():
    with pytest.raises(ConfigError, match="spectral, identity, glorot, not 'zeros'"):
        HRFDense(UNITS, hrf_init="zeros")


@pytest.mark.parametrize("inner_bias", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_both_forms_are_the_same_function_with_the_same_gradients(depth, inner_bias):
    product, chain = (
        HRFDense(5, "swish", expansion=3, inner_bias=inner_bias, depth=depth, form=form) for form in ("product", "layers")
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


# --- In the place of a Dense ------------------------------------------------------------------------------------------


def settings_of(**settings) -> tuple[keras.layers.Dense, HRFDense]:
    """A Dense and an HRFDense of these settings, the second starting as the first; both built."""
    layers = keras.layers.Dense(UNITS, **settings), HRFDense(UNITS, expansion=EXPANSION, hrf_init="identity", **settings)
    for layer in layers:
        layer.build((None, INPUT_DIM))
    return layers


def test_all_arguments_of_dense_are_taken_in_the_same_order():
    own, dense = (list(inspect.signature(c.__init__).parameters) for c in (HRFDense, keras.layers.Dense))
    assert own[: len(dense) - 1] == dense[:-1] and own[-1] == dense[-1] == "kwargs"


def test_the_fold_has_the_settings_of_dense():
    settings = {
        "kernel_initializer": keras.initializers.HeNormal(1),
        "bias_initializer": keras.initializers.Constant(0.3),
        "kernel_regularizer": keras.regularizers.L2(0.01),
        "bias_regularizer": keras.regularizers.L1(0.02),
        "activity_regularizer": keras.regularizers.L2(0.03),
        "kernel_constraint": keras.constraints.MaxNorm(2),
        "bias_constraint": keras.constraints.NonNeg(),
        "dtype": "float64",
        "trainable": False,
        "name": "all",
    }
    dense, layer = settings_of(activation="tanh", **settings)
    assert layer.folded().get_config() == dense.get_config()
    again = HRFDense.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_without_a_bias_there_is_none():
    dense, layer = settings_of(use_bias=False, kernel_initializer=glorot())
    assert [w.shape for w in layer.get_weights()] == [(INPUT_DIM, RANK), (RANK, UNITS)]
    np.testing.assert_allclose(layer(inputs(3, INPUT_DIM)), dense(inputs(3, INPUT_DIM)), rtol=1e-5, atol=1e-6)
    assert not layer.folded().use_bias and len(layer.folded().get_weights()) == 1
    with pytest.raises(ConfigError, match="inner_bias=True with use_bias=False"):
        HRFDense(UNITS, use_bias=False, inner_bias=True)


@pytest.mark.parametrize("inner_bias", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
def test_penalties_are_those_of_the_folded_layer(depth, inner_bias):
    penalties = {"kernel_regularizer": keras.regularizers.L1L2(0.1, 0.2), "bias_regularizer": keras.regularizers.L2(0.3)}
    layer = hrf_dense(depth=depth, inner_bias=inner_bias, activity_regularizer=keras.regularizers.L2(0.4), **penalties)
    randomize(layer)
    dense = layer.folded()
    x = inputs(3, INPUT_DIM)
    layer(x), dense(x)
    np.testing.assert_allclose(sum(layer.losses), sum(dense.losses), rtol=1e-5)
    assert len(layer.losses) == len(dense.losses) == 3


def test_a_regularizer_is_felt_in_training():
    with_penalty, without = (hrf_dense(kernel_regularizer=r) for r in (keras.regularizers.L2(1.0), None))
    norms = [np.linalg.norm(train(layer).layers[0].effective_kernel()) for layer in (with_penalty, without)]
    assert norms[0] < 0.5 * norms[1]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("optimizer", ["SGD", "legacy.SGD"])
def test_a_constraint_holds_for_the_product_after_every_step(depth, optimizer):
    constraints = {"kernel_constraint": keras.constraints.UnitNorm(), "bias_constraint": keras.constraints.NonNeg()}
    layer = hrf_dense(depth=depth, inner_bias=True, **constraints)
    model = keras.Sequential([keras.Input((INPUT_DIM,)), layer])
    model.compile(operator.attrgetter(optimizer)(keras.optimizers)(0.1), "mse")
    for _ in range(3):
        model.fit(inputs(64, INPUT_DIM), 3 * inputs(64, UNITS, seed=1) - 1, batch_size=32, verbose=0)
        kernel, bias = (w.numpy() for w in (layer.effective_kernel(), layer.effective_bias()))
        np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, rtol=1e-4)
        assert bias.min() > -1e-6
    assert layer.folded().kernel_constraint is layer.kernel_constraint


def test_a_constraint_that_holds_changes_nothing():
    free, held = (hrf_dense(kernel_constraint=c) for c in (None, keras.constraints.MaxNorm(1e3)))
    for a, b in zip(train(free).get_weights(), train(held).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("policy", "variables", "outputs"), [("mixed_float16", "float32", "float16"), ("float64",) * 3])
@pytest.mark.parametrize("form", ["product", "layers"])
def test_dtype_policies(policy, variables, outputs, form):
    layer = hrf_dense(form=form, inner_bias=True, dtype=policy)
    assert {w.dtype for w in layer.get_weights()} == {np.dtype(variables)}
    model = train(layer)
    dense = layer.folded()
    x = inputs(3, INPUT_DIM)
    assert model(x).dtype == dense(x).dtype == outputs
    assert (dense.dtype_policy.name, dense.kernel.dtype) == (policy, variables)
    tolerance = 1e-2 if outputs == "float16" else 1e-12
    np.testing.assert_allclose(dense(x), layer(x), rtol=tolerance, atol=tolerance)


def test_unknown_lengths_and_masks_pass_as_through_a_dense():
    x = keras.Input((None, INPUT_DIM))
    assert HRFDense(UNITS)(x).shape.as_list() == keras.layers.Dense(UNITS)(x).shape.as_list() == [None, None, UNITS]
    masked = HRFDense(UNITS)(keras.layers.Masking()(x))
    assert masked._keras_mask is not None
    with pytest.raises(ConfigError, match="last dimension is known"):
        HRFDense(UNITS)(keras.Input((3, None)))


def test_integers_are_taken():
    layer = hrf_dense()
    np.testing.assert_allclose(layer(np.ones((2, INPUT_DIM), np.int32)), layer(np.ones((2, INPUT_DIM), np.float32)))


def test_combinations_that_make_no_sense_are_told():
    with pytest.warns(UserWarning, match="'glorot' ignores its kernel_initializer"):
        HRFDense(UNITS, kernel_initializer="he_normal", hrf_init="glorot")
    with pytest.warns(UserWarning, match="'zero': its kernel starts at zero, .* never learn; choose 'identity'"):
        HRFDense(UNITS, kernel_initializer="zeros", name="zero").build((None, INPUT_DIM))


def test_a_saved_layer_of_the_module_it_was_in_before_is_read(tmp_path):
    config = keras.saving.serialize_keras_object(hrf_dense(depth=2))
    old = {k: config["config"][k] for k in ("name", "trainable", "dtype", "units", "expansion", "hrf_init", "inner_bias")}
    old |= {k: config["config"][k] for k in ("activation", "kernel_initializer", "depth", "form")}
    layer = keras.saving.deserialize_keras_object({**config, "module": "kser.models.layers", "config": old})
    assert type(layer) is HRFDense and layer.depth == 2 and layer.use_bias and config["registered_name"] == "kser>HRFDense"
