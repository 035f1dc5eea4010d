"""Your own corpus: a table of its clips, or folders named after the labels.

`manifest.csv` (or `.tsv`, with a header) or `manifest.jsonl` (one object per line) in the directory: `path` relative to it,
`label`, and if known `speaker`, `session`, `split` (train, validation or test), `start` and `stop` in seconds; usual other
names of columns are understood (`clip_table`). Without a table, `LABEL/**/clip.wav`; a folder in between may name the
speaker, `LABEL/SPEAKER/clip.wav`, and one around them the part of a split, `train/LABEL/clip.wav` (`folder_layout`).
"""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence

from kser.datasets.clip_table import clips_of_table, parse_columns
from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance
from kser.datasets.files import few, find_audio, require_directory
from kser.datasets.folder_layout import UNKNOWN_SPEAKER, FolderClips, clips_of_folders
from kser.errors import DatasetError

NAME = "folder"
TABLES = ("manifest.csv", "manifest.tsv", "manifest.jsonl")


def load(data_dir: str, options: frozenset[str] = frozenset(), columns: str = "") -> Corpus:
    """The corpus in `data_dir`.

    With parts of a split the protocol is `given`; otherwise one is computed by speakers. Labels that differ only in case or
    spaces are one.

    Args:
      columns: names of the table's columns, such as `path:file,label:emotion`, where they are unusual.

    Raises:
      DatasetError: no such directory, no clip in it, or a table with a row that cannot be used.
    """
    require_directory(data_dir, NAME)
    found = _clips(data_dir, parse_columns(columns))
    utterances, merged = _merge_labels(found.utterances)
    repeated = [name for name, count in Counter(u.utterance_id for u in utterances).items() if count > 1]
    if repeated:
        raise DatasetError(f"{len(repeated)} clips are listed twice in {data_dir} ({few(repeated)}); name each once.")
    labels = tuple(sorted({u.label for u in utterances}))
    warnings = (*_without_speaker(utterances), *merged, *found.warnings)
    if len(labels) < 2:
        told = f"The clips in {data_dir} have {len(labels)} label ({few(labels)}); at least two are needed."
        raise DatasetError(" ".join([told, *found.warnings]))
    protocols = _protocols(utterances)
    if not protocols and any("split" in u.attributes for u in utterances):
        warnings += ("No clip has the split 'test', so the parts are not used.",)
    return Corpus(NAME, labels, utterances, protocols, warnings, notes=found.notes)


def _clips(data_dir: str, columns: dict[str, str]) -> FolderClips:
    tables = [name for name in TABLES if os.path.isfile(os.path.join(data_dir, name))]
    if len(tables) > 1:
        raise DatasetError(f"{data_dir} contains both {' and '.join(tables)}; keep one of them.")
    if tables:
        utterances = clips_of_table(data_dir, tables[0], columns)
        return FolderClips(utterances, notes=_not_listed(data_dir, tables[0], utterances))
    if columns:
        raise DatasetError(f"columns names those of a table, but {data_dir} contains none of {', '.join(TABLES)}.")
    return clips_of_folders(data_dir)


def _not_listed(data_dir: str, table: str, utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """A note on audio files that are there but not in the table."""
    listed = {os.path.normpath(u.path) for u in utterances}
    others = [os.path.relpath(path, data_dir) for path in find_audio(data_dir) if os.path.normpath(path) not in listed]
    return (f"{len(others)} audio files are not in {table} and are left out ({few(others)}).",) if others else ()


def _merge_labels(utterances: tuple[Utterance, ...]) -> tuple[tuple[Utterance, ...], list[str]]:
    """The clips with one spelling, the most frequent, for labels that differ only in case, spaces or composition.

    Labels from names of folders that are not UTF-8 are read as Latin-1: a label has to go into JSON, models and C++.
    """
    utterances = tuple(dataclasses.replace(u, label=_as_unicode(u.label)) for u in utterances)
    spellings: dict[str, Counter] = {}
    for u in utterances:
        spellings.setdefault(_plain(u.label), Counter())[u.label] += 1
    chosen = {key: min(counts, key=lambda spelling: (-counts[spelling], spelling)) for key, counts in spellings.items()}
    merged = [" = ".join(sorted(counts)) for counts in spellings.values() if len(counts) > 1]
    warning = f"{len(merged)} labels are spelled in several ways and taken as one each: {few(merged)}."
    utterances = tuple(dataclasses.replace(u, label=chosen[_plain(u.label)].strip()) for u in utterances)
    return utterances, [warning] if merged else []


def _as_unicode(name: str) -> str:
    data = name.encode("utf-8", "surrogateescape")
    return name if data.decode("utf-8", "ignore") == name else data.decode("latin-1")


def _plain(label: str) -> str:
    return "".join(unicodedata.normalize("NFC", label).split()).casefold()


def _without_speaker(utterances: tuple[Utterance, ...]) -> list[str]:
    unknown = sum(u.speaker == UNKNOWN_SPEAKER for u in utterances)
    if not unknown:
        return []
    return [
        f"{unknown} of {len(utterances)} clips have no speaker; scores on clips of speakers known from training say nothing "
        "about new speakers. Name them by folders, LABEL/SPEAKER, or in a column 'speaker' of manifest.csv, or give the "
        "parts as folders train and test; else only --protocol=speakers_shared_5 splits the clips."
    ]


def _protocols(utterances: tuple[Utterance, ...]) -> dict[str, Protocol]:
    """The given split; if no speaker is known, it may share speakers."""
    parts = {u.attributes.get("split", "") for u in utterances}
    if "test" not in parts:
        return {}
    shared = ("speaker",) if {u.speaker for u in utterances} == {UNKNOWN_SPEAKER} else ()
    return {"given": Protocol("split", (HeldOut(("test",), ("validation",) if "validation" in parts else ()),), shared)}
