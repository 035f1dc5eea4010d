"""EmoDB, the Berlin database (Burkhardt et al. 2005, http://emodb.bilderbar.info): 535 German clips, 10 actors, 7 emotions.

`wav/SSTTTEV.wav`: speaker, text (a01 to b10), emotion by its German initial, version. 16 kHz, mono; free to use when cited.
EmoDB 2.0 holds 816 files: 281 whose emotion fewer listeners agreed on were added. Published results are on the 535.
"""

from __future__ import annotations

import dataclasses
import os
import re

from kser.datasets import checksums
from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.files import Grammar, few, parse_names

LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "bored")
OPTIONS = {"all_816": "keep the 281 clips of EmoDB 2.0 that fewer listeners agreed on"}
# Wut, Langeweile, Ekel, Angst (fear, not anger), Freude, Trauer, neutral.
EMOTIONS = {
    "W": "angry",
    "L": "bored",
    "E": "disgust",
    "A": "fearful",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
MEN = ("03", "10", "11", "12", "15")
NUM_CLIPS_2_0 = 816


def _utterance(path: str, match: re.Match) -> Utterance:
    stem, speaker, text, emotion = match.groups()
    attributes = {"text": text, "gender": "male" if speaker in MEN else "female"}
    return Utterance(stem, path, EMOTIONS[emotion], speaker, attributes=attributes)


GRAMMAR = Grammar(
    "emodb",
    re.compile(r"(?:^|/)((03|08|09|1[0-6])([ab]\d\d)([WLEAFTN])[a-z])$"),
    _utterance,
    example="03a01Fa.wav",
    num_clips=535,
    num_speakers=10,
)


def load(data_dir: str, options: frozenset[str] = frozenset()) -> Corpus:
    """The 535 clips below `data_dir` in the order of their names; with the option `all_816`, all clips.

    Raises:
      DatasetError: no such directory, or no EmoDB clip in it.
    """
    keep_all = "all_816" in options
    grammar = dataclasses.replace(GRAMMAR, num_clips=NUM_CLIPS_2_0) if keep_all else GRAMMAR
    utterances, warnings = parse_names(data_dir, grammar)
    original = {os.path.splitext(name)[0] for name in checksums.known("emodb")}
    further = [u.utterance_id for u in utterances if u.utterance_id not in original]
    missing = sorted(original - {u.utterance_id for u in utterances})
    if missing:
        warnings += (f"{len(missing)} of the 535 clips of 'emodb' are missing ({few(missing)}).",)
    if further and keep_all:
        warnings += (f"{len(further)} clips are not among EmoDB's 535: results are not comparable with published ones.",)
    elif further:
        warnings += (
            f"{len(further)} clips are not among EmoDB's 535 (as in EmoDB 2.0) and are left out ({few(further)}); "
            "the option all_816 keeps them.",
        )
        utterances = tuple(u for u in utterances if u.utterance_id in original)
    return Corpus("emodb", LABELS, utterances, warnings=warnings)
