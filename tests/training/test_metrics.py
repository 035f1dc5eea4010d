"""Scores against numbers worked out by hand and by scikit-learn, their intervals against scipy's, decisions for speakers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from kser.training.metrics import (
    CALIBRATION_BINS,
    CONFIDENCE,
    METRICS,
    calibration_error,
    confusions,
    decide_by_speaker,
    intervals,
    paired_intervals,
    score,
)

LABELS = [0, 0, 0, 1, 1, 2]
PREDICTIONS = [0, 0, 1, 1, 2, 2]


def test_scores_by_hand():
    scores = score(LABELS, PREDICTIONS, 3)
    np.testing.assert_array_equal(scores.confusion, [[2, 1, 0], [0, 1, 1], [0, 0, 1]])
    assert pytest.approx(4 / 6) == scores.WA
    assert pytest.approx((2 / 3 + 1 / 2 + 1) / 3) == scores.UA
    # F1 = 2 hits / (clips of the class + clips taken for it)
    assert scores.macro_f1 == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 3)


def test_rows_are_true_labels_and_columns_predictions():
    assert score([0], [1], 2).confusion.tolist() == [[0, 1], [0, 0]]


def test_a_class_that_does_not_occur_is_left_out_of_the_means():
    with_absent, without = score(LABELS, PREDICTIONS, 5), score(LABELS, PREDICTIONS, 3)
    assert with_absent.confusion.shape == (5, 5)
    assert (with_absent.WA, with_absent.UA, with_absent.macro_f1) == (without.WA, without.UA, without.macro_f1)


def test_clips_taken_for_an_absent_class_cost_their_own_class_only():
    scores = score([0, 0], [0, 3], 4)
    assert (scores.WA, scores.UA, scores.macro_f1) == (0.5, 0.5, pytest.approx(2 / 3))


def test_a_class_never_recognized_counts_as_zero():
    scores = score([0, 1], [0, 0], 2)
    assert (scores.UA, scores.macro_f1) == (0.5, pytest.approx(1 / 3))


def test_all_right_and_all_wrong():
    right, wrong = score([0, 1, 2], [0, 1, 2], 3), score([0, 1, 2], [1, 2, 0], 3)
    assert (right.WA, right.UA, right.macro_f1) == (1, 1, 1)
    assert (wrong.WA, wrong.UA, wrong.macro_f1) == (0, 0, 0)


def test_recall_does_not_follow_the_frequent_class():
    scores = score([0] * 9 + [1], [0] * 10, 2)
    assert (scores.WA, scores.UA) == (0.9, 0.5)


def test_scores_become_json():
    scores = score(LABELS, PREDICTIONS, 3)
    values = json.loads(json.dumps(scores.to_dict()))
    assert values == {
        "WA": scores.WA,
        "UA": scores.UA,
        "macro_f1": scores.macro_f1,
        "weighted_f1": scores.weighted_f1,
        "recall": scores.recall.tolist(),
        "precision": scores.precision.tolist(),
        "f1": scores.f1.tolist(),
        "confusion": [[2, 1, 0], [0, 1, 1], [0, 0, 1]],
    }


@pytest.mark.parametrize(("labels", "predictions"), [([0, 1], [0]), ([], []), ([[0, 1]], [0, 1])])
def test_lengths_must_agree_and_not_be_zero(labels, predictions):
    with pytest.raises(ValueError, match="as many predictions as labels"):
        score(labels, predictions, 2)


# Per class, and against the formulas as a textbook has them.


def test_per_class_by_hand():
    scores = score(LABELS, PREDICTIONS, 3)
    np.testing.assert_allclose(scores.recall, [2 / 3, 1 / 2, 1])
    np.testing.assert_allclose(scores.precision, [2 / 2, 1 / 2, 1 / 2])
    np.testing.assert_allclose(scores.f1, [4 / 5, 1 / 2, 2 / 3])
    assert scores.weighted_f1 == pytest.approx((3 * 4 / 5 + 2 * 1 / 2 + 1 * 2 / 3) / 6)


def test_weighted_f1_follows_the_frequent_class_and_macro_f1_does_not():
    scores = score([0] * 9 + [1], [0] * 10, 2)
    assert scores.macro_f1 == pytest.approx(18 / 19 / 2)
    assert scores.weighted_f1 == pytest.approx(0.9 * 18 / 19)


def test_a_class_never_taken_has_no_precision_to_speak_of():
    scores = score([0, 1], [0, 0], 2)
    np.testing.assert_array_equal(scores.precision, [0.5, 0])


def test_a_class_without_clips_has_no_figures_of_its_own():
    scores = score(LABELS, PREDICTIONS, 5)
    for figures in (scores.recall, scores.precision, scores.f1):
        assert np.isnan(figures[3:]).all() and not np.isnan(figures[:3]).any()
    assert scores.to_dict()["f1"][3:] == [None, None]
    assert scores.weighted_f1 == score(LABELS, PREDICTIONS, 3).weighted_f1


def by_scikit_learn(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    present = {"labels": np.unique(labels), "zero_division": 0.0}
    return {
        "WA": sklearn.metrics.accuracy_score(labels, predictions),
        "UA": sklearn.metrics.recall_score(labels, predictions, average="macro", **present),
        "macro_f1": sklearn.metrics.f1_score(labels, predictions, average="macro", **present),
        "weighted_f1": sklearn.metrics.f1_score(labels, predictions, average="weighted", **present),
    }


def random_decisions(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels, predictions of which half are right by design, and how many classes there are; some may not occur."""
    rng = np.random.default_rng(seed)
    num_classes, count = rng.integers(2, 9), rng.integers(1, 200)
    labels = rng.choice(num_classes, count, p=rng.dirichlet(np.ones(num_classes)))
    return labels, np.where(rng.random(count) < 0.5, labels, rng.choice(num_classes, count)), num_classes


