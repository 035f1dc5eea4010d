"""Factors and offsets go into the Dense layers and convolutions beside them."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.export.graph import read_graph
from kser.models.norms import L2Norm, LayerNorm, RMSNorm
from tests.export.rewrites.rewritten import kinds, rewritten
from tests.networks import network, perturb


def test_no_batch_norm_is_left():
    assert keras.layers.BatchNormalization not in kinds(rewritten(network("conformer"), "batch_norm"))


def _after_an_activation(x):
    return keras.layers.BatchNormalization()(keras.layers.Dense(5, activation="relu", name="d")(x))


def _before_a_dense(x):
    return keras.layers.Dense(5)(keras.layers.BatchNormalization()(keras.layers.ReLU()(x)))


def _with_two_readers(x):
    dense = keras.layers.Dense(5, name="d")(x)
    return keras.layers.Add()([dense, keras.layers.BatchNormalization()(dense)])


def _without_scale_or_bias(x):
    return keras.layers.BatchNormalization(scale=False)(keras.layers.Dense(5, use_bias=False)(x))


@pytest.mark.parametrize(
    ("make", "left"), [(_after_an_activation, 1), (_before_a_dense, 0), (_with_two_readers, 1), (_without_scale_or_bias, 0)]
)
def test_a_batch_norm_goes_where_that_is_exact(make, left):
    inputs = keras.Input((3, 4))
    model = perturb(keras.Model(inputs, make(inputs)))
    result = rewritten(model, "batch_norm")
    assert kinds(result).count(keras.layers.BatchNormalization) == left
    x = np.random.default_rng(0).normal(size=(6, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(result(x), model(x), rtol=1e-5, atol=1e-5)


def test_constants_are_gone():
    graph = read_graph(rewritten(network("conformer", norm="layer"), "constants"))
    assert not [node for node in graph if node.kind == "Scale" or node.config.get("scale") not in (None, 1.0, True)]
    graph = read_graph(rewritten(network("speechformer"), "constants"))
    assert {node.config["scale"] for node in graph if node.kind in ("LocalScores", "AttentionProduct")} == {1.0}


def test_norms_before_dense_layers_lose_their_weights():
    model = rewritten(network("convtransformer", norm="rms", pooling="mean"), "norm_affine")
    assert RMSNorm not in kinds(model) and kinds(model).count(L2Norm) == 3
    model = rewritten(network("convtransformer", norm="layer", pooling="mean"), "norm_affine")
    assert not any(layer.affine for layer in model.layers if isinstance(layer, LayerNorm))
    # After a norm's residual somebody else reads it too.
    post = rewritten(network("convtransformer", norm="rms", norm_position="post", pooling="attention"), "norm_affine")
    assert kinds(post).count(L2Norm) == 0
