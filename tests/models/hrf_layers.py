"""Built HRFDense layers, Dense layers beside them, and their training by Keras."""

from __future__ import annotations

import tf_keras as keras

from kser.models.hrf import HRFDense
from tests.models.leaf_layers import inputs

INPUT_DIM, UNITS, EXPANSION = 6, 5, 3
RANK = EXPANSION * INPUT_DIM


def glorot(seed: int = 3):
    return keras.initializers.GlorotUniform(seed)


def hrf_dense(init: str = "spectral", inner_bias: bool = False, units: int = UNITS, input_dim: int = INPUT_DIM, **kwargs):
    """A built HRFDense."""
    layer = HRFDense(units, kernel_initializer=glorot(), expansion=EXPANSION, hrf_init=init, inner_bias=inner_bias, **kwargs)
    layer.build((None, input_dim))
    return layer


def plain_dense(units: int = UNITS, input_dim: int = INPUT_DIM) -> keras.layers.Dense:
    layer = keras.layers.Dense(units, kernel_initializer=glorot())
    layer.build((None, input_dim))
    return layer


def train(layer: keras.layers.Layer, num_steps: int = 20) -> keras.Model:
    """A model of the layer, trained by Keras on noise."""
    model = keras.Sequential([keras.Input((INPUT_DIM,)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(inputs(64, INPUT_DIM), inputs(64, UNITS, seed=1), batch_size=64, epochs=num_steps, verbose=0)
    return model
