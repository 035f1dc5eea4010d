"""Long recordings: the rule of decisions, and decisions to segments. tests/micro/test_core.py holds both to the firmware."""

from __future__ import annotations

import numpy as np
import pytest

from kser.config import SAMPLE_RATE_HZ, SmoothingConfig
from kser.models.inference import softmax
from kser.tflite.predict import Predictor
from kser.tflite.smoothing import SILENCE, ScoreSmoother
from kser.tflite.timeline import Segment, Timeline, heard_samples, is_long, timeline
from tests import tiny

SURE = np.eye(3, dtype=np.float32)


def labels_of(windows, levels=None, **settings) -> list[int]:
    smoother = ScoreSmoother(SmoothingConfig(**settings), 3)
    levels = [-20.0] * len(windows) if levels is None else levels
    return [
        smoother.update(SURE[w] if isinstance(w, int) else np.float32(w), v).label
        for w, v in zip(windows, levels, strict=True)
    ]


def test_one_other_window_changes_nothing_and_more_do():
    assert labels_of([0, 0, 0, 1, 0, 0]) == [0] * 6
    assert labels_of([0, 0, 0, 1, 1, 1]) == [0, 0, 0, 0, 1, 1]


def test_a_lead_below_the_hysteresis_changes_nothing():
    nearly = (0.46, 0.54, 0.0)
    assert labels_of([0, nearly, nearly, nearly, nearly], average_ms=500) == [0] * 5
    assert labels_of([0, nearly, nearly, nearly, nearly], average_ms=500, hysteresis=0.05) == [0, 0, 1, 1, 1]


def test_silence_forgets():
    assert labels_of([0, 0, 0, 0, 1], [-20, -20, -20, -61, -20]) == [0, 0, 0, SILENCE, 1]


def test_segments_merge_decisions_and_reach_from_end_to_end():
    probabilities = np.float32([[0.8, 0.2], [0.6, 0.4], [0.2, 0.8], [0, 0]])
    found = Timeline(5.1, np.float64([2.5, 3, 4, 5]), ("a", "a", "b", "silence"), probabilities).segments()
    assert [segment[:3] for segment in found] == [(0.0, 3.0, "a"), (3.0, 4.0, "b"), (4.0, 5.1, "silence")]
    np.testing.assert_allclose(found[0].probabilities, [0.7, 0.3])
    assert isinstance(found[0], Segment)


@pytest.fixture
def predictor(trained):
    with Predictor(str(trained.model_file())) as predictor:
        yield predictor


def test_each_window_is_that_part_of_the_recording(predictor):
    """Without averages the probabilities are those of the samples that a decision has heard."""
    predictor.smoothing = SmoothingConfig(average_ms=500)
    samples = np.concatenate([np.resize(tiny.tone(label, 0, 0), 2 * SAMPLE_RATE_HZ) for label in (0, 2, 1)])
    config, found = predictor.config, timeline(predictor, samples)
    heard, length = heard_samples(samples, config), config.window_samples + (config.num_frames - 1) * config.hop_samples
    assert len(found.labels) == len(found.ends) == 11 and found.seconds == 6
    for end, probabilities in zip(found.ends, found.probabilities, strict=True):
        end = round(end * SAMPLE_RATE_HZ)
        clip = heard[end - length : end]
        np.testing.assert_array_equal(softmax(predictor.logits(predictor.features(clip)[np.newaxis]))[0], probabilities)


def test_progress_counts_all_windows(predictor):
    told = []
    found = timeline(predictor, np.resize(tiny.tone(0, 0, 0), 30 * SAMPLE_RATE_HZ), lambda n, total: told.append((n, total)))
    assert sum(n for n, _ in told) == len(found.ends) == told[-1][1] and len(told) > 1


def test_clips_are_not_long(predictor):
    clip = predictor.config.clip_samples
    assert [is_long(np.zeros(n, np.float32), predictor.config) for n in (1, clip, 2 * clip, 2 * clip + 1)] == [False] * 3 + [
        True
    ]
