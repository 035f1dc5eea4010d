"""Files below a corpus directory, and corpora whose file names contain all information on a clip."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kser.audio.decoding import AUDIO_EXTENSIONS, LOSSLESS_EXTENSIONS
from kser.datasets import checksums
from kser.datasets.corpus import Utterance
from kser.errors import DatasetError

# Sound, or video with sound, of kinds that are not read.
OTHER_SOUND_EXTENSIONS = (".mp4", ".mov", ".mkv", ".avi", ".mpg", ".mpeg", ".au", ".snd", ".caf", ".sph", ".raw", ".pcm")
# What systems and programs put into folders beside the files of their users.
SYSTEM_FOLDERS = ("__MACOSX", "__pycache__", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
MAX_NAMED = 3


def require_directory(data_dir: str, corpus: str) -> None:
    """Raises DatasetError unless `data_dir` is a readable directory."""
    if not data_dir:
        raise DatasetError(
            f"Corpus '{corpus}' needs --data_dir (--eval_data_dir for --eval_dataset), the directory that holds its files."
        )
    if not os.path.isdir(data_dir):
        raise DatasetError(f"There is no directory {data_dir}, from which corpus '{corpus}' is to be read.")
    if not os.access(data_dir, os.R_OK | os.X_OK):
        raise DatasetError(f"The directory {data_dir} cannot be read; check its permissions.")


def find_files(directory: str, extensions: tuple[str, ...]) -> Iterator[str]:
    """Paths of the files below `directory` with one of these extensions (in any case), sorted.

    Hidden files and folders (such as `._*`) and SYSTEM_FOLDERS are left out. Links to directories are followed, but each
    directory is entered only once, so circular links do no harm.

    Raises:
      DatasetError: a directory below it cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DatasetError(f"The directory {error.filename} cannot be read ({error.strerror}); check its permissions.")

    entered = set()
    for folder, folders, names in os.walk(directory, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SYSTEM_FOLDERS)
        for name in sorted(names):
            if name.lower().endswith(extensions) and not name.startswith("."):
                yield os.path.join(folder, name)


def find_audio(directory: str) -> Iterator[str]:
    """Paths of the audio files below `directory`, as `find_files` finds them."""
    return find_files(directory, AUDIO_EXTENSIONS)


def other_sound(directory: str, matters: Callable[[str], bool] = bool) -> list[str]:
    """A warning, or none, of the files below `directory` that have sound but are of no kind that is read.

    Args:
      matters: whether a file is to be counted, by its relative path without extension.
    """
    names = [os.path.relpath(path, directory).replace(os.sep, "/") for path in find_files(directory, OTHER_SOUND_EXTENSIONS)]
    left_out = [name for name in names if matters(os.path.splitext(name)[0])]
    if not left_out:
        return []
    return [
        f"{len(left_out)} files below {directory} are sound of kinds that are not read and are left out ({few(left_out)}); "
        "convert them to WAV."
    ]


def lossless_first(paths: Iterable[str]) -> list[str]:
    """The paths in their order, but those of files of lossless formats before all others."""
    return sorted(paths, key=lambda path: not path.lower().endswith(LOSSLESS_EXTENSIONS))


def few(names) -> str:
    """The first few of these names, for a message."""
    names = list(names)
    return ", ".join(names[:MAX_NAMED]) + (" ..." if len(names) > MAX_NAMED else "")


@dataclass(frozen=True)
class Grammar:
    """How a corpus names its files.

    `pattern` is searched in the path below the corpus directory, without its extension and with "/" between folders;
    anchor it with `(?:^|/)` and `$`. `utterance(path, match)` makes the clip. `example` is shown if no file matches.
    """

    corpus: str
    pattern: re.Pattern
    utterance: Callable[[str, re.Match], Utterance]
    example: str
    num_clips: int
    num_speakers: int


def parse_names(data_dir: str, grammar: Grammar) -> tuple[tuple[Utterance, ...], tuple[str, ...]]:
    """The clips below `data_dir` in the order of their ids, and warnings of differences from the published corpus.

    Some copies contain every folder twice, or a filtered copy of it: of several files with the same id the one as
    distributed is taken, by its checksum, where that is known and one is; else the first.

    Raises:
      DatasetError: no such directory, or no file in it is named like those of this corpus.
    """
    require_directory(data_dir, grammar.corpus)
    candidates: dict[str, list[Utterance]] = {}
    others = []
    for path in lossless_first(find_audio(data_dir)):
        stem = os.path.splitext(os.path.relpath(path, data_dir))[0].replace(os.sep, "/")
        match = grammar.pattern.search(stem)
        if not match:
            others.append(stem)
            continue
        utterance = grammar.utterance(path, match)
        candidates.setdefault(utterance.utterance_id, []).append(utterance)
    if not candidates:
        hint = f" (found: {few(others)})" if others else ""
        raise DatasetError(
            f"There is no clip of '{grammar.corpus}' (such as {grammar.example}) below {data_dir}{hint}; "
            "point --data_dir at the corpus as distributed."
        )
    by_id = {name: _as_distributed(grammar.corpus, found) for name, found in candidates.items()}
    utterances = tuple(by_id[name] for name in sorted(by_id))
    left_out = [u for name in sorted(by_id) for u in candidates[name] if u is not by_id[name]]
    repeated = [os.path.splitext(os.path.relpath(u.path, data_dir))[0].replace(os.sep, "/") for u in left_out]

    def is_missing(stem: str) -> bool:
        match = grammar.pattern.search(stem)
        return match is not None and grammar.utterance(stem, match).utterance_id not in by_id

    return utterances, (*_differences(grammar, utterances, repeated, others), *other_sound(data_dir, is_missing))


def _as_distributed(corpus: str, found: list[Utterance]) -> Utterance:
    """Of files with the same id the one whose checksum is that of the corpus; the first if none is, or none is known."""
    if len(found) == 1:
        return found[0]
    known, sizes = checksums.known(corpus) or {}, checksums.sizes(corpus) or {}
    for utterance in found:
        name = checksums.name_of(corpus, utterance.path)
        if name and _size(utterance.path) == sizes[name] and _sha256(utterance.path).startswith(known[name]):
            return utterance
    return found[0]


def _size(path: str) -> int:
    """In bytes; -1 without such a file, which is told where the audio is read."""
    return os.path.getsize(path) if os.path.isfile(path) else -1


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _differences(grammar: Grammar, utterances, repeated: list[str], others: list[str]) -> tuple[str, ...]:
    warnings = []
    if repeated:
        warnings.append(
            f"{len(repeated)} files of '{grammar.corpus}' have the same name as another and are left out, as in copies that "
            f"contain every folder twice: of each the original was taken, or else the first ({few(repeated)})."
        )
    if others:
        warnings.append(
            f"{len(others)} audio files below the directory are not named like those of '{grammar.corpus}' and are left out "
            f"({few(others)})."
        )
    speakers = len({u.speaker for u in utterances})
    if (len(utterances), speakers) != (grammar.num_clips, grammar.num_speakers):
        warnings.append(
            f"'{grammar.corpus}' has {grammar.num_clips} clips of {grammar.num_speakers} speakers; found: "
            f"{len(utterances)} of {speakers}."
        )
    return tuple(warnings)
