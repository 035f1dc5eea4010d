"""ConvTransformer: strided convolutions that shorten the clip, then a Transformer encoder (Vaswani et al. 2017).

The stem is Conv2D, BatchNorm, ReLU, as in Speech-Transformer (Dong et al. 2018); the blocks normalize before each sublayer
(`norm_position="pre"`, Xiong et al. 2020, arXiv 2002.04745, with one more norm at the end) or after it ("post").
"""

from __future__ import annotations

from kser.models import blocks
from kser.models.layers import AddPositions


def block(b: blocks.Builder, x, name: str):
    """Attention and feed-forward, each around a residual; (batch, 1, num_tokens, hidden_dim)."""
    for part, function in (("attention", blocks.self_attention), ("ffn", blocks.feed_forward)):
        part = f"{name}_{part}"
        if b.config.norm_position == "pre":
            x = blocks.residual(b, x, function(b, b.norm(x, f"{part}_norm"), part), part)
        else:
            x = b.norm(blocks.residual(b, x, function(b, x, part), part), f"{part}_norm")
    return x


def logits(b: blocks.Builder, inputs, num_classes: int):
    """The whole network on a clip (batch, num_frames, num_mels)."""
    x = b.apply(AddPositions(name="positions"), blocks.stem(b, inputs))
    for i in range(b.config.num_layers):
        x = block(b, x, f"block_{i}")
    if b.config.norm_position == "pre":
        x = b.norm(x, "final_norm")
    return blocks.classifier(b, x, num_classes)
