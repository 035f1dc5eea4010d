"""Exact rewrites of a network into the form that costs a microcontroller least; of a folded one, or before the fold.

`DEPLOY_PASSES` maps a name to a pure function of a graph; each pass knows layers by their kind only, and leaves alone what
it cannot rewrite exactly. In the order given here each makes room for the next. Every node of a graph costs arena
and time, whatever it computes; benchmarks/deploy_passes.py measures what each pass saves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from kser.errors import ConfigError, FoldError
from kser.export.graph import Graph, Node, Ref, build_graph, new_node, read_graph
from kser.export.linear import DENSE_KINDS, with_affine_input, with_centred_output, with_scaled_output
from kser.models.inference import predict_logits
from kser.models.layers import Split
from kser.models.norms import L2Norm, RMSNorm

# Float32 rounding of a few dozen layers whose kernels were scaled, on logits of order 10.
MAX_LOGIT_DIFFERENCE = 1e-4
# An L2 norm has the norm's epsilon as a bound of the mean square, not added to it: a relative 1e-5 / 2 at variance 1.
MAX_LOGIT_DIFFERENCE_L2 = 1e-3


def fold_batch_norms(graph: Graph) -> Graph:
    """BatchNorm is `a x + c` per channel: into the linear layer before it, else into the Dense layers after it."""
    for node in graph:
        if node.kind == "BatchNormalization":
            graph = _fold_batch_norm_back(graph, node) or _fold_batch_norm_forth(graph, node) or graph
    return graph


def _batch_norm_factors(node: Node) -> tuple[np.ndarray, np.ndarray]:
    weights = list(node.weights)
    gamma = weights.pop(0) if node.config["scale"] else 1.0
    beta = weights.pop(0) if node.config["center"] else 0.0
    mean, variance = weights
    factor = gamma / np.sqrt(variance + node.config["epsilon"])
    return factor, beta - mean * factor


def _fold_batch_norm_back(graph: Graph, node: Node) -> Graph | None:
    source = graph.producer(node.inputs[0])
    if source is None or not source.is_linear("Conv2D", "Dense", "DepthwiseConv2D"):
        return None
    if graph.sole_consumer(source.name) is None:
        return None
    factor, offset = _batch_norm_factors(node)
    # The channels are a depthwise kernel's third axis, and the last one of all others.
    kernel = source.weights[0] * (factor[:, None] if source.kind == "DepthwiseConv2D" else factor)
    bias = source.weights[1] * factor if source.config["use_bias"] else 0.0
    linear = source.with_config(use_bias=True).with_weights(kernel, bias + offset)
    return graph.replaced(linear).without(node.name)


def _fold_batch_norm_forth(graph: Graph, node: Node) -> Graph | None:
    factor, offset = _batch_norm_factors(node)
    return _affine_into_readers(graph, node, factor, offset, lambda graph: graph.without(node.name))


def _affine_into_readers(graph: Graph, node: Node, factor, offset, then: Callable[[Graph], Graph]) -> Graph | None:
    """`factor x + offset` into the Dense layers that read `node`, if nothing else does; `then` finishes the result."""
    readers = _dense_readers(graph, node.name)
    if not readers:
        return None
    factor = np.broadcast_to(factor, readers[0].weights[0].shape[:1])
    offset = np.broadcast_to(offset, factor.shape)
    return then(graph.replaced(*(with_affine_input(reader, factor, offset) for reader in readers)))


def _dense_readers(graph: Graph, name: str) -> list[Node]:
    """The Dense layers that read `name`, itself or its mean over time; none if anything else reads it."""
    readers = []
    for node in graph.consumers(name):
        while node is not None and node.kind == "GlobalAveragePooling2D":
            node = graph.sole_consumer(node.name)
        readers.append(node)
    all_dense = all(node is not None and node.kind in DENSE_KINDS for node in readers)
    return readers if all_dense and graph.output[0] != name else []


def fold_constants(graph: Graph) -> Graph:
    """Constant factors into kernels: the half step of a feed-forward network, and attention's 1 / sqrt(d), half of its
    logarithm into the queries and half into the keys, so that neither outgrows the other's range."""
    for node in graph:
        if node.kind == "Scale":
            graph = _scaled(graph, node.inputs[0], node.config["factor"], graph.without(node.name)) or graph
        elif node.kind in ("AttentionProduct", "LocalScores") and node.config["scale"] != 1:
            root = node.config["scale"] ** 0.5
            once = _scaled(graph, node.inputs[0], root, graph.replaced(node.with_config(scale=1.0)))
            twice = once and _scaled(once, node.inputs[1], root, once)
            graph = twice or graph
    return graph


