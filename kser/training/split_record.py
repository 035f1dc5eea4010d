"""A run's record of which clips it was trained, validated and tested on, so that no later change of a corpus mixes them."""

from __future__ import annotations

import csv
import os
import warnings

from kser.datasets.corpus import Corpus
from kser.datasets.protocols import Split
from kser.errors import KserWarning, RunError
from kser.files import replacing

FILE = "split.csv"
PARTS = ("train", "validation", "test")
COLUMNS = ["utterance_id", "part"]
# Names of files need not be valid text.
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


def write(run_dir: str, corpus: Corpus, split: Split) -> None:
    """Writes split.csv: a line for each clip that is in a part."""
    with replacing(os.path.join(run_dir, FILE)) as temporary, open(temporary, "w", newline="", **_ENCODING) as stream:
        csv.writer(stream).writerows([COLUMNS, *parts_of(corpus, split).items()])


def parts_of(corpus: Corpus, split: Split) -> dict[str, str]:
    """The part of each clip that is in one, by the clip's name."""
    return {corpus.utterances[i].utterance_id: part for part in PARTS for i in getattr(split, part)}


def require_same(run_dir: str, corpus: Corpus, split: Split) -> None:
    """Refuses a split other than the run's: a clip that it was trained on may be among those that it would be tested on.

    Raises:
      RunError: the split differs, or the record is damaged.
    Warns:
      KserWarning: the run, of an older kser, has no record.
    """
    path = os.path.join(run_dir, FILE)
    if not os.path.isfile(path):
        return warnings.warn(
            f"{run_dir} is of a kser that did not record which clips were trained on: that none of them is tested on rests "
            "on the corpus' files and protocols being unchanged.",
            KserWarning,
            stacklevel=3,
        )
    before, now = _read(path), parts_of(corpus, split)
    moved = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if moved:
        name, count = moved[0], len(moved)
        raise RunError(
            f"{run_dir} was trained with another split: '{name}' was {_place(before.get(name))} and is "
            f"{_place(now.get(name))} now, {count} clips in all; undo the change of the corpus' split, or train again."
        )


def _place(part: str | None) -> str:
    return f"in the {part} part" if part else "in no part"


def _read(path: str) -> dict[str, str]:
    try:
        with open(path, newline="", **_ENCODING) as stream:
            header, *rows = csv.reader(stream)
        parts = {name: part for name, part in rows}
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path} is damaged ({error}); train again into another directory.") from error
    if header != COLUMNS or not set(parts.values()) <= set(PARTS):
        raise RunError(f"{path} is damaged; train again into another directory.")
    return parts
