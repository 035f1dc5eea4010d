"""Predictions on disk, pooled over splits and by speaker, and what is told of them."""

from __future__ import annotations

import dataclasses
import json
import statistics
from types import SimpleNamespace

import numpy as np
import pytest

from kser.errors import RunError
from kser.models.inference import softmax
from kser.training.evaluation import (
    DECIDED_BY,
    Predictions,
    evaluate_predictions,
    over_splits,
    pool,
    read_predictions,
    write_predictions,
)
from kser.training.metrics import METRICS, decide_by_speaker, intervals, score

LABELS = ("calm", "angry", "never said")
NAMES = ("plain", "with, comma", 'a "quoted" one', "größer/你好.wav", "caf\udce9.wav", "two\nlines", " spaces ", "")


def predictions(seed: int = 0, num_speakers: int = 4, takes: int = 6, prefix: str = "s") -> Predictions:
    """Each speaker has one label, calm or angry, and clips that mostly sound like it."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat([f"{prefix}{i}" for i in range(num_speakers)], takes)
    labels = np.repeat(np.arange(num_speakers) % 2, takes)
    logits = (rng.normal(size=(len(labels), len(LABELS))) + 1.5 * np.eye(len(LABELS))[labels]).astype(np.float32)
    names = tuple(f"{speaker}-{i}" for i, speaker in enumerate(speakers))
    return Predictions(names, speakers, labels, softmax(logits))


def assert_same(found: Predictions, expected: Predictions) -> None:
    assert found.utterance_ids == expected.utterance_ids
    assert found.speakers.tolist() == expected.speakers.tolist()
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.probabilities.astype(np.float32), expected.probabilities.astype(np.float32))


def test_predictions_are_made_of_a_part_and_its_logits():
    part = SimpleNamespace(utterance_ids=("u", "v"), speakers=np.array(["a", "b"]), labels=np.array([1, 0]))
    found = Predictions.from_logits(part, np.log([[1.0, 3.0], [1.0, 1.0]]))
    assert (found.utterance_ids, found.speakers.tolist(), found.labels.tolist()) == (("u", "v"), ["a", "b"], [1, 0])
    np.testing.assert_allclose(found.probabilities, [[0.25, 0.75], [0.5, 0.5]])


# On disk.


def test_predictions_are_read_back_as_they_were_written(tmp_path):
    found = predictions()
    write_predictions(str(tmp_path / "p.csv"), found, LABELS)
    assert_same(read_predictions(str(tmp_path / "p.csv")), found)


def test_names_of_any_kind_are_read_back(tmp_path):
    count = len(NAMES)
    speakers = np.array([f"Jürgen {name}" for name in NAMES])
    found = Predictions(NAMES, speakers, np.arange(count) % 3, np.eye(3, dtype=np.float32)[np.arange(count) % 3])
    write_predictions(str(tmp_path / "p.csv"), found, ("ruhig, still", "wütend", "“x”"))
    assert_same(read_predictions(str(tmp_path / "p.csv")), found)


def test_a_line_is_a_clip_with_its_true_and_its_recognized_label(tmp_path):
    found = Predictions(("u",), np.array(["ann"]), np.array([0]), np.array([[0.25, 0.75, 0.0]], np.float32))
    write_predictions(str(tmp_path / "p.csv"), found, LABELS)
    assert (tmp_path / "p.csv").read_text(encoding="utf-8").splitlines() == [
        "utterance_id,speaker,label,predicted,calm,angry,never said",
        "u,ann,calm,angry,0.25,0.75,0",
    ]


def test_what_is_recognized_is_so_after_reading_back(tmp_path):
    """Also where two labels are equal in six digits."""
    shares = np.array([[0.33333334, 0.3333334, 0.33333328]], np.float32)
    write_predictions(str(tmp_path / "p.csv"), Predictions(("u",), np.array(["a"]), np.array([1]), shares), LABELS)
    assert read_predictions(str(tmp_path / "p.csv")).probabilities.argmax() == shares.argmax() == 1


def test_very_unlikely_labels_are_read_back(tmp_path):
    shares = np.array([[1.0, 1e-30, 1e-9]], np.float32)
    found = Predictions(("u",), np.array(["a"]), np.array([1]), shares)
    write_predictions(str(tmp_path / "p.csv"), found, LABELS)
    assert_same(read_predictions(str(tmp_path / "p.csv")), found)


def written(directory) -> str:
    write_predictions(str(directory / "p.csv"), predictions(), LABELS)
    return (directory / "p.csv").read_bytes().decode()


def refusal(path) -> str:
    with pytest.raises(RunError) as error:
        read_predictions(str(path))
    message = str(error.value)
    assert message.startswith(f"{path} is missing or damaged (") and message.endswith("; train that split again."), message
    assert "\n" not in message
    return message


def test_a_missing_file(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text.splitlines(keepends=True)[0],
        lambda text: "".join(text.splitlines(keepends=True)[1:]),
        lambda text: text[: text.rindex(",")],
        lambda text: text.replace(",s1,angry", ",s1,happy"),
        lambda text: text.replace(",s1,angry", ",s1,angry,angry", 1),
        lambda text: text.replace("s1-6,s1", "s1-6", 1),
        lambda text: text.replace(",angry,0.", ",angry,x0.", 1),
        lambda text: text.replace(",never said", "", 1),
        lambda text: text.replace("\r\n", ",1\r\n").replace(",1\r\n", "\r\n", 1),
        lambda text: text.replace("s1-6", "s1\r6", 1),
        lambda text: text.replace("s1-6", '"s1-6', 1) + "x" * 200_000,
        lambda text: bytes(1000).decode(),
    ],
    ids=[
        "empty",
        "header only",
        "no header",
        "cut off",
        "unknown label",
        "a field more",
        "a field less",
        "no number",
        "a label less",
        "a column more",
        "a lone carriage return",
        "an endless quotation",
        "zeros",
    ],
)
def test_a_damaged_file(tmp_path, damage):
    text = written(tmp_path)
    damaged = damage(text)
    assert damaged != text
    (tmp_path / "p.csv").write_bytes(damaged.encode())
    refusal(tmp_path / "p.csv")


# Several splits.


def test_pooled_predictions_are_those_of_all_splits_in_order():
    parts = [predictions(0, prefix="s"), predictions(1, 2, prefix="a longer name ")]
    found = pool(parts)
    assert found.utterance_ids == parts[0].utterance_ids + parts[1].utterance_ids
    assert found.speakers.tolist() == [*parts[0].speakers, *parts[1].speakers]
    np.testing.assert_array_equal(found.labels, [*parts[0].labels, *parts[1].labels])
    np.testing.assert_array_equal(found.probabilities, [*parts[0].probabilities, *parts[1].probabilities])


def test_one_split_pooled_is_itself():
    assert_same(pool([predictions()]), predictions())


def test_pooled_confusions_add_up():
    parts = [predictions(seed, prefix=f"{seed}-") for seed in range(3)]
    total = sum(evaluate_predictions(part).scores.confusion for part in parts)
    pooled = evaluate_predictions(pool(parts))
    np.testing.assert_array_equal(pooled.scores.confusion, total)
    assert pooled.num_speakers == 12


def test_over_splits_is_mean_and_sample_deviation_of_each_metric():
    evaluations = [evaluate_predictions(predictions(seed)) for seed in range(4)]
    found = over_splits(evaluations)
    assert list(found) == list(METRICS)
    for name in METRICS:
        values = [getattr(e.scores, name) for e in evaluations]
        assert found[name] == {"mean": pytest.approx(np.mean(values)), "std": pytest.approx(np.std(values, ddof=1))}
        assert found[name]["std"] == pytest.approx(statistics.stdev(values)) and found[name]["std"] > 0


def test_a_single_split_deviates_by_nothing():
    evaluation = evaluate_predictions(predictions())
    assert over_splits([evaluation])["UA"] == {"mean": evaluation.scores.UA, "std": 0.0}


# Scores.


def test_an_evaluation_is_of_the_likeliest_labels():
    found = predictions()
    evaluation = evaluate_predictions(found)
    guessed = found.probabilities.argmax(1)
    assert evaluation.scores.to_dict() == score(found.labels, guessed, 3).to_dict()
    assert evaluation.intervals == intervals(found.labels, guessed, found.speakers, 3)
    assert evaluation.num_speakers == 4


def test_speakers_are_scored_only_where_they_are_decided_for():
    found = predictions(num_speakers=9)
    assert evaluate_predictions(found).by_speaker == evaluate_predictions(found, "utterance").by_speaker == {}
    by_speaker = evaluate_predictions(found, "speaker").by_speaker
    assert tuple(by_speaker) == DECIDED_BY
    _, truth, *decisions = decide_by_speaker(found.labels, found.probabilities, found.speakers)
    for scores, decided in zip(by_speaker.values(), decisions, strict=True):
        assert scores.confusion.sum() == 9 and scores.WA == np.mean(truth == decided)


def test_the_scores_of_clips_are_the_same_whoever_is_decided_for():
    found = predictions()
    by_clip, by_speaker = evaluate_predictions(found), evaluate_predictions(found, "speaker")
    assert by_clip.scores.to_dict() == by_speaker.scores.to_dict() and by_clip.intervals == by_speaker.intervals


def test_mean_and_vote_are_told_apart():
    """One speaker, calm: two clips hardly sound angry, one very calm."""
    shares = np.array([[0.45, 0.55, 0], [0.45, 0.55, 0], [0.99, 0.01, 0]])
    found = Predictions(("u", "v", "w"), np.array(["a"] * 3), np.zeros(3, int), shares)
    by_speaker = evaluate_predictions(found, "speaker").by_speaker
    assert {name: scores.WA for name, scores in by_speaker.items()} == {"mean of probabilities": 1, "majority vote": 0}


@pytest.mark.parametrize("decision", ["utterance", "speaker"])
@pytest.mark.parametrize("num_speakers", [1, 4])
def test_evaluations_become_json(decision, num_speakers):
    """With a class without clips, whose figures are no numbers."""
    evaluation = evaluate_predictions(predictions(num_speakers=num_speakers), decision)
    values = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert values == evaluation.to_dict()
    assert values["recall"][2] is None and values["speakers"] == num_speakers
    assert values["intervals"] == {name: list(ends) for name, ends in evaluation.intervals.items()}
    assert bool(values["intervals"]) == (num_speakers > 1)
    assert ("by_speaker" in values) == (decision == "speaker")
    json.dumps(over_splits([evaluation, evaluation]), allow_nan=False)


def test_predictions_read_back_are_evaluated_alike(tmp_path):
    found = predictions(3, num_speakers=7)
    write_predictions(str(tmp_path / "p.csv"), found, LABELS)
    again = read_predictions(str(tmp_path / "p.csv"))
    assert evaluate_predictions(again, "speaker").to_dict() == evaluate_predictions(found, "speaker").to_dict()
    assert dataclasses.asdict(again).keys() == dataclasses.asdict(found).keys()
