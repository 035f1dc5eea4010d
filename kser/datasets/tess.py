"""TESS, Toronto (https://tspace.library.utoronto.ca/handle/1807/24487): 2800 English clips, 2 women, 7 emotions.

`FOLDER/SSS_word_emotion.wav`: speaker (OAF older, YAF younger), word after "Say the word", emotion; `ps` is pleasant
surprise. Folders are spelled in several ways, so only the file name is used. 24 414 Hz, one file 96 kHz; mono.
"""

from __future__ import annotations

import re

from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.files import Grammar, parse_names

LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
EMOTIONS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprised",
    "sad": "sad",
}


def _utterance(path: str, match: re.Match) -> Utterance:
    initial, word, emotion = match[1].upper(), match[2].lower(), match[3].lower()
    speaker = f"{initial}AF"
    attributes = {"word": word, "gender": "female"}
    return Utterance(f"{speaker}_{word}_{emotion}", path, EMOTIONS[emotion], speaker, attributes=attributes)


GRAMMAR = Grammar(
    "tess",
    # One name lacks the F: OA_bite_neutral.
    re.compile(r"(?:^|/)([OY])AF?_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)$", re.IGNORECASE),
    _utterance,
    example="OAF_back_angry.wav",
    num_clips=2800,
    num_speakers=2,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus below `data_dir`, in the order of the file names.

    Raises:
      DatasetError: no such directory, or no TESS clip in it.
    """
    utterances, warnings = parse_names(data_dir, GRAMMAR)
    return Corpus("tess", LABELS, utterances, warnings=warnings)
