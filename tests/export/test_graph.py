"""A model as data and back again, and the edits of a graph."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tf_keras as keras

from kser.config import FeatureConfig
from kser.errors import FoldError
from kser.export.graph import build_graph, new_node, read_graph
from kser.models.inference import predict_logits
from kser.models.presets import PRESETS, build_model

FEATURES = FeatureConfig(clip_seconds=0.6, num_mels=16, hop_ms=20)


def clips(num_clips: int) -> np.ndarray:
    shape = (num_clips, FEATURES.num_frames, FEATURES.num_mels)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def chain():
    """Dense a, Dropout d, Dense b, and Add of a and b."""
    x = keras.Input((6,), name="x")
    a = keras.layers.Dense(4, name="a")(x)
    b = keras.layers.Dense(4, name="b")(keras.layers.Dropout(0.5, name="d")(a))
    return keras.Model(x, keras.layers.Add(name="sum")([a, b]), name="chain")


@pytest.mark.parametrize("backbone", ["conformer", "convtransformer", "speechformer"])
@pytest.mark.parametrize("pooling", ["mean", "statistics"])
def test_a_backbone_makes_the_round_trip(backbone, pooling):
    model = build_model(dataclasses.replace(PRESETS[backbone, "micro"], pooling=pooling), FEATURES, 4)
    graph = read_graph(model)
    again = build_graph(graph)
    assert {n.name for n in read_graph(again)} == {n.name for n in graph} and again.name == model.name
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in again.layers)
    np.testing.assert_array_equal(predict_logits(again, clips(3)), predict_logits(model, clips(3)))


def test_reading_and_editing_leave_the_model_alone(chain):
    before = [w.copy() for w in chain.get_weights()]
    graph = read_graph(chain)
    a = graph["a"]
    edited = graph.replaced(a.with_weights(*(2 * w for w in a.weights)))
    build_graph(edited)
    assert graph["a"] is a and edited["a"] is not a
    for x, y in zip(before, chain.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_readers_and_writers(chain):
    graph = read_graph(chain)
    assert [n.name for n in graph] == ["a", "b", "sum"]  # what Dropout fed reads what it read
    assert {n.name for n in graph.consumers("a")} == {"b", "sum"} and graph.sole_consumer("a") is None
    assert graph.sole_consumer("b").name == "sum" and graph.sole_consumer("sum") is None
    assert graph.producer(("x", 0)) is None and graph.producer(("a", 0)).name == "a"


def test_a_node_is_taken_out_and_put_in(chain):
    graph = read_graph(chain)
    out = graph.without("b")
    assert [n.name for n in out] == ["a", "sum"] and out["sum"].inputs == (("a", 0), ("a", 0))
    put = graph.inserted("a", new_node(keras.layers.ReLU(name="r"), (("a", 0),))).rewired({("b", 0): ("r", 0)}).pruned()
    assert [n.name for n in put] == ["a", "r", "sum"]
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    y = keras.Model(chain.input, chain.get_layer("a").output)(x).numpy()
    np.testing.assert_allclose(build_graph(put)(x), y + np.maximum(y, 0), rtol=1e-6, atol=1e-6)


def _shared():
    x, dense = keras.Input((4,)), keras.layers.Dense(4, name="twice")
    return keras.Model(x, dense(dense(x)))


def _nested():
    x = keras.Input((4,))
    return keras.Model(x, keras.Sequential([keras.layers.Dense(4)], name="inner")(x))


def _two_outputs():
    x = keras.Input((4,))
    return keras.Model(x, [keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_shared, "'twice' is called several times"),
        (_nested, "'inner' contains other"),
        (_two_outputs, "more than one input"),
    ],
)
def test_what_is_no_flat_graph_is_refused(make, message):
    with pytest.raises(FoldError, match=message):
        read_graph(make())
