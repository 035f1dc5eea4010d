"""Digests of the original corpora, to check whether a copy is complete and unchanged.

`checksums.npz` beside this module has, for RAVDESS, CREMA-D, TESS, SAVEE, EmoDB (the original 535 clips at 16 kHz), EMOVO
and URDU, the name of every audio file as distributed, the first eight bytes of its SHA-256, and its size. The digests are
of whole files, headers included: audio that was resampled or converted to FLAC has a different one. Eight bytes detect
damage and mix-ups, but not forgery.

`pack` makes the file from one list per corpus with the tab-separated columns sha256, bytes and file.
"""

from __future__ import annotations

import csv
import functools
import os
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from kser.errors import DatasetError

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checksums.npz")
HEX_DIGITS = 16


def known(corpus: str) -> dict[str, str] | None:
    """The first 16 hex digits of each file's SHA-256, by the name from `name_of`; None if the corpus has no list.

    Raises:
      DatasetError: the installed table of checksums is missing or damaged.
    """
    table = _table(corpus)
    return table and {name: f"{digest:0{HEX_DIGITS}x}" for name, (digest, _) in table.items()}


def sizes(corpus: str) -> dict[str, int] | None:
    """Each file's size in bytes, like `known`.

    Raises:
      DatasetError: as for `known`.
    """
    table = _table(corpus)
    return table and {name: num_bytes for name, (_, num_bytes) in table.items()}


def name_of(corpus: str, path: str) -> str | None:
    """The name of the file at `path` in `known`, in any folder; None if it is not in the list.

    That is the file name, with its folder if every folder has the same names (`DC/a01.wav` of SAVEE); copies that put such
    a folder into the name (`DC_a01.wav`) are understood.

    Raises:
      DatasetError: as for `known`.
    """
    table = _table(corpus) or {}
    *folders, name = path.replace(os.sep, "/").split("/")
    candidates = (name, "/".join([*folders[-1:], name]), name.replace("_", "/", 1))
    return next((candidate for candidate in candidates if candidate in table), None)


@functools.cache
def _table(corpus: str) -> dict[str, tuple[int, int]] | None:
    """Digest and size by name."""
    try:
        with np.load(PATH, allow_pickle=False) as packed:
            if f"{corpus}/names" not in packed:
                return None
            names, digests, num_bytes = (packed[f"{corpus}/{field}"] for field in ("names", "sha256", "bytes"))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"The table of checksums {PATH} cannot be read ({error}); install kser again.") from None
    names = names.tobytes().decode().split("\n")
    return dict(zip(_shortened(names), zip(digests.tolist(), num_bytes.tolist(), strict=True), strict=True))


def _shortened(names: list[str]) -> list[str]:
    """Names without their folders, or with the last folder if several files have the same name."""
    short = [name.rsplit("/", 1)[-1] for name in names]
    return short if len(set(short)) == len(short) else ["/".join(name.split("/")[-2:]) for name in names]


def pack(tsv_paths: Iterable[str], path: str = PATH) -> None:
    """Writes the table from these lists; a corpus is named like its list, up to the first "_" or "."."""
    arrays = {}
    for tsv_path in tsv_paths:
        corpus = os.path.basename(tsv_path).replace(".", "_").split("_")[0]
        with open(tsv_path, encoding="utf-8", newline="") as file:
            rows = sorted(csv.DictReader(file, delimiter="\t"), key=lambda row: row["file"])
        arrays[f"{corpus}/names"] = np.frombuffer("\n".join(row["file"] for row in rows).encode(), np.uint8)
        arrays[f"{corpus}/sha256"] = np.array([int(row["sha256"][:HEX_DIGITS], 16) for row in rows], np.uint64)
        arrays[f"{corpus}/bytes"] = np.array([int(row["bytes"]) for row in rows], np.uint32)
    np.savez_compressed(path, **arrays)
