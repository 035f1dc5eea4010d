"""Scores of a classifier as the speech-emotion literature defines them, with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CALIBRATION_BINS = 15
METRICS = ("WA", "UA", "macro_f1", "weighted_f1")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scores:
    """WA: accuracy; UA: mean per-class recall (UAR); F1: mean over classes, plain (macro) or weighted by their clips.

    `recall`, `precision` and `f1` are per class, nan for a class that does not occur among the true labels.
    `confusion[true, predicted]` counts clips. Means are over the classes that occur among the true labels.
    """

    WA: float
    UA: float
    macro_f1: float
    weighted_f1: float
    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray
    confusion: np.ndarray

    def to_dict(self) -> dict:
        """Plain JSON values; a class without clips has null."""
        per_class = {
            name: [None if np.isnan(value) else float(value) for value in getattr(self, name)]
            for name in ("recall", "precision", "f1")
        }
        return {
            **{name: getattr(self, name) for name in METRICS},
            **per_class,
            "confusion": self.confusion.tolist(),
        }


def score(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> Scores:
    """Scores of (n,) predicted against (n,) true label indices.

    Raises:
      ValueError: the two differ in length or are empty.
    """
    confusion = confusions(labels, predictions, np.zeros(len(np.asarray(labels)), int), num_classes)[0]
    figures, (recall, precision, f1) = _from_confusions(confusion)
    return Scores(*(float(figures[name]) for name in METRICS), recall, precision, f1, confusion)


def confusions(labels, predictions, groups, num_classes: int) -> np.ndarray:
    """(num_groups, num_classes, num_classes) int64: a confusion matrix for every value of `groups` (n,), sorted.

    Raises:
      ValueError: the arrays differ in length or are empty.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.size == 0:
        raise ValueError(
            f"score needs as many predictions as labels, and at least one; got {predictions.shape} and {labels.shape}."
        )
    names, index = np.unique(groups, return_inverse=True)
    result = np.zeros((len(names), num_classes, num_classes), np.int64)
    np.add.at(result, (index, labels, predictions), 1)
    return result


def _from_confusions(confusion: np.ndarray) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, ...]]:
    """METRICS by name, of shape (...), and recall, precision and F1 per class of confusion matrices (..., c, c)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, predicted = confusion.sum(-1), confusion.sum(-2)
    present = support > 0
    safe = np.maximum(1, support)
    recall = np.where(present, hits / safe, np.nan)
    precision = np.where(present, hits / np.maximum(1, predicted), np.nan)
    f1 = np.where(present, 2 * hits / np.maximum(1, support + predicted), np.nan)
    total = np.maximum(1, support.sum(-1))
    figures = {
        "WA": hits.sum(-1) / total,
        "UA": _mean_over(recall, present),
        "macro_f1": _mean_over(f1, present),
        "weighted_f1": (np.nan_to_num(f1) * support).sum(-1) / total,
    }
    return figures, (recall, precision, f1)


def _mean_over(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    return np.where(present, values, 0).sum(-1) / np.maximum(1, present.sum(-1))


def intervals(labels, predictions, speakers, num_classes: int) -> dict[str, tuple[float, float]]:
    """95 % confidence intervals of METRICS for new speakers, by the jackknife over speakers with Student's t (Tukey 1958).

    Errors on clips of one speaker are correlated, so what varies are speakers, not clips: each is left out in turn. Test
    parts have few of them, 2 to 24, where the percentile bootstrap over speakers covers 55 to 93 % instead of 95.

    Args:
      speakers: (n,) the speaker of each clip.

    Returns:
      The ends by metric, within [0, 1]; empty for a single speaker, who says nothing of others.
    """
    by_speaker = confusions(labels, predictions, speakers, num_classes)
    ends = _jackknife(_from_confusions(_with_and_without(by_speaker))[0])
    return {name: (max(0.0, low), min(1.0, high)) for name, (low, high) in ends.items()}


def paired_intervals(
    labels, predictions, others, speakers, num_classes: int
) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """How much better METRICS are with `predictions` than with `others` on the same clips, with 95 % intervals.

    As `intervals`, of the difference: what is easy or hard for both about a speaker does not widen it. 0 outside of the
    interval means that new speakers would show a difference of the same sign, with the confidence of one comparison; of
    several comparisons some come out so by chance.

    Returns:
      The difference and its interval by metric; None for a single speaker.
    """
    figures = [
        _from_confusions(_with_and_without(confusions(labels, found, speakers, num_classes)))[0]
        for found in (predictions, others)
    ]
    differences = {name: figures[0][name] - figures[1][name] for name in METRICS}
    ends = _jackknife(differences)
    return {name: (float(values[0]), ends.get(name)) for name, values in differences.items()}


def _with_and_without(by_speaker: np.ndarray) -> np.ndarray:
    """(1 + s, c, c) of (s, c, c): the sum, then those without each speaker in turn."""
    total = by_speaker.sum(0)
    return np.concatenate([total[np.newaxis], total - by_speaker])


def _jackknife(figures: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Intervals around the first of (1 + s,) values, the others being without one speaker each."""
    count = len(figures[METRICS[0]]) - 1
    if count < 2:
        return {}
    quantile = stdtrit(count - 1, (1 + CONFIDENCE) / 2)
    half = {name: quantile * np.sqrt((count - 1) * np.var(values[1:])) for name, values in figures.items()}
    return {name: (float(values[0] - half[name]), float(values[0] + half[name])) for name, values in figures.items()}


def decide_by_speaker(labels, probabilities, speakers) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One decision per speaker from all clips of that speaker.

    Args:
      labels: (n,) label indices, the same for all clips of a speaker.
      probabilities: (n, num_classes).
      speakers: (n,).
    Returns:
      Names (s,), true labels (s,), decisions by the mean of the probabilities (s,), and by majority vote (s,), with ties
      broken by the mean probability.
    """
    names, index = np.unique(speakers, return_inverse=True)
    num_classes = probabilities.shape[1]
    means = np.stack([probabilities[index == i].mean(axis=0) for i in range(len(names))])
    votes = np.zeros((len(names), num_classes))
    np.add.at(votes, (index, probabilities.argmax(1)), 1)
    truth = np.array([labels[index == i][0] for i in range(len(names))])
    # Means are below 1, so they only break ties between equal counts.
    return names, truth, means.argmax(1), (votes + 0.5 * means).argmax(1)


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017): mean absolute difference of confidence and accuracy over clips.

    For (n, num_classes) probabilities, in 15 bins of equal width by the largest probability of each row.
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    bins = np.minimum((np.nan_to_num(confidence) * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, confidence - right, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))
