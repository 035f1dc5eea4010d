"""A small network with the ops of a real backbone, its weights drawn from a fixed seed."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras

NUM_FRAMES, NUM_MELS, NUM_CLASSES = 24, 16, 4
NUM_TOKENS, HIDDEN_DIM, NUM_HEADS = 12, 16, 2


class Product(keras.layers.Layer):
    """a @ b^T over the two last axes."""

    def call(self, inputs):
        return tf.matmul(*inputs, transpose_b=True)


class Elementwise(keras.layers.Layer):
    """Any TensorFlow function as a layer."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def features(num_clips: int, seed: int = 0) -> np.ndarray:
    """Random clips (num_clips, NUM_FRAMES, NUM_MELS) float32."""
    return np.random.default_rng(seed).normal(size=(num_clips, NUM_FRAMES, NUM_MELS)).astype(np.float32)


def toy_model() -> keras.Model:
    """Stride-2 convolution, one attention block, a depthwise convolution, mean pooling, logits."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((NUM_FRAMES, NUM_MELS))
    x = keras.layers.Reshape((NUM_FRAMES, NUM_MELS, 1))(inputs)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(HIDDEN_DIM, (1, NUM_MELS // 2))(x)
    x = keras.layers.Permute((2, 1, 3))(x)
    x = keras.layers.Add()([x, _attention(x)])
    x = keras.layers.DepthwiseConv2D((1, 5), padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(NUM_CLASSES)(x), name="toy")


def _attention(x):
    queries, keys, values = (_heads(keras.layers.Dense(HIDDEN_DIM)(x), axes) for axes in ((2, 1, 3), (2, 1, 3), (2, 3, 1)))
    weights = keras.layers.Softmax()(Product()([queries, keys]))
    merged = keras.layers.Permute((2, 1, 3))(Product()([weights, values]))
    return keras.layers.Conv2D(HIDDEN_DIM, 1)(keras.layers.Reshape((1, NUM_TOKENS, HIDDEN_DIM))(merged))


def _heads(x, axes):
    split = keras.layers.Reshape((NUM_TOKENS, NUM_HEADS, HIDDEN_DIM // NUM_HEADS))(x)
    return keras.layers.Permute(axes)(split)


def one_op_model(function, name: str) -> keras.Model:
    """The function between the input and a classifier."""
    inputs = keras.Input((NUM_FRAMES, NUM_MELS))
    x = Elementwise(function, name=name)(keras.layers.Dense(8)(inputs))
    return keras.Model(inputs, keras.layers.Dense(NUM_CLASSES)(keras.layers.Flatten()(x)), name="one_op")
