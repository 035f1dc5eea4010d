"""The blocks that the backbones consist of. Each function appends leaf layers to a Functional graph.

The trunk is (batch, 1, num_tokens, hidden_dim): Dense layers act on its last axis, depthwise convolutions over time are
DepthwiseConv2D of height 1, and neither needs a reshape around it.
"""

from __future__ import annotations

import re
import zlib

import tf_keras as keras

from kser.config import FeatureConfig, ModelConfig
from kser.errors import ConfigError
from kser.models.attention import AttentionProduct, LocalMix, LocalScores
from kser.models.hrf import HRFDense
from kser.models.layers import ACTIVATION_FUNCTIONS, Deviation
from kser.models.norms import LayerNorm, RMSNorm

HRF_BOTH = ("first", "second")


class Builder:
    """Appends the layers of one network: holds its settings and seeds every layer from the seed and the layer's name."""

    def __init__(self, config: ModelConfig, features: FeatureConfig, seed: int):
        self.config = config
        self.features = features
        self.seed = seed
        self.hrf_roles = {role for where in config.hrf.where for role in (HRF_BOTH if where == "both" else (where,))}
        self.unmatched_overrides = {pattern for pattern, _ in config.hrf.overrides()}

    def layer_seed(self, name: str) -> int:
        return zlib.crc32(f"{self.seed}/{name}".encode())

    def glorot(self, name: str):
        return keras.initializers.GlorotUniform(self.layer_seed(name))

    def apply(self, layer: keras.layers.Layer, inputs):
        """The output of `layer`. All layers of a network are called here, so that subclasses can override it."""
        return layer(inputs)

    def dense(self, x, units: int, name: str, role: str = "", activation=None):
        """A Dense, factorized where the settings say so, over the last axis of `x`.

        Args:
          role: the layer's name in `hrf_where`; empty: only an override factorizes it.
        """
        expansion, hrf = self._expansion(name, role), self.config.hrf
        activation = ACTIVATION_FUNCTIONS.get(activation, activation)
        start = self.glorot(name)
        if expansion == 0:
            return self.apply(keras.layers.Dense(units, activation, kernel_initializer=start, name=name), x)
        settings = {"hrf_init": hrf.init, "inner_bias": hrf.inner_bias, "depth": hrf.depth, "form": hrf.form}
        layer = HRFDense(units, activation, kernel_initializer=start, expansion=expansion, **settings, name=name)
        return self.apply(layer, x)

    def _expansion(self, name: str, role: str) -> int:
        for pattern, expansion in self.config.hrf.overrides():
            if re.fullmatch(pattern, name):
                self.unmatched_overrides.discard(pattern)
                return expansion
        return self.config.hrf.expansion if role in self.hrf_roles else 0

    def check_overrides(self) -> None:
        """Raises ConfigError for an override that matched no layer."""
        if self.unmatched_overrides:
            pattern = sorted(self.unmatched_overrides)[0]
            raise ConfigError(f"hrf override '{pattern}' matches no Dense layer of {self.config.backbone}.")

    def norm(self, x, name: str):
        return self.apply((LayerNorm if self.config.norm == "layer" else RMSNorm)(name=name), x)

    def activation(self, x, name: str):
        return self.apply(keras.layers.Activation(ACTIVATION_FUNCTIONS[self.config.activation], name=name), x)

    def dropout(self, x, name: str, rate: float | None = None):
        # "stateful" draws from a generator that a checkpoint can store; Keras' default would restart on resuming.
        rate = self.config.dropout if rate is None else rate
        return self.apply(keras.layers.Dropout(rate, seed=self.layer_seed(name), rng_type="stateful", name=name), x)


def stem(b: Builder, x):
    """Log-mel (batch, num_frames, num_mels) to tokens: 3 x 3 convolutions of stride 2, then a linear layer per token."""
    x = b.apply(keras.layers.Reshape((*x.shape[1:], 1), name="stem_channels"), x)
    for i, channels in enumerate(b.config.stem_channels):
        name = f"stem_conv_{i}"
        conv = keras.layers.Conv2D(channels, 3, 2, "same", use_bias=False, kernel_initializer=b.glorot(name), name=name)
        x = b.apply(keras.layers.BatchNormalization(epsilon=1e-5, name=f"stem_bn_{i}"), b.apply(conv, x))
        # ReLU fuses into the convolution; swish would need three copies of the widest tensor in the arena.
        x = b.apply(keras.layers.ReLU(name=f"stem_relu_{i}"), x)
    x = b.apply(keras.layers.Reshape((1, x.shape[1], x.shape[2] * x.shape[3]), name="stem_tokens"), x)
    return b.dropout(b.dense(x, b.config.hidden_dim, "stem_out"), "stem_dropout")


def feed_forward(b: Builder, x, name: str):
    """Dense, activation, Dense; the Dense layers are the ones HRF factorizes."""
    dim = x.shape[-1]
    inner_dim = b.config.ffn_dim * dim // b.config.hidden_dim
    x = b.dense(x, inner_dim, f"{name}_first", "first", b.config.activation)
    x = b.dropout(x, f"{name}_inner_dropout")
    return b.dropout(b.dense(x, dim, f"{name}_second", "second"), f"{name}_dropout")


