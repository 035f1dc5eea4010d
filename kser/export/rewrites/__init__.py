"""Exact rewrites of a network, before or after the fold, that make it cheaper on a microcontroller.

`DEPLOY_PASSES` maps a name to a pure function of a graph. A pass looks only at the kinds of layers, and leaves unchanged
what it cannot rewrite exactly. The order matters: each pass enables the next. Every node of a graph costs arena and time,
whatever it computes; benchmarks/deploy_passes.py measures what each pass saves.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from kser.errors import ConfigError, FoldError
from kser.export.graph import Graph, build_graph, graph_logits, read_graph
from kser.export.rewrites.affine import fold_batch_norms, fold_constants, fold_norm_affine
from kser.export.rewrites.centring import centre_residual
from kser.export.rewrites.merging import flatten_by_convolution, fuse_projections
from kser.models.inference import predict_logits

# Float32 rounding of a few dozen layers whose kernels were scaled, on logits of order 10.
MAX_REWRITE_DIFFERENCE = 1e-4
# An L2 norm uses epsilon as lower bound of the mean square, not as a summand: a relative 1e-5 / 2 at variance 1.
MAX_L2_NORM_DIFFERENCE = 1e-3
DEPLOY_PASSES: dict[str, Callable[[Graph], Graph]] = {
    "batch_norm": fold_batch_norms,
    "constants": fold_constants,
    "norm_affine": fold_norm_affine,
    "centre": centre_residual,
    "fuse": fuse_projections,
    "flatten": flatten_by_convolution,
}
BOUNDS = {"centre": MAX_L2_NORM_DIFFERENCE}


@dataclass(frozen=True)
class PassProof:
    """The effect of one pass: the graph's size, and the difference of the logits on real clips to those before it."""

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
    """Raises ConfigError for an unknown pass."""
    unknown = [name for name in names if name not in DEPLOY_PASSES]
    if unknown:
        raise ConfigError(f"There is no deploy pass '{unknown[0]}'; known: {', '.join(DEPLOY_PASSES)}.")


def deploy_model(model: keras.Model, features: np.ndarray, names: Sequence[str] = tuple(DEPLOY_PASSES)) -> Deployed:
    """Rewrites a folded network by the given passes, in the order of DEPLOY_PASSES, and checks each one.

    Args:
      features: (n, num_frames, num_mels) normalized clips to compare the logits on.

    Raises:
      ConfigError: there is no pass of that name.
      FoldError: a pass exceeds its bound, or the model is not a flat graph.
    """
    require_passes(names)
    graph, proofs = read_graph(model), []
    logits = predict_logits(model, features)
    for name, rewrite in DEPLOY_PASSES.items():
        if name not in names:
            continue
        changed = rewrite(graph)
        after = logits if _same(graph, changed) else graph_logits(changed, features)
        proofs.append(_proof(name, graph, changed, logits, after))
        graph, logits = changed, after
    return Deployed(build_graph(graph), tuple(proofs))


def _same(graph: Graph, other: Graph) -> bool:
    """Whether a pass left the graph as it was: passes keep the nodes they do not change."""
    return graph.output == other.output and len(graph.nodes) == len(other.nodes) and all(map(operator.is_, graph, other))


def _proof(name: str, before: Graph, after: Graph, logits: np.ndarray, logits_after: np.ndarray) -> PassProof:
    proof = PassProof(
        name=name,
        layers_before=len(before.nodes),
        layers_after=len(after.nodes),
        parameters_after=sum(w.size for node in after for w in node.weights),
        max_logit_difference=float(np.abs(logits - logits_after).max()),
        bound=BOUNDS.get(name, MAX_REWRITE_DIFFERENCE),
        argmax_agreement=float(np.mean(logits.argmax(1) == logits_after.argmax(1))),
    )
    if not proof.max_logit_difference <= proof.bound or proof.argmax_agreement < 1:
        raise FoldError(
            f"The pass '{name}' is not exact: a logit changed by {proof.max_logit_difference:.2e} (at most "
            f"{proof.bound:.0e} is rounding), {proof.argmax_agreement:.2%} of decisions are the same. Nothing was written."
        )
    return proof
