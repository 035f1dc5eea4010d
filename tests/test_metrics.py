"""Scores against numbers worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kser.metrics import score

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
        "confusion": [[2, 1, 0], [0, 1, 1], [0, 0, 1]],
    }


@pytest.mark.parametrize(("labels", "predictions"), [([0, 1], [0]), ([], []), ([[0, 1]], [0, 1])])
def test_lengths_must_agree_and_not_be_zero(labels, predictions):
    with pytest.raises(ValueError, match="as many predictions as labels"):
        score(labels, predictions, 2)
