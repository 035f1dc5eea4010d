"""Keras models with HRFDense as users of the layer may write them, none of kser's own backbones."""

from __future__ import annotations

import numpy as np
import tf_keras as keras

from kser.models.hrf import HRFDense


class Shifted(HRFDense):
    """A subclass that computes in inference what HRFDense does."""

    def call(self, inputs, training=False):
        return super().call(inputs + 1.0 if training else inputs)


class Doubled(HRFDense):
    """A subclass that computes something else than its factors say."""

    def call(self, inputs):
        return 2 * super().call(inputs)


class DoubledWithFold(Doubled):
    """One that says so."""

    def folded_weights(self):
        kernel, bias = super().folded_weights()
        return [2 * kernel, 2 * bias]


class Block(keras.layers.Layer):
    """A layer with a factorized one inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = HRFDense(6, expansion=2, name="hidden")

    def call(self, inputs):
        return self.inner(inputs)


class Subclassed(keras.Model):
    """A model whose graph Keras does not know."""

    def __init__(self):
        super().__init__(name="net")
        self.hidden = HRFDense(6, "relu", expansion=2, name="hidden")
        self.out = keras.layers.Dense(2, name="out")

    def call(self, inputs):
        return self.out(self.hidden(inputs))


class Cell(keras.layers.SimpleRNNCell):
    """A recurrent cell whose input passes a factorized layer."""

    def __init__(self, units: int = 6, **kwargs):
        super().__init__(units, **kwargs)
        self.gate = HRFDense(6, expansion=2, name="hidden")

    def call(self, inputs, states, training=None):
        return super().call(self.gate(inputs), states, training)


def values(*shape: int) -> np.ndarray:
    """Noise, float32."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def trained(model: keras.Model) -> keras.Model:
    """The model after two steps of Keras' own training on 8 random examples."""
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = values(8, *model.input_shape[1:])
    model.fit(x, np.ones(model(x).shape), batch_size=8, epochs=2, verbose=0)
    return model


def functional(*layers, shape=(4, 6)) -> keras.Model:
    """The layers in a row."""
    x = y = keras.Input(shape)
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y, name="users")


def nested(**settings) -> keras.Model:
    x = keras.Input((4, 6))
    return keras.Model(x, HRFDense(6, "relu", expansion=2, name="hidden", **settings)(x), name="inner")


def cnn(**settings) -> keras.Model:
    """A small CNN (8, 8, 2) to 3 logits with a factorized layer before the last."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, input_shape=(8, 8, 2)),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            HRFDense(8, "relu", expansion=2, name="hidden", **settings),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )


USERS_MODELS = {
    "sequential": cnn,
    "nested": lambda: functional(nested(), HRFDense(3, expansion=2, name="flat")),
    "nested, of the same name": lambda: functional(nested(), HRFDense(3, expansion=2, name="hidden")),
    "nested twice": lambda: functional(keras.Sequential([nested(inner_bias=True), keras.layers.ReLU()])),
    "time distributed": lambda: functional(keras.layers.TimeDistributed(HRFDense(5, expansion=2))),
    "time distributed model": lambda: functional(keras.layers.TimeDistributed(keras.Sequential([HRFDense(5, expansion=2)]))),
    "a subclass": lambda: functional(Shifted(6, "relu", expansion=3)),
    "a subclass with a fold of its own": lambda: functional(DoubledWithFold(6, expansion=3)),
    "a lambda and an operator": lambda: functional(lambda x: HRFDense(6, lambda y: y / 2, expansion=2)(x) + 1.0),
}
