"""Block functions of which the backbones are made. Each appends leaf layers to a Functional graph.

The trunk is (batch, 1, num_tokens, hidden_dim): Dense layers act on its last axis, depthwise convolutions over time are
DepthwiseConv2D of height 1, and neither needs a reshape around it.
"""

from __future__ import annotations

import zlib

import tf_keras as keras

from kser.config import ModelConfig
from kser.layers import AttentionProduct, HRFDense, LayerNorm, RMSNorm

HRF_POSITIONS = {"first": ("first",), "second": ("second",), "both": ("first", "second")}


class Builder:
    """Makes the layers of one network: its settings, and a start for every layer from the seed and the layer's name."""

    def __init__(self, config: ModelConfig, seed: int):
        self.config = config
        self.seed = seed

    def layer_seed(self, name: str) -> int:
        return zlib.crc32(f"{self.seed}/{name}".encode())

    def glorot(self, name: str):
        return keras.initializers.GlorotUniform(self.layer_seed(name))

    def dense(self, units: int, name: str, **kwargs):
        return keras.layers.Dense(units, kernel_initializer=self.glorot(name), name=name, **kwargs)

    def ffn_dense(self, units: int, position: str, name: str, **kwargs):
        """A Dense of a feed-forward network (`position` first or second), factorized where the settings say so."""
        hrf = self.config.hrf
        if hrf.expansion == 0 or position not in HRF_POSITIONS[hrf.where]:
            return self.dense(units, name, **kwargs)
        return HRFDense(
            units, hrf.expansion, hrf.init, hrf.inner_bias, kernel_initializer=self.glorot(name), name=name, **kwargs
        )

    def norm(self, name: str):
        return (LayerNorm if self.config.norm == "layer" else RMSNorm)(name=name)

    def activation(self, name: str):
        return keras.layers.Activation(self.config.activation, name=name)

    def dropout(self, name: str):
        return keras.layers.Dropout(self.config.dropout, seed=self.layer_seed(name), name=name)


def stem(b: Builder, x):
    """Log-mel (batch, num_frames, num_mels) to tokens: 3 x 3 convolutions of stride 2, then a linear layer per token."""
    x = keras.layers.Reshape((*x.shape[1:], 1), name="stem_channels")(x)
    for i, channels in enumerate(b.config.stem_channels):
        name = f"stem_conv_{i}"
        conv = keras.layers.Conv2D(channels, 3, 2, "same", use_bias=False, kernel_initializer=b.glorot(name), name=name)
        x = keras.layers.BatchNormalization(epsilon=1e-5, name=f"stem_bn_{i}")(conv(x))
        # ReLU fuses into the convolution; swish would keep three copies of the widest tensor in the arena.
        x = keras.layers.ReLU(name=f"stem_relu_{i}")(x)
    x = keras.layers.Reshape((1, x.shape[1], x.shape[2] * x.shape[3]), name="stem_tokens")(x)
    return b.dropout("stem_dropout")(b.dense(b.config.hidden_dim, "stem_out")(x))


def feed_forward(b: Builder, x, name: str):
    """Norm, Dense, activation, Dense; the Dense layers are the ones HRF factorizes."""
    dim = x.shape[-1]
    x = b.norm(f"{name}_norm")(x)
    x = b.ffn_dense(b.config.ffn_dim, "first", f"{name}_first", activation=b.config.activation)(x)
    x = b.dropout(f"{name}_inner_dropout")(x)
    x = b.ffn_dense(dim, "second", f"{name}_second")(x)
    return b.dropout(f"{name}_dropout")(x)


def self_attention(b: Builder, x, name: str):
    """Norm, then multi-head scaled dot-product attention over all tokens (Vaswani et al. 2017), without a mask."""
    num_tokens, dim = x.shape[2:]
    heads = b.config.num_heads
    x = b.norm(f"{name}_norm")(x)

    def head_tensor(role: str, order: tuple[int, int, int]):
        split = keras.layers.Reshape((num_tokens, heads, dim // heads), name=f"{name}_{role}_heads")
        return keras.layers.Permute(order, name=f"{name}_{role}_order")(split(b.dense(dim, f"{name}_{role}")(x)))

    query, key = head_tensor("query", (2, 1, 3)), head_tensor("key", (2, 1, 3))
    value = head_tensor("value", (2, 3, 1))
    scores = AttentionProduct((dim // heads) ** -0.5, name=f"{name}_scores")([query, key])
    weights = b.dropout(f"{name}_weight_dropout")(keras.layers.Softmax(name=f"{name}_weights")(scores))
    mixed = AttentionProduct(name=f"{name}_mix")([weights, value])
    mixed = keras.layers.Permute((2, 1, 3), name=f"{name}_merge_order")(mixed)
    mixed = keras.layers.Reshape((1, num_tokens, dim), name=f"{name}_merge")(mixed)
    return b.dropout(f"{name}_dropout")(b.dense(dim, f"{name}_out")(mixed))


def convolution(b: Builder, x, name: str):
    """The Conformer's convolution module: norm, pointwise GLU, depthwise over time, BatchNorm, activation, pointwise."""
    dim = x.shape[-1]
    x = b.norm(f"{name}_norm")(x)
    gate = b.dense(dim, f"{name}_gate", activation="sigmoid")(x)
    x = keras.layers.Multiply(name=f"{name}_glu")([b.dense(dim, f"{name}_value")(x), gate])
    depthwise = keras.layers.DepthwiseConv2D(
        (1, b.config.kernel_size),
        padding="same",
        depthwise_initializer=b.glorot(f"{name}_depthwise"),
        name=f"{name}_depthwise",
    )
    x = keras.layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(depthwise(x))
    x = b.activation(f"{name}_act")(x)
    return b.dropout(f"{name}_dropout")(b.dense(dim, f"{name}_out")(x))


def pool(b: Builder, x):
    """(batch, 1, num_tokens, hidden_dim) to (batch, hidden_dim): the mean over time, or a mean weighted by attention."""
    if b.config.pooling == "mean":
        return keras.layers.GlobalAveragePooling2D(name="pool")(x)
    scores = keras.layers.Permute((1, 3, 2), name="pool_order")(b.dense(1, "pool_score")(x))
    weights = keras.layers.Softmax(name="pool_weights")(scores)
    values = keras.layers.Permute((1, 3, 2), name="pool_values")(x)
    mixed = AttentionProduct(name="pool_mix")([weights, values])
    return keras.layers.Reshape((x.shape[-1],), name="pool")(mixed)


def classifier(b: Builder, x, num_classes: int):
    """Pooling and a linear layer: (batch, num_classes) logits."""
    return b.dense(num_classes, "classifier")(b.dropout("classifier_dropout")(pool(b, x)))