@pytest.mark.parametrize("seed", range(20))
def test_scores_agree_with_scikit_learn(seed):
    labels, predictions, num_classes = random_decisions(seed)
    scores = score(labels, predictions, num_classes)
    for name, value in by_scikit_learn(labels, predictions).items():
        assert getattr(scores, name) == pytest.approx(value, abs=1e-12), name
    every_class = np.arange(num_classes)
    np.testing.assert_array_equal(
        scores.confusion, sklearn.metrics.confusion_matrix(labels, predictions, labels=every_class)
    )
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predictions, labels=every_class, zero_division=0.0)
    present = expected[3] > 0
    for found, theirs in zip((scores.precision, scores.recall, scores.f1), expected, strict=False):
        np.testing.assert_allclose(found[present], theirs[present], atol=1e-12)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_ua_is_scikit_learn_s_balanced_accuracy():
    for seed in range(20):
        labels, predictions, num_classes = random_decisions(seed)
        expected = sklearn.metrics.balanced_accuracy_score(labels, predictions)
        assert score(labels, predictions, num_classes).UA == pytest.approx(expected, abs=1e-12)


# Calibration.


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_is_that_of_its_definition(seed):
    """Guo et al. 2017, equation 3, with scipy's bins."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(4, 0.5), 300)
    labels = np.where(rng.random(300) < 0.6, probabilities.argmax(1), rng.integers(0, 4, 300))
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = {"bins": CALIBRATION_BINS, "range": (0, 1)}
    counts = scipy.stats.binned_statistic(confidence, None, "count", **bins).statistic
    accuracy, mean = (scipy.stats.binned_statistic(confidence, v, "mean", **bins).statistic for v in (right, confidence))
    expected = np.nansum(counts / 300 * np.abs(accuracy - mean))
    assert calibration_error(labels, probabilities) == pytest.approx(expected, abs=1e-12)


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not():
    certain = np.eye(3)
    assert calibration_error(np.arange(3), certain) == 0
    assert calibration_error(np.array([1, 2, 0]), certain) == 1


# Confidence intervals.


def trial(seed: int, num_speakers: int = 12, takes: int = 20):
    """Labels, predictions and speakers of clips that speaker by speaker are right more or less often, 0.6 on average."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat([f"s{i}" for i in range(num_speakers)], takes)
    labels = rng.integers(0, 4, len(speakers))
    right = rng.random(len(speakers)) < np.repeat(rng.uniform(0.3, 0.9, num_speakers), takes)
    return labels, np.where(right, labels, (labels + rng.integers(1, 4, len(labels))) % 4), speakers


