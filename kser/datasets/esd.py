"""ESD (Zhou et al. 2022, https://hltsingapore.github.io/ESD/): 35 000 clips, 20 speakers of 2 languages, 5 emotions.

`SSSS/Emotion/SSSS_NNNNNN.wav`: speaker (0001 to 0010 Mandarin, 0011 to 0020 English), number; some copies have folders
train, test and evaluation too. 16 kHz, mono; for research, by agreement. Each speaker says the same 350 sentences in every
emotion.
"""

from __future__ import annotations

import re

from kser.datasets.corpus import Corpus, Utterance, speakers_held_out
from kser.datasets.files import Grammar, parse_names

LABELS = ("neutral", "happy", "sad", "angry", "surprised")
# The number determines the emotion, 350 each; folders and tables name it in several languages and spellings.
IN_NUMBER_ORDER = ("neutral", "angry", "happy", "sad", "surprised")
NUM_SENTENCES = 350
# The five groups of four speakers of the EmoBox benchmark; each split holds one out.
HELD_OUT_SPEAKERS = (
    ("0005", "0011", "0016", "0018"),
    ("0012", "0014", "0015", "0019"),
    ("0003", "0004", "0006", "0009"),
    ("0007", "0008", "0013", "0020"),
    ("0001", "0002", "0010", "0017"),
)


def _utterance(path: str, match: re.Match) -> Utterance:
    stem, speaker, number = match.groups()
    emotion, sentence = divmod(int(number) - 1, NUM_SENTENCES)
    language = "mandarin" if int(speaker) <= 10 else "english"
    attributes = {"language": language, "sentence": str(sentence + 1)}
    return Utterance(stem, path, IN_NUMBER_ORDER[emotion], speaker, attributes=attributes)


GRAMMAR = Grammar(
    "esd",
    re.compile(r"(?:^|/)((00(?:0[1-9]|1\d|20))_(00(?!0000)(?:0\d{3}|1[0-6]\d\d|17[0-4]\d|1750)))$"),
    _utterance,
    example="0001_000001.wav",
    num_clips=35000,
    num_speakers=20,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus below `data_dir`, in the order of the file names.

    Raises:
      DatasetError: no such directory, or no ESD clip in it.
    """
    utterances, warnings = parse_names(data_dir, GRAMMAR)
    return Corpus("esd", LABELS, utterances, {"emobox": speakers_held_out(HELD_OUT_SPEAKERS)}, warnings)
