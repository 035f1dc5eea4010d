"""A sketch is the graph of the network that would be built, without building it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tf_keras as keras

from kser.boards.search.outline import sketch
from kser.config import FeatureConfig, HRFConfig
from kser.errors import ConfigError
from kser.export.graph import Graph, read_graph
from kser.models.presets import BACKBONES, PRESETS, build_model, plain, preset
from tests.random_networks import random_network

FEATURES = FeatureConfig(clip_seconds=1.0, hop_ms=16.0)


def assert_same(sketched: Graph, built: Graph) -> None:
    assert (sketched.input_shape, sketched.output, sketched.name) == (built.input_shape, built.output, built.name)
    assert {node.name for node in sketched} == {node.name for node in built}
    for node in sketched:
        other = built[node.name]
        assert (node.inputs, node.spec["class_name"]) == (other.inputs, other.spec["class_name"])
        assert settings(node) == settings(other)
        assert [w.shape for w in node.weights] == [w.shape for w in other.weights]


def settings(node) -> dict:
    """A layer's settings; a BatchNormalization that is built counts its axis from the front."""
    return {name: value for name, value in node.config.items() if (node.kind, name) != ("BatchNormalization", "axis")}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_sketch_is_what_is_read_from_the_model(backbone):
    for seed in range(2):
        model, features = random_network(np.random.default_rng(seed), backbone)
        assert_same(sketch(model, features, 5), read_graph(build_model(model, features, 5)))


def test_a_sketch_is_of_the_network_after_the_fold():
    factorized = dataclasses.replace(preset("conformer", "micro"), hrf=HRFConfig(4))
    assert_same(sketch(factorized, FEATURES, 4), read_graph(build_model(plain(factorized), FEATURES, 4)))


@pytest.mark.parametrize("backbone, name", PRESETS)
def test_presets_have_as_many_parameters_as_their_models(backbone, name):
    config = preset(backbone, name)
    if name == "large":
        config = dataclasses.replace(config, num_layers=2, stage_layers=(1, 1, 1, 1))
    parameters = sum(w.size for node in sketch(config, FEATURES, 4) for w in node.weights)
    assert parameters == build_model(config, FEATURES, 4).count_params()


def test_keras_is_as_before_whatever_happens(monkeypatch):
    call = keras.layers.Layer.__call__
    sketch(preset("conformer", "micro"), FEATURES, 4)
    assert keras.layers.Layer.__call__ is call

    def refuse(*_):
        raise ConfigError("no")

    monkeypatch.setitem(BACKBONES, "conformer", dataclasses.replace(BACKBONES["conformer"], logits=refuse))
    with pytest.raises(ConfigError):
        sketch(preset("conformer", "micro"), FEATURES, 4)
    assert keras.layers.Layer.__call__ is call
