"""Conformer (Gulati et al. 2020, arXiv 2005.08100) without relative positions: the convolutions encode the order."""

from __future__ import annotations

from kser.models import blocks
from kser.models.layers import Scale


def block(b: blocks.Builder, x, name: str):
    """Half-step feed-forward, attention, convolution, half-step feed-forward, norm; (batch, 1, num_tokens, hidden_dim)."""
    x = half_step(b, x, f"{name}_ffn1")
    for part, function in (("attention", blocks.self_attention), ("conv", blocks.convolution)):
        part = f"{name}_{part}"
        x = blocks.residual(b, x, function(b, b.norm(x, f"{part}_norm"), part), part)
    return b.norm(half_step(b, x, f"{name}_ffn2"), f"{name}_norm")


def half_step(b: blocks.Builder, x, name: str):
    """The feed-forward network with half a residual step."""
    change = blocks.feed_forward(b, b.norm(x, f"{name}_norm"), name)
    return blocks.residual(b, x, b.apply(Scale(0.5, name=f"{name}_half"), change), name)


def logits(b: blocks.Builder, inputs, num_classes: int):
    """The whole network on a clip (batch, num_frames, num_mels)."""
    x = blocks.stem(b, inputs)
    for i in range(b.config.num_layers):
        x = block(b, x, f"block_{i}")
    return blocks.classifier(b, x, num_classes)
