"""The emotions of a long recording over time, decided as a board decides that hears it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from kser.audio import reading
from kser.audio.device_log_mel import board_frames
from kser.config import SAMPLE_RATE_HZ, FeatureConfig, SmoothingConfig
from kser.models.inference import softmax
from kser.tflite.predict import Predictor
from kser.tflite.smoothing import SILENCE, ScoreSmoother

SILENCE_NAME = "silence"
# Recordings of more clips than these are decided on window by window; shorter ones are a clip, as those of a corpus.
CLIPS_OF_A_CLIP = 2
WINDOWS_PER_CALL = 32


class Segment(NamedTuple):
    """Seconds from `begin` to `end` with one label, or SILENCE_NAME, and the mean probabilities, (num_classes,) float32."""

    begin: float
    end: float
    label: str
    probabilities: np.ndarray


@dataclass(frozen=True)
class Timeline:
    """The decisions on a recording of so many seconds.

    `ends` (n,) are the seconds at which their windows end, in which a board would decide, `labels` their n labels, and
    `probabilities` (n, num_classes) float32 are averaged over the last windows, zeros in silence.
    """

    seconds: float
    ends: np.ndarray
    labels: tuple[str, ...]
    probabilities: np.ndarray

    def segments(self) -> list[Segment]:
        """Successive decisions of one label as one: each stands for the time since the one before, the last to the end."""
        bounds = [0.0, *self.ends[:-1].tolist(), self.seconds]
        runs = [list(group) for _, group in groupby(range(len(self.labels)), key=lambda i: self.labels[i])]
        return [
            Segment(bounds[run[0]], bounds[run[-1] + 1], self.labels[run[0]], self.probabilities[run].mean(axis=0))
            for run in runs
        ]


def is_long(samples: np.ndarray, config: FeatureConfig) -> bool:
    """Whether (num_samples,) at 16 kHz are to be decided on over time."""
    return len(samples) > CLIPS_OF_A_CLIP * config.clip_samples


def frames_per_decision(smoothing: SmoothingConfig, config: FeatureConfig) -> int:
    """Frames from one decision to the next."""
    return max(1, round(smoothing.decision_ms / config.hop_ms))


def heard_samples(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """(num_samples,) int16 as a board's microphone would give them: with its noise (see `reading.fix_clip`)."""
    noise = reading.microphone_noise(config.clip_samples, config.noise_dbfs)
    return reading.to_pcm16(samples + np.resize(noise, samples.shape))


def timeline(
    predictor: Predictor, samples: np.ndarray, advance: Callable[[int, int], None] = lambda n, total: None
) -> Timeline:
    """The decisions on a recording (num_samples,) float32 at 16 kHz, of at least a clip's length.

    Args:
      advance: is called with the number of windows done since the last call, and that of all.
    """
    config = predictor.config
    codes, dbfs = board_frames(heard_samples(samples, config), config)
    begins = np.arange(0, len(codes) - config.num_frames + 1, frames_per_decision(predictor.smoothing, config))
    windows = np.lib.stride_tricks.sliding_window_view(codes, config.num_frames, axis=0)[begins].swapaxes(1, 2)
    loudest = np.lib.stride_tricks.sliding_window_view(dbfs, config.num_frames)[begins].max(axis=1)
    smoother = ScoreSmoother(predictor.smoothing, len(predictor.labels))
    decisions = []
    for start in range(0, len(begins), WINDOWS_PER_CALL):
        part = slice(start, start + WINDOWS_PER_CALL)
        probabilities = _probabilities(predictor, windows[part])
        decisions += map(smoother.update, probabilities, loudest[part])
        advance(len(probabilities), len(begins))
    names = {SILENCE: SILENCE_NAME, **dict(enumerate(predictor.labels))}
    ends = ((begins + config.num_frames - 1) * config.hop_samples + config.window_samples) / SAMPLE_RATE_HZ
    labels = tuple(names[decision.label] for decision in decisions)
    return Timeline(len(samples) / SAMPLE_RATE_HZ, ends, labels, np.stack([d.probabilities for d in decisions]))


def _probabilities(predictor: Predictor, codes: np.ndarray) -> np.ndarray:
    """(n, num_classes) float32 of n windows of codes (n, num_frames, num_mels)."""
    features = np.stack([predictor.features_of_codes(window) for window in codes.astype(np.int64)])
    return softmax(predictor.logits(features))
