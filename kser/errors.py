"""Exceptions and a warning that commands print as one sentence."""


class KserError(Exception):
    """An error that the user can fix; its message says in one sentence what is wrong, where, and what to do. All errors
    named on this page, of module `kser.errors`, are subclasses.

    Example:
      >>> try:
      ...     kser.create_model("conformer_tiny", num_classes=3)
      ... except kser.KserError as error:
      ...     print(error)  # doctest: +ELLIPSIS
      There is no model 'conformer_tiny'; known: conformer_micro, conformer_light, ...
    """


class KserWarning(UserWarning):
    """A warning in one sentence: it affects the meaning of a score, but nothing has to be fixed."""


class ConfigError(KserError, ValueError):
    """A setting is out of range, unknown, or does not fit the others."""


class AudioError(KserError):
    """An audio file is missing, unreadable, or unusable."""


class DatasetError(KserError):
    """A corpus is missing, damaged, or not the expected one."""


class RunError(KserError):
    """A run directory is missing, incomplete, corrupt, or of another version."""


class DivergenceError(KserError):
    """A training's loss is not finite, or stays far above that of guessing."""


class FoldError(KserError):
    """A fold is incomplete, or a fold or rewrite changed the function by more than rounding."""


class ModelFileError(KserError):
    """A .tflite file is unreadable, lacks kser's metadata, or does not run."""


class BoardError(KserError):
    """A board does not answer, or answers wrongly."""
