"""Ops told from a graph; test_search.py and benchmarks/search.py hold those of whole networks against conversions."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.boards.search.layer_ops import output_shape
from kser.boards.search.lowering import lower
from kser.boards.search.outline import outline
from kser.config import FeatureConfig
from kser.errors import KserError
from kser.export import convert
from kser.export.graph import Graph, new_node, read_graph
from kser.export.rewrites import DEPLOY_PASSES
from kser.models.norms import L2Norm
from kser.models.presets import PRESETS
from kser.tflite import model_file
from kser.tflite.op_graph import Tensor, graph_nodes, multiply_accumulates

FRAMES, MELS = 12, 8


def convert_and_lower(*layers) -> tuple[list, list]:
    """(op, shapes read, shapes written) of a chain of layers between a clip and a classifier: converted, and told."""
    inputs = x = keras.Input((FRAMES, MELS))
    for layer in layers:
        x = layer(x)
    model = keras.Model(inputs, keras.layers.Dense(3, bias_initializer="ones")(keras.layers.GlobalAveragePooling2D()(x)))
    clips = np.random.default_rng(0).standard_normal((2, FRAMES, MELS)).astype(np.float32)
    real = graph_nodes(model_file.parse(convert.to_int8_tflite(model, clips)))
    return shapes(real), shapes(lower(read_graph(model)))


def shapes(nodes) -> list:
    return [(n.op, [t.shape for t in n.inputs if t is not None], [t.shape for t in n.outputs]) for n in nodes]


def dense(units: int, **settings):
    return keras.layers.Dense(units, bias_initializer="ones", **settings)


@pytest.mark.parametrize(
    "layers",
    [
        (keras.layers.Reshape((1, FRAMES, MELS)), dense(6, activation="swish"), keras.layers.Softmax()),
        (keras.layers.Reshape((FRAMES, MELS, 1)), keras.layers.Conv2D(4, 3, 2, bias_initializer="ones", activation="relu")),
        (
            *(keras.layers.Reshape((1, FRAMES, MELS)), keras.layers.ZeroPadding2D(((0, 0), (0, 3)))),
            *(keras.layers.AveragePooling2D((1, 5)), dense(5)),
        ),
        # A reshape that changes nothing is none.
        (keras.layers.Reshape((1, FRAMES, MELS)), L2Norm(), keras.layers.Reshape((1, FRAMES, MELS)), dense(5), L2Norm()),
    ],
    ids=["dense", "convolution", "pooling", "no_reshape"],
)
def test_ops_are_the_converters(layers):
    real, told = convert_and_lower(*layers)
    assert told == real


@pytest.mark.parametrize("backbone, name", PRESETS)
def test_every_preset_is_lowered(backbone, name):
    features = FeatureConfig(clip_seconds=1.0, hop_ms=16.0)
    graph = outline(PRESETS[backbone, name], features, 8)
    for rewrite in DEPLOY_PASSES.values():
        graph = rewrite(graph)
    nodes = lower(graph)
    assert nodes[0].inputs[0].shape == (1, features.num_frames, features.num_mels)
    assert nodes[-1].outputs[0].shape == (1, 8)
    assert multiply_accumulates(nodes) > 0


@pytest.mark.parametrize("width", [99, 100, 300])
def test_wide_norms_are_one_op_too(width):
    real, told = convert_and_lower(keras.layers.Reshape((1, FRAMES, MELS)), dense(width), L2Norm())
    assert told == real and "L2_NORMALIZATION" in str(told)


def test_an_unknown_layer_is_named():
    node = new_node(keras.layers.GRU(4, name="memory"), (("x", 0),))
    with pytest.raises(KserError, match="'memory' is a GRU"):
        lower(Graph("x", (FRAMES, MELS), (node,), ("memory", 0), "net"))


def test_ops_that_lead_nowhere_are_left_out():
    x = ("x", 0)
    kept, left = (new_node(keras.layers.Softmax(name=name), (x,)) for name in ("kept", "left"))
    (node,) = lower(Graph("x", (FRAMES, MELS), (left, kept), ("kept", 0), "net"))
    assert (node.op, node.inputs) == ("SOFTMAX", (Tensor((1, FRAMES, MELS), name="x"),))


def test_shapes_are_kerass():
    layer = keras.layers.Conv2D(4, 3, 2, "same")
    wanted = layer(keras.Input((FRAMES, MELS, 1))).shape
    node = new_node(layer, (("x", 0),), *layer.get_weights())
    assert output_shape(node, [(1, FRAMES, MELS, 1)])[1:] == tuple(wanted[1:])


def test_a_network_may_be_deeper_than_calls_can_be():
    names = [f"layer_{i:04}" for i in range(1500)]
    sources = ["x", *names[:-1]]
    chain = (new_node(keras.layers.Softmax(name=name), ((before, 0),)) for before, name in zip(sources, names, strict=True))
    nodes = lower(Graph("x", (FRAMES, MELS), tuple(chain), (names[-1], 0), "net"))
    assert [node.outputs[0].name for node in nodes] == [f"{name}/Softmax" for name in names]
