"""Clips longer than the window, seen through several."""

from __future__ import annotations

import numpy as np
import pytest

from kser.audio import reading
from kser.audio.log_mel import batch_extractor
from kser.models.inference import predict_logits, softmax
from kser.training import run_directory
from kser.training.windows import Windows, window_starts, windows_of
from kser.workflow import evaluate, open_run
from tests import tiny

CLIP, STEP = tiny.FEATURES.clip_samples, 2000


def voice(begin: int, end: int, total: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.1, total).astype(np.float32)
    noise[:begin] *= 1e-3
    noise[end:] *= 1e-3
    return noise


def test_windows_cover_the_voice_and_the_last_ends_with_it():
    samples = voice(16000, 40000, 60000)
    begin, end = reading.active_range(samples)
    starts = window_starts(samples, tiny.FEATURES, STEP)
    assert starts[0] == begin and starts[-1] == end - CLIP
    steps = np.diff(starts)
    assert np.all(steps[:-1] == STEP) and 0 < steps[-1] <= STEP


@pytest.mark.parametrize("length", [CLIP // 2, CLIP - 400])
def test_a_voice_that_one_window_holds_has_no_others(length):
    assert window_starts(voice(16000, 16000 + length, 60000), tiny.FEATURES, STEP) == []


def test_the_mean_is_of_longer_clips_only():
    windows = Windows(np.zeros((3, 1, 1), np.float32), np.array([2, 0, 2]))
    mean = windows.mean(np.array([[1.0], [2.0], [3.0]]), np.array([[10.0], [20.0], [30.0]]))
    np.testing.assert_array_equal(mean, [[20.0], [2.0], [20.0]])


def test_a_clip_is_decided_on_by_the_mean_over_its_windows(trained):
    run, data = open_run(trained.run.path, trained.run.paths)
    test = data.split.test
    step_ms = run.config.smoothing.decision_ms
    windows = windows_of(data.corpus, data.features, test, run.normalization, run.config.features, step_ms)
    longer = np.unique(windows.clips)
    assert 0 < len(longer) < len(test)
    model = run_directory.load_model(run)
    shares = softmax(predict_logits(model, windows.features))
    _, middle, several = evaluate(run.path, "keras", run.paths)
    assert several.count == len(longer)
    # By hand, for one clip.
    place = int(longer[0])
    utterance = data.corpus.utterances[test[place]]
    samples = reading.load(utterance.path, run.config.features.upper_hz)
    config = run.config.features
    noise = reading.microphone_noise(config.clip_samples, config.noise_dbfs)
    clips = [samples[start : start + CLIP] + noise for start in window_starts(samples, config, round(16 * step_ms))]
    features = run.normalization.apply(batch_extractor(config)(np.stack(clips)).numpy())
    np.testing.assert_allclose(
        softmax(predict_logits(model, features)).mean(0), shares[windows.clips == place].mean(0), atol=1e-6
    )
    whole = windows.mean(softmax(predict_logits(model, data.part(run, "test").features)), shares)
    truth = data.part(run, "test").labels
    assert several.evaluation.scores.WA == np.mean(whole.argmax(1) == truth)
    alone = softmax(predict_logits(model, data.part(run, "test").features))
    assert middle.scores.WA == np.mean(alone.argmax(1) == truth)
