"""Maps before and after a Dense layer, plain or factorized, done to its weights."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.export.graph import build_graph, read_graph
from kser.export.rewrites.dense import with_affine_input, with_centred_output, with_scaled_output
from kser.models.hrf import HRFDense
from tests.networks import perturb

INPUT_DIM, UNITS = 5, 4
RNG = np.random.default_rng(0)
FACTOR, OFFSET = RNG.normal(size=(2, INPUT_DIM))
X = RNG.normal(size=(7, INPUT_DIM)).astype(np.float32)
LAYERS = {
    "plain": lambda: keras.layers.Dense(UNITS, name="layer"),
    "without bias": lambda: keras.layers.Dense(UNITS, use_bias=False, name="layer"),
    "with an activation": lambda: keras.layers.Dense(UNITS, "relu", name="layer"),
    "factorized": lambda: HRFDense(UNITS, expansion=2, name="layer"),
    "factorized, without bias": lambda: HRFDense(UNITS, expansion=2, use_bias=False, name="layer"),
    "factorized deeply": lambda: HRFDense(UNITS, expansion=2, depth=3, inner_bias=True, name="layer"),
    "factorized, form layers": lambda: HRFDense(UNITS, expansion=2, depth=2, inner_bias=True, form="layers", name="layer"),
}


def model_of(make) -> keras.Model:
    inputs = keras.Input((INPUT_DIM,))
    return perturb(keras.Model(inputs, make()(inputs)))


def changed(model: keras.Model, change) -> np.ndarray:
    graph = read_graph(model)
    return build_graph(graph.replaced(change(graph["layer"])))(X).numpy()


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_an_affine_map_before(make):
    model = model_of(make)
    expected = model((FACTOR * X + OFFSET).astype(np.float32))
    result = changed(model, lambda node: with_affine_input(node, FACTOR, OFFSET))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in LAYERS if "activation" not in name])
def test_maps_after(name):
    model = model_of(LAYERS[name])
    y = model(X).numpy()
    np.testing.assert_allclose(changed(model, lambda node: with_scaled_output(node, -0.3)), -0.3 * y, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(changed(model, with_centred_output), y - y.mean(1, keepdims=True), rtol=1e-4, atol=1e-4)
