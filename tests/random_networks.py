"""Networks of random sizes, converted with random weights: what predictions about conversions are held against."""

from __future__ import annotations

import math

import numpy as np

from kser.config import ACTIVATIONS, FeatureConfig, ModelConfig, to_dict
from kser.export.convert import to_int8_tflite
from kser.export.graph import build_graph, read_graph
from kser.export.rewrites import DEPLOY_PASSES
from kser.models.presets import build_model
from kser.tflite.model_file import add_metadata

NUM_CLIPS = 4
# No norm over more values converts, see kser.boards.search.lowering.L2_EPSILON_LIMIT.
WIDEST = 96


def random_network(rng: np.random.Generator, backbone: str) -> tuple[ModelConfig, FeatureConfig]:
    """Settings drawn from all that change the ops or the shapes of a deployed network."""
    features = FeatureConfig(
        hop_ms=float(rng.choice([8, 10, 12.5, 16, 20, 25])),
        num_mels=int(rng.choice([16, 20, 32, 40, 64])),
        clip_seconds=float(rng.choice([0.8, 1, 1.5, 2, 2.5, 3])),
    )
    width = int(rng.choice([16, 24, 32, 40, 48, 64, 80, WIDEST]))
    own, poolings = {}, ["mean", "attention", "statistics"]
    if backbone == "speechformer":
        # It can come down to a single token, whose deviation is zero: TFLM aborts on a tensor of such a scale.
        poolings.remove("statistics")
        own["stage_layers"] = tuple(map(int, rng.integers(1, 3, 4)))
        own["stage_widening"] = tuple(map(int, rng.integers(1, 3, 3)))
        width = min(width, WIDEST // math.prod(own["stage_widening"]) // 8 * 8)
    else:
        stems = [(4,), (8,), (8, 16), (16, 32), (4, 8, 16), (12, 20)]
        own["stem_channels"] = stems[rng.integers(len(stems))]
        own["num_layers"] = int(rng.integers(1, 5))
    if backbone == "conformer":
        own["kernel_size"] = int(rng.choice([3, 7, 15, 31]))
    if backbone == "convtransformer":
        own["norm_position"] = str(rng.choice(["pre", "post"]))
    model = ModelConfig(
        backbone,
        hidden_dim=width,
        num_heads=int(rng.choice([heads for heads in (1, 2, 4, 8) if width % heads == 0])),
        ffn_dim=int(rng.choice([16, 32, 64, 100, 128, 192, 256])),
        activation=str(rng.choice(ACTIVATIONS)),
        norm=str(rng.choice(["layer", "rms"])),
        pooling=str(rng.choice(poolings)),
        **own,
    )
    return model, features


def converted(model: ModelConfig, features: FeatureConfig, num_classes: int, rng: np.random.Generator) -> bytes:
    """The network as bin/fold_and_convert writes it, with weights that are as different from another as trained ones."""
    network = build_model(model, features, num_classes)
    network.set_weights([_moved(rng, w.numpy(), w.name) for w in network.weights])
    graph = read_graph(network)
    for rewrite in DEPLOY_PASSES.values():
        graph = rewrite(graph)
    clips = rng.standard_normal((NUM_CLIPS, features.num_frames, features.num_mels)).astype(np.float32)
    mels = np.zeros(features.num_mels) + 1 / 3
    metadata = {
        "labels": [f"label {i}" for i in range(num_classes)],
        "features": to_dict(features),
        "normalization": {"mean": mels.tolist(), "std": mels.tolist()},
        "model": to_dict(model),
    }
    return add_metadata(to_int8_tflite(build_graph(graph), clips), metadata)


def _moved(rng: np.random.Generator, values: np.ndarray, name: str) -> np.ndarray:
    noise = 0.1 * rng.standard_normal(values.shape)
    return values + (np.abs(noise) if "variance" in name else noise)
