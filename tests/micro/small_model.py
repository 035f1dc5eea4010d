"""A small untrained model with kser's metadata, as bin/fold_and_convert makes it, for tests of what boards do with one."""

from __future__ import annotations

import functools

import numpy as np

from kser.audio.log_mel import log_mel_numpy
from kser.audio.reading import PCM16_FULL_SCALE
from kser.boards import doctor
from kser.config import FeatureConfig
from kser.export.convert import to_int8_tflite
from kser.export.rewrites import deploy_model
from kser.firmware import codegen, project
from kser.models.presets import build_model, preset
from kser.tflite import model_file
from tests.micro import sources

FEATURES = FeatureConfig(clip_seconds=1.0)


@functools.cache
def model_bytes(features: FeatureConfig = FEATURES) -> bytes:
    rng = np.random.default_rng(0)
    clip = codegen.golden_clip(features) / PCM16_FULL_SCALE
    heard = sources.normalization(features).apply(log_mel_numpy(clip, features))
    clips = np.float32([heard + rng.standard_normal(heard.shape) for _ in range(8)])
    network = build_model(preset("conformer", "micro"), features, len(sources.LABELS))
    return model_file.add_metadata(to_int8_tflite(deploy_model(network, clips).model, clips), sources.metadata(features))


@functools.cache
def figures(board: str) -> doctor.Figures:
    return doctor.examine(model_bytes(), [board])[0].figures


def project_files(board: str) -> dict[str, bytes]:
    return project.project_files(model_bytes(), board, figures(board))
