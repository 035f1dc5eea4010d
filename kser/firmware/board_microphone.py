"""What a board's own microphone hears, what the board decides on it, and whether speech has the right level."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kser.config import SAMPLE_RATE_HZ
from kser.errors import BoardError
from kser.firmware.serial_link import Board, BoardDecision

_PLACES = 1 << 32
# A slow line loses fractions of a second at a time; no board forgets to count for longer than it was not asked.
_MOST_LOST = 60 * SAMPLE_RATE_HZ
_PAUSE_SECONDS = 0.002
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Sound:
    """Sound as it arrived, (num_samples,) int16 at 16 kHz.

    Attributes:
      lost: samples at its beginning that did not arrive because the line is too slow, zeros in `samples`.
      decision: the board's, if one was due after these samples.
    """

    samples: np.ndarray
    lost: int
    decision: BoardDecision | None


def listen(board: Board) -> Iterator[Sound]:
    """What the board hears and decides from now on, without end.

    Raises:
      BoardError: the board has no microphone, or it brings no samples; or as the methods of `Board` do.
    """
    board.reset()
    expected, last = None, time.monotonic()
    while True:
        heard = board.heard()
        if not len(heard.samples):
            if time.monotonic() - last > _PATIENCE_SECONDS:
                raise BoardError("The board's microphone brings no samples; look at its wires, and restart the board.")
            time.sleep(_PAUSE_SECONDS)
            continue
        lost = 0 if expected is None else (heard.first - expected) % _PLACES
        if lost > _MOST_LOST:
            raise BoardError("The board's count of samples makes no sense; restart the board and start again.")
        expected, last = heard.first + len(heard.samples), time.monotonic()
        samples = np.concatenate([np.zeros(lost, np.int16), heard.samples])
        yield Sound(samples, lost, board.decide() if heard.decision_due else None)


def level_advice(loudest_dbfs: float, training_dbfs: Sequence[float]) -> str:
    """What to do about the level of speech; empty where it is one of training's.

    Args:
      loudest_dbfs: level of the loudest frame of some seconds with speech.
      training_dbfs: 5th, 50th and 95th percentile of that level over the training clips.
    """
    low, middle, high = training_dbfs
    if loudest_dbfs < low:
        return f"{middle - loudest_dbfs:.0f} dB quieter than most of training; raise the microphone's gain, or come closer"
    if loudest_dbfs > high:
        return f"{loudest_dbfs - middle:.0f} dB louder than most of training; lower the microphone's gain, or step back"
    return ""
