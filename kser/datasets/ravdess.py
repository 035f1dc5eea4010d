"""RAVDESS speech (Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391): 1440 clips, 24 actors, 8 emotions.

`Actor_NN/MM-VC-EE-II-SS-RR-AA.wav`: modality 03, vocal channel 01 (speech), emotion, intensity, statement, repetition,
actor (odd: male, even: female). The same names with .flac are read too. Some copies contain every folder twice.
"""

from __future__ import annotations

import re

from kser.datasets.corpus import Corpus, Utterance, speakers_held_out
from kser.datasets.files import Grammar, few, parse_names

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
# The six groups of four actors of the EmoBox benchmark; each split holds one out.
HELD_OUT_SPEAKERS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)


def _utterance(path: str, match: re.Match) -> Utterance:
    stem, emotion, intensity, statement, repetition, actor = match.groups()
    attributes = {
        "intensity": {"01": "normal", "02": "strong"}[intensity],
        "statement": statement,
        "repetition": repetition,
        "gender": "male" if int(actor) % 2 else "female",
    }
    return Utterance(stem, path, LABELS[int(emotion) - 1], actor, attributes=attributes)


GRAMMAR = Grammar(
    "ravdess",
    re.compile(r"(?:^|/)(03-01-0([1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4]))$"),
    _utterance,
    example="03-01-01-01-01-01-01.wav",
    num_clips=1440,
    num_speakers=24,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus below `data_dir`, in the order of the file names.

    Raises:
      DatasetError: no such directory, or no RAVDESS speech clip in it.
    """
    utterances, warnings = parse_names(data_dir, GRAMMAR)
    found = {u.utterance_id for u in utterances}
    missing, unexpected = sorted(expected_stems() - found), sorted(found - expected_stems())
    if missing:
        warnings += (f"{len(missing)} clips of 'ravdess' are missing ({few(missing)}).",)
    if unexpected:
        warnings += (f"{len(unexpected)} names cannot be of RAVDESS (neutral with strong intensity: {few(unexpected)}).",)
    return Corpus("ravdess", LABELS, utterances, {"emobox": speakers_held_out(HELD_OUT_SPEAKERS)}, warnings)


def expected_stems() -> set[str]:
    """The names, without extension, of the complete corpus: neutral has no strong intensity."""
    return {
        f"03-01-0{emotion}-0{intensity}-0{statement}-0{repetition}-{actor:02d}"
        for actor in range(1, GRAMMAR.num_speakers + 1)
        for emotion in range(1, 9)
        for intensity in ((1,) if emotion == 1 else (1, 2))
        for statement in (1, 2)
        for repetition in (1, 2)
    }
