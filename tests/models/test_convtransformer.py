"""The ConvTransformer: its blocks against the formula of Transformer encoders in float64, its place encoding, its norms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tf_keras as keras

from kser.config import ModelConfig
from kser.models.layers import sinusoid
from kser.models.norms import LayerNorm
from kser.models.presets import build_model
from tests import tiny

CONFIG = ModelConfig(
    "convtransformer",
    num_layers=2,
    num_heads=2,
    hidden_dim=8,
    ffn_dim=12,
    stem_channels=(4, 4),
    norm="layer",
    pooling="mean",
)
NUM_CLASSES = 3


def perturbed_model(**changes):
    model = build_model(dataclasses.replace(CONFIG, **changes), tiny.FEATURES, NUM_CLASSES)
    rng = np.random.default_rng(1)
    model.set_weights([(w + 0.2 * np.abs(rng.normal(size=w.shape))).astype(np.float32) for w in model.get_weights()])
    return model


def clips(num_clips: int) -> np.ndarray:
    shape = (num_clips, tiny.FEATURES.num_frames, tiny.FEATURES.num_mels)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class Reference:
    """The encoder in float64 NumPy on tokens (num_tokens, dim), with a Keras model's weights."""

    def __init__(self, model):
        self.weights = {layer.name: [w.astype(np.float64) for w in layer.get_weights()] for layer in model.layers}

    def dense(self, x, name):
        kernel, bias = self.weights[name]
        return x @ kernel + bias

    def norm(self, x, name):
        gamma, beta = self.weights[name]
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gamma + beta

    def attention(self, x, name):
        query, key, value = (
            np.split(self.dense(x, f"{name}_{role}"), CONFIG.num_heads, 1) for role in ("query", "key", "value")
        )
        mixed = []
        for q, k, v in zip(query, key, value, strict=True):
            weights = np.exp(q @ k.T / np.sqrt(q.shape[1]))
            mixed.append(weights / weights.sum(1, keepdims=True) @ v)
        return self.dense(np.concatenate(mixed, 1), f"{name}_out")

    def ffn(self, x, name):
        hidden = self.dense(x, f"{name}_first")
        return self.dense(hidden / (1 + np.exp(-hidden)), f"{name}_second")

    def encoder(self, x, norm_position):
        for i in range(CONFIG.num_layers):
            for part, function in (("attention", self.attention), ("ffn", self.ffn)):
                name = f"block_{i}_{part}"
                if norm_position == "pre":
                    x = x + function(self.norm(x, f"{name}_norm"), name)
                else:
                    x = self.norm(x + function(x, name), f"{name}_norm")
        return self.norm(x, "final_norm") if norm_position == "pre" else x


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_the_encoder_is_its_formula(norm_position):
    model = perturbed_model(norm_position=norm_position)
    stem = keras.Model(model.input, model.get_layer("stem_out").output)
    reference = Reference(model)
    for clip, logits in zip(clips(2), model(clips(2)), strict=True):
        tokens = stem(clip[None]).numpy()[0, 0].astype(np.float64)
        tokens = reference.encoder(tokens + sinusoid(*tokens.shape), norm_position)
        # Float32 rounding of two blocks, on logits of order 1 to 10.
        np.testing.assert_allclose(logits, reference.dense(tokens.mean(0), "classifier"), rtol=1e-4, atol=1e-4)


def test_pre_norm_ends_with_a_norm_and_post_norm_does_not_add_one():
    norms = {
        position: [layer.name for layer in perturbed_model(norm_position=position).layers if isinstance(layer, LayerNorm)]
        for position in ("pre", "post")
    }
    assert norms["pre"] == [*norms["post"], "final_norm"]


def test_the_order_of_tokens_matters():
    """Without places attention and mean pooling would not see it."""
    model = perturbed_model()
    clip = clips(1)
    assert np.abs(model(clip) - model(clip[:, ::-1])).max() > 1e-3
