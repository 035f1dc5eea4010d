"""URDU (Latif et al. 2018, https://github.com/siddiquelatif/URDU-Dataset): 400 clips of talk shows, 4 emotions.

`Emotion/SGn_Fm_En.wav`: S and the speaker's gender and number, F and the number of the file (not "female"), the emotion's
initial and a number. The authors report 38 speakers; the files have 29, one with 80 clips and nine with 2.
"""

from __future__ import annotations

import re

from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.files import Grammar, parse_names

LABELS = ("neutral", "happy", "sad", "angry")
EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}


def _utterance(path: str, match: re.Match) -> Utterance:
    stem, speaker, gender, emotion = match.groups()
    attributes = {"gender": "female" if gender == "F" else "male"}
    return Utterance(stem, path, EMOTIONS[emotion], speaker, attributes=attributes)


GRAMMAR = Grammar(
    "urdu",
    re.compile(r"(?:^|/)((S([FM])\d+)_F\d+_([AHNS])\d+)$"),
    _utterance,
    example="SM1_F1_A01.wav",
    num_clips=400,
    num_speakers=29,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus below `data_dir`, in the order of the file names.

    Raises:
      DatasetError: no such directory, or no URDU clip in it.
    """
    utterances, warnings = parse_names(data_dir, GRAMMAR)
    return Corpus("urdu", LABELS, utterances, warnings=warnings)
