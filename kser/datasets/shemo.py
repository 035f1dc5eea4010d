"""ShEMO (Mohamad Nezami et al. 2019, doi:10.1007/s10579-018-9427-x): 3000 Persian clips, 87 speakers, 6 emotions.

`female/GnnEmm.wav`: the speaker's gender and number, which only together name one speaker; emotion (W is surprise, F fear)
and number. From radio plays, 44.1 kHz, 121 files 22.05 kHz; for research. https://github.com/mansourehk/ShEMO has the
original; the revised list of https://github.com/pariajm/sharif-emotional-speech-dataset names 2838 clips. Fear is rare, 38.
"""

from __future__ import annotations

import re

from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.files import Grammar, parse_names

LABELS = ("neutral", "happy", "sad", "angry", "fearful", "surprised")
EMOTIONS = {"A": "angry", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad", "W": "surprised"}
NUM_REVISED = 2838


def _utterance(path: str, match: re.Match) -> Utterance:
    stem, speaker, emotion = match.groups()
    attributes = {"gender": "female" if speaker[0] == "F" else "male"}
    return Utterance(stem, path, EMOTIONS[emotion], speaker, attributes=attributes)


GRAMMAR = Grammar(
    "shemo",
    re.compile(r"(?:^|/)(([FM]\d\d)([AFHNSW])\d\d)$"),
    _utterance,
    example="F01A01.wav",
    num_clips=3000,
    num_speakers=87,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus below `data_dir`, in the order of the file names; the revised corpus is recognized by its number of clips.

    Raises:
      DatasetError: no such directory, or no ShEMO clip in it.
    """
    utterances, warnings = parse_names(data_dir, GRAMMAR)
    if len(utterances) == NUM_REVISED:
        warnings += (
            f"This is the revised 'shemo' with {NUM_REVISED} clips: results are comparable only with others on it.",
        )
    return Corpus("shemo", LABELS, utterances, warnings=warnings)
