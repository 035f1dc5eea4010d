"""Finding audio files below a corpus directory."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kser.errors import DatasetError

AUDIO_EXTENSIONS = (".wav", ".flac")


def require_directory(data_dir: str, corpus: str) -> None:
    """Raises DatasetError unless `data_dir` is a readable directory."""
    if not data_dir:
        raise DatasetError(f"Corpus '{corpus}' needs --data_dir, the directory that holds its audio files.")
    if not os.path.isdir(data_dir):
        raise DatasetError(f"There is no directory {data_dir} to read corpus '{corpus}' from.")
    if not os.access(data_dir, os.R_OK | os.X_OK):
        raise DatasetError(f"The directory {data_dir} may not be read; check its permissions.")


def find_audio(directory: str) -> Iterator[str]:
    """Paths of the .wav and .flac files below `directory` in sorted order; hidden files (`._*` of copies) are left out."""
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(AUDIO_EXTENSIONS) and not name.startswith("."):
                yield os.path.join(folder, name)
