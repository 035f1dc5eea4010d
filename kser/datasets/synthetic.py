"""Corpus `synthetic`: generated sounds in four acted emotions, to try the tools without a real corpus.

It is a smoke test: the tables of `synthesis.voices` determine how easy its classes are, so a score on it says nothing about
real speech. One seed per (speaker, emotion, take): no clip depends on another.
"""

from __future__ import annotations

import io
import itertools
import os

import numpy as np
import soundfile

from kser.audio.synthesis.sound import record, speak
from kser.audio.synthesis.voices import EMOTIONS, LABELS, SPEAKERS, draw_segments, draw_voice
from kser.config import SAMPLE_RATE_HZ
from kser.datasets.corpus import Corpus, Utterance, speakers_held_out
from kser.errors import DatasetError, KserError
from kser.files import write_bytes
from kser.progress import counting

NAME = "synthetic"
TAKES = 12
WARNING = "'synthetic' is a smoke test of generated sounds: a score on it says nothing about real speech."
# Each split holds out one low and one high voice.
HELD_OUT_SPEAKERS = tuple((f"Speaker_{low:02d}", f"Speaker_{low + 1:02d}") for low in (1, 3, 5, 7))
_CORPUS_SEED = 1952


def load(data_dir: str = "", options: frozenset[str] = frozenset()) -> Corpus:
    """The corpus in `data_dir` (empty: in the user's cache directory); missing files are generated.

    Files are `Speaker_03/03-angry-07.wav`: 8 speakers x 4 emotions x 12 takes, 16 kHz, 16 bit, mono, 1 to 3 seconds.
    Each file appears under its name only when complete, so the next call continues an interrupted one.

    Raises:
      DatasetError: `data_dir` holds other files, or a folder or file cannot be written.
    """
    root = data_dir or default_dir()
    _require_own_directory(root)
    clips = list(itertools.product(range(len(SPEAKERS)), LABELS, range(1, TAKES + 1)))
    utterances = [_utterance(root, *clip) for clip in clips]
    missing = [pair for pair in zip(utterances, clips, strict=True) if not os.path.isfile(pair[0].path)]
    if missing:
        _generate(missing)
    return Corpus(NAME, LABELS, tuple(utterances), {"pairs": speakers_held_out(HELD_OUT_SPEAKERS)}, (WARNING,))


def _generate(missing: list[tuple[Utterance, tuple]]) -> None:
    with counting("generating", "clips", len(missing)) as progress:
        for utterance, clip in missing:
            _write_wav(utterance.path, generate_clip(*clip))
            progress.advance()


def _require_own_directory(root: str) -> None:
    """Raises DatasetError if the directory contains files of another origin."""
    names = os.listdir(root) if os.path.isdir(root) else []
    if names and not any(name.startswith("Speaker_") for name in names):
        raise DatasetError(
            f"{root} contains files that are not of corpus '{NAME}'; give an empty or new directory, or none."
        )


def default_dir() -> str:
    """The directory of the corpus if none is given; its version changes whenever the sounds change."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "kser", "synthetic-v1")


def generate_clip(speaker_index: int, emotion: str, take: int) -> np.ndarray:
    """One clip, the same for the same arguments: (num_samples,) float32 at 16 kHz, |x| <= 0.95.

    `speaker_index` counts from 0 (into `SPEAKERS`), `take` from 1 as in the file names.

    Raises:
      DatasetError: no such speaker, emotion or take.
    """
    if not 0 <= speaker_index < len(SPEAKERS) or emotion not in EMOTIONS or take < 1:
        raise DatasetError(
            f"'{NAME}' has speaker indices 0 to {len(SPEAKERS) - 1}, emotions {', '.join(LABELS)} and takes from 1, "
            f"not ({speaker_index!r}, {emotion!r}, {take!r})."
        )
    rng = np.random.default_rng([_CORPUS_SEED, speaker_index, LABELS.index(emotion), take])
    voice = draw_voice(SPEAKERS[speaker_index], EMOTIONS[emotion], rng)
    # The take determines the length of the sentence, so that all emotions have equally many syllables.
    segments = draw_segments(voice, 5 + take % 2, rng)
    return record(speak(voice, segments, rng), voice.level_dbfs, rng).astype(np.float32)


def _utterance(root: str, speaker_index: int, emotion: str, take: int) -> Utterance:
    speaker = f"Speaker_{speaker_index + 1:02d}"
    utterance_id = f"{speaker_index + 1:02d}-{emotion}-{take:02d}"
    path = os.path.join(root, speaker, f"{utterance_id}.wav")
    return Utterance(utterance_id, path, emotion, speaker, attributes={"take": f"{take:02d}"})


def _write_wav(path: str, clip: np.ndarray) -> None:
    # Encoded in memory, so that a full disk raises OSError in write() and not an error of libsndfile.
    wav = io.BytesIO()
    soundfile.write(wav, np.round(clip * 32768).astype(np.int16), SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    try:
        write_bytes(path, wav.getvalue())
    except KserError as error:
        raise DatasetError(f"Corpus '{NAME}' cannot be generated: {error}") from error
