"""The sizes of the backbones that a search tries, each derived from a preset."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from kser.config import ModelConfig
from kser.models.presets import preset

BASE_PRESET = "micro"

# Heads keep the width of the preset; sizes ascend, so that a search can stop at the first that is too large.
HOPS_MS = (10.0, 16.0, 20.0)
WIDTHS = {"conformer": (16, 24, 32, 48, 64, 96), "speechformer": (12, 24, 36, 48)}
FFN_FACTORS = {"conformer": (2.0, 4.0), "speechformer": (0.5, 1.0)}
NUM_LAYERS = (1, 2, 3, 4, 5, 8)
STEMS = ((8, 16), (16, 32))
STAGE_LAYERS = ((1, 1, 1, 1), (1, 2, 2, 1), (2, 2, 2, 1), (2, 2, 4, 4))
STAGE_WIDENINGS = ((1, 1, 1), (1, 2, 1))


def base_config(backbone: str, settings: Mapping) -> ModelConfig:
    """The preset from which the sizes are derived, with the given settings."""
    return dataclasses.replace(preset(backbone, BASE_PRESET), **settings)


def grid(backbone: str, settings: Mapping = {}) -> Iterator[list[ModelConfig]]:  # noqa: B006 (never changed)
    """Families of sizes of one backbone, each ordered so that larger networks come later."""
    base = base_config(backbone, settings)
    if backbone == "speechformer":
        shared, depths = [{"stage_widening": widening} for widening in STAGE_WIDENINGS], STAGE_LAYERS
    else:
        shared, depths = [{"stem_channels": stem} for stem in STEMS], NUM_LAYERS
    depth_name = "stage_layers" if backbone == "speechformer" else "num_layers"
    for common in shared:
        sizes = itertools.product(depths, _of(WIDTHS, backbone), _of(FFN_FACTORS, backbone))
        yield [_sized(base, width, factor, {**common, depth_name: depth}) for depth, width, factor in sizes]


def _of(table: Mapping, backbone: str):
    return table.get(backbone, table["conformer"])


def _sized(base: ModelConfig, width: int, ffn_factor: float, others: Mapping) -> ModelConfig:
    heads = max(1, width * base.num_heads // base.hidden_dim)
    return dataclasses.replace(base, hidden_dim=width, num_heads=heads, ffn_dim=int(width * ffn_factor), **others)


def depth(model: ModelConfig) -> int:
    """Total number of layers of all stages."""
    return sum(model.stage_layers) if model.backbone == "speechformer" else model.num_layers


def no_smaller(model: ModelConfig, other: ModelConfig) -> bool:
    """Whether every size of `model` is at least that of `other`."""
    return all(a >= b for a, b in zip(_sizes(model), _sizes(other), strict=True))


def _sizes(model: ModelConfig) -> tuple[int, ...]:
    return (model.hidden_dim, model.ffn_dim, model.num_layers, *model.stage_layers)
