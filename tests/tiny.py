"""A corpus of a few noisy tones on disk and the smallest sensible run on it, for tests of what is around a network."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import soundfile

from kser.config import (
    SAMPLE_RATE_HZ,
    AugmentConfig,
    DataConfig,
    FeatureConfig,
    HRFConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from kser.datasets.corpus import Corpus, Utterance, speakers_held_out

LABELS = ("low", "middle", "high")
SPEAKERS = ("a", "b", "c", "d")
PROTOCOLS = {
    "singly": speakers_held_out((speaker,) for speaker in SPEAKERS),
    "pairs": speakers_held_out((SPEAKERS[:2], SPEAKERS[2:])),
}
FEATURES = FeatureConfig(clip_seconds=0.6, num_mels=16, hop_ms=32)
# The backbone with the fewest layers: what a test of training or conversion waits for is the building of graphs.
MODEL = ModelConfig(
    "convtransformer", num_layers=1, num_heads=2, hidden_dim=8, ffn_dim=12, stem_channels=(4, 4), hrf=HRFConfig(expansion=2)
)

# Some of everything that needs no further reading of the recordings.
AUGMENT = AugmentConfig("tempo:0.1,shift:200,warp:0.1,filter:6,gain:6,noise:10,spec:1,mixup:0.2")


def make_corpus(directory: str, name: str = "tiny", takes=range(3)) -> Corpus:
    """Tones of three pitches by four `speakers` (overtones), written as WAV; other takes are other sounds."""
    utterances = []
    for speaker_index, speaker in enumerate(SPEAKERS):
        for label_index, label in enumerate(LABELS):
            for take in takes:
                utterance_id = f"{speaker}-{label}-{take}"
                path = os.path.join(directory, f"{utterance_id}.wav")
                soundfile.write(path, tone(label_index, speaker_index, take), SAMPLE_RATE_HZ)
                utterances.append(Utterance(utterance_id, path, label, speaker))
    return Corpus(name, LABELS, tuple(utterances), PROTOCOLS)


def tone(label_index: int, speaker_index: int, take: int) -> np.ndarray:
    """(num_samples,) float32: half a second or so of a tone with an overtone and noise."""
    rng = np.random.default_rng([label_index, speaker_index, take])
    time = np.arange(int(SAMPLE_RATE_HZ * rng.uniform(0.4, 0.8))) / SAMPLE_RATE_HZ
    pitch = 300 * 2**label_index * rng.uniform(0.9, 1.1)
    wave = np.sin(2 * np.pi * pitch * time) + 0.3 * np.sin(2 * np.pi * (2 + speaker_index) * pitch * time)
    return (0.1 * wave + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


def run_config(augment: AugmentConfig | None = None, **settings) -> RunConfig:
    """Three epochs on split 1 unless the settings, of data and training, say otherwise."""
    values = {"dataset": "tiny", "validation_speakers": 1, "select": "validation", "epochs": 3, "batch_size": 8, **settings}
    of_data = {setting.name for setting in dataclasses.fields(DataConfig)} & set(values)
    data = DataConfig(**{name: values.pop(name) for name in of_data})
    return RunConfig(data, FEATURES, MODEL, augment or AUGMENT, TrainConfig(**values))
