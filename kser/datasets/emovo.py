"""EMOVO (Costantini et al. 2014, http://voice.fub.it/activities/corpora/emovo/): 588 Italian clips, 6 actors, 7 emotions.

`SS/eee-SS-tN.wav`: emotion by the first letters of its Italian name, speaker (f1 to f3, m1 to m3), sentence (14). 48 kHz,
almost all stereo.
"""

from __future__ import annotations

import re

from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.files import Grammar, parse_names

LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
# Neutro, disgusto, gioia, paura, rabbia, sorpresa, tristezza.
EMOTIONS = {
    "neu": "neutral",
    "dis": "disgust",
    "gio": "happy",
    "pau": "fearful",
    "rab": "angry",
    "sor": "surprised",
    "tri": "sad",
}


def _utterance(path: str, match: re.Match) -> Utterance:
    stem, emotion, speaker, sentence = match.groups()
    attributes = {"sentence": sentence, "gender": "female" if speaker[0] == "f" else "male"}
    return Utterance(stem, path, EMOTIONS[emotion], speaker, attributes=attributes)


GRAMMAR = Grammar(
    "emovo",
    re.compile(r"(?:^|/)((neu|dis|gio|pau|rab|sor|tri)-([fm][1-3])-(b[1-3]|l[1-4]|n[1-5]|d[12]))$"),
    _utterance,
    example="dis-f1-b1.wav",
    num_clips=588,
    num_speakers=6,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus below `data_dir`, in the order of the file names.

    Raises:
      DatasetError: no such directory, or no EMOVO clip in it.
    """
    utterances, warnings = parse_names(data_dir, GRAMMAR)
    return Corpus("emovo", LABELS, utterances, warnings=warnings)
