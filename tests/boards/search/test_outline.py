"""An outline is the graph of the network that would be built, without building it."""

from __future__ import annotations

import dataclasses
import threading
from concurrent import futures

import numpy as np
import pytest

from kser.boards.search.outline import outline
from kser.config import FeatureConfig, HRFConfig
from kser.export.graph import Graph, read_graph
from kser.models.presets import BACKBONES, PRESETS, build_model, plain, preset
from tests.random_networks import random_network

FEATURES = FeatureConfig(clip_seconds=1.0, hop_ms=16.0)


def assert_same(outlined: Graph, built: Graph) -> None:
    assert (outlined.input_shape, outlined.output, outlined.name) == (built.input_shape, built.output, built.name)
    assert {node.name for node in outlined} == {node.name for node in built}
    for node in outlined:
        other = built[node.name]
        assert (node.inputs, node.spec["class_name"]) == (other.inputs, other.spec["class_name"])
        assert settings(node) == settings(other)
        assert [w.shape for w in node.weights] == [w.shape for w in other.weights]


def settings(node) -> dict:
    """A layer's settings; a BatchNormalization that is built counts its axis from the front."""
    return {name: value for name, value in node.config.items() if (node.kind, name) != ("BatchNormalization", "axis")}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_outline_is_what_is_read_from_the_model(backbone):
    for seed in range(2):
        model, features = random_network(np.random.default_rng(seed), backbone)
        assert_same(outline(model, features, 5), read_graph(build_model(model, features, 5)))


def test_an_outline_is_of_the_network_after_the_fold():
    factorized = dataclasses.replace(preset("conformer", "micro"), hrf=HRFConfig(4))
    assert_same(outline(factorized, FEATURES, 4), read_graph(build_model(plain(factorized), FEATURES, 4)))


@pytest.mark.parametrize("backbone, name", PRESETS)
def test_presets_have_as_many_parameters_as_their_models(backbone, name):
    config = preset(backbone, name)
    if name == "large":
        config = dataclasses.replace(config, num_layers=2, stage_layers=(1, 1, 1, 1))
    parameters = sum(w.size for node in outline(config, FEATURES, 4) for w in node.weights)
    assert parameters == build_model(config, FEATURES, 4).count_params()


def test_another_thread_builds_models_meanwhile():
    """Each thread gets what it gets alone: outlines leave Keras as it is for all others."""
    config = dataclasses.replace(preset("conformer", "micro"), num_layers=1)
    wanted = build_model(config, FEATURES, 4).get_config()
    outlined = threading.Event()

    def outline_on_and_on() -> list[Graph]:
        found = []
        while not outlined.is_set():
            found.append(outline(config, FEATURES, 4))
        return found

    with futures.ThreadPoolExecutor(1) as pool:
        outlines = pool.submit(outline_on_and_on)
        try:
            built = [build_model(config, FEATURES, 4) for _ in range(2)]
        finally:
            outlined.set()
    assert all(model.get_config() == wanted for model in built)
    assert built[0](np.zeros((1, FEATURES.num_frames, FEATURES.num_mels), np.float32)).shape == (1, 4)
    assert outlines.result()
    for graph in outlines.result():
        assert_same(graph, read_graph(built[0]))
