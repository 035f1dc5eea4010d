"""CREMA-D (Cao et al. 2014, https://github.com/CheyneyComputerScience/CREMA-D): 7442 clips, 91 actors, 6 emotions.

`AudioWAV/AAAA_SSS_EEE_LL.wav`: actor, sentence, emotion, level of it (a single X, `1040_ITH_SAD_X.wav`,
in copies from before 2022). 16 kHz, mono; ODbL 1.0 and DbCL 1.0. The label is the emotion that the actor intended; what
listeners heard is in the corpus' tables.
"""

from __future__ import annotations

import re

from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.files import Grammar, few, parse_names

LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgust")
OPTIONS = {"contradicting_duplicates": "keep the three pairs of identical recordings with two different labels"}
EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}
# Each pair has identical bytes as distributed; which of the two labels is right is unknown.
CONTRADICTING = (
    "1006_TIE_HAP_XX",
    "1006_TIE_NEU_XX",
    "1013_WSI_DIS_XX",
    "1013_WSI_SAD_XX",
    "1017_IWW_ANG_XX",
    "1017_IWW_FEA_XX",
)


def _utterance(path: str, match: re.Match) -> Utterance:
    stem, actor, sentence, emotion, level = match.groups()
    name = f"{stem}X" if level == "X" else stem
    return Utterance(name, path, EMOTIONS[emotion], actor, attributes={"sentence": sentence, "intensity": LEVELS[level]})


GRAMMAR = Grammar(
    "cremad",
    re.compile(r"(?:^|/)((10(?:0[1-9]|[1-8]\d|9[01]))_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?))$"),
    _utterance,
    example="1001_DFA_ANG_XX.wav",
    num_clips=7442,
    num_speakers=91,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The clips below `data_dir` in the order of their names, without those with contradicting labels.

    Raises:
      DatasetError: no such directory, or no CREMA-D clip in it.
    """
    utterances, warnings = parse_names(data_dir, GRAMMAR)
    contradicting = [u.utterance_id for u in utterances if u.utterance_id in CONTRADICTING]
    if contradicting and "contradicting_duplicates" not in options:
        warnings += (
            f"{len(contradicting)} clips of 'cremad' are left out because another clip is the same recording with another "
            f"label ({few(contradicting)}); the option contradicting_duplicates keeps them.",
        )
        utterances = tuple(u for u in utterances if u.utterance_id not in CONTRADICTING)
    return Corpus("cremad", LABELS, utterances, warnings=warnings)
