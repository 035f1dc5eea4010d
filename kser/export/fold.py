"""The fold: replaces HRF layers by the equal plain Dense layers, and proves that the function did not change.

A foldable layer has a method `folded()` that returns the equal plain layer, built and with weights. The pass over a model
needs nothing else: subclasses of HRFDense fold, and so does any layer with such a method.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from kser.errors import FoldError
from kser.models.hrf import HRFDense
from kser.models.inference import predict_logits

# Float32 rounding of a few dozen layers, relative to the largest logit; logits below 10 are taken for 10, for they may
# be sums of larger terms. The fold itself is done in float64.
MAX_FOLD_DIFFERENCE, SMALLEST_LOGITS = 1e-6, 10.0
# Rounding to float32 changes a number by at most 2^-24 of itself; twice that allows for the order of float64 sums.
MAX_KERNEL_ROUNDING = 2.0**-23


def fold_model(model: keras.Model) -> keras.Model:
    """A new model with the equal plain layer of the same name for every foldable layer; `model` is not changed.

    Args:
      model: Functional or Sequential, with any inputs and outputs. Layers may be shared, in nested models and in
        TimeDistributed.

    Raises:
      FoldError: a foldable layer stands where Keras cannot replace it (in a subclassed model or a custom layer), has no
        weights yet, or is a subclass that computes something else than the product of its factors.

    Example:
      >>> inputs = keras.Input((8,))
      >>> model = keras.Model(inputs, HRFDense(3, expansion=4)(inputs))
      >>> model.count_params(), fold_model(model).count_params()
      (355, 27)
    """
    _require_replaceable(model)
    copies: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) not in copies:  # a layer may be shared between a model and one nested in it
            copies[id(layer)] = layer, _copied(layer, copy)
        return copies[id(layer)][1]

    result = keras.models.clone_model(model, clone_function=copy)
    for layer, plain in copies.values():
        if not foldable_layers(layer):
            plain.set_weights(layer.get_weights())
    if left := foldable_layers(result):
        raise FoldError(f"The fold did not replace {', '.join(left)}.")
    return result


def _copied(layer: keras.layers.Layer, copy: Callable) -> keras.layers.Layer:
    if _folds(layer):
        return layer.folded()
    if not foldable_layers(layer):
        return type(layer).from_config(layer.get_config())
    if isinstance(layer, keras.layers.TimeDistributed):
        return keras.layers.TimeDistributed(copy(layer.layer), name=layer.name, dtype=layer.dtype_policy)
    return keras.models.clone_model(layer, clone_function=copy)


def foldable_layers(layer: keras.layers.Layer) -> list[str]:
    """Names of the foldable layers of a model or layer, including itself and all nested layers."""
    return [held.name for held in _held(layer) if _folds(held)]


def _folds(layer: keras.layers.Layer) -> bool:
    return callable(getattr(layer, "folded", None))


def _held(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return list(layer._flatten_layers())


def _require_replaceable(model: keras.Model) -> None:
    fixed = _irreplaceable(model)
    if fixed:
        names = ", ".join(f"{name} (in '{holder.name}', a {type(holder).__name__})" for name, holder in fixed)
        raise FoldError(
            f"Cannot fold {names}: Keras replaces layers only in Functional and Sequential models and in TimeDistributed. "
            "Make a Functional model of the same layers, as in keras.Model(inputs, subclassed.call(inputs))."
        )


def _irreplaceable(holder: keras.layers.Layer) -> list[tuple[str, keras.layers.Layer]]:
    """The foldable layers that Keras cannot replace, each with the object that holds it."""
    if _folds(holder):
        return []
    if isinstance(holder, keras.layers.TimeDistributed):
        return _irreplaceable(holder.layer)
    if isinstance(holder, keras.Sequential) or getattr(holder, "_is_graph_network", False):
        return [found for layer in holder.layers for found in _irreplaceable(layer)]
    return [(name, holder) for name in foldable_layers(holder)]


@dataclass(frozen=True)
class LayerProof:
    """A folded layer compared with the float64 product of its factors: largest difference of a kernel or bias entry."""

    name: str
    depth: int
    max_kernel_difference: float
    max_bias_difference: float
    bound: float


@dataclass(frozen=True)
class FoldProof:
    """Proof of a fold: differences per layer, of the logits (at most `bound`) and of the decisions on real clips; parameters
    of both and of the same network built without HRF, if there is one; `sha256` of the weights of both networks (see
    `weights_hash`)."""

    clips: int
    max_logit_difference: float
    mean_logit_difference: float
    bound: float
    argmax_agreement: float
    parameters_before: int
    parameters_after: int
    parameters_plain: int | None
    layers: tuple[LayerProof, ...]
    sha256_before: str
    sha256_after: str


def prove(model: keras.Model, folded: keras.Model, plain: keras.Model | None, features: np.ndarray) -> FoldProof:
    """Compares `folded` with `model` on inputs (n, ...) of the model; for kser's networks, normalized clips
    (n, num_frames, num_mels).

    Args:
      plain: the network without HRF, built from its settings; None if unknown.

    Raises:
      FoldError: a difference exceeds its bound, or a foldable layer is left.
    """
    before, after = predict_logits(model, features), predict_logits(folded, features)
    difference = np.abs(before - after)
    proof = FoldProof(
        clips=len(features),
        max_logit_difference=float(difference.max()),
        mean_logit_difference=float(difference.mean()),
        bound=MAX_FOLD_DIFFERENCE * max(SMALLEST_LOGITS, float(np.abs(before).max())),
        argmax_agreement=float(np.mean(before.argmax(1) == after.argmax(1))),
        parameters_before=model.count_params(),
        parameters_after=folded.count_params(),
        parameters_plain=plain.count_params() if plain else None,
        layers=_layer_proofs(model, folded),
        sha256_before=weights_hash(model),
        sha256_after=weights_hash(folded),
    )
    _check(proof, foldable_layers(folded))
    return proof


def _layer_proofs(model: keras.Model, folded: keras.Model) -> tuple[LayerProof, ...]:
    layers = [layer for layer in _held(model) if isinstance(layer, HRFDense)]
    names = {layer.name for layer in layers}
    # Names may repeat in nested models; so layers are matched by their order.
    plain = (layer for layer in _held(folded) if layer.name in names and isinstance(layer, keras.layers.Dense))
    return tuple(_layer_proof(layer, other) for layer, other in zip(layers, plain, strict=False))


def _layer_proof(layer: HRFDense, plain: keras.layers.Layer) -> LayerProof:
    """Kernel and bias, computed independently of the method under test."""
    factors = [_exact(factor) for factor in layer.factors]
    kernel = np.linalg.multi_dot(factors)
    bias = _exact(layer.bias) if layer.use_bias else np.zeros(layer.units)
    for i, inner in enumerate(layer.inner_biases):
        bias = bias + functools.reduce(np.matmul, [_exact(inner), *factors[i + 1 :]])
    found = [*plain.get_weights(), np.zeros(layer.units)]
    differences = [_max_difference(a, b) for a, b in zip(found, (kernel, bias), strict=False)]
    bound = MAX_KERNEL_ROUNDING * max(np.abs(kernel).max(), np.abs(bias).max())
    return LayerProof(layer.name, layer.depth, *differences, float(bound))


def _exact(variable) -> np.ndarray:
    return np.asarray(variable.numpy(), np.float64)


def _max_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max()) if a.shape == b.shape else np.inf


def weights_hash(model: keras.Model) -> str:
    """sha256 over the names, shapes and values of all weights, layer by layer."""
    digest = hashlib.sha256()
    for layer in model.layers:
        for weight in layer.get_weights():
            digest.update(f"{layer.name} {weight.shape} {weight.dtype}\n".encode())
            digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _check(proof: FoldProof, left: list[str]) -> None:
    broken = []
    if left:
        broken.append(f"{', '.join(left)} was not folded")
    for layer in proof.layers:
        worst = max(layer.max_kernel_difference, layer.max_bias_difference)
        if not worst <= layer.bound:
            broken.append(f"the kernel or bias of {layer.name} differs by {worst:.2e}, more than {layer.bound:.1e}")
    if not proof.max_logit_difference <= proof.bound:
        broken.append(f"a logit changed by {proof.max_logit_difference:.2e}, more than {proof.bound:.0e}")
    if proof.argmax_agreement < 1:
        broken.append(f"the decision changed on {1 - proof.argmax_agreement:.2%} of {proof.clips} clips")
    if proof.parameters_plain not in (None, proof.parameters_after):
        broken.append(f"there are {proof.parameters_after} parameters where the plain network has {proof.parameters_plain}")
    if broken:
        raise FoldError(f"The fold is not exact: {'; '.join(broken)}. Nothing was written.")
