"""Inputs and weights for tests of single layers."""

from __future__ import annotations

import numpy as np
import tf_keras as keras


def inputs(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def randomize(layer: keras.layers.Layer, seed: int = 1) -> None:
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in layer.get_weights()])
