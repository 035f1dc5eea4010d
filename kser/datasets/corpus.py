"""What a corpus is to the rest of kser: utterances with labels and speakers, and its speaker-disjoint splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from kser.errors import DatasetError


@dataclass(frozen=True)
class Utterance:
    """One labelled clip. `path` is its audio file; `attributes` hold what the corpus tells beyond label and speaker."""

    utterance_id: str
    path: str
    label: str
    speaker: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Corpus:
    """Utterances in a fixed order, the label names in the order of their indices, and the speakers each split holds out.

    `warnings` say in whole sentences how the files found differ from the corpus as published.
    """

    name: str
    labels: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    held_out_speakers: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...] = ()

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(sorted({u.speaker for u in self.utterances}))

    def fingerprint(self) -> str:
        """A hash of what is trained on: every utterance's name, label and speaker, in order."""
        text = "\n".join(f"{u.utterance_id}\t{u.label}\t{u.speaker}" for u in self.utterances)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Split:
    """Indices into `corpus.utterances`; no speaker is in two of the three parts."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    validation_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]


def make_split(corpus: Corpus, split: int, num_validation_speakers: int, seed: int) -> Split:
    """Split number `split` (from 1), its validation speakers drawn by `seed` from those that are not held out.

    Raises:
      DatasetError: no such split, too few speakers, or a label that no training clip has.
    """
    if not 1 <= split <= len(corpus.held_out_speakers):
        raise DatasetError(f"Corpus '{corpus.name}' has splits 1 to {len(corpus.held_out_speakers)}, not {split}.")
    test_speakers = corpus.held_out_speakers[split - 1]
    remaining = [s for s in corpus.speakers if s not in test_speakers]
    if num_validation_speakers >= len(remaining):
        raise DatasetError(
            f"Split {split} of '{corpus.name}' leaves {len(remaining)} speakers to train on: "
            f"{num_validation_speakers} for validation are too many."
        )
    order = np.random.default_rng([seed, split]).permutation(len(remaining))
    validation_speakers = tuple(sorted(remaining[i] for i in order[:num_validation_speakers]))
    parts = {"train": [], "validation": [], "test": []}
    for index, utterance in enumerate(corpus.utterances):
        parts[_part(utterance.speaker, validation_speakers, test_speakers)].append(index)
    _check_parts(corpus, split, parts)
    return Split(*(tuple(parts[p]) for p in ("train", "validation", "test")), validation_speakers, tuple(test_speakers))


def _part(speaker: str, validation_speakers, test_speakers) -> str:
    if speaker in test_speakers:
        return "test"
    return "validation" if speaker in validation_speakers else "train"


def _check_parts(corpus: Corpus, split: int, parts: Mapping[str, list]) -> None:
    for part, indices in parts.items():
        if not indices:
            raise DatasetError(f"Split {split} of '{corpus.name}' has no clip in its {part} part; is the corpus complete?")
    present = {corpus.utterances[i].label for i in parts["train"]}
    missing = [label for label in corpus.labels if label not in present]
    if missing:
        raise DatasetError(
            f"No training clip of '{corpus.name}' split {split} has the label {', '.join(missing)}; is the corpus complete?"
        )


def label_counts(corpus: Corpus, indices=None) -> dict[str, int]:
    """Clips per label, in label order, over `indices` or the whole corpus."""
    chosen = corpus.utterances if indices is None else [corpus.utterances[i] for i in indices]
    counts = Counter(u.label for u in chosen)
    return {label: counts[label] for label in corpus.labels}
