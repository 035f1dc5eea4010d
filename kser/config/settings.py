"""The base of all settings: checked values, each with its range and help text, and conversion to and from JSON."""

from __future__ import annotations

import dataclasses
import math
import typing

from kser.errors import ConfigError


def setting(default, help: str, low: float = -math.inf, high: float = math.inf, choices: tuple[str, ...] = ()):
    """A field with its help text and its values: numbers from `low` to `high` (whole if the default is), or choices."""
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def check_number(name: str, value, whole: bool, low: float, high: float) -> None:
    kind = "a whole number" if whole else "a number"
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    upper = f" to {high:g}" if high < math.inf else " up"
    require(number and low <= value <= high, f"{name} must be {kind} from {low:g}{upper}, not {value!r}.")


class Settings:
    """Checks every field against its type, range and choices."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if "help" in field.metadata:
                self._check(field, getattr(self, field.name))

    def _check(self, field: dataclasses.Field, value) -> None:
        low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
        if choices:
            several = isinstance(field.default, tuple)
            require(
                not several or isinstance(value, tuple) and len(value) > 0, f"{field.name} must be a list, not {value!r}."
            )
            for item in value if several else (value,):
                require(item in choices, f"{field.name} must be one of {', '.join(choices)}, not {item!r}.")
        elif isinstance(field.default, (bool, str)):
            kind = type(field.default)
            require(isinstance(value, kind), f"{field.name} must be of type {kind.__name__}, not {value!r}.")
        elif isinstance(field.default, tuple):
            require(
                isinstance(value, tuple) and len(value) > 0,
                f"{field.name} must be a list of whole numbers, not {value!r}.",
            )
            for item in value:
                check_number(field.name, item, True, low, high)
        else:
            check_number(field.name, value, isinstance(field.default, int), low, high)


def to_dict(config) -> dict:
    """The settings as plain JSON values."""
    return dataclasses.asdict(config)


def from_dict(cls, values: typing.Mapping):
    """The inverse of `to_dict`.

    Raises:
      ConfigError: `values` is not a mapping, has an unknown key, or a value out of range.
    """
    require(isinstance(values, typing.Mapping), f"{cls.__name__} must be a mapping of settings, not {values!r}.")
    types = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(types))
    require(not unknown, f"{cls.__name__} has no setting {', '.join(map(repr, unknown))}; known: {', '.join(types)}.")
    return cls(**{name: _from_json(types[name], value) for name, value in values.items()})


def _from_json(kind, value):
    if dataclasses.is_dataclass(kind):
        return from_dict(kind, value)
    return tuple(value) if isinstance(value, list) else value
