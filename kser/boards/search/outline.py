"""The graph of a network from its settings alone, in a fraction of the time it takes to build the Keras model.

The backbones' own functions make it, but on tensors that are shapes: TensorFlow's tracing of each layer, which takes nearly
all the time of a build, is left out, and weights are zeros.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from kser.boards.search.lowering import output_shape
from kser.config import FeatureConfig, ModelConfig
from kser.export.graph import Graph, Node, Ref
from kser.models.blocks import Builder
from kser.models.presets import BACKBONES, plain

INPUT_NAME = "log_mel"


@dataclass(frozen=True)
class _Outline:
    """What a layer needs to know of a tensor to be called on it: (None, ...), and where it comes from."""

    shape: tuple[int | None, ...]
    ref: Ref


def sketch(config: ModelConfig, features: FeatureConfig, num_classes: int) -> Graph:
    """The graph of the network after the fold: what `graph.read_graph` gives of the plain model but for the weights' values.

    Raises:
      ConfigError: the settings make no network.
    """
    config = plain(config)
    clip = _Outline((None, features.num_frames, features.num_mels), (INPUT_NAME, 0))
    nodes: list[Node] = []

    def call(layer: keras.layers.Layer, inputs) -> _Outline:
        if isinstance(layer, keras.layers.Dropout):
            return inputs
        sources = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        spec = keras.layers.serialize(layer)
        weights = tuple(np.zeros(shape) for shape in _weight_shapes(spec["class_name"], layer, sources[0].shape))
        nodes.append(Node(layer.name, spec, tuple(x.ref for x in sources), weights))
        shape = output_shape(nodes[-1], [(1, *x.shape[1:]) for x in sources])
        return _Outline((None, *shape[1:]), (layer.name, 0))

    with _layers_called_by(call):
        output = BACKBONES[config.backbone].logits(Builder(config, features, seed=0), clip, num_classes)
    return Graph(INPUT_NAME, clip.shape[1:], tuple(nodes), output.ref, config.backbone)


@contextlib.contextmanager
def _layers_called_by(call: Callable) -> Iterator[None]:
    """Within, `layer(inputs)` is `call(layer, inputs)` for every layer, on all threads."""
    original = keras.layers.Layer.__call__
    keras.layers.Layer.__call__ = call
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = original


def _weight_shapes(kind: str, layer: keras.layers.Layer, shape: tuple) -> list[tuple[int, ...]]:
    """Shapes of a layer's weights, in the order of its `get_weights`."""
    dim = shape[-1]
    if kind == "Dense":
        return [(dim, layer.units), (layer.units,)]
    if kind == "Conv2D":
        return [(*layer.kernel_size, dim, layer.filters), *[(layer.filters,)] * layer.use_bias]
    if kind == "DepthwiseConv2D":
        return [(*layer.kernel_size, dim, 1), *[(dim,)] * layer.use_bias]
    return [(dim,)] * {"BatchNormalization": 4, "LayerNorm": 2, "RMSNorm": 1}.get(kind, 0)
