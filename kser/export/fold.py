"""The fold: HRF's factors become the plain Dense layers they always were a factorization of, and the proof that they did.

`FOLD_RULES` maps a layer class to the function that makes a plain layer of one of its layers; the pass below knows nothing
of what it replaces, so a new factorized layer is one more rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tf_keras as keras

from kser.errors import FoldError
from kser.models.hrf import HRFDense
from kser.models.inference import predict_logits

# Float32 rounding of a few dozen layers on logits of order 10; the fold itself is done in float64.
MAX_LOGIT_DIFFERENCE = 1e-5
# Rounding to float32 moves a number by at most 2^-24 of itself; twice that leaves room for the order of float64 sums.
MAX_KERNEL_ROUNDING = 2.0**-23


@dataclass(frozen=True)
class Folded:
    """A plain layer and the weights it takes, in the order of its `set_weights`."""

    layer: keras.layers.Layer
    weights: list[np.ndarray]


def fold_hrf_dense(layer: HRFDense) -> Folded:
    """`kernel = W1 W2 ...`, `bias = (b1 W2 + b2) W3 ... + b`, accumulated in float64 and cast once."""
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    factors, biases = weights[: layer.depth + 1], weights[layer.depth + 1 :]
    kernel, bias = factors[0], np.zeros(layer.units)
    if layer.inner_bias:
        bias = biases[0]
        for factor, inner in zip(factors[1:-1], biases[1:-1], strict=True):
            bias = bias @ factor + inner
        bias = bias @ factors[-1]
    for factor in factors[1:]:
        kernel = kernel @ factor
    plain = keras.layers.Dense(layer.units, activation=layer.activation, name=layer.name)
    return Folded(plain, [kernel.astype(np.float32), (bias + biases[-1]).astype(np.float32)])


FOLD_RULES: dict[type, Callable[[keras.layers.Layer], Folded]] = {HRFDense: fold_hrf_dense}


def fold_model(model: keras.Model) -> keras.Model:
    """A new model with a plain layer of the same name for every layer that has a rule; `model` is left as it was.

    Raises:
      FoldError: something foldable is left, in a nested model or a wrapper for instance.
    """
    flat = set(map(id, model.layers))
    out_of_reach = sorted(layer.name for layer in _foldable(model) if id(layer) not in flat)
    if out_of_reach:
        raise FoldError(
            f"Cannot fold {', '.join(out_of_reach)}: a factorized layer must stand in the flat graph itself, "
            "not in a nested model or a wrapper."
        )
    folded = {layer.name: FOLD_RULES[type(layer)](layer) for layer in model.layers if type(layer) in FOLD_RULES}

    def replace(layer):
        return folded[layer.name].layer if layer.name in folded else layer.__class__.from_config(layer.get_config())

    result = keras.models.clone_model(model, clone_function=replace)
    for layer in result.layers:
        source = model.get_layer(layer.name)
        layer.set_weights(folded[layer.name].weights if layer.name in folded else source.get_weights())
    return result


def foldable_layers(model: keras.Model) -> list[str]:
    """Names of all layers that have a rule, however nested."""
    return [layer.name for layer in _foldable(model)]


def _foldable(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model._flatten_layers(include_self=False) if type(layer) in FOLD_RULES]


@dataclass(frozen=True)
class LayerProof:
    """One folded layer against the float64 product of its factors: the largest difference of a kernel or bias entry."""

    name: str
    depth: int
    max_kernel_difference: float
    max_bias_difference: float
    bound: float


@dataclass(frozen=True)
class FoldProof:
    """What the fold changed: layer by layer, the logits on real clips, decisions, and the size against the plain network
    built from scratch; `sha256` of the weights of both networks (see `weights_hash`)."""

    clips: int
    max_logit_difference: float
    mean_logit_difference: float
    argmax_agreement: float
    parameters_before: int
    parameters_after: int
    parameters_plain: int
    layers: tuple[LayerProof, ...]
    sha256_before: str
    sha256_after: str


def prove(model: keras.Model, folded: keras.Model, plain: keras.Model, features: np.ndarray) -> FoldProof:
    """Measures `folded` against `model` on (n, num_frames, num_mels) normalized clips.

    Args:
      plain: the network without HRF, built from its settings.

    Raises:
      FoldError: a bound is broken, or something foldable is left.
    """
    before, after = predict_logits(model, features), predict_logits(folded, features)
    difference = np.abs(before - after)
    proof = FoldProof(
        clips=len(features),
        max_logit_difference=float(difference.max()),
        mean_logit_difference=float(difference.mean()),
        argmax_agreement=float(np.mean(before.argmax(1) == after.argmax(1))),
        parameters_before=model.count_params(),
        parameters_after=folded.count_params(),
        parameters_plain=plain.count_params(),
        layers=tuple(_layer_proof(layer, folded) for layer in model.layers if isinstance(layer, HRFDense)),
        sha256_before=weights_hash(model),
        sha256_after=weights_hash(folded),
    )
    _check(proof, foldable_layers(folded))
    return proof


def _layer_proof(layer: HRFDense, folded: keras.Model) -> LayerProof:
    """Kernel and bias computed apart from the rule that is checked."""
    values = [w.astype(np.float64) for w in layer.get_weights()]
    factors, biases = values[: layer.depth + 1], values[layer.depth + 1 :]
    kernel = np.linalg.multi_dot(factors)
    bias = biases[-1].copy()
    for i, inner in enumerate(biases[:-1]):
        bias += np.linalg.multi_dot([inner, *factors[i + 1 :]])
    plain = folded.get_layer(layer.name).get_weights()
    differences = [_max_difference(a, b) for a, b in zip(plain, (kernel, bias), strict=False)]
    bound = MAX_KERNEL_ROUNDING * max(np.abs(kernel).max(), np.abs(bias).max())
    return LayerProof(layer.name, layer.depth, *differences, float(bound))


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
        broken.append(f"{', '.join(left)} is left as it was")
    for layer in proof.layers:
        worst = max(layer.max_kernel_difference, layer.max_bias_difference)
        if not worst <= layer.bound:
            broken.append(f"the kernel or bias of {layer.name} is off by {worst:.2e}, more than {layer.bound:.1e}")
    if not proof.max_logit_difference <= MAX_LOGIT_DIFFERENCE:
        broken.append(f"a logit changed by {proof.max_logit_difference:.2e}, more than {MAX_LOGIT_DIFFERENCE:.0e}")
    if proof.argmax_agreement < 1:
        broken.append(f"the decision changed on {1 - proof.argmax_agreement:.2%} of {proof.clips} clips")
    if proof.parameters_after != proof.parameters_plain:
        broken.append(f"there are {proof.parameters_after} parameters where the plain network has {proof.parameters_plain}")
    if broken:
        raise FoldError(f"The fold is not exact: {'; '.join(broken)}. Nothing was written.")