def _scaled(graph: Graph, ref: Ref, factor: float, then: Graph) -> Graph | None:
    """`then` with the Dense layer scaled that `ref` comes from, by way of layers that only move numbers."""
    node = graph.producer(ref)
    while node is not None and graph.sole_consumer(node.name) is not None:
        if node.is_linear(*DENSE_KINDS):
            return then.replaced(with_scaled_output(then[node.name], factor))
        if node.kind not in ("Reshape", "Permute"):
            return None
        node = graph.producer(node.inputs[0])
    return None


def fold_norm_affine(graph: Graph) -> Graph:
    """A norm's gamma and beta into the Dense layers that read it; an RMS norm then is one L2 normalization."""
    for node in graph:
        if node.kind == "RMSNorm":
            dim = len(node.weights[0])
            beta = node.weights[1] if node.config["center"] else 0.0
            bare = new_node(L2Norm(epsilon=node.config["epsilon"], name=node.name), node.inputs)
            factor = node.weights[0] * dim**0.5
            graph = _affine_into_readers(graph, node, factor, beta, lambda g, bare=bare: g.replaced(bare)) or graph
        elif node.kind == "LayerNorm" and node.config["affine"]:
            bare = node.with_config(affine=False).with_weights()
            graph = _affine_into_readers(graph, node, *node.weights, lambda g, bare=bare: g.replaced(bare)) or graph
    return graph


def centre_residual(graph: Graph) -> Graph:
    """Makes LayerNorms RMS norms by centring what they read: where all that is written to a residual stream can be centred
    and all that reads it is a LayerNorm, which does not see the difference, the mean it would subtract is zero."""
    streams = {_stream(graph, node.inputs[0]) for node in graph if node.kind == "LayerNorm"} - {None}
    streams = [s for s in streams if all(_can_be_centred(graph, name) for name in s.writers)]
    for name in sorted({name for stream in streams for name in stream.writers}):
        node = graph[name]
        dense = node.kind in DENSE_KINDS
        graph = graph.replaced(with_centred_output(node)) if dense else _centred_norm(graph, node)
    positions = (graph[name] for stream in streams for name in stream.inside if graph[name].kind == "AddPositions")
    graph = graph.replaced(*(node.with_config(centred=True) for node in positions))
    for name in sorted({name for stream in streams for name in stream.norms}):
        graph = _rms(graph, graph[name])
    return graph


@dataclass(frozen=True)
class Stream:
    """Tensors joined by additions, by the names of the nodes that write to them, add them up, and read them, which are
    LayerNorms all."""

    writers: frozenset[str]
    inside: frozenset[str]
    norms: frozenset[str]


_ADDING = ("Add", "AddPositions")


def _stream(graph: Graph, start: Ref) -> Stream | None:
    """The stream the tensor `start` belongs to; None where something else than LayerNorms reads it."""
    pending, seen, writers, inside, norms = [start[0]], set(), set(), set(), set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        node = graph.producer((name, 0))
        if node is not None and node.kind in _ADDING:
            inside.add(name)
            pending += [source for source, _ in node.inputs]
        else:
            writers.add(name)
        readers = graph.consumers(name)
        if graph.output[0] == name or any(reader.kind not in (*_ADDING, "LayerNorm") for reader in readers):
            return None
        pending += [reader.name for reader in readers if reader.kind in _ADDING]
        norms |= {reader.name for reader in readers if reader.kind == "LayerNorm"}
    return Stream(frozenset(writers), frozenset(inside), frozenset(norms))


def _can_be_centred(graph: Graph, name: str) -> bool:
    node = graph.producer((name, 0))
    return node is not None and (node.is_linear(*DENSE_KINDS) or node.kind == "LayerNorm")


def _centred_norm(graph: Graph, node: Node) -> Graph:
    """A LayerNorm that writes to the stream: gamma, beta and the centring of the result are one Dense after it, a fraction
    of what MUL, ADD, MEAN and SUB would take."""
    dim = graph.width(node)
    gamma, beta = node.weights if node.config["affine"] else (np.ones(dim), np.zeros(dim))
    kernel = np.diag(gamma) - gamma[:, None] / dim
    name = f"{node.name}_centred"
    layer = keras.layers.Dense(dim, name=name)
    after = new_node(layer, ((node.name, 0),), kernel, beta - beta.mean())
    bare = node.with_config(affine=False).with_weights()
    return graph.rewired({(node.name, 0): (name, 0)}).replaced(bare).inserted(node.name, after)


