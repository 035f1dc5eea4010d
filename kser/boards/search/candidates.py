"""Candidate networks with predicted figures, and the choice among them.

A network's graph is derived from its settings, rewritten as for deployment, and lowered to the ops of its .tflite, whose
figures kser.boards computes as for a converted model. benchmarks/search.py compares the predictions with conversions.

The accuracy of a network is not predicted. Its capacity, the geometric mean of parameters and multiply-accumulates, is used
instead. Parameters alone would favour the fewest frames, multiply-accumulates alone the widest stem. Frames and depth are
reduced last: if a network with at least the parameters and layers of `micro` fits, no smaller one is chosen, and no coarser
hop than needed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kser.boards.doctor import Figures, Findings, Measurement
from kser.boards.memory_planner import needed_bytes
from kser.boards.search.grid import depth
from kser.boards.search.lowering import file_bytes, lower
from kser.boards.search.outline import outline
from kser.config import FeatureConfig, ModelConfig
from kser.export.rewrites import DEPLOY_PASSES
from kser.models.presets import PRESETS
from kser.tflite.op_graph import multiply_accumulates, tensors_of

# Bytes of kser's metadata in a .tflite: settings, labels, origin, and mean and deviation for each mel band.
METADATA_BYTES, MEL_METADATA_BYTES = 990, 40


def predict(model: ModelConfig, features: FeatureConfig, num_classes: int) -> tuple[Findings, int]:
    """The findings that the converted network would have, and its number of parameters.

    Raises:
      KserError: the settings make no network, or none that converts to int8.
    """
    graph = outline(model, features, num_classes)
    for rewrite in DEPLOY_PASSES.values():
        graph = rewrite(graph)
    nodes = lower(graph)
    findings = Findings(
        num_bytes=file_bytes(nodes) + METADATA_BYTES + MEL_METADATA_BYTES * features.num_mels,
        nodes=nodes,
        multiply_accumulates=multiply_accumulates(nodes),
        float_islands=(),
        num_graphs=1,
        features=features,
        measurement=Measurement("", needed_bytes(nodes), len(tensors_of(nodes))),
    )
    return findings, sum(weights.size for layer in graph for weights in layer.weights)


@dataclass(frozen=True)
class Candidate:
    """A network with its deployed parameters and its figures on the board; `load` is the largest share of a budget used."""

    model: ModelConfig
    features: FeatureConfig
    parameters: int
    figures: Figures
    load: float

    @property
    def fits(self) -> bool:
        return self.load <= 1

    @property
    def capacity(self) -> float:
        return math.sqrt(self.parameters * self.figures.multiply_accumulates)

    @property
    def preset(self) -> str:
        """The name of the preset with these sizes, if any."""
        sizes = dataclasses.replace(self.model, dropout=0.0)
        presets = ((name, dataclasses.replace(config, dropout=0.0)) for (_, name), config in PRESETS.items())
        return next((name for name, config in presets if config == sizes), "")


def choose(candidates: Sequence[Candidate], parameters: int, layers: int) -> Candidate:
    """The network with the highest capacity at the finest hop that has one with these parameters and layers, else of all."""
    whole = [c for c in candidates if c.parameters >= parameters and depth(c.model) >= layers]
    hop_ms = min((c.features.hop_ms for c in whole), default=None)
    return max((c for c in whole if c.features.hop_ms == hop_ms) if whole else candidates, key=lambda c: c.capacity)


def frontier(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The Pareto frontier per backbone and hop in capacity, time and RAM; largest first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (-c.capacity, _costs(c))):
        same = (c for c in kept if _kind(c) == _kind(candidate))
        if not any(all(a <= b for a, b in zip(_costs(c), _costs(candidate), strict=True)) for c in same):
            kept.append(candidate)
    return kept


def _kind(candidate: Candidate) -> tuple[str, float]:
    return candidate.model.backbone, candidate.features.hop_ms


def _costs(candidate: Candidate) -> tuple[float, int]:
    return candidate.figures.inference_ms.middle, candidate.figures.ram_bytes


def describe(candidate: Candidate) -> str:
    """A network's sizes as text."""
    model, frames = candidate.model, candidate.features.num_frames
    layers = ",".join(map(str, model.stage_layers)) if model.backbone == "speechformer" else model.num_layers
    sizes = f"hidden_dim {model.hidden_dim}, ffn_dim {model.ffn_dim}, layers {layers}"
    return f"{model.backbone} with {sizes} and {frames} frames"
