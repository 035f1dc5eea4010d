"""What commands tell in one sentence: the exceptions they end with, and a warning."""


class KserError(Exception):
    """Something the user can mend: what is wrong, where, and what to do, in one sentence. All errors named on this page, of
    module `kser.errors`, are of this class.

    Example:
      >>> try:
      ...     kser.create_model("conformer_tiny", num_classes=3)
      ... except kser.KserError as error:
      ...     print(error)  # doctest: +ELLIPSIS
      There is no model 'conformer_tiny'; known: conformer_micro, conformer_light, ...
    """


class KserWarning(UserWarning):
    """Something the user should know, in one sentence: it changes what a score means, but nothing has to be mended."""


class ConfigError(KserError, ValueError):
    """A setting is out of range, unknown, or does not fit the others."""


class AudioError(KserError):
    """An audio file is missing, unreadable, or holds nothing usable."""


class DatasetError(KserError):
    """A corpus is not where or what it should be."""


class RunError(KserError):
    """A run directory is missing, incomplete, corrupt, or of another version."""


class FoldError(KserError):
    """A fold left something unfolded or changed the function beyond rounding."""


class ModelFileError(KserError):
    """A .tflite file is unreadable, lacks kser's metadata, or does not run."""


class BoardError(KserError):
    """A board does not answer, or not as it should."""
