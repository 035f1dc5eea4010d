"""Merges affine maps before and after a Dense layer into its kernel, or into the factors of an HRFDense.

A map before the layer changes the first factor, a map after it the last. So a rewritten HRFDense is still an HRFDense, and
folding it gives the same Dense as rewriting after the fold.
"""

from __future__ import annotations

import functools

import numpy as np

from kser.export.graph import Node


def with_affine_input(node: Node, factor: np.ndarray, offset: np.ndarray) -> Node:
    """The layer that computes of `x` what `node` computes of `factor x + offset`; both are (d_in,)."""
    if node.kind == "Dense":
        kernel = node.weights[0]
        bias = offset @ kernel + (node.weights[1] if node.config["use_bias"] else 0.0)
        return node.with_config(use_bias=True).with_weights(factor[:, None] * kernel, bias)
    factors, inner_biases, bias = _parts(node)
    if inner_biases:
        inner_biases = [offset @ factors[0] + inner_biases[0], *inner_biases[1:]]
    else:
        bias = [offset @ functools.reduce(np.matmul, factors) + sum(bias)]
    return node.with_config(use_bias=True).with_weights(factor[:, None] * factors[0], *factors[1:], *inner_biases, *bias)


def with_scaled_output(node: Node, factor: float) -> Node:
    """The layer whose outputs are `factor` times those of `node`, which has no activation."""
    return _with_mapped_output(node, lambda w: factor * w)


def with_centred_output(node: Node) -> Node:
    """The layer whose outputs are those of `node`, which has no activation, minus their mean."""
    return _with_mapped_output(node, lambda w: w - w.mean(axis=-1, keepdims=True))


def _with_mapped_output(node: Node, change) -> Node:
    if node.kind == "Dense":
        return node.with_weights(*map(change, node.weights))
    factors, inner_biases, bias = _parts(node)
    return node.with_weights(*factors[:-1], change(factors[-1]), *inner_biases, *map(change, bias))


def _parts(node: Node) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Factors of an HRFDense, biases of its inserted layers, and its bias, if it has one."""
    weights, count = list(node.weights), node.config["depth"] + 1
    last = len(weights) - node.config["use_bias"]
    return weights[:count], weights[count:last], weights[last:]
