"""Your own corpus: a table of its clips, or folders named after the labels.

`manifest.csv` (with a header) or `manifest.jsonl` (one object per line) in the directory: `path` relative to it, `label`,
and if known `speaker`, `session`, `split` (train, validation or test), `start` and `stop` in seconds. Without a table,
`LABEL/**/clip.wav`; a folder in between may name the speaker, `LABEL/SPEAKER/clip.wav`.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator

from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance
from kser.datasets.files import few, find_audio, require_directory
from kser.errors import DatasetError

NAME = "folder"
TABLES = ("manifest.csv", "manifest.jsonl")
PARTS = ("train", "validation", "test")
UNKNOWN_SPEAKER = "unknown"


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus in `data_dir`.

    With a `split` column the protocol is `given`; otherwise one is computed by speakers.

    Raises:
      DatasetError: no such directory, no clip in it, or a table with a row that cannot be used.
    """
    require_directory(data_dir, NAME)
    tables = [name for name in TABLES if os.path.isfile(os.path.join(data_dir, name))]
    if len(tables) > 1:
        raise DatasetError(f"{data_dir} contains both {' and '.join(tables)}; keep one of them.")
    utterances = _from_table(data_dir, tables[0]) if tables else _from_folders(data_dir)
    repeated = _repeated(u.utterance_id for u in utterances)
    if repeated:
        raise DatasetError(f"{len(repeated)} clips are listed twice in {data_dir} ({few(repeated)}); name each once.")
    labels = tuple(sorted({u.label for u in utterances}))
    if len(labels) < 2:
        raise DatasetError(f"The clips in {data_dir} have {len(labels)} label ({few(labels)}); at least two are needed.")
    warnings = []
    unknown = sum(u.speaker == UNKNOWN_SPEAKER for u in utterances)
    if unknown:
        warnings.append(
            f"{unknown} of {len(utterances)} clips have no speaker; scores on clips of speakers known from training say "
            "nothing about new speakers."
        )
    protocols = _protocols(utterances)
    if not protocols and any("split" in u.attributes for u in utterances):
        warnings.append(f"No row of {tables[0]} has the split 'test', so the column is not used.")
    return Corpus(NAME, labels, utterances, protocols, tuple(warnings))


def _repeated(names) -> list[str]:
    seen, repeated = set(), []
    for name in names:
        if name in seen:
            repeated.append(name)
        seen.add(name)
    return repeated


def _protocols(utterances: tuple[Utterance, ...]) -> dict[str, Protocol]:
    """The given split; if no speaker is known, it may share speakers."""
    parts = {u.attributes.get("split", "") for u in utterances}
    if "test" not in parts:
        return {}
    shared = ("speaker",) if {u.speaker for u in utterances} == {UNKNOWN_SPEAKER} else ()
    return {"given": Protocol("split", (HeldOut(("test",), ("validation",) if "validation" in parts else ()),), shared)}


def _from_folders(data_dir: str) -> tuple[Utterance, ...]:
    utterances, loose = [], []
    for path in find_audio(data_dir):
        name = os.path.relpath(path, data_dir).replace(os.sep, "/")
        label, *folders, _ = name.split("/") if "/" in name else ("", name)
        if not label:
            loose.append(name)
            continue
        utterances.append(Utterance(name, path, label, folders[0] if folders else UNKNOWN_SPEAKER))
    if loose:
        raise DatasetError(
            f"{len(loose)} audio files are in {data_dir} itself, not in a folder that names their label "
            f"({few(loose)}); move them, or list all clips in {TABLES[0]} (path, label, speaker)."
        )
    if not utterances:
        raise DatasetError(
            f"{data_dir} contains neither {' nor '.join(TABLES)} nor folders of .wav or .flac files named after labels."
        )
    return tuple(utterances)


def _from_table(data_dir: str, name: str) -> tuple[Utterance, ...]:
    path = os.path.join(data_dir, name)
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            read = csv.DictReader if name.endswith(".csv") else _json_lines
            rows = list(read(stream))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); it must be a table in UTF-8.") from error
    if not rows:
        raise DatasetError(f"{path} lists no clip.")
    return tuple(_utterance(data_dir, f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


def _json_lines(stream) -> Iterator:
    return (json.loads(line) for line in stream if line.strip())


def _utterance(data_dir: str, where: str, row) -> Utterance:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) and row[key] for key in ("path", "label")):
        raise DatasetError(f"{where} must give path and label.")
    part = row.get("split") or ""
    if part not in ("", *PARTS):
        raise DatasetError(f"{where}: split must be one of {', '.join(PARTS)}, not {part!r}.")
    span = _span(where, row)
    suffix = f"#{span[0]:.12g}-{span[1]:.12g}" if span else ""
    return Utterance(
        row["path"] + suffix,
        os.path.join(data_dir, row["path"]),
        row["label"],
        _text(row, "speaker") or UNKNOWN_SPEAKER,
        _text(row, "session"),
        span,
        {"split": part} if part else {},
    )


def _text(row: dict, key: str) -> str:
    """The value of a cell as text, also of a number; empty if there is none."""
    value = row.get(key)
    return "" if value is None else str(value)


def _span(where: str, row: dict) -> tuple[float, float] | None:
    given = [row.get(key) not in (None, "") for key in ("start", "stop")]
    if not any(given):
        return None
    try:
        start, stop = float(row["start"]), float(row["stop"])
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{where}: start and stop must both be seconds.") from error
    if not 0 <= start < stop < float("inf"):
        raise DatasetError(f"{where}: start must come before stop, not {start:g} and {stop:g}.")
    return start, stop