def test_intervals_hold_the_score_itself():
    for seed in range(20):
        labels, predictions, speakers = trial(seed)
        scores = score(labels, predictions, 4)
        for name, (low, high) in intervals(labels, predictions, speakers, 4).items():
            assert 0 <= low < getattr(scores, name) < high <= 1


@pytest.mark.parametrize("num_speakers", [2, 3, 4, 8, 24])
@pytest.mark.parametrize("metric", ["WA", "UA"])
def test_intervals_cover_what_other_speakers_would_score(metric, num_speakers):
    """In 93 to 97 of 100, as they say; 1200 of them are counted, whose own deviation is 0.6 in 100."""
    found = [intervals(*trial(seed, num_speakers), 4)[metric] for seed in range(1200)]
    assert 0.93 <= np.mean([low <= 0.6 <= high for low, high in found]) <= 0.97


def test_a_single_speaker_gives_no_interval():
    assert intervals(*trial(0, 1), 4) == {}


def test_the_jackknife_of_a_mean_is_students_interval():
    """Of speakers with as many clips each, the accuracy is the mean of theirs, of which scipy knows the interval."""
    labels, predictions, speakers = trial(3)
    right = [np.mean((labels == predictions)[speakers == speaker]) for speaker in np.unique(speakers)]
    expected = scipy.stats.ttest_1samp(right, 0).confidence_interval(CONFIDENCE)
    np.testing.assert_allclose(intervals(labels, predictions, speakers, 4)["WA"], expected)


def test_paired_differences_agree_with_scipys_paired_test():
    labels, predictions, speakers = trial(4)
    others = trial(5)[1]
    difference, ends = paired_intervals(labels, predictions, others, speakers, 4)["WA"]
    shares = [[np.mean((labels == p)[speakers == s]) for s in np.unique(speakers)] for p in (predictions, others)]
    np.testing.assert_allclose(ends, scipy.stats.ttest_rel(*shares).confidence_interval(CONFIDENCE))
    assert difference == pytest.approx(np.mean(shares[0]) - np.mean(shares[1]))


def test_what_is_hard_for_both_does_not_widen_a_paired_interval():
    labels, predictions, speakers = trial(6)
    almost = predictions.copy()
    almost[::15] = labels[::15]
    difference, (low, high) = paired_intervals(labels, almost, predictions, speakers, 4)["UA"]
    own = intervals(labels, predictions, speakers, 4)["UA"]
    assert difference > 0 and low < difference < high and high - low < 0.3 * np.ptp(own)
    assert paired_intervals(labels, predictions, predictions, speakers, 4)["UA"] == (0.0, (0.0, 0.0))
    assert paired_intervals(*(values[:20] for values in (labels, almost, predictions, speakers)), 4)["UA"][1] is None


def test_more_speakers_make_narrower_intervals():
    def width(num_speakers: int) -> float:
        return np.mean([np.ptp(intervals(*trial(seed, num_speakers), 4)["UA"]) for seed in range(5)])

    # By the square root of the number, of speakers who differ at random.
    assert width(8) / width(72) == pytest.approx(3, rel=0.3)


def test_intervals_are_over_speakers_not_clips():
    """Clips heard twice tell nothing new, which a bootstrap over clips would not know."""
    once = trial(0)
    twice = [np.concatenate([values, values]) for values in once]
    assert intervals(*twice, 4) == intervals(*once, 4)


