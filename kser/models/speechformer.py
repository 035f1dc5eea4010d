"""SpeechFormer (Chen et al. 2022, arXiv 2203.03812): frames, phonemes, words, utterance, each with its own attention span.

Post-norm Transformer layers; between the stages groups of tokens are averaged, widened and normalized. The attention windows
overlap, keys and values outside the clip are zero, and position encodings are added to the input of the frame stage's
attention in every layer, not to the residual.
"""

from __future__ import annotations

import tf_keras as keras

from kser.models import blocks
from kser.models.layers import AddPositions

STAGES = ("frame", "phoneme", "word", "utterance")
# In milliseconds: attention windows of the first three stages, and lengths of the merged tokens after each.
WINDOWS_MS = (50, 400, 2000)
MERGES_MS = (50, 250, 1000)
HEAD_DROPOUT = 0.5


def merge_sizes(hop_ms: float) -> tuple[int, ...]:
    """Number of tokens that each of the three merges averages; 5, 5, 4 at a hop of 10 ms."""
    return _in_tokens(MERGES_MS, hop_ms)


def windows(hop_ms: float) -> tuple[int, ...]:
    """Attention windows of the first three stages in tokens, odd; 5, 9, 9 at a hop of 10 ms."""
    return tuple(size + 1 - size % 2 for size in _in_tokens(WINDOWS_MS, hop_ms))


def _in_tokens(lengths_ms: tuple[int, ...], hop_ms: float) -> tuple[int, ...]:
    """Each length in tokens of its own stage, rounded down; a stage's token is as long as the merge before it."""
    sizes, token_ms = [], hop_ms
    for length_ms, merge_ms in zip(lengths_ms, MERGES_MS, strict=True):
        sizes.append(max(1, int(length_ms / token_ms)))
        token_ms *= max(1, int(merge_ms / token_ms))
    return tuple(sizes)


def layer(b: blocks.Builder, x, name: str, window: int, positions: bool):
    """Attention (`window` 0: to all tokens) and feed-forward, each normalized after its residual."""
    attended = b.apply(AddPositions(name=f"{name}_positions"), x) if positions else x
    part = f"{name}_attention"
    change = blocks.local_attention(b, attended, part, window) if window else blocks.self_attention(b, attended, part)
    x = b.norm(blocks.residual(b, x, change, part), f"{part}_norm")
    part = f"{name}_ffn"
    return b.norm(blocks.residual(b, x, blocks.feed_forward(b, x, part), part), f"{part}_norm")


def stage(b: blocks.Builder, x, index: int, window: int):
    """All layers of one stage; (batch, 1, num_tokens, dim)."""
    name = STAGES[index]
    x = b.norm(x, f"{name}_norm")
    for i in range(b.config.stage_layers[index]):
        x = layer(b, x, f"{name}_{i}", window, positions=index == 0)
    return x


def merge(b: blocks.Builder, x, index: int, size: int):
    """Means of `size` tokens each (zero-padded), a linear layer and a norm; (batch, 1, ceil(n / size), dim)."""
    name = f"merge_{index}"
    num_tokens, dim = x.shape[2:]
    missing = -num_tokens % size
    if missing:
        x = b.apply(keras.layers.ZeroPadding2D(((0, 0), (0, missing)), name=f"{name}_fill"), x)
    x = b.apply(keras.layers.AveragePooling2D((1, size), name=f"{name}_mean"), x)
    return b.norm(b.dense(x, dim * b.config.stage_widening[index], f"{name}_out"), f"{name}_norm")


def trunk(b: blocks.Builder, x):
    """(batch, 1, num_frames, dim) to the outputs of all stages and merges, in order."""
    sizes, spans = merge_sizes(b.features.hop_ms), windows(b.features.hop_ms)
    outputs = []
    for i in range(len(STAGES)):
        x = stage(b, x, i, spans[i] if i < len(spans) else 0)
        outputs.append(x)
        if i < len(sizes):
            x = merge(b, x, i, sizes[i])
            outputs.append(x)
    return outputs


def head(b: blocks.Builder, x, num_classes: int):
    """Pooling and a linear layer, or the published three layers, which halve the width twice.

    In a small network two hidden layers have 24 and 12 units; with a dropout of 0.5 they learn next to nothing.
    """
    if b.config.head_layers == 0:
        return blocks.classifier(b, x, num_classes)
    x = blocks.pool(b, x)
    for i in range(b.config.head_layers):
        x = b.dense(x, x.shape[-1] // 2, f"head_{i}", "classifier", "relu")
        x = b.dropout(x, f"head_dropout_{i}", HEAD_DROPOUT)
    return b.dense(x, num_classes, "classifier", "classifier")


def logits(b: blocks.Builder, inputs, num_classes: int):
    """The whole network on a clip (batch, num_frames, num_mels); starts with a linear layer unless num_mels = hidden_dim."""
    num_frames, num_mels = inputs.shape[1:]
    x = b.apply(keras.layers.Reshape((1, num_frames, num_mels), name="frames"), inputs)
    if num_mels != b.config.hidden_dim:
        x = b.dense(x, b.config.hidden_dim, "frames_out")
    return head(b, trunk(b, x)[-1], num_classes)
