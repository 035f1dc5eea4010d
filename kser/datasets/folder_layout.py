"""What folders of audio files say about them: part, label and speaker, and what was left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kser.audio.decoding import AUDIO_EXTENSIONS, FORMATS
from kser.datasets.corpus import Utterance
from kser.datasets.files import OTHER_SOUND_EXTENSIONS, SYSTEM_FOLDERS, few, find_files, lossless_first, other_sound
from kser.errors import DatasetError

UNKNOWN_SPEAKER = "unknown"
PARTS = ("train", "validation", "test")
PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
# Words by which labels are known from speakers, where both are folders.
EMOTIONS = frozenset(
    "afraid amused anger angry anxiety anxious bored boredom calm contempt disappointed disgust disgusted excited "
    "excitement fear fearful frustrated frustration happiness happy joy joyful neutral other pleasant_surprise ps sad "
    "sadness sarcastic scared surprise surprised tired worried".split()
)
NUMBERED = re.compile(r"[^\W\d]*[\s_-]*\d+", re.IGNORECASE)


@dataclass(frozen=True)
class FolderClips:
    """The clips of folders, warnings of what was left out, and notes on how the folders were read."""

    utterances: tuple[Utterance, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def part_of(name: str) -> str:
    """The part of a split that a word means, in any case; empty if it means none."""
    return PART_NAMES.get(name.strip().casefold(), "")


def clips_of_folders(data_dir: str) -> FolderClips:
    """The clips of `[PART/]LABEL/[SPEAKER/]**/clip.wav`, or of SPEAKER/LABEL where the names say so.

    PART is train, validation or test, or a usual other word for it.

    Raises:
      DatasetError: there is none, or one is in no folder that names its label.
    """
    paths = list(find_files(data_dir, ("",)))  # all of them
    files = [os.path.relpath(path, data_dir).replace(os.sep, "/") for path in paths]
    names, copies = _without_copies([name for name in files if name.lower().endswith(AUDIO_EXTENSIONS)])
    if not names:
        told = (
            f"{data_dir} contains neither a table of clips (manifest.csv, .tsv or .jsonl) nor folders named after labels "
            f"with audio files in them ({FORMATS})."
        )
        told += _other_tables(files)
        raise DatasetError(" ".join([told, *other_sound(data_dir)]))
    places = {name: name.split("/")[:-1] for name in names}
    parts = _parts(data_dir, places)
    loose = [name for name, folders in places.items() if len(folders) <= bool(parts)]
    _require_folders(data_dir, loose, _other_tables(files))
    inner = {name: folders[1:] if parts else folders for name, folders in places.items()}
    swapped = _speakers_come_first(list(inner.values()))
    utterances = tuple(
        _utterance(data_dir, name, folders, swapped, parts.get(places[name][0], "")) for name, folders in inner.items()
    )
    return FolderClips(
        utterances,
        (*copies, *other_sound(data_dir), *_without_audio(data_dir, names)),
        (*_notes(bool(parts), swapped, inner.values(), utterances), *_other_files(files)),
    )


def _utterance(data_dir: str, name: str, folders: list[str], swapped: bool, part: str) -> Utterance:
    label, speaker = folders[0], folders[1] if len(folders) > 1 else UNKNOWN_SPEAKER
    if swapped:
        label, speaker = speaker, label
    return Utterance(name, os.path.join(data_dir, name), label, speaker, attributes={"split": part} if part else {})


def _parts(data_dir: str, places: dict[str, list[str]]) -> dict[str, str]:
    """The part that each outermost folder is, if they are parts and not labels.

    Raises:
      DatasetError: some are, some are not.
    """
    tops = sorted({folders[0] for folders in places.values() if folders})
    parts = {top: part_of(top) for top in tops}
    named = [top for top in tops if parts[top]]
    others = [top for top in tops if not parts[top]]
    if named and others:
        raise DatasetError(
            f"{data_dir} has folders named after parts ({few(named)}) beside others ({few(others)}); move these, or list "
            "all clips in manifest.csv (path, label, speaker, split)."
        )
    return parts if named else {}


def _require_folders(data_dir: str, loose: Sequence[str], hint: str) -> None:
    if loose:
        raise DatasetError(
            f"{len(loose)} audio files in {data_dir} are not in a folder that names their label ({few(loose)}); move them, "
            f"or list all clips in manifest.csv (path, label, speaker).{hint}"
        )


def _other_tables(files: Sequence[str]) -> str:
    """A sentence on tables of other names, which may be the one that is missing."""
    tables = [name for name in files if "/" not in name and name.lower().endswith((".csv", ".tsv", ".jsonl"))]
    return f" If {few(tables)} lists them, call it manifest{os.path.splitext(tables[0])[1].lower()}." if tables else ""


def _speakers_come_first(folders: Sequence[list[str]]) -> bool:
    """Whether it is SPEAKER/LABEL: the inner folders are words for emotions, or not numbered, where the outer ones are."""
    if not all(len(names) > 1 for names in folders):
        return False
    outer, inner = {names[0] for names in folders}, {names[1] for names in folders}
    if _emotions(inner) != _emotions(outer):
        return _emotions(inner) > _emotions(outer)
    return all(map(NUMBERED.fullmatch, outer)) and not any(map(NUMBERED.fullmatch, inner))


def _emotions(names: set[str]) -> float:
    """The share of words for emotions."""
    return sum(bool(EMOTIONS & set(re.split(r"[\W\d_]+", name.casefold()))) for name in names) / len(names)


def _without_copies(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files but those that another, of a lossless format if there is one, is called after apart from its extension."""
    chosen: dict[str, str] = {}
    for name in lossless_first(names):
        chosen.setdefault(os.path.splitext(name)[0], name)
    copies = [name for name in names if chosen[os.path.splitext(name)[0]] != name]
    warning = f"{len(copies)} clips are there in two formats; these were left out: {few(copies)}."
    return [name for name in names if name not in set(copies)], [warning] if copies else []


def _without_audio(data_dir: str, names: Sequence[str]) -> list[str]:
    """A warning of the outer folders that have no audio file: a label may be missing."""
    used = {name.split("/")[0] for name in names}
    folders = {entry.name for entry in os.scandir(data_dir) if entry.is_dir() and not entry.name.startswith(".")}
    empty = sorted(folders - used - set(SYSTEM_FOLDERS))
    return [f"{len(empty)} folders have no audio file that can be read, and give no label: {few(empty)}."] if empty else []


def _notes(has_parts: bool, swapped: bool, inner: Iterable[list[str]], utterances: Sequence[Utterance]) -> list[str]:
    """How the folders are read, where that may not be what is meant."""
    has_speakers = any(len(folders) > 1 for folders in inner)
    labels = sorted({u.label for u in utterances})
    order = ("PART/" if has_parts else "") + ("SPEAKER/LABEL" if swapped else "LABEL/SPEAKER" if has_speakers else "LABEL")
    if _emotions(set(labels)) == 0:
        return [
            f"The folders are read as {order}, though no label ({few(labels)}) is a usual word for an emotion; if they are "
            "something else, list the clips in manifest.csv (path, label, speaker), which is looked for first."
        ]
    return [f"The folders are read as {order}."] if has_parts or swapped else []


def _other_files(files: Sequence[str]) -> list[str]:
    """A note on files in the folders that are neither audio nor other sound."""
    others = [n for n in files if "/" in n and not n.lower().endswith((*AUDIO_EXTENSIONS, *OTHER_SOUND_EXTENSIONS))]
    return [f"{len(others)} files in the folders are not audio and are left out ({few(others)})."] if others else []
