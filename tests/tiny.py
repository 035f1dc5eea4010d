"""A corpus of a few noisy tones on disk and the smallest sensible run on it, for tests of what is around a network."""

from __future__ import annotations

import os

import numpy as np
import soundfile

from kser.config import SAMPLE_RATE_HZ, AugmentConfig, FeatureConfig, HRFConfig, ModelConfig, RunConfig, TrainConfig
from kser.datasets.corpus import Corpus, Utterance

LABELS = ("low", "middle", "high")
SPEAKERS = ("a", "b", "c", "d")
FEATURES = FeatureConfig(clip_seconds=0.6, num_mels=16, hop_ms=32)
MODEL = ModelConfig(
    num_layers=1, num_heads=2, hidden_dim=8, ffn_dim=12, kernel_size=3, stem_channels=(4, 4), hrf=HRFConfig(expansion=2)
)


def make_corpus(directory: str, takes: int = 3) -> Corpus:
    """Tones of three pitches by four `speakers` (overtones), written as WAV."""
    utterances = []
    for speaker_index, speaker in enumerate(SPEAKERS):
        for label_index, label in enumerate(LABELS):
            for take in range(takes):
                name = f"{speaker}-{label}-{take}"
                path = os.path.join(directory, f"{name}.wav")
                soundfile.write(path, tone(label_index, speaker_index, take), SAMPLE_RATE_HZ)
                utterances.append(Utterance(name, path, label, speaker))
    return Corpus("tiny", LABELS, tuple(utterances), tuple((s,) for s in SPEAKERS))


def tone(label_index: int, speaker_index: int, take: int) -> np.ndarray:
    """(num_samples,) float32: half a second or so of a tone with an overtone and noise."""
    rng = np.random.default_rng([label_index, speaker_index, take])
    time = np.arange(int(SAMPLE_RATE_HZ * rng.uniform(0.4, 0.8))) / SAMPLE_RATE_HZ
    pitch = 300 * 2**label_index * rng.uniform(0.9, 1.1)
    wave = np.sin(2 * np.pi * pitch * time) + 0.3 * np.sin(2 * np.pi * (2 + speaker_index) * pitch * time)
    return (0.1 * wave + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


AUGMENT = AugmentConfig(time_mask_frames=3, freq_mask_mels=3)


def run_config(augment: AugmentConfig = AUGMENT, **train) -> RunConfig:
    """Three epochs on split 1 unless told otherwise."""
    settings = {"dataset": "tiny", "epochs": 3, "batch_size": 8, "validation_speakers": 1, **train}
    return RunConfig(FEATURES, MODEL, augment, TrainConfig(**settings))
