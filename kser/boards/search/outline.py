"""The graph of a network from its settings alone, in a fraction of the time needed to build the Keras model.

The backbones' own functions make it, but on shapes instead of tensors: this avoids TensorFlow's tracing of each layer, which
takes nearly all the time of a build. Weights are zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from kser.boards.search.layer_ops import output_shape
from kser.config import FeatureConfig, ModelConfig
from kser.export.graph import Graph, Node, Ref
from kser.models.blocks import Builder
from kser.models.presets import BACKBONES, plain

INPUT_NAME = "log_mel"


def outline(config: ModelConfig, features: FeatureConfig, num_classes: int) -> Graph:
    """The graph of the folded network: equal to `graph.read_graph` of the plain model except for the weights' values.

    Raises:
      ConfigError: the settings make no network.
    """
    config = plain(config)
    builder = _OutlineBuilder(config, features, seed=0)
    clip = _Outline((None, features.num_frames, features.num_mels), (INPUT_NAME, 0))
    output = BACKBONES[config.backbone].logits(builder, clip, num_classes)
    return Graph(INPUT_NAME, clip.shape[1:], tuple(builder.nodes), output.ref, config.backbone)


@dataclass(frozen=True)
class _Outline:
    """A stand-in for a tensor: its shape (None, ...) and its origin."""

    shape: tuple[int | None, ...]
    ref: Ref


class _OutlineBuilder(Builder):
    """Records a node for each layer instead of calling it."""

    def __init__(self, config: ModelConfig, features: FeatureConfig, seed: int):
        super().__init__(config, features, seed)
        self.nodes: list[Node] = []

    def apply(self, layer: keras.layers.Layer, inputs: _Outline | list[_Outline]) -> _Outline:
        if isinstance(layer, keras.layers.Dropout):
            return inputs
        sources = inputs if isinstance(inputs, list) else [inputs]
        spec = keras.layers.serialize(layer)
        weights = tuple(np.zeros(shape) for shape in _weight_shapes(spec["class_name"], layer, sources[0].shape))
        node = Node(layer.name, spec, tuple(x.ref for x in sources), weights)
        self.nodes.append(node)
        shape = output_shape(node, [(1, *x.shape[1:]) for x in sources])
        return _Outline((None, *shape[1:]), (layer.name, 0))


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