def self_attention(b: Builder, x, name: str):
    """Multi-head scaled dot-product attention over all tokens (Vaswani et al. 2017), without a mask."""
    query, key, value = heads(b, x, name)
    value = b.apply(keras.layers.Permute((1, 3, 2), name=f"{name}_value_columns"), value)
    scores = b.apply(AttentionProduct(query.shape[-1] ** -0.5, name=f"{name}_scores"), [query, key])
    mixed = b.apply(AttentionProduct(name=f"{name}_mix"), [attention_weights(b, scores, name), value])
    return merge_heads(b, mixed, name)


def local_attention(b: Builder, x, name: str, window: int):
    """Multi-head attention of every token to the `window` (odd) tokens around it; see LocalScores."""
    query, key, value = heads(b, x, name)
    scores = b.apply(LocalScores(window, query.shape[-1] ** -0.5, name=f"{name}_scores"), [query, key])
    mixed = b.apply(LocalMix(window, name=f"{name}_mix"), [attention_weights(b, scores, name), value])
    return merge_heads(b, mixed, name)


def heads(b: Builder, x, name: str):
    """Queries, keys and values of all heads, each (batch, num_heads, num_tokens, head_dim)."""
    num_tokens, dim = x.shape[2:]
    shape = num_tokens, b.config.num_heads, dim // b.config.num_heads

    def head_tensor(role: str):
        y = b.dense(x, dim, f"{name}_{role}", "attention")
        y = b.apply(keras.layers.Reshape(shape, name=f"{name}_{role}_heads"), y)
        return b.apply(keras.layers.Permute((2, 1, 3), name=f"{name}_{role}_order"), y)

    return head_tensor("query"), head_tensor("key"), head_tensor("value")


def attention_weights(b: Builder, scores, name: str):
    """Softmax over the last axis of the scores, and dropout of attention weights; same shape."""
    return b.dropout(b.apply(keras.layers.Softmax(name=f"{name}_weights"), scores), f"{name}_weight_dropout")


def merge_heads(b: Builder, x, name: str):
    """Joins the heads, (batch, num_heads, num_tokens, head_dim) to (batch, 1, num_tokens, dim), and projects."""
    num_heads, num_tokens, head_dim = x.shape[1:]
    x = b.apply(keras.layers.Permute((2, 1, 3), name=f"{name}_merge_order"), x)
    x = b.apply(keras.layers.Reshape((1, num_tokens, num_heads * head_dim), name=f"{name}_merge"), x)
    return b.dropout(b.dense(x, num_heads * head_dim, f"{name}_out", "attention"), f"{name}_dropout")


def convolution(b: Builder, x, name: str):
    """The Conformer's convolution module: pointwise GLU, depthwise over time, BatchNorm, activation, pointwise."""
    dim = x.shape[-1]
    gate = b.dense(x, dim, f"{name}_gate", "pointwise", "sigmoid")
    x = b.apply(keras.layers.Multiply(name=f"{name}_glu"), [b.dense(x, dim, f"{name}_value", "pointwise"), gate])
    depthwise = keras.layers.DepthwiseConv2D(
        (1, b.config.kernel_size),
        padding="same",
        depthwise_initializer=b.glorot(f"{name}_depthwise"),
        name=f"{name}_depthwise",
    )
    x = b.apply(keras.layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn"), b.apply(depthwise, x))
    x = b.activation(x, f"{name}_act")
    return b.dropout(b.dense(x, dim, f"{name}_out", "pointwise"), f"{name}_dropout")


def residual(b: Builder, x, change, name: str):
    """`x + change`, the residual stream's next state."""
    return b.apply(keras.layers.Add(name=f"{name}_add"), [x, change])


def pool(b: Builder, x):
    """(batch, 1, num_tokens, dim) to one vector.

    `mean`: (batch, dim), over time. `attention`: a mean weighted by a learned score. `statistics`: that mean and the
    standard deviation, (batch, 2 dim) (attentive statistics, Okabe et al. 2018, arXiv 1803.10963).
    """
    if b.config.pooling == "mean":
        return b.apply(keras.layers.GlobalAveragePooling2D(name="pool"), x)
    scores = b.apply(keras.layers.Permute((1, 3, 2), name="pool_order"), b.dense(x, 1, "pool_score"))
    weights = b.apply(keras.layers.Softmax(name="pool_weights"), scores)
    values = b.apply(keras.layers.Permute((1, 3, 2), name="pool_values"), x)
    mean = b.apply(AttentionProduct(name="pool_mix"), [weights, values])
    if b.config.pooling == "statistics":
        squares = b.apply(keras.layers.Multiply(name="pool_squares"), [values, values])
        square = b.apply(AttentionProduct(name="pool_mix_squares"), [weights, squares])
        deviation = b.apply(Deviation(name="pool_deviation"), [mean, square])
        mean = b.apply(keras.layers.Concatenate(name="pool_statistics"), [mean, deviation])
    return b.apply(keras.layers.Reshape((mean.shape[-1],), name="pool"), mean)


def classifier(b: Builder, x, num_classes: int):
    """Pooling and a linear layer: (batch, num_classes) logits."""
    return b.dense(b.dropout(pool(b, x), "classifier_dropout"), num_classes, "classifier", "classifier")