def _rms(graph: Graph, node: Node) -> Graph:
    """A LayerNorm of centred input as an L2 normalization, its sqrt(dim) in the Dense layers that read it."""
    dim, config = graph.width(node), {"epsilon": node.config["epsilon"], "name": node.name}
    if node.config["affine"]:
        gamma, beta = node.weights
        return graph.replaced(new_node(RMSNorm(center=True, **config), node.inputs, gamma, beta))
    bare = new_node(L2Norm(**config), node.inputs)
    result = _affine_into_readers(graph, node, dim**0.5, 0.0, lambda g: g.replaced(bare))
    return result or graph.replaced(new_node(RMSNorm(**config), node.inputs, np.ones(dim)))


def flatten_by_convolution(graph: Graph) -> Graph:
    """A Dense on the flattened rows of an image as the convolution it is: the image is not copied to be flattened."""
    for node in graph:
        dense = graph.sole_consumer(node.name) if node.kind == "Reshape" else None
        source = graph.producer(node.inputs[0])
        if dense is not None and dense.kind == "Dense" and source is not None and source.kind in ("ReLU", "Conv2D"):
            graph = _row_convolution(graph, source, node, dense)
    return graph


def _row_convolution(graph: Graph, source: Node, reshape: Node, dense: Node) -> Graph:
    *ones, num_rows, row = reshape.config["target_shape"]
    channels = graph.width(source)
    if ones != [1] or row % channels:
        return graph
    width, units = row // channels, dense.config["units"]
    layer = keras.layers.Conv2D(
        units, (1, width), activation=dense.config["activation"], use_bias=dense.config["use_bias"], name=dense.name
    )
    kernel = dense.weights[0].reshape(1, width, channels, units)
    tokens = keras.layers.Reshape((1, num_rows, units), name=reshape.name)
    graph = graph.rewired({(dense.name, 0): (reshape.name, 0)})
    graph = graph.replaced(new_node(layer, reshape.inputs, kernel, *dense.weights[1:])).dropped(reshape.name)
    return graph.inserted(dense.name, new_node(tokens, ((dense.name, 0),)))


def fuse_projections(graph: Graph) -> Graph:
    """Queries, keys and values of a token by one Dense, its heads split and ordered once and then given out.

    Attention over windows is left alone: it stands where tokens are many, and there three projections held at a time cost
    more arena than three nodes of each kind.
    """
    for node in graph:
        if node.kind == "AttentionProduct":
            heads = [_head_nodes(graph, ref) for ref in node.inputs]
            if None not in heads:
                graph = _fused_with_values(graph, heads)
    return graph


def _fused_with_values(graph: Graph, queries_and_keys: list[tuple[Node, Node, Node]]) -> Graph:
    source = queries_and_keys[0][0].inputs
    trio = {dense.name: (dense, reshape, permute) for dense, reshape, permute in queries_and_keys}
    for reader in graph.consumers(source[0][0]):
        heads = _heads_after(graph, reader)
        if heads is not None:
            trio.setdefault(reader.name, heads)
    fits = len(trio) == 3 and all(dense.inputs == source for dense, _, _ in trio.values())
    return _fused(graph, list(trio.values())) if fits else graph


def _head_nodes(graph: Graph, ref: Ref) -> tuple[Node, Node, Node] | None:
    """Dense, Reshape and Permute that make heads of tokens, if that is what `ref` comes from."""
    permute = graph.producer(ref)
    if permute is None or permute.kind != "Permute" or tuple(permute.config["dims"]) != (2, 1, 3):
        return None
    reshape = graph.producer(permute.inputs[0])
    if reshape is None or reshape.kind != "Reshape" or graph.sole_consumer(reshape.name) is None:
        return None
    dense = graph.producer(reshape.inputs[0])
    if dense is None or not dense.is_linear("Dense") or graph.sole_consumer(dense.name) is None:
        return None
    return dense, reshape, permute


def _heads_after(graph: Graph, dense: Node) -> tuple[Node, Node, Node] | None:
    reshape = graph.sole_consumer(dense.name)
    permute = reshape and graph.sole_consumer(reshape.name)
    return _head_nodes(graph, (permute.name, 0)) if permute else None


