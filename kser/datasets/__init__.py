"""Corpora by name. To add one, write a module that parses it and add a line to SOURCES."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kser.datasets import (
    cremad,
    daic_woz,
    emodb,
    emovo,
    esd,
    folder,
    iemocap,
    m3ed,
    meld,
    nemo,
    ravdess,
    savee,
    shemo,
    synthetic,
    tess,
    urdu,
)
from kser.datasets.corpus import Corpus
from kser.errors import DatasetError


@dataclass(frozen=True)
class Source:
    """`load(data_dir, options)` reads a corpus; `options` are its options by name, with their meaning."""

    load: Callable[[str, frozenset[str]], Corpus]
    options: Mapping[str, str] = field(default_factory=dict)


SOURCES: dict[str, Source] = {
    "cremad": Source(cremad.load, cremad.OPTIONS),
    "daic_woz": Source(daic_woz.load, daic_woz.OPTIONS),
    "emodb": Source(emodb.load, emodb.OPTIONS),
    "emovo": Source(emovo.load),
    "esd": Source(esd.load),
    "folder": Source(folder.load),
    "iemocap": Source(iemocap.load, iemocap.OPTIONS),
    "m3ed": Source(m3ed.load, m3ed.OPTIONS),
    "meld": Source(meld.load),
    "nemo": Source(nemo.load),
    "ravdess": Source(ravdess.load),
    "savee": Source(savee.load),
    "shemo": Source(shemo.load),
    "synthetic": Source(synthetic.load),
    "tess": Source(tess.load),
    "urdu": Source(urdu.load),
}


def load_corpus(name: str, data_dir: str = "", options: str = "", columns: str = "") -> Corpus:
    """A corpus from the disk: its clips, their speakers and labels. No audio is read yet.

    Args:
      name: a published corpus (kser/datasets/README.md lists them); "folder", your own clips, in a table or in folders
        LABEL/SPEAKER; or "synthetic", generated sounds for trying things out.
      data_dir: directory of its files; "synthetic" generates its own.
      options: names of the corpus' options, separated by commas.
      columns: names of the columns of your table, such as "path:file,label:emotion", where they are unusual.

    Returns:
      `labels`, the names in the order of their indices; `speakers`; `utterances`, each with its `path`, `label` and
      `speaker`; `protocols`, the published ways to split it; `warnings`, differences from the published corpus.

    Raises:
      DatasetError: unknown name or option, or nothing usable in `data_dir`.

    Example:
      >>> corpus = kser.load_corpus("folder", "clips")
      >>> corpus.labels, corpus.speakers, len(corpus.utterances)
      (('high', 'low', 'middle'), ('ann', 'bob', 'cem', 'dee'), 24)
    """
    data_dir = os.fspath(data_dir)
    if name not in SOURCES:
        raise DatasetError(f"There is no corpus '{name}'; known: {', '.join(sorted(SOURCES))}.")
    source = SOURCES[name]
    chosen = frozenset(option for option in options.split(",") if option)
    unknown = sorted(chosen - set(source.options))
    if unknown:
        known = "; ".join(f"{option}: {meaning}" for option, meaning in source.options.items()) or "none"
        raise DatasetError(f"Corpus '{name}' has no option '{unknown[0]}'; it has {known}.")
    if not columns:
        return source.load(data_dir, chosen)
    if name != folder.NAME:
        raise DatasetError(f"columns name those of a table of your own clips (corpus '{folder.NAME}'), not of '{name}'.")
    return folder.load(data_dir, chosen, columns)
