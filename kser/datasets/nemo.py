"""nEMO (Christop 2024, https://huggingface.co/datasets/amu-cai/nEMO): 4481 Polish clips, 9 actors, 6 emotions.

`samples/SPEAKER_EMOTION_SENTENCE.wav`: speaker, emotion in English, sentence (1 to 90). 24 kHz, mono, CC BY-NC-SA 4.0.
Not every actor has every sentence in every emotion.
"""

from __future__ import annotations

import re

from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.files import Grammar, parse_names

LABELS = ("neutral", "happy", "sad", "angry", "fearful", "surprised")
EMOTIONS = {
    "neutral": "neutral",
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fearful",
    "surprised": "surprised",
}
# As the corpus' own table has it.
GENDERS = {
    **dict.fromkeys(("EB0", "IC0", "KD0"), "female"),
    **dict.fromkeys(("KS0", "WR0"), "male"),
    **{"MK0": "female", "MP0": "male", "SM0": "male", "TP0": "male"},
}


def _utterance(path: str, match: re.Match) -> Utterance:
    stem, speaker, emotion, sentence = match.groups()
    attributes = {"sentence": sentence, "gender": GENDERS[speaker]}
    return Utterance(stem, path, EMOTIONS[emotion], speaker, attributes=attributes)


GRAMMAR = Grammar(
    "nemo",
    re.compile(rf"(?:^|/)(({'|'.join(GENDERS)})_({'|'.join(EMOTIONS)})_([1-9]|[1-8]\d|90))$"),
    _utterance,
    example="samples/MP0_sadness_51.wav",
    num_clips=4481,
    num_speakers=9,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus below `data_dir`, in the order of names.

    Raises:
      DatasetError: no such directory, or no nEMO clip in it.
    """
    utterances, warnings = parse_names(data_dir, GRAMMAR)
    return Corpus("nemo", LABELS, utterances, warnings=warnings)