def _fused(graph: Graph, trio: list[tuple[Node, Node, Node]]) -> Graph:
    dense, reshape, permute = trio[0]
    stem = dense.name.rpartition("_")[0]
    num_tokens, num_heads, head_dim = reshape.config["target_shape"]
    kernel = np.concatenate([d.weights[0] for d, _, _ in trio], axis=1)
    bias = np.concatenate([d.weights[1] for d, _, _ in trio])
    one = new_node(keras.layers.Dense(len(bias), name=f"{stem}_projections"), dense.inputs, kernel, bias)
    split = keras.layers.Reshape((num_tokens, 3 * num_heads, head_dim), name=f"{stem}_heads")
    order = keras.layers.Permute((2, 1, 3), name=f"{stem}_order")
    give = Split(3, axis=1, name=f"{stem}_split")
    nodes = [one]
    for layer in (split, order, give):
        nodes.append(new_node(layer, ((nodes[-1].name, 0),)))
    order_of = [node.name for node in graph].index
    graph = graph.inserted_before(min((d.name for d, _, _ in trio), key=order_of), *nodes)
    return graph.rewired({(p.name, 0): (give.name, i) for i, (_, _, p) in enumerate(trio)}).pruned()


DEPLOY_PASSES: dict[str, Callable[[Graph], Graph]] = {
    "batch_norm": fold_batch_norms,
    "constants": fold_constants,
    "norm_affine": fold_norm_affine,
    "centre": centre_residual,
    "fuse": fuse_projections,
    "flatten": flatten_by_convolution,
}
BOUNDS = {"centre": MAX_LOGIT_DIFFERENCE_L2}


@dataclass(frozen=True)
class PassProof:
    """What one pass changed: the graph's size, and the logits on real clips against the network before it."""

    name: str
    layers_before: int
    layers_after: int
    parameters_after: int
    max_logit_difference: float
    bound: float
    argmax_agreement: float


@dataclass(frozen=True)
class Deployed:
    """The rewritten network and the proof of each pass."""

    model: keras.Model
    proofs: tuple[PassProof, ...]


def require_passes(names: Sequence[str]) -> None:
    """Raises ConfigError for a name that is no pass."""
    unknown = [name for name in names if name not in DEPLOY_PASSES]
    if unknown:
        raise ConfigError(f"There is no deploy pass '{unknown[0]}'; known: {', '.join(DEPLOY_PASSES)}.")


def deploy_model(model: keras.Model, features: np.ndarray, names: Sequence[str] = tuple(DEPLOY_PASSES)) -> Deployed:
    """Rewrites a folded network by the passes named, in the order of DEPLOY_PASSES, and proves each of them.

    Args:
      features: (n, num_frames, num_mels) normalized clips to compare the logits on.

    Raises:
      ConfigError: there is no pass of that name.
      FoldError: a bound is broken, or the model is no flat graph.
    """
    require_passes(names)
    graph, proofs = read_graph(model), []
    logits = predict_logits(model, features)
    for name, rewrite in DEPLOY_PASSES.items():
        if name not in names:
            continue
        changed = rewrite(graph)
        model = build_graph(changed)
        after = predict_logits(model, features)
        proofs.append(_proof(name, graph, changed, logits, after))
        graph, logits = changed, after
    return Deployed(model if proofs else build_graph(graph), tuple(proofs))


def _proof(name: str, before: Graph, after: Graph, logits: np.ndarray, logits_after: np.ndarray) -> PassProof:
    proof = PassProof(
        name=name,
        layers_before=len(before.nodes),
        layers_after=len(after.nodes),
        parameters_after=sum(w.size for node in after for w in node.weights),
        max_logit_difference=float(np.abs(logits - logits_after).max()),
        bound=BOUNDS.get(name, MAX_LOGIT_DIFFERENCE),
        argmax_agreement=float(np.mean(logits.argmax(1) == logits_after.argmax(1))),
    )
    if not proof.max_logit_difference <= proof.bound or proof.argmax_agreement < 1:
        raise FoldError(
            f"The pass '{name}' is not exact: a logit changed by {proof.max_logit_difference:.2e} (at most "
            f"{proof.bound:.0e} is rounding), {proof.argmax_agreement:.2%} of decisions are the same. Nothing was written."
        )
    return proof
