"""A folder of generated sounds, as a user's own corpus lies on the disk."""

from __future__ import annotations

from pathlib import Path

import soundfile

from kser.config import SAMPLE_RATE_HZ
from tests import tiny

SPEAKERS = ("ann", "bob", "cem", "dee")
TAKES = 2


def write_clips(directory: Path) -> None:
    """Writes `directory`/LABEL/SPEAKER/TAKE.wav: two tones of each label by each speaker."""
    for number, speaker in enumerate(SPEAKERS):
        for label_index, label in enumerate(tiny.LABELS):
            folder = directory / label / speaker
            folder.mkdir(parents=True)
            for take in range(TAKES):
                soundfile.write(folder / f"{take}.wav", tiny.tone(label_index, number, take), SAMPLE_RATE_HZ)
