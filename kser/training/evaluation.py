"""Evaluation of a model on a part: scores with confidence intervals, decisions per speaker, and all predictions."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kser.errors import RunError
from kser.files import replacing
from kser.models.inference import softmax
from kser.training.metrics import METRICS, Scores, decide_by_speaker, intervals, score

DECIDED_BY = ("mean of probabilities", "majority vote")
# Names of files need not be valid text.
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}
_COLUMNS = ("utterance_id", "speaker", "label", "predicted")


@dataclass(frozen=True)
class Predictions:
    """A model's (n, num_classes) probabilities for n clips, with their names, speakers and true label indices."""

    utterance_ids: tuple[str, ...]
    speakers: np.ndarray | None
    labels: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def from_logits(cls, part, logits: np.ndarray) -> Predictions:
        """The predictions for the clips of an `input_pipeline.Part`."""
        return cls(part.utterance_ids, part.speakers, part.labels, softmax(logits))


@dataclass(frozen=True)
class Evaluation:
    """Scores over clips, with 95 % intervals over speakers (`metrics.intervals`).

    If a corpus decides per speaker and not per clip, `by_speaker` has the scores over speakers for each of DECIDED_BY. If
    speakers are unknown, `num_speakers` is 0; then, and with a single speaker, there are no intervals.
    """

    scores: Scores
    intervals: dict[str, tuple[float, float]]
    num_speakers: int
    by_speaker: dict[str, Scores]

    @property
    def UA(self) -> float:  # noqa: N802 (the field's name)
        """Unweighted average recall."""
        return self.scores.UA

    @property
    def WA(self) -> float:  # noqa: N802 (the field's name)
        """Weighted accuracy: the share of clips that are classified correctly."""
        return self.scores.WA

    def __str__(self) -> str:
        of = f" of {self.num_speakers} speakers" if self.num_speakers else ""
        return f"{self.scores.confusion.sum()} clips{of}: " + ", ".join(map(self._figure, METRICS))

    def _figure(self, name: str) -> str:
        ends = self.intervals.get(name)
        interval = f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
        return f"{name} {getattr(self.scores, name):.3f}{interval}"

    def to_dict(self) -> dict:
        """Plain JSON values."""
        by_speaker = {name: scores.to_dict() for name, scores in self.by_speaker.items()}
        return {
            **self.scores.to_dict(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "speakers": self.num_speakers,
            **({"by_speaker": by_speaker} if by_speaker else {}),
        }


def evaluate_predictions(found: Predictions, decision: str = "utterance") -> Evaluation:
    """Scores and intervals; also over speakers if `decision` (see Corpus) is "speaker"."""
    num_classes = found.probabilities.shape[1]
    predicted = found.probabilities.argmax(1)
    by_speaker = {}
    if decision == "speaker":
        _, truth, *decided = decide_by_speaker(found.labels, found.probabilities, found.speakers)
        by_speaker = {name: score(truth, d, num_classes) for name, d in zip(DECIDED_BY, decided, strict=True)}
    scores = score(found.labels, predicted, num_classes)
    if found.speakers is None:
        return Evaluation(scores, {}, 0, by_speaker)
    ends = intervals(found.labels, predicted, found.speakers, num_classes)
    return Evaluation(scores, ends, len(set(found.speakers)), by_speaker)


def pool(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of several splits as one."""
    names = tuple(name for part in parts for name in part.utterance_ids)
    arrays = (np.concatenate([getattr(p, field) for p in parts]) for field in ("speakers", "labels", "probabilities"))
    return Predictions(names, *arrays)


def over_splits(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of METRICS over the splits of a protocol."""
    values = {name: [getattr(e.scores, name) for e in evaluations] for name in METRICS}
    return {
        name: {"mean": statistics.mean(v), "std": statistics.stdev(v) if len(v) > 1 else 0.0} for name, v in values.items()
    }


def write_predictions(path: str, found: Predictions, labels: Sequence[str]) -> None:
    """Writes one line per clip as CSV: name, speaker, true and predicted label, and the probability of each label.

    Nine digits are exact for float32, so that the values read back give the same predictions.
    """
    with replacing(path) as temporary, open(temporary, "w", newline="", **_ENCODING) as stream:
        writer = csv.writer(stream)
        writer.writerow([*_COLUMNS, *labels])
        rows = zip(found.utterance_ids, found.speakers, found.labels, found.probabilities, strict=True)
        for name, speaker, label, shares in rows:
            writer.writerow([name, speaker, labels[label], labels[shares.argmax()], *(f"{p:.9g}" for p in shares)])


def read_predictions(path: str) -> Predictions:
    """The inverse of `write_predictions`.

    Raises:
      RunError: the file is missing or damaged.
    """
    try:
        with open(path, newline="", **_ENCODING) as stream:
            header, *rows = csv.reader(stream)
        labels = header[len(_COLUMNS) :]
        if any(len(row) != len(header) for row in rows):
            raise ValueError("lines of different length")
        names, speakers, truth, _, *shares = zip(*rows, strict=True)
        indices = np.array([labels.index(label) for label in truth])
        probabilities = np.array(shares, np.float64).T
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path} is missing or damaged ({error}); train that split again.") from error
    return Predictions(names, np.array(speakers), indices, probabilities)
