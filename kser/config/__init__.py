"""Frozen, validated settings, one dataclass per subsystem, with conversion to and from JSON; an unknown key is an error.

A field carries its range and help text; validation and command-line flags are derived from them.
"""

from kser.config.augmentation import AUGMENT_OFF, AUGMENTATIONS, NO_AUGMENTATION, STAGES, Augmentation, AugmentConfig
from kser.config.features import MAX_DECISIONS_AVERAGED, SAMPLE_RATE_HZ, FeatureConfig, SmoothingConfig
from kser.config.model import ACTIVATIONS, HRF_FORM, HRF_INIT, HRF_WHERE, RECOMMENDED_HRF, HRFConfig, ModelConfig
from kser.config.quantization import INT8, QAT, QAT_TARGETS, QUANTIZE, RANGES, QuantizationConfig
from kser.config.settings import Settings, from_dict, to_dict
from kser.config.training import HRF_BALANCE, HRF_DECAY, SELECT, DataConfig, DataPaths, RunConfig, TrainConfig

__all__ = [
    "ACTIVATIONS",
    "AUGMENTATIONS",
    "AUGMENT_OFF",
    "AugmentConfig",
    "Augmentation",
    "DataConfig",
    "DataPaths",
    "FeatureConfig",
    "HRFConfig",
    "HRF_BALANCE",
    "HRF_DECAY",
    "HRF_FORM",
    "HRF_INIT",
    "HRF_WHERE",
    "INT8",
    "MAX_DECISIONS_AVERAGED",
    "ModelConfig",
    "NO_AUGMENTATION",
    "QAT",
    "QAT_TARGETS",
    "QUANTIZE",
    "QuantizationConfig",
    "RANGES",
    "RECOMMENDED_HRF",
    "RunConfig",
    "SAMPLE_RATE_HZ",
    "SELECT",
    "STAGES",
    "Settings",
    "SmoothingConfig",
    "TrainConfig",
    "from_dict",
    "to_dict",
]
