"""Clips that are longer than the network's window, seen through several windows, as a board hears them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kser.audio import reading
from kser.audio.log_mel import Normalization, batch_extractor
from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from kser.datasets.corpus import Corpus
from kser.datasets.feature_cache import Features


@dataclass(frozen=True)
class Windows:
    """Windows of the longer ones among some clips, in order.

    Attributes:
      features: (num_windows, num_frames, num_mels) float32, normalized.
      clips: (num_windows,) places of the windows' clips among them.
    """

    features: np.ndarray
    clips: np.ndarray

    def mean(self, of_clips: np.ndarray, of_windows: np.ndarray) -> np.ndarray:
        """Values of clips (n, ...) with, for the longer ones, the mean of those of their windows (num_windows, ...)."""
        result = of_clips.copy()
        for clip in np.unique(self.clips):
            result[clip] = of_windows[self.clips == clip].mean(axis=0)
        return result


def window_starts(samples: np.ndarray, config: FeatureConfig, step_samples: int) -> list[int]:
    """Where windows begin that cover the voice in (num_samples,) at 16 kHz; none where it is no longer than one.

    They lie `step_samples` apart, but for the last, which ends with the voice.
    """
    begin, end = reading.active_range(samples)
    if end - begin <= config.clip_samples:
        return []
    last = end - config.clip_samples
    return [*range(begin, last, step_samples), last]


def windows_of(
    corpus: Corpus,
    features: Features,
    indices: Sequence[int],
    normalization: Normalization,
    config: FeatureConfig,
    step_ms: float,
) -> Windows:
    """Windows every `step_ms` milliseconds of those of the clips `indices` whose voice is longer than one.

    Raises:
      AudioError: a clip cannot be read any more.
    """
    extract, noise = batch_extractor(config), reading.microphone_noise(config.clip_samples, config.noise_dbfs)
    found, clips = [], []
    for place, index in enumerate(indices):
        if features.reports[index].seconds <= config.clip_seconds:
            continue
        utterance = corpus.utterances[index]
        recording = reading.read(utterance.path, utterance.span)
        samples, _ = reading.to_mono(recording, utterance.path, config.upper_hz)
        starts = window_starts(samples, config, round(step_ms * SAMPLE_RATE_HZ / 1000))
        if starts:
            windows = np.stack([samples[start : start + config.clip_samples] + noise for start in starts])
            found.append(normalization.apply(extract(windows).numpy()))
            clips += [place] * len(starts)
    empty = np.zeros((0, config.num_frames, config.num_mels), np.float32)
    return Windows(np.concatenate([empty, *found]), np.array(clips, np.int64))
