"""The fold: exact for every kind of HRFDense, in a new model, complete or refused, and proven by bounds that bite."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_INIT, HRFConfig
from kser.errors import FoldError
from kser.export import fold
from kser.export.fold import fold_model, foldable_layers, prove, weights_hash
from kser.models.hrf import HRFDense
from kser.models.inference import predict_logits
from kser.models.presets import build_model, plain
from tests import tiny

NUM_CLASSES = 5
KINDS = [(init, inner_bias, depth) for init in HRF_INIT for inner_bias in (False, True) for depth in (1, 2, 3)]


def clips(num_clips: int = 32) -> np.ndarray:
    shape = (num_clips, tiny.FEATURES.num_frames, tiny.FEATURES.num_mels)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def tiny_model(hrf: HRFConfig) -> keras.Model:
    return build_model(dataclasses.replace(tiny.MODEL, hrf=hrf), tiny.FEATURES, NUM_CLASSES)


def perturb(model: keras.Model) -> None:
    """Moves every weight off its start, norms and biases too, so that nothing hides behind ones and zeros."""
    rng = np.random.default_rng(1)
    model.set_weights([(w + 0.2 * np.abs(rng.normal(size=w.shape))).astype(np.float32) for w in model.get_weights()])


def scale_logits(model: keras.Model, size: float) -> None:
    """Brings the largest logit to `size`."""
    classifier = model.get_layer("classifier")
    factor = size / np.abs(predict_logits(model, clips())).max()
    classifier.set_weights([factor * w for w in classifier.get_weights()])


@pytest.fixture(scope="module")
def plain_model():
    return build_model(plain(tiny.MODEL), tiny.FEATURES, NUM_CLASSES)


@pytest.fixture(scope="module")
def model():
    model = tiny_model(HRFConfig(4, inner_bias=True))
    perturb(model)
    return model


@pytest.fixture
def folded(model):
    """Folded anew for each test, for some change it."""
    return fold_model(model)


def weights_of(model: keras.Model) -> list[np.ndarray]:
    return [w.copy() for w in model.get_weights()]


# --- One layer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("init", "inner_bias", "depth"), KINDS)
def test_one_layer_folds_to_the_product_rounded_once(init, inner_bias, depth):
    layer = HRFDense(9, "swish", expansion=4, hrf_init=init, inner_bias=inner_bias, depth=depth, name="dense")
    layer.build((None, 7))
    rng = np.random.default_rng(2)
    layer.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in layer.get_weights()])
    folded = layer.folded()
    exact = [w.astype(np.longdouble) for w in layer.get_weights()]
    kernel, bias = np.eye(7, dtype=np.longdouble), np.zeros(28 if inner_bias else 9, np.longdouble)
    for i, factor in enumerate(exact[: depth + 1]):
        kernel = kernel @ factor
        bias = (bias @ factor if i and inner_bias else bias) + (exact[depth + 1 + i] if inner_bias else 0)
    bias = bias if inner_bias else exact[-1]
    for value, expected in zip(folded.get_weights(), (kernel, bias), strict=True):
        assert value.dtype == np.float32
        # Half a unit in the last place of float32, plus float64 sums that cancel.
        np.testing.assert_array_less(np.abs(value - expected), 2.0**-24 * np.abs(expected) + 1e-10)
    assert type(folded) is keras.layers.Dense and folded.name == "dense"
    assert folded.activation is keras.activations.swish


# --- The pass ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("init", "inner_bias", "depth"), KINDS)
def test_a_folded_network_decides_the_same(init, inner_bias, depth, plain_model):
    model = tiny_model(HRFConfig(2, init=init, inner_bias=inner_bias, depth=depth))
    perturb(model)
    scale_logits(model, size=10)
    folded = fold_model(model)
    proof = prove(model, folded, plain_model, clips())
    assert proof.max_logit_difference <= 1e-5 and proof.argmax_agreement == 1 and proof.clips == 32
    assert proof.parameters_after == proof.parameters_plain < proof.parameters_before
    assert np.abs(predict_logits(folded, clips())).max() == pytest.approx(10, rel=1e-4)


def test_a_fold_keeps_names_and_shapes_and_leaves_plain_layers_only(model, folded, plain_model):
    assert [layer.name for layer in folded.layers] == [layer.name for layer in model.layers]
    assert [type(layer) for layer in folded.layers] == [type(layer) for layer in plain_model.layers]
    assert [w.shape for w in folded.get_weights()] == [w.shape for w in plain_model.get_weights()]
    assert foldable_layers(folded) == [] and len(foldable_layers(model)) == 2
    assert folded.input_shape == model.input_shape and folded.output_shape == model.output_shape


def test_a_fold_leaves_its_model_alone(model):
    before = weights_of(model)
    folded = fold_model(model)
    assert not {id(layer) for layer in folded.layers} & {id(layer) for layer in model.layers}
    folded.set_weights([np.zeros_like(w) for w in folded.get_weights()])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_plain_network_folds_to_its_copy(plain_model):
    folded = fold_model(plain_model)
    np.testing.assert_array_equal(predict_logits(folded, clips()), predict_logits(plain_model, clips()))


def test_a_folded_network_folds_to_itself(folded):
    for a, b in zip(fold_model(folded).get_weights(), folded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_layer_used_twice_is_folded_once():
    shared = HRFDense(6, "relu", expansion=3, inner_bias=True, name="shared")
    x = keras.Input((4, 6))
    model = keras.Model(x, keras.layers.Dense(3, name="out")(shared(shared(x))))
    perturb(model)
    folded = fold_model(model)
    assert [layer.name for layer in folded.layers].count("shared") == 1
    assert folded.count_params() == 6 * 6 + 6 + 6 * 3 + 3
    values = np.random.default_rng(0).normal(size=(5, 4, 6)).astype(np.float32)
    np.testing.assert_allclose(folded(values), model(values), rtol=1e-5, atol=1e-4)  # sums of values up to 10


# --- The proof --------------------------------------------------------------------------------------------------------


def change(model: keras.Model, name: str, index: int, delta) -> None:
    weights = model.get_layer(name).get_weights()
    weights[index] += np.float32(delta)
    model.get_layer(name).set_weights(weights)


@pytest.mark.parametrize(
    ("layer", "index", "delta"),
    [("classifier", 1, 1e-3), ("block_0_ffn_first", 1, 0.1), ("block_0_ffn_second", 0, 0.01), ("block_0_ffn_norm", 0, 0.01)],
)
def test_a_changed_weight_breaks_the_proof(model, folded, plain_model, layer, index, delta):
    change(folded, layer, index, delta)
    with pytest.raises(FoldError, match=r"not exact: .*a logit changed by .*, more than 1e-05.*Nothing was written"):
        prove(model, folded, plain_model, clips())


def test_a_fold_that_forgets_the_inner_bias_is_refused(model, monkeypatch):
    right = HRFDense.folded_weights
    monkeypatch.setattr(HRFDense, "folded_weights", lambda layer: [right(layer)[0], layer.get_weights()[-1]])
    with pytest.raises(FoldError, match="Cannot fold block_0_ffn_first"):
        fold_model(model)


def test_a_changed_decision_breaks_the_proof_by_itself(model, folded, plain_model, monkeypatch):
    monkeypatch.setattr(fold, "MAX_FOLD_DIFFERENCE", np.inf)
    weakest = predict_logits(model, clips()).argmin(1)[0]
    delta = np.zeros(NUM_CLASSES)
    delta[weakest] = 1e6
    change(folded, "classifier", 1, delta)
    with pytest.raises(FoldError, match=r"not exact: the decision changed on \d+\.\d+% of 32 clips. Nothing"):
        prove(model, folded, plain_model, clips())


def test_a_wrong_number_of_parameters_breaks_the_proof_by_itself(model, folded):
    with pytest.raises(FoldError, match=r"not exact: there are \d+ parameters where the plain network has \d+. Nothing"):
        prove(model, folded, plain=model, features=clips(2))


def test_every_folded_layer_is_in_the_proof(model, folded, plain_model):
    proof = prove(model, folded, plain_model, clips(2))
    assert [layer.name for layer in proof.layers] == foldable_layers(model)
    for layer in proof.layers:
        assert layer.depth == 1 and 0 < layer.max_kernel_difference <= layer.bound < 1e-6
    assert proof.sha256_before == weights_hash(model) != proof.sha256_after == weights_hash(folded)


def test_a_kernel_off_by_more_than_rounding_breaks_the_proof_by_itself(model, folded, plain_model, monkeypatch):
    monkeypatch.setattr(fold, "MAX_FOLD_DIFFERENCE", np.inf)
    change(folded, "block_0_ffn_first", 0, 1e-6)
    with pytest.raises(FoldError, match="the kernel or bias of block_0_ffn_first differs by .*Nothing was written"):
        prove(model, folded, plain_model, clips(2))


def test_a_corrupt_bias_breaks_the_proof_by_itself(model, folded, plain_model, monkeypatch):
    monkeypatch.setattr(fold, "MAX_FOLD_DIFFERENCE", np.inf)
    change(folded, "block_0_ffn_second", 1, 1e-5)
    with pytest.raises(FoldError, match="the kernel or bias of block_0_ffn_second differs"):
        prove(model, folded, plain_model, clips(2))


def test_a_nonlinearity_between_the_factors_is_refused(monkeypatch):
    def call(layer, inputs):
        inner = tf.nn.relu(tf.tensordot(inputs, layer.factors[0], 1))
        return layer.activation(tf.tensordot(inner, layer.factors[1], 1) + layer.bias)

    monkeypatch.setattr(HRFDense, "call", call)
    with pytest.raises(FoldError, match="Cannot fold block_0_ffn_first"):
        fold_model(tiny_model(HRFConfig(4)))


def test_a_layer_left_unfolded_breaks_the_proof():
    x = keras.Input((6,))
    left = keras.Model(x, HRFDense(3, expansion=2, name="left")(x))
    features = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    with pytest.raises(FoldError, match="left was not folded"):
        prove(left, left, left, features)


def test_a_hash_is_of_names_shapes_and_values(folded):
    before = weights_hash(folded)
    assert before == weights_hash(folded)
    change(folded, "classifier", 0, 1e-7)
    assert weights_hash(folded) != before


def test_nan_breaks_the_proof(model, folded, plain_model):
    change(folded, "classifier", 1, np.nan)
    with pytest.raises(FoldError, match="a logit changed by nan"):
        prove(model, folded, plain_model, clips(2))


def test_nan_on_both_sides_breaks_the_proof(plain_model):
    broken = fold_model(plain_model)
    change(broken, "classifier", 0, np.nan)
    with pytest.raises(FoldError, match="a logit changed by nan"):
        prove(broken, broken, plain_model, clips(2))


def test_the_bound_of_a_logit_grows_with_the_logits():
    """Rounding is relative: the same network with logits a hundred times as large is as exact."""
    model = tiny_model(HRFConfig(4))
    perturb(model)
    scale_logits(model, 5.0)
    small = prove(model, fold_model(model), None, clips())
    scale_logits(model, 1000.0)
    large = prove(model, fold_model(model), None, clips())
    assert small.bound == pytest.approx(1e-5) and large.bound == pytest.approx(1e-3, rel=1e-3)
    assert 1e-5 < large.max_logit_difference <= large.bound
