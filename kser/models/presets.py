"""Backbones by name, each a function that builds its graph from a clip, and the presets (named sizes)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tf_keras as keras

from kser.config import FeatureConfig, HRFConfig, ModelConfig, TrainConfig
from kser.errors import ConfigError
from kser.models import conformer, convtransformer, speechformer
from kser.models.blocks import Builder


@dataclasses.dataclass(frozen=True)
class Backbone:
    """The function that builds a backbone's graph, the settings only it uses, and its default learning rate."""

    logits: Callable
    own_settings: tuple[str, ...]
    learning_rate: float = TrainConfig.learning_rate


BACKBONES = {
    "conformer": Backbone(conformer.logits, ("num_layers", "stem_channels", "kernel_size")),
    "convtransformer": Backbone(convtransformer.logits, ("num_layers", "stem_channels", "norm_position")),
    # Post-norm blocks do not train at the learning rate of the others.
    "speechformer": Backbone(speechformer.logits, ("stage_layers", "stage_widening", "head_layers"), learning_rate=1e-3),
}

# Wide in the later stages, where tokens are few: the frame stage determines the arena.
_STAGES = {"backbone": "speechformer", "stage_widening": (1, 2, 1), "activation": "relu", "pooling": "mean"}
# Sizes of the deployed network: `large` the published one or at least 4 M parameters, `light` at most 250 k, `micro` at
# most 60 k. Conformer S of Gulati et al. 2020; SpeechFormer-S of Chen et al. 2022.
PRESETS = {
    ("conformer", "micro"): ModelConfig(),
    ("conformer", "light"): ModelConfig(num_layers=3, num_heads=4, hidden_dim=64, stem_channels=(16, 32), dropout=0.2),
    ("conformer", "large"): ModelConfig(
        num_layers=16, num_heads=4, hidden_dim=144, ffn_dim=576, kernel_size=31, stem_channels=(144, 144)
    ),
    ("convtransformer", "micro"): ModelConfig("convtransformer", num_layers=3),
    ("convtransformer", "light"): ModelConfig(
        "convtransformer", num_layers=5, num_heads=4, hidden_dim=64, stem_channels=(16, 32), dropout=0.2
    ),
    ("convtransformer", "large"): ModelConfig(
        "convtransformer", num_layers=6, num_heads=4, hidden_dim=256, ffn_dim=1024, stem_channels=(64, 64)
    ),
    ("speechformer", "micro"): ModelConfig(**_STAGES, stage_layers=(1, 2, 2, 1), num_heads=2, hidden_dim=24, ffn_dim=12),
    ("speechformer", "light"): ModelConfig(
        **_STAGES, stage_layers=(2, 2, 2, 1), num_heads=4, hidden_dim=48, ffn_dim=24, dropout=0.2
    ),
    ("speechformer", "large"): ModelConfig(
        "speechformer",
        num_heads=8,
        hidden_dim=128,
        ffn_dim=64,
        head_layers=2,
        activation="relu",
        norm="layer",
        pooling="mean",
    ),
}


def preset(backbone: str, name: str) -> ModelConfig:
    """The preset `name` of `backbone`.

    Raises:
      ConfigError: there is no such backbone or preset.
    """
    _require_backbone(backbone)
    if (backbone, name) not in PRESETS:
        raise ConfigError(
            f"Backbone '{backbone}' has no preset '{name}'; known: {', '.join(n for b, n in PRESETS if b == backbone)}."
        )
    return PRESETS[backbone, name]


def _require_backbone(name: str) -> None:
    if name not in BACKBONES:
        raise ConfigError(f"There is no backbone '{name}'; known: {', '.join(BACKBONES)}.")


def require_own_settings(backbone: str, names) -> None:
    """Raises ConfigError if a setting in `names` is used by other backbones only: it would have no effect."""
    _require_backbone(backbone)
    foreign = {setting for other in BACKBONES.values() for setting in other.own_settings}
    foreign -= set(BACKBONES[backbone].own_settings)
    unread = sorted(foreign & set(names))
    if unread:
        readers = sorted(name for name, other in BACKBONES.items() if unread[0] in other.own_settings)
        raise ConfigError(f"{backbone} has no {unread[0]}; it is a setting of {' and '.join(readers)}.")


def build_model(config: ModelConfig, features: FeatureConfig, num_classes: int, seed: int = 0) -> keras.Model:
    """A flat Functional model from (batch, num_frames, num_mels) normalized log-mel to (batch, num_classes) logits.

    Every layer's initial weights depend on `seed` and its own name, so that two networks that differ in one setting (such as
    HRF) start with the same weights everywhere else.

    Raises:
      ConfigError: there is no such backbone, or an override of HRF matches no layer.
    """
    _require_backbone(config.backbone)
    builder = Builder(config, features, seed)
    inputs = keras.Input((features.num_frames, features.num_mels), name="log_mel")
    outputs = BACKBONES[config.backbone].logits(builder, inputs, num_classes)
    builder.check_overrides()
    return keras.Model(inputs, outputs, name=config.backbone)


def plain(config: ModelConfig) -> ModelConfig:
    """The same network without HRF, as the fold yields it."""
    return dataclasses.replace(config, hrf=HRFConfig())
