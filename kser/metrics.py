"""Scores of a classifier as the speech-emotion literature defines them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """WA: accuracy; UA: mean per-class recall (UAR); F1: mean over classes. `confusion[true, predicted]` counts clips.

    Means are over the classes that occur among the true labels.
    """

    WA: float
    UA: float
    macro_f1: float
    confusion: np.ndarray

    def to_dict(self) -> dict:
        return {"WA": self.WA, "UA": self.UA, "macro_f1": self.macro_f1, "confusion": self.confusion.tolist()}


def score(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> Scores:
    """Scores of (n,) predicted against (n,) true label indices.

    Raises:
      ValueError: the two differ in length or are empty.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.size == 0:
        raise ValueError(
            f"score needs as many predictions as labels, and at least one; got {predictions.shape} and {labels.shape}."
        )
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    hits, support, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    present = support > 0
    recall = hits[present] / support[present]
    f1 = 2 * hits[present] / (support[present] + predicted[present])
    return Scores(float(hits.sum() / labels.size), float(recall.mean()), float(f1.mean()), confusion)
