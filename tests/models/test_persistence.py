"""Every backbone is saved, loaded and cloned, with HRF and deployed, and folds the same afterwards."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tf_keras as keras

from kser.config import HRFConfig
from kser.export.fold import fold_model
from kser.export.rewrites import deploy_model
from kser.models.inference import predict_logits
from tests.models.test_blocks import SMALL, clips, small_model

HRF = HRFConfig(2, ("both", "attention", "classifier"), depth=2, inner_bias=True)


@pytest.fixture(scope="module", params=sorted(SMALL))
def model(request):
    model = small_model(request.param, HRF)
    rng = np.random.default_rng(1)
    model.set_weights([(w + 0.05 * np.abs(rng.normal(size=w.shape))).astype(np.float32) for w in model.get_weights()])
    return model


def test_a_training_model_is_saved_and_folds_the_same(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(predict_logits(loaded, clips(3)), predict_logits(model, clips(3)))
    for a, b in zip(fold_model(loaded).get_weights(), fold_model(model).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_deployed_model_is_saved(model, tmp_path):
    deployed = deploy_model(fold_model(model), clips(3)).model
    deployed.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(predict_logits(loaded, clips(3)), predict_logits(deployed, clips(3)))


def test_settings_make_the_round_trip_through_json(model):
    config = json.loads(json.dumps(model.get_config()))
    again = keras.Model.from_config(config)
    layers, layers_again = (
        {layer["name"]: layer for layer in json.loads(json.dumps(m.get_config()))["layers"]} for m in (model, again)
    )
    assert layers_again == layers
    for layer in model.layers:
        again.get_layer(layer.name).set_weights(layer.get_weights())
    np.testing.assert_array_equal(predict_logits(again, clips(2)), predict_logits(model, clips(2)))


def test_a_clone_computes_the_same(model):
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(predict_logits(clone, clips(2)), predict_logits(model, clips(2)))
