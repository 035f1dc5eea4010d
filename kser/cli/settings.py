"""Command-line flags from the settings dataclasses, and settings from the flags given."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from absl import flags

from kser.config import (
    RECOMMENDED_HRF,
    AugmentConfig,
    DataConfig,
    FeatureConfig,
    HRFConfig,
    ModelConfig,
    RunConfig,
    SmoothingConfig,
    TrainConfig,
)
from kser.errors import ConfigError

FLAGS = flags.FLAGS
ALL_SPLITS = "all"
# --help lists the flags of the module that calls `define_run`.
flags.disclaim_key_flags()


def define(cls, prefix: str = "", names: Sequence[str] = (), default=None) -> None:
    """Defines a flag for every setting of `cls`, or those in `names`; a flag that is not given is None.

    Args:
      default: the default that --help shows: settings of `cls` (None: the class' own), or a text.
    """
    default = cls() if default is None else default
    for setting in _settings(cls, names):
        _define(prefix + setting.name, setting, default if isinstance(default, str) else getattr(default, setting.name))


def _settings(cls, names: Sequence[str]) -> list[dataclasses.Field]:
    return [s for s in dataclasses.fields(cls) if "help" in s.metadata and (not names or s.name in names)]


def _define(name: str, setting: dataclasses.Field, default) -> None:
    text = f"{setting.metadata['help']} Default: {_shown(default)}."
    if name == "split":
        flags.DEFINE_string(name, None, f"{text} '{ALL_SPLITS}': train on every split and pool the predictions.")
    elif isinstance(setting.default, tuple):
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
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default) or "empty"


def given(cls, prefix: str = "", names: Sequence[str] = ()) -> dict:
    """The values of the flags given, for `cls` or its settings in `names`."""
    values = {s.name: FLAGS[prefix + s.name].value for s in _settings(cls, names)}
    if "split" in values:
        values["split"] = _split_number(values["split"])
    return {name: _as_numbers(value) for name, value in values.items() if value is not None}


def flags_for(config, default) -> list[str]:
    """The command-line flags that turn `default` into `config`, both of one class; the inverse of `given`."""
    changed = ((s.name, getattr(config, s.name)) for s in _settings(type(config), ()))
    return [_flag(name, value) for name, value in changed if value != getattr(default, name)]


def _flag(name: str, value) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    return f"--{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}"


def _split_number(text: str | None) -> int | None:
    if text is None or text == ALL_SPLITS:
        return None
    if not re.fullmatch("-?[0-9]+", text):
        raise ConfigError(f"split must be a number or '{ALL_SPLITS}', not {text!r}.")
    return int(text)


def _as_numbers(value):
    return tuple(int(v) if re.fullmatch("-?[0-9]+", v) else v for v in value) if isinstance(value, list) else value


def define_run() -> None:
    """Defines the flags of all settings that the result of a run depends on."""
    define(FeatureConfig)
    define(ModelConfig, names=("backbone",))
    define(ModelConfig, names=[s.name for s in _settings(ModelConfig, ()) if s.name != "backbone"], default="the preset's")
    define(HRFConfig, "hrf_", default=RECOMMENDED_HRF)
    define(DataConfig)
    define(AugmentConfig)
    define(TrainConfig)
    define(SmoothingConfig)


def feature_config() -> FeatureConfig:
    """The front end's settings from the flags."""
    return FeatureConfig(**given(FeatureConfig))


def run_config(preset: ModelConfig) -> RunConfig:
    """A run's settings: those of a preset, changed by the flags.

    Raises:
      ConfigError: a value is out of range, or the backbone does not have the setting.
    """
    from kser.models.presets import BACKBONES, require_own_settings

    require_own_settings(preset.backbone, given(ModelConfig))
    hrf = dataclasses.replace(RECOMMENDED_HRF, **given(HRFConfig, "hrf_"))
    model = dataclasses.replace(preset, **given(ModelConfig), hrf=hrf)
    data, augment = (cls(**given(cls)) for cls in (DataConfig, AugmentConfig))
    defaults = {"learning_rate": BACKBONES[preset.backbone].learning_rate}
    if FLAGS.validation_speakers is not None:
        defaults["select"] = "validation"  # asking for validation speakers implies it
    train, smoothing = TrainConfig(**{**defaults, **given(TrainConfig)}), SmoothingConfig().changed(**given(SmoothingConfig))
    return RunConfig(data, feature_config(), model, augment, train, smoothing)


def all_splits() -> bool:
    """Whether the flags ask for every split of the protocol."""
    return FLAGS.split == ALL_SPLITS
