"""Conformer (Gulati et al. 2020, arXiv 2005.08100) without relative positions: the convolution orders the tokens."""

from __future__ import annotations

import tf_keras as keras

from kser.backbones import blocks
from kser.layers import Scale


def block(b: blocks.Builder, x, name: str):
    """Half-step feed-forward, attention, convolution, half-step feed-forward, norm; (batch, 1, num_tokens, hidden_dim)."""
    half = Scale(0.5, name=f"{name}_ffn1_half")(blocks.feed_forward(b, x, f"{name}_ffn1"))
    x = keras.layers.Add(name=f"{name}_ffn1_add")([x, half])
    x = keras.layers.Add(name=f"{name}_attention_add")([x, blocks.self_attention(b, x, f"{name}_attention")])
    x = keras.layers.Add(name=f"{name}_conv_add")([x, blocks.convolution(b, x, f"{name}_conv")])
    half = Scale(0.5, name=f"{name}_ffn2_half")(blocks.feed_forward(b, x, f"{name}_ffn2"))
    x = keras.layers.Add(name=f"{name}_ffn2_add")([x, half])
    return b.norm(f"{name}_norm")(x)


def logits(b: blocks.Builder, inputs, num_classes: int):
    """The whole network on a clip (batch, num_frames, num_mels)."""
    x = blocks.stem(b, inputs)
    for i in range(b.config.num_layers):
        x = block(b, x, f"block_{i}")
    return blocks.classifier(b, x, num_classes)
