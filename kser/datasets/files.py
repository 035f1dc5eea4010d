"""Files below a corpus directory, and corpora whose file names tell all there is to know of a clip."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kser.datasets.corpus import Utterance
from kser.errors import DatasetError

AUDIO_EXTENSIONS = (".wav", ".flac")
MAX_NAMED = 3


def require_directory(data_dir: str, corpus: str) -> None:
    """Raises DatasetError unless `data_dir` is a readable directory."""
    if not data_dir:
        raise DatasetError(
            f"Corpus '{corpus}' needs --data_dir (--eval_data_dir for --eval_dataset), the directory that holds its files."
        )
    if not os.path.isdir(data_dir):
        raise DatasetError(f"There is no directory {data_dir} to read corpus '{corpus}' from.")
    if not os.access(data_dir, os.R_OK | os.X_OK):
        raise DatasetError(f"The directory {data_dir} may not be read; check its permissions.")


def find_files(directory: str, extensions: tuple[str, ...]) -> Iterator[str]:
    """Paths of the files below `directory` with one of these endings, whatever their case, in sorted order.

    Hidden files (`._*` of copies) are left out. Links to directories are followed, each directory is entered once: links
    that go round in a circle do no harm.

    Raises:
      DatasetError: a directory below it may not be read.
    """

    def refuse(error: OSError) -> None:
        raise DatasetError(f"The directory {error.filename} may not be read ({error.strerror}); check its permissions.")

    entered = set()
    for folder, folders, names in os.walk(directory, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(extensions) and not name.startswith("."):
                yield os.path.join(folder, name)


def find_audio(directory: str) -> Iterator[str]:
    """Paths of the .wav and .flac files below `directory`, as `find_files` finds them."""
    return find_files(directory, AUDIO_EXTENSIONS)


def few(names) -> str:
    """The first few of these names, for a sentence."""
    names = list(names)
    return ", ".join(names[:MAX_NAMED]) + (" ..." if len(names) > MAX_NAMED else "")


@dataclass(frozen=True)
class Grammar:
    """How a corpus names its files.

    `pattern` is searched in the path below the corpus directory, without its extension and with "/" between folders;
    anchor it with `(?:^|/)` and `$`. `utterance(path, match)` makes the clip of it. `example` is shown where no file fits.
    """

    corpus: str
    pattern: re.Pattern
    utterance: Callable[[str, re.Match], Utterance]
    example: str
    num_clips: int
    num_speakers: int


def parse_names(data_dir: str, grammar: Grammar) -> tuple[tuple[Utterance, ...], tuple[str, ...]]:
    """The clips below `data_dir` in the order of their ids, and how they differ from the published corpus, in sentences.

    Copies exist that hold every folder twice: of clips of one id the first is taken.

    Raises:
      DatasetError: no such directory, or no file in it has a name of this corpus.
    """
    require_directory(data_dir, grammar.corpus)
    by_id, repeated, others = {}, [], []
    for path in find_audio(data_dir):
        stem = os.path.splitext(os.path.relpath(path, data_dir))[0].replace(os.sep, "/")
        match = grammar.pattern.search(stem)
        if not match:
            others.append(stem)
            continue
        utterance = grammar.utterance(path, match)
        if utterance.utterance_id in by_id:
            repeated.append(stem)
        by_id.setdefault(utterance.utterance_id, utterance)
    if not by_id:
        hint = f" (there is {few(others)})" if others else ""
        raise DatasetError(
            f"No clip of '{grammar.corpus}' (such as {grammar.example}) lies below {data_dir}{hint}; "
            "point --data_dir at the corpus as distributed."
        )
    utterances = tuple(by_id[name] for name in sorted(by_id))
    return utterances, _differences(grammar, utterances, repeated, others)


def _differences(grammar: Grammar, utterances, repeated: list[str], others: list[str]) -> tuple[str, ...]:
    warnings = []
    if repeated:
        warnings.append(
            f"{len(repeated)} files of '{grammar.corpus}' repeat the name of another, as copies do that hold every folder "
            f"twice; the first of each was taken ({few(repeated)})."
        )
    if others:
        warnings.append(
            f"{len(others)} audio files below the directory have no name of '{grammar.corpus}' and are left out "
            f"({few(others)})."
        )
    speakers = len({u.speaker for u in utterances})
    if (len(utterances), speakers) != (grammar.num_clips, grammar.num_speakers):
        warnings.append(
            f"'{grammar.corpus}' has {grammar.num_clips} clips of {grammar.num_speakers} speakers, here are "
            f"{len(utterances)} of {speakers}."
        )
    return tuple(warnings)
