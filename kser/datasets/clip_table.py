"""Tables of clips as people have them: any of the usual separators, encodings and names of columns."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence

from kser.datasets.corpus import Utterance
from kser.datasets.folder_layout import PARTS, UNKNOWN_SPEAKER, part_of
from kser.errors import DatasetError

# Names of columns, compared without case, spaces and punctuation; where several are there, the first.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "filepath", "audio", "audiopath", "audiofile", "wav", "wavfile", "clip"),
    "label": ("label", "emotion", "class", "category", "target"),
    "speaker": ("speaker", "speakerid", "spk", "actor", "actorid", "subject", "participant"),
    "session": ("session", "sessionid", "dialogue", "dialog"),
    "split": ("split", "part", "partition", "subset", "set"),
    "start": ("start", "starttime", "begin", "onset"),
    "stop": ("stop", "stoptime", "end", "endtime", "offset"),
}
SEPARATORS = (",", ";", "\t", "|")
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def parse_columns(text: str) -> dict[str, str]:
    """The names of columns by their meaning, from `path:file,label:emotion`.

    Raises:
      DatasetError: it is of another form, or a meaning is unknown.
    """
    named = {}
    for item in filter(None, text.split(",")):
        key, colon, column = (part.strip() for part in item.partition(":"))
        if not (colon and column and key in COLUMNS):
            raise DatasetError(f"columns must be such as path:file,label:emotion, of {', '.join(COLUMNS)}, not {item!r}.")
        named[key] = column
    return named


def clips_of_table(data_dir: str, name: str, columns: Mapping[str, str]) -> tuple[Utterance, ...]:
    """The clips that the table `name` in `data_dir` lists: CSV with any of SEPARATORS, or JSON lines.

    Args:
      columns: names of columns by their meaning, where they are unusual.

    Raises:
      DatasetError: it cannot be read, lacks a column, or has a row that cannot be used.
    """
    path = os.path.join(data_dir, name)
    try:
        with open(path, "rb") as file:
            text = _text_of(file.read())
        rows = _json_rows(text) if name.endswith(".jsonl") else _csv_rows(text)
    except (OSError, UnicodeError, csv.Error, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); it must be a table in UTF-8 or UTF-16.") from error
    if not rows:
        raise DatasetError(f"{path} lists no clip.")
    found = dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row if isinstance(key, str))
    chosen = _choose(path, list(found), columns)
    return tuple(_utterance(data_dir, f"{path}, row {number}", row, chosen) for number, row in enumerate(rows, 1))


def _text_of(data: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if b"\0" in data[:2]:
        return data.decode("utf-16-le" if data[:1] != b"\0" else "utf-16-be")
    return data.decode("utf-8")


def _csv_rows(text: str) -> list:
    head, _, rest = text.lstrip("\r\n").partition("\n")
    if named := re.fullmatch(r"sep=(.)\r?", head):  # a line of Excel
        return list(csv.DictReader(io.StringIO(rest, newline=""), delimiter=named[1]))
    separator = max(SEPARATORS, key=head.count)
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))


def _json_rows(text: str) -> list:
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _choose(path: str, found: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """The column of each meaning, "" if there is none."""
    by_name: dict[str, str] = {}
    for column in found:
        by_name.setdefault(_plain(column), column)
    for column in columns.values():
        if _plain(column) not in by_name:
            raise DatasetError(f"{path} has no column '{column}'; it has {', '.join(found)}.")
    named = {key: by_name[_plain(column)] for key, column in columns.items()}
    free = {plain: column for plain, column in by_name.items() if column not in named.values()}
    usual = {key: next((free[name] for name in names if name in free), "") for key, names in COLUMNS.items()}
    chosen = usual | named
    missing = [key for key in ("path", "label") if not chosen[key]]
    if missing:
        raise DatasetError(
            f"{path} has the columns {', '.join(found) or 'of no name'}, none of which is known as {' or '.join(missing)}; "
            f"name them by --columns, such as --columns={','.join(f'{key}:NAME' for key in missing)}."
        )
    return chosen


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _utterance(data_dir: str, where: str, row, columns: Mapping[str, str]) -> Utterance:
    values = {key: row.get(column) for key, column in columns.items()} if isinstance(row, dict) else {}
    name, label = (_text(values, key, str) for key in ("path", "label"))
    if not (name and label):
        raise DatasetError(f"{where} must give path and label.")
    part = _text(values, "split")
    if part and not part_of(part):
        raise DatasetError(f"{where}: split must be one of {', '.join(PARTS)}, not {part!r}.")
    span = _span(where, values)
    suffix = f"#{span[0]:.12g}-{span[1]:.12g}" if span else ""
    return Utterance(
        name + suffix,
        _located(data_dir, name),
        label,
        _text(values, "speaker") or UNKNOWN_SPEAKER,
        _text(values, "session"),
        span,
        {"split": part_of(part)} if part else {},
    )


def _located(data_dir: str, name: str) -> str:
    """The path of a file, also if the table was written under Windows."""
    path = os.path.join(data_dir, name)
    return path if "\\" not in name or os.path.exists(path) else os.path.join(data_dir, name.replace("\\", "/"))


def _text(values: Mapping, key: str, kind=object) -> str:
    """The value of a cell as text, also of a number if `kind` permits; empty if there is none."""
    value = values.get(key)
    return "" if value is None or not isinstance(value, kind) else str(value).strip()


def _span(where: str, values: Mapping) -> tuple[float, float] | None:
    given = [values.get(key) not in (None, "") for key in ("start", "stop")]
    if not any(given):
        return None
    try:
        start, stop = (float(_text(values, key).replace(",", ".")) for key in ("start", "stop"))
    except ValueError as error:
        raise DatasetError(f"{where}: start and stop must both be seconds.") from error
    if not 0 <= start < stop < float("inf"):
        raise DatasetError(f"{where}: start must come before stop, not {start:g} and {stop:g}.")
    return start, stop
