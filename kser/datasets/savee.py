"""SAVEE (Haq & Jackson 2009, http://kahlan.eps.surrey.ac.uk/savee/): 480 English clips, 4 men, 7 emotions.

`AudioData/SS/eNN.wav`: speaker, emotion (a, d, f, h, n, sa, su), number; copies in one folder call it `SS_eNN.wav`.
44.1 kHz, mono; 15 clips of each emotion and speaker, 30 neutral. For research, after registration.
"""

from __future__ import annotations

import re

from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.files import Grammar, parse_names

LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
EMOTIONS = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}


def _utterance(path: str, match: re.Match) -> Utterance:
    speaker, emotion, number = match.groups()
    return Utterance(f"{speaker}_{emotion}{number}", path, EMOTIONS[emotion], speaker, attributes={"gender": "male"})


GRAMMAR = Grammar(
    "savee",
    re.compile(r"(?:^|/)(DC|JE|JK|KL)[/_](sa|su|[adfhn])(\d\d)$"),
    _utterance,
    example="DC/a01.wav or DC_a01.wav",
    num_clips=480,
    num_speakers=4,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus below `data_dir`, in the order of speaker, emotion and number.

    Raises:
      DatasetError: no such directory, or no SAVEE clip in it.
    """
    utterances, warnings = parse_names(data_dir, GRAMMAR)
    return Corpus("savee", LABELS, utterances, warnings=warnings)
