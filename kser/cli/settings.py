"""Command-line flags of the settings dataclasses, and settings from the flags that were given."""

from __future__ import annotations

import dataclasses
import re

from absl import flags

from kser.config import AUGMENT_OFF, AugmentConfig, FeatureConfig, HRFConfig, ModelConfig, RunConfig, TrainConfig

FLAGS = flags.FLAGS
# --help lists the flags of the module that calls `define_run`.
flags.disclaim_key_flags()


def define(cls, prefix: str = "") -> None:
    """A flag for every setting of `cls`; without the flag the preset's or the class' value holds."""
    for setting in dataclasses.fields(cls):
        if "help" in setting.metadata:
            _define(prefix + setting.name, setting)


def _define(name: str, setting: dataclasses.Field) -> None:
    text = f"{setting.metadata['help']} Default: {_shown(setting.default)}."
    if isinstance(setting.default, tuple):
        flags.DEFINE_list(name, None, text)
    elif setting.metadata["choices"]:
        flags.DEFINE_enum(name, None, setting.metadata["choices"], text)
    elif isinstance(setting.default, bool):
        flags.DEFINE_bool(name, None, text)
    else:
        {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}[type(setting.default)](
            name, None, text
        )


def _shown(default) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def given(cls, prefix: str = "") -> dict:
    """The settings of `cls` whose flags were given."""
    names = [s.name for s in dataclasses.fields(cls) if "help" in s.metadata]
    values = {name: FLAGS[prefix + name].value for name in names}
    return {name: _as_numbers(value) for name, value in values.items() if value is not None}


def _as_numbers(value):
    return tuple(int(v) if re.fullmatch("-?[0-9]+", v) else v for v in value) if isinstance(value, list) else value


def define_run() -> None:
    """The flags of everything that decides what a run computes."""
    define(FeatureConfig)
    define(ModelConfig)
    define(HRFConfig, "hrf_")
    define(AugmentConfig)
    define(TrainConfig)
    flags.DEFINE_bool("augment", True, "Whether to augment at all; single parts are switched off by their flags.")


def feature_config() -> FeatureConfig:
    """The front end's settings the flags give."""
    return FeatureConfig(**given(FeatureConfig))


def run_config(preset: ModelConfig) -> RunConfig:
    """The settings the flags give on top of a preset's.

    Raises:
      ConfigError: a value is out of range, or of a setting that the backbone does not have.
    """
    from kser.backbones import require_own_settings

    require_own_settings(preset.backbone, given(ModelConfig))
    model = dataclasses.replace(
        preset, **given(ModelConfig), hrf=dataclasses.replace(preset.hrf, **given(HRFConfig, "hrf_"))
    )
    augment = dataclasses.replace(AugmentConfig() if FLAGS.augment else AUGMENT_OFF, **given(AugmentConfig))
    return RunConfig(feature_config(), model, augment, TrainConfig(**given(TrainConfig)))
