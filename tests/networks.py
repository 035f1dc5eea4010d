"""The smallest networks that have everything the backbones have, with weights as if trained."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tf_keras as keras

from kser.config import FeatureConfig
from kser.models.presets import PRESETS, build_model

FEATURES = FeatureConfig(clip_seconds=0.6, num_mels=16, hop_ms=20)
NUM_CLASSES = 4
SMALL = {
    "conformer": {
        "num_layers": 1,
        "num_heads": 2,
        "hidden_dim": 8,
        "ffn_dim": 12,
        "kernel_size": 3,
        "stem_channels": (4, 4),
    },
    "convtransformer": {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "ffn_dim": 12, "stem_channels": (4, 4)},
    "speechformer": {"stage_layers": (1, 1, 1, 1), "hidden_dim": 8, "ffn_dim": 6},
}
NETWORKS = [
    ("conformer", {"norm": "layer"}),
    ("conformer", {"norm": "rms", "pooling": "statistics", "activation": "hard_swish"}),
    ("convtransformer", {"norm": "layer", "pooling": "mean"}),
    ("convtransformer", {"norm": "layer", "norm_position": "post"}),
    ("speechformer", {"norm": "rms"}),
]


def clips(num_clips: int = 24, features: FeatureConfig = FEATURES) -> np.ndarray:
    """(num_clips, num_frames, num_mels) float32 of noise."""
    shape = (num_clips, features.num_frames, features.num_mels)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def perturb(model: keras.Model) -> keras.Model:
    """Moves norms and biases off ones and zeros, and BatchNorm's statistics with them."""
    rng = np.random.default_rng(1)
    model.set_weights(
        [(w + 0.2 * np.abs(rng.normal(size=w.shape))).astype(np.float32) if w.ndim == 1 else w for w in model.get_weights()]
    )
    return model


@functools.cache
def network(backbone: str, **changes) -> keras.Model:
    """The backbone's small network, its settings changed so. Tests share it: none may change it."""
    config = dataclasses.replace(PRESETS[backbone, "micro"], **{**SMALL[backbone], **changes})
    return perturb(build_model(config, FEATURES, NUM_CLASSES))
