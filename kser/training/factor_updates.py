"""Steps and weight decay of HRF's factors; if asked for, such that their product moves and shrinks like a plain kernel.

The product of factors learns otherwise than a plain kernel, which is what HRF is for; but without care it also learns
*faster*: with kernels of 32 x 128, Adam's first step moves the product of an expansion of 4 four times as far as a plain
kernel. A comparison would then be one of learning rates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.models.hrf import HRFDense


def step_ratio(factors: Sequence[np.ndarray]) -> float:
    """How far Adam's first step moves the product of the factors, relative to a plain kernel at the same learning rate.

    Adam's first step changes each entry by the learning rate, in the direction of its gradient's sign; entries without a
    gradient stay. The gradient of the product is taken as random, and lengths are Frobenius norms, to first order.
    """
    shape = len(factors[0]), factors[-1].shape[1]
    gradient = np.random.default_rng(0).standard_normal(shape)
    moved = np.zeros(shape)
    for i in range(len(factors)):
        before, after = _product(factors[:i], shape[0]), _product(factors[i + 1 :], shape[1])
        moved += before @ np.sign(before.T @ gradient @ after.T) @ after
    return float(np.linalg.norm(moved) / np.sqrt(gradient.size))


def _product(factors: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Of no factors: the identity of this size."""
    product = np.eye(size)
    for number, factor in enumerate(factors):
        product = factor if number == 0 else product @ factor
    return product


class FactorSteps:
    """By how much the steps of a model's factors are scaled so that their products move like plain kernels."""

    def __init__(self, model: keras.Model):
        self._layers = [layer for layer in model.layers if isinstance(layer, HRFDense)]
        self._scales = [tf.Variable(1.0, trainable=False) for _ in self._layers]
        self._by_factor = {
            factor.ref(): scale
            for layer, scale in zip(self._layers, self._scales, strict=True)
            for factor in layer.factors
        }

    def update(self) -> None:
        """Measures anew: what a step of the factors does depends on how large they have become."""
        for layer, scale in zip(self._layers, self._scales, strict=True):
            scale.assign(1 / step_ratio([np.asarray(factor, np.float64) for factor in layer.factors]))

    def scale_of(self, variable: tf.Variable) -> tf.Variable | None:
        """The scale of a factor; None for other variables."""
        return self._by_factor.get(variable.ref())


class ScaledAdam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015) with the steps of some variables scaled by `scale_of(variable)`, where that is not None."""

    def __init__(self, *args, scale_of: Callable[[tf.Variable], tf.Variable | None], **kwargs):
        super().__init__(*args, **kwargs)
        self._scale_of = scale_of

    def update_step(self, gradient, variable):
        scale = self._scale_of(variable)
        before = None if scale is None else tf.identity(variable)
        super().update_step(gradient, variable)
        if scale is not None:
            variable.assign(before + scale * (variable - before))


# --- Weight decay ------------------------------------------------------------------------------------------------------


def decay_kernels(model: keras.Model, rate, hrf_decay: str = "kernel") -> None:
    """Decoupled weight decay (Loshchilov & Hutter 2019) of the effective kernels.

    A plain kernel shrinks by `rate * W`. With `hrf_decay` "kernel" the n factors of an HRFDense shrink to
    `(1 - rate)^(1 / n)` of themselves, their product thus like a plain kernel. With "product" they follow the gradient of
    the same penalty for their product, `||W1 W2||^2 / 2` (Khodak et al. 2021, arXiv 2105.01029), which shrinks the product
    several times as fast where the factors are wide; with "factors" each factor shrinks like a plain kernel.
    """
    for layer in model.layers:
        if isinstance(layer, HRFDense):
            for factor, direction in zip(layer.factors, _factor_decay(layer, rate, hrf_decay), strict=True):
                factor.assign_sub(direction)
            continue
        for name in ("kernel", "depthwise_kernel"):
            variable = getattr(layer, name, None)
            if variable is not None:
                variable.assign_sub(rate * variable)


def _factor_decay(layer: HRFDense, rate, hrf_decay: str) -> list[tf.Tensor]:
    if hrf_decay == "product":
        return [rate * direction for direction in product_decay(layer)]
    share = rate if hrf_decay == "factors" else 1 - (1 - rate) ** (1 / len(layer.factors))
    return [share * factor for factor in layer.factors]


def product_decay(layer: HRFDense) -> list[tf.Tensor]:
    """The gradient of `||W1 W2 ...||^2 / 2` with respect to each factor: (W1 ... Wi-1)^T W (Wi+1 ...)^T."""
    kernel = layer.effective_kernel()
    gradients = []
    for i in range(len(layer.factors)):
        gradient = kernel
        for factor in layer.factors[:i]:
            gradient = tf.matmul(factor, gradient, transpose_a=True)
        for factor in reversed(layer.factors[i + 1 :]):
            gradient = tf.matmul(gradient, factor, transpose_b=True)
        gradients.append(gradient)
    return gradients
