"""From the probabilities of overlapping windows to a label that does not flicker, as score_smoother.cpp on a board."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kser.config import SmoothingConfig

SILENCE = -1


class Decision(NamedTuple):
    """The index of a label or SILENCE, and the averaged probabilities, (num_classes,) float32; zeros in silence."""

    label: int
    probabilities: np.ndarray


class ScoreSmoother:
    """The decisions of a board, in its order of float32 operations."""

    def __init__(self, config: SmoothingConfig, num_classes: int):
        self._config = config
        self._history = np.zeros((config.average_decisions, num_classes), np.float32)
        self._reset()

    def _reset(self) -> None:
        self._next, self._count, self._label, self._stayed = 0, 0, SILENCE, 0

    def update(self, probabilities: np.ndarray, loudest_dbfs: float) -> Decision:
        """The decision after one more window.

        Below `silence_dbfs` it is silence, and what was before is forgotten. Else the label is that of the largest of the
        probabilities averaged over the last windows, but another one replaces the present one only with a lead of
        `hysteresis`, and when that has stayed for `dwell_ms`.

        Args:
          probabilities: (num_classes,) float32 of the window.
          loudest_dbfs: level of its loudest frame.
        """
        if loudest_dbfs < self._config.silence_dbfs:
            self._reset()
            return Decision(SILENCE, np.zeros_like(self._history[0]))
        rows = len(self._history)
        self._history[self._next] = probabilities
        self._next = (self._next + 1) % rows
        self._count = min(self._count + 1, rows)
        average = self._average()
        self._choose(average)
        return Decision(self._label, average)

    def _average(self) -> np.ndarray:
        total = np.zeros_like(self._history[0])
        for row in self._history[: self._count]:
            total = total + row
        return total / np.float32(self._count)

    def _choose(self, average: np.ndarray) -> None:
        best = int(average.argmax())
        leads = average[best] - average[self._label] >= np.float32(self._config.hysteresis)
        dwelt = self._stayed >= self._config.dwell_decisions
        if self._label == SILENCE or (best != self._label and dwelt and leads):
            self._label, self._stayed = best, 0
        self._stayed = min(self._stayed + 1, self._config.dwell_decisions)
