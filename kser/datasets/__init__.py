"""Corpora by name. A source is a function `(data_dir) -> Corpus`; adding one is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable

from kser.datasets import ravdess, synthetic
from kser.datasets.corpus import Corpus
from kser.errors import DatasetError

SOURCES: dict[str, Callable[[str], Corpus]] = {
    "ravdess": ravdess.load,
    "synthetic": synthetic.load,
}


def load_corpus(name: str, data_dir: str) -> Corpus:
    """The corpus `name` as found in `data_dir`.

    Raises:
      DatasetError: unknown name, or nothing usable in `data_dir`.
    """
    if name not in SOURCES:
        raise DatasetError(f"There is no corpus '{name}'; known: {', '.join(sorted(SOURCES))}.")
    return SOURCES[name](data_dir)
