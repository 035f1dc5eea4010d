"""A flat Functional model as plain data that rewrites can edit: nodes with settings, inputs and float64 weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.errors import FoldError
from kser.models.inference import BATCH_CLIPS

# A tensor: the name of the node that computes it, and the index of the output.
Ref = tuple[str, int]
DENSE_KINDS = ("Dense", "HRFDense")


@dataclass(frozen=True)
class Node:
    """A layer that is called once. `spec` is its keras.layers.serialize; `weights` are in the order of set_weights."""

    name: str
    spec: dict
    inputs: tuple[Ref, ...]
    weights: tuple[np.ndarray, ...] = ()

    @property
    def kind(self) -> str:
        return self.spec["class_name"]

    @property
    def config(self) -> dict:
        return self.spec["config"]

    def with_config(self, **changes) -> Node:
        return dataclasses.replace(self, spec={**self.spec, "config": {**self.config, **changes}})

    def with_weights(self, *weights: np.ndarray) -> Node:
        return dataclasses.replace(self, weights=weights)

    def is_linear(self, *kinds: str) -> bool:
        """Whether the node is a layer of one of these kinds, without an activation."""
        return self.kind in kinds and self.config.get("activation", "linear") in ("linear", None)


def new_node(layer: keras.layers.Layer, inputs: tuple[Ref, ...], *weights: np.ndarray) -> Node:
    """A node from a newly made layer."""
    return Node(layer.name, keras.layers.serialize(layer), inputs, weights)


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order; `input_shape` without the batch."""

    input_name: str
    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]
    output: Ref
    name: str

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def producer(self, ref: Ref) -> Node | None:
        """The node that computes a tensor; None for the network's input."""
        return next((node for node in self.nodes if node.name == ref[0]), None)

    def consumers(self, name: str) -> list[Node]:
        """The nodes that read any output of the node `name`."""
        return [node for node in self.nodes if any(source == name for source, _ in node.inputs)]

    def sole_consumer(self, name: str) -> Node | None:
        """The only node that reads the node `name`; None if there are several or it is the network's output."""
        consumers = self.consumers(name)
        return consumers[0] if len(consumers) == 1 and self.output[0] != name else None

    def width(self, node: Node) -> int:
        """The last dimension of a tensor, found from the weights of the nodes before it."""
        while node is not None and not node.weights:
            node = self.producer(node.inputs[0])
        return node.weights[-1].shape[-1]

    def replaced(self, *nodes: Node) -> Graph:
        """The graph with these nodes in place of those of the same names."""
        new = {node.name: node for node in nodes}
        return dataclasses.replace(self, nodes=tuple(new.get(node.name, node) for node in self.nodes))

    def without(self, name: str) -> Graph:
        """The graph without the node `name`; its readers read its input instead."""
        source = self[name].inputs[0]
        return self.rewired({(name, 0): source}).pruned()

    def rewired(self, refs: dict[Ref, Ref]) -> Graph:
        """The graph with tensors replaced: readers of a key read its value."""
        nodes = (dataclasses.replace(n, inputs=tuple(refs.get(ref, ref) for ref in n.inputs)) for n in self.nodes)
        return dataclasses.replace(self, nodes=tuple(nodes), output=refs.get(self.output, self.output))

    def inserted(self, after: str, *nodes: Node) -> Graph:
        """The graph with `nodes` inserted directly after the node `after`."""
        return self._with_nodes_at(self._index(after) + 1, nodes)

    def inserted_before(self, name: str, *nodes: Node) -> Graph:
        """The graph with `nodes` inserted directly before the node `name`."""
        return self._with_nodes_at(self._index(name), nodes)

    def _index(self, name: str) -> int:
        return next(i for i, node in enumerate(self.nodes) if node.name == name)

    def _with_nodes_at(self, index: int, nodes: tuple[Node, ...]) -> Graph:
        return dataclasses.replace(self, nodes=(*self.nodes[:index], *nodes, *self.nodes[index:]))

    def dropped(self, name: str) -> Graph:
        """The graph without the node `name`; the caller must add another node of that name for its readers."""
        return dataclasses.replace(self, nodes=tuple(node for node in self.nodes if node.name != name))

    def pruned(self) -> Graph:
        """The graph without the nodes that nothing reads."""
        alive, kept = {self.output[0]}, []
        for node in reversed(self.nodes):
            if node.name in alive:
                kept.append(node)
                alive |= {source for source, _ in node.inputs}
        return dataclasses.replace(self, nodes=tuple(reversed(kept)))