def test_who_the_speakers_are_matters():
    labels, predictions, speakers = trial(0)
    widths = [np.ptp(intervals(labels, predictions, who, 4)["WA"]) for who in (speakers, np.arange(len(labels)) % 12)]
    assert widths[0] > 1.5 * widths[1]  # dealt out anew, clips of one speaker are no longer right or wrong together


def test_the_order_of_the_clips_does_not_matter():
    arrays = trial(0)
    order = np.random.default_rng(1).permutation(len(arrays[0]))
    assert intervals(*(values[order] for values in arrays), 4) == intervals(*arrays, 4)



def test_without_a_mistake_the_interval_is_a_point():
    assert intervals([0, 1, 0, 1], [0, 1, 0, 1], ["a", "a", "b", "b"], 2) == dict.fromkeys(METRICS, (1.0, 1.0))


def test_a_label_of_one_speaker_alone_is_no_trouble():
    found = intervals([0, 0, 1, 0], [0, 1, 1, 0], ["a", "a", "b", "c"], 3)
    assert all(0 <= low <= high <= 1 for low, high in found.values())


def test_confusions_are_by_speaker_in_the_order_of_their_names():
    found = confusions([0, 1, 1, 0], [1, 1, 0, 0], ["b", "a", "b", "a"], 2)
    np.testing.assert_array_equal(found, [[[1, 0], [0, 1]], [[0, 1], [1, 0]]])


# One decision for each speaker.


def decide(*clips) -> tuple[int, int]:
    """What mean and vote decide for one speaker's probabilities, beside another speaker who says the opposite."""
    clips = np.array(clips)
    probabilities = np.concatenate([clips, np.roll(clips, 1, axis=1)])
    speakers = np.array(["b"] * len(clips) + ["a"] * len(clips))
    names, _, by_mean, by_vote = decide_by_speaker(np.zeros(len(speakers), int), probabilities, speakers)
    assert names.tolist() == ["a", "b"]
    num_classes = clips.shape[1]
    assert by_mean[0] == (by_mean[1] + 1) % num_classes
    return by_mean[1], by_vote[1]


def test_clips_that_agree():
    assert decide([0.9, 0.1], [0.8, 0.2]) == (0, 0)


def test_one_loud_clip_wins_the_mean_and_loses_the_vote():
    assert decide([0.05, 0.95], [0.6, 0.4], [0.6, 0.4]) == (1, 0)


@pytest.mark.parametrize(("clips", "winner"), [(([0.9, 0.1], [0.2, 0.8]), 0), (([0.7, 0.3], [0.2, 0.8]), 1)])
def test_of_tied_votes_the_larger_mean_wins(clips, winner):
    assert decide(*clips) == (winner, winner)


def test_a_tie_is_not_won_by_a_label_without_most_votes():
    # The last label has the largest mean and no vote.
    clips = [0.5, 0.02, 0.48], [0.03, 0.5, 0.47]
    assert decide(*clips) == (2, 0)


def test_certain_means_do_not_outweigh_a_vote():
    assert decide([1.0, 0.0], [1.0, 0.0], [0.49, 0.51], [0.49, 0.51], [0.49, 0.51]) == (0, 1)


def test_a_tie_of_votes_and_means_goes_to_the_first_label():
    _, _, by_mean, by_vote = decide_by_speaker(
        np.array([1, 1]), np.array([[0.25, 0.75], [0.75, 0.25]]), np.array(["a", "a"])
    )
    assert (by_mean.tolist(), by_vote.tolist()) == ([0], [0])


def test_speakers_keep_their_labels_however_their_clips_are_mixed():
    rng = np.random.default_rng(0)
    speakers = rng.permutation(np.repeat(["z", "m", "a"], 5))
    truth = {"z": 1, "m": 0, "a": 2}
    labels = np.array([truth[s] for s in speakers])
    probabilities = np.eye(3)[labels] * 0.5 + 0.1
    names, found, by_mean, by_vote = decide_by_speaker(labels, probabilities, speakers)
    assert names.tolist() == ["a", "m", "z"]
    assert found.tolist() == by_mean.tolist() == by_vote.tolist() == [2, 0, 1]
