"""Generated sources for tests of the firmware: settings of models that need not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kser.audio import device_log_mel
from kser.audio.log_mel import Normalization, feature_code
from kser.config import FeatureConfig, to_dict
from kser.firmware import codegen
from kser.tflite.op_graph import ModelDescription, Tensor

LABELS = ("neutral", "happy", "sad", "angry")


def normalization(config: FeatureConfig) -> Normalization:
    """One as speech has it, whose bands differ."""
    bands = np.arange(config.num_mels)
    mean = np.float32(np.cos(bands / 6) if config.remove_level else np.cos(bands / 6) - 4)
    return Normalization(mean, np.float32(2.5 + 0.3 * np.sin(bands)), config.remove_level)


def metadata(config: FeatureConfig) -> dict:
    return {"labels": LABELS, "features": to_dict(config), "normalization": normalization(config).to_dict()}


def input_tensor(config: FeatureConfig) -> Tensor:
    return Tensor((1, config.num_frames, config.num_mels), name="features", scale=float(np.float32(0.0347)), zero_point=-19)


def board_input(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """What a board with these settings makes of (clip_samples,) int16: (num_frames, num_mels) int8."""
    tensor, code = input_tensor(config), feature_code(config)
    tables = device_log_mel.input_tables(normalization(config), code, tensor.scale)
    codes = device_log_mel.board_codes(samples, config)
    return device_log_mel.board_input(codes, tables, tensor.zero_point, config.remove_level)


def description(config: FeatureConfig) -> ModelDescription:
    output = Tensor((1, len(LABELS)), name="logits", scale=float(np.float32(0.03)), zero_point=-42)
    return ModelDescription(0, 0, {}, (input_tensor(config),), (output,), (), 0)


def write_settings(directory: Path, config: FeatureConfig) -> Path:
    """kser_settings.h in `directory`, which is returned."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "kser_settings.h").write_text(codegen.settings_source(metadata(config), description(config)))
    return directory
