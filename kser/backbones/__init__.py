"""Backbones by name, each a function that appends its graph to a clip, and the presets that size them."""

from __future__ import annotations

import dataclasses

import tf_keras as keras

from kser.backbones import conformer
from kser.backbones.blocks import Builder
from kser.config import FeatureConfig, HRFConfig, ModelConfig
from kser.errors import ConfigError

BACKBONES = {"conformer": conformer.logits}

# Sizes of the deployed network; `light` has at most 250 k parameters, `micro` at most 60 k.
PRESETS = {
    ("conformer", "micro"): ModelConfig(),
    ("conformer", "light"): ModelConfig(num_layers=3, num_heads=4, hidden_dim=64, stem_channels=(16, 32)),
}


def preset(backbone: str, name: str) -> ModelConfig:
    """The sizes called `name` of `backbone`.

    Raises:
      ConfigError: there is no such backbone or preset.
    """
    if backbone not in BACKBONES:
        raise ConfigError(f"There is no backbone '{backbone}'; known: {', '.join(BACKBONES)}.")
    if (backbone, name) not in PRESETS:
        raise ConfigError(
            f"Backbone '{backbone}' has no preset '{name}'; known: {', '.join(n for b, n in PRESETS if b == backbone)}."
        )
    return PRESETS[backbone, name]


def build_model(config: ModelConfig, features: FeatureConfig, num_classes: int, seed: int = 0) -> keras.Model:
    """A flat Functional model from (batch, num_frames, num_mels) normalized log-mel to (batch, num_classes) logits.

    Every layer draws its start from `seed` and its own name, so that two networks that differ in one setting (HRF, say)
    start from the same values everywhere else.
    """
    if config.backbone not in BACKBONES:
        raise ConfigError(f"There is no backbone '{config.backbone}'; known: {', '.join(BACKBONES)}.")
    inputs = keras.Input((features.num_frames, features.num_mels), name="log_mel")
    outputs = BACKBONES[config.backbone](Builder(config, seed), inputs, num_classes)
    return keras.Model(inputs, outputs, name=config.backbone)


def plain(config: ModelConfig) -> ModelConfig:
    """The same network without HRF: what folding arrives at."""
    return dataclasses.replace(config, hrf=HRFConfig())