def read_graph(model: keras.Model) -> Graph:
    """The inference graph of a flat Functional model, without Dropout.

    Raises:
      FoldError: the model is subclassed or nested, shares a layer between two places, calls one with arguments besides its
        inputs, or has several inputs or outputs.
    """
    model = _functional(model)
    config = model.get_config()
    if len(config["input_layers"]) != 1 or len(config["output_layers"]) != 1:
        raise FoldError(
            f"Model '{model.name}' has more than one input or output; only a flat graph with one of each can be rewritten."
        )
    nodes = []
    for entry in config["layers"]:
        layer = model.get_layer(entry["name"])
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if len(entry["inbound_nodes"]) != 1:
            raise FoldError(f"Layer '{layer.name}' is called several times; a shared layer cannot be rewritten.")
        if isinstance(layer, (keras.Model, keras.layers.Wrapper)):
            raise FoldError(f"Layer '{layer.name}' contains other layers; only a flat graph can be rewritten.")
        inputs = _inputs(layer.name, entry["inbound_nodes"][0])
        weights = tuple(w.astype(np.float64) for w in layer.get_weights())
        nodes.append(Node(layer.name, keras.layers.serialize(layer), inputs, weights))
    output = config["output_layers"][0]
    graph = Graph(
        config["input_layers"][0][0], tuple(model.input_shape[1:]), tuple(nodes), (output[0], output[2]), model.name
    )
    for node in nodes:
        if node.kind == "Dropout":
            graph = graph.without(node.name)
    return graph


def _functional(model: keras.Model) -> keras.Model:
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    if not getattr(model, "_is_graph_network", False):
        raise FoldError(f"Model '{model.name}' is not a Functional model; only a flat graph can be rewritten.")
    return model


def _inputs(name: str, entries: list) -> tuple[Ref, ...]:
    """The inputs of a layer's only call. Keras lists operators' calls differently, and they may have constant arguments."""
    if any(isinstance(entry, str) or entry[3:] not in ([], [{}]) for entry in entries):
        raise FoldError(f"Layer '{name}' is called with arguments besides its inputs; it cannot be rewritten.")
    return tuple((source, index) for source, _, index, *_ in entries)


# What calls a node instead of its layer, which is built and has its weights.
Around = Callable[[Node, keras.layers.Layer], Callable]


def _layer_itself(node: Node, layer: keras.layers.Layer) -> Callable:
    return layer


def build_graph(graph: Graph, around: Around = _layer_itself) -> keras.Model:
    """The Keras model of a graph, with weights cast to float32.

    Args:
      around: wraps a node's layer; the result is called instead of the layer.
    """
    inputs = keras.Input(graph.input_shape, name=graph.input_name)
    return keras.Model(inputs, evaluator(graph, around)(inputs)[graph.output], name=graph.name)


def graph_logits(graph: Graph, features: np.ndarray, around: Around = _layer_itself) -> np.ndarray:
    """(n, ...) float32 inputs to the output of `build_graph(graph, around)`, without the cost of making a Keras model."""
    evaluate = evaluator(graph, around)
    batches = [features[i : i + BATCH_CLIPS] for i in range(0, len(features), BATCH_CLIPS)]
    return np.concatenate([evaluate(tf.constant(batch, tf.float32))[graph.output].numpy() for batch in batches])


def evaluator(graph: Graph, around: Around = _layer_itself) -> Callable[[tf.Tensor], dict[Ref, tf.Tensor]]:
    """A function from the graph's input, a Keras one or values, to all tensors; the first call makes the layers."""
    layers: dict[str, Callable] = {}

    def evaluate(inputs) -> dict[Ref, tf.Tensor]:
        tensors = {(graph.input_name, 0): inputs}
        for node in graph:
            arguments = [tensors[ref] for ref in node.inputs]
            arguments = arguments[0] if len(arguments) == 1 else arguments
            if node.name not in layers:
                layers[node.name] = around(node, _built(node, arguments))
            outputs = layers[node.name](arguments)
            for i, output in enumerate(outputs if isinstance(outputs, (list, tuple)) else [outputs]):
                tensors[node.name, i] = output
        return tensors

    return evaluate


def _built(node: Node, arguments) -> keras.layers.Layer:
    """The node's layer, built for these inputs, with its weights."""
    layer = keras.layers.deserialize(node.spec)
    if not layer.built:  # a description may contain the input shape; the layer is then built already
        layer.build(tf.nest.map_structure(lambda tensor: tf.TensorShape([None, *tensor.shape[1:]]), arguments))
    layer.set_weights([w.astype(np.float32) for w in node.weights])
    return layer
