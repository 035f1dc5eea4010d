"""RAVDESS speech (Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391): 1440 clips, 24 actors, 8 emotions.

`Actor_NN/MM-VC-EE-II-SS-RR-AA.wav`: modality 03, vocal channel 01 (speech), emotion, intensity, statement, repetition,
actor (odd: male, even: female). The same names with .flac are read too. Copies exist that hold every folder twice.
"""

from __future__ import annotations

import os
import re

from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.files import find_audio, require_directory
from kser.errors import DatasetError

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
NAME = re.compile(r"03-01-0([1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
NUM_CLIPS = 1440
NUM_SPEAKERS = 24
# The six groups of four actors of the EmoBox benchmark; each split holds one out.
HELD_OUT_SPEAKERS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)


def load(data_dir: str) -> Corpus:
    """The corpus below `data_dir`, in the order of the file names.

    Raises:
      DatasetError: no such directory, or no RAVDESS speech clip in it.
    """
    require_directory(data_dir, "ravdess")
    by_name = {}
    duplicates = 0
    for path in find_audio(data_dir):
        stem = os.path.splitext(os.path.basename(path))[0]
        match = NAME.fullmatch(stem)
        if match and 1 <= int(match[5]) <= NUM_SPEAKERS:
            duplicates += stem in by_name
            by_name.setdefault(stem, _utterance(stem, path, match))
    if not by_name:
        raise DatasetError(
            f"No RAVDESS speech clip (03-01-*.wav or .flac) lies below {data_dir}; point --data_dir at the Actor_* folders."
        )
    utterances = tuple(by_name[stem] for stem in sorted(by_name))
    return Corpus("ravdess", LABELS, utterances, HELD_OUT_SPEAKERS, _warnings(utterances, duplicates))


def _utterance(stem: str, path: str, match: re.Match) -> Utterance:
    attributes = {
        "intensity": {"01": "normal", "02": "strong"}[match[2]],
        "statement": match[3],
        "repetition": match[4],
        "gender": "male" if int(match[5]) % 2 else "female",
    }
    return Utterance(stem, path, LABELS[int(match[1]) - 1], match[5], attributes)


def expected_stems() -> set[str]:
    """The names, without extension, of the complete corpus: neutral has no strong intensity."""
    return {
        f"03-01-0{emotion}-0{intensity}-0{statement}-0{repetition}-{actor:02d}"
        for actor in range(1, NUM_SPEAKERS + 1)
        for emotion in range(1, 9)
        for intensity in ((1,) if emotion == 1 else (1, 2))
        for statement in (1, 2)
        for repetition in (1, 2)
    }


def _warnings(utterances, duplicates: int) -> tuple[str, ...]:
    found = {u.utterance_id for u in utterances}
    missing = sorted(expected_stems() - found)
    unexpected = sorted(found - expected_stems())
    warnings = []
    if duplicates:
        warnings.append(
            f"{duplicates} files repeat the name of another, as copies do that hold every folder twice; "
            "the first of each was taken."
        )
    if missing:
        speakers = len({u.speaker for u in utterances})
        warnings.append(
            f"RAVDESS has {NUM_CLIPS} clips of {NUM_SPEAKERS} speakers, here are {len(found)} of {speakers}: "
            f"{len(missing)} are missing, the first is {missing[0]}."
        )
    if unexpected:
        warnings.append(f"{len(unexpected)} names cannot be of RAVDESS (strong neutral), the first is {unexpected[0]}.")
    return tuple(warnings)
