"""The commands' jobs from files to files: what they write, and that they write nothing when anything is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from kser import fold, pipeline, rundir, tflite, workflow
from kser.errors import ConfigError, DatasetError, FoldError, KserError, ModelFileError, RunError
from tests import tiny, tiny_run
from tests.limits import files_at_most

CONVERTED = ["conversion.json", "fold.json", "kser_model.cc", "kser_model.h", "model.tflite", "model_float.tflite"]


@pytest.fixture
def spoilt(trained, tmp_path):
    """A copy of the run to do harm to."""
    return trained.copy(tmp_path)


def contents(directory) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in Path(directory).rglob("*") if p.is_file()}


def convert(run) -> tuple:
    return workflow.fold_and_convert(run.path, "", run.cache_dir, num_representative=2)


def evaluate(run, kind: str):
    return workflow.evaluate(run.path, kind, "", run.cache_dir)[1]


def forbid(*_, **__):
    raise AssertionError("this must not be reached")


# --- What is written --------------------------------------------------------------------------------------------------


def test_training_and_conversion_leave_their_files(trained):
    names = {path.name for path in Path(trained.path).iterdir()}
    assert names == {
        *("config.json", "weights.h5", "history.csv", "metrics.json", "confusion.png", "checkpoint", "tensorboard"),
        *CONVERTED,
    }


def test_the_written_models_are_the_conversions_result(trained):
    files = contents(trained.path)
    assert files["model.tflite"] == trained.result.int8_model and files["model_float.tflite"] == trained.result.float_model
    report = json.loads(files["conversion.json"])
    assert report == trained.result.report
    assert report["sha256"] == hashlib.sha256(files["model.tflite"]).hexdigest()
    assert f"{len(files['model.tflite'])} bytes" in files["kser_model.cc"].decode()
    assert tflite.describe(files["model.tflite"]).inputs[0].dtype == "int8"
    assert tflite.describe(files["model_float.tflite"]).inputs[0].dtype == "float32"


def test_metrics_are_of_the_best_epoch_and_the_held_out_speakers(trained):
    metrics = json.loads(contents(trained.path)["metrics.json"])
    best = max(rundir.read_history(trained.run, 2), key=lambda row: (row["val_UA"], -row["val_loss"]))
    assert (metrics["best_epoch"], metrics["val_UA"]) == (best["epoch"], best["val_UA"])
    assert metrics["test"] == evaluate(trained, "keras").to_dict()


# --- evaluate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", workflow.MODELS)
def test_every_form_scores_as_the_conversion_reported(trained, kind):
    assert evaluate(trained, kind).to_dict() == trained.result.scores[kind].to_dict()


def test_an_unknown_form_is_told_before_any_work(trained):
    with pytest.raises(ConfigError, match="keras, folded, tflite, tflm, not 'onnx'"):
        workflow.evaluate("nowhere", "onnx", "", "")


@pytest.mark.parametrize("kind", ["tflite", "tflm"])
def test_a_form_that_was_not_made_yet(spoilt, kind):
    spoilt.model_file().unlink()
    with pytest.raises(RunError, match="has no model.tflite yet; make it with bin/fold_and_convert --run_dir="):
        evaluate(spoilt, kind)


def test_a_form_that_is_damaged(spoilt):
    spoilt.model_file().write_bytes(trained_half(spoilt))
    with pytest.raises(ModelFileError, match="model.tflite is truncated or damaged"):
        evaluate(spoilt, "tflm")


def trained_half(run) -> bytes:
    data = run.model_file().read_bytes()
    return data[: len(data) // 2]


@pytest.mark.parametrize("kind", ["keras", "folded"])
def test_damaged_weights(spoilt, kind):
    Path(spoilt.run.file("weights.h5")).write_bytes(b"garbage")
    with pytest.raises(RunError, match="weights.h5 is damaged"):
        evaluate(spoilt, kind)


# --- The run and its corpus -------------------------------------------------------------------------------------------


def _one_clip_less(corpus):
    return dataclasses.replace(corpus, utterances=corpus.utterances[:-1])


def _another_label(corpus):
    first = dataclasses.replace(corpus.utterances[0], label="high")
    return dataclasses.replace(corpus, utterances=(first, *corpus.utterances[1:]))


@pytest.mark.parametrize("job", ["evaluate", "fold_and_convert", "resume"])
@pytest.mark.parametrize("change", [_one_clip_less, _another_label])
def test_another_corpus_than_trained_on(trained, monkeypatch, tmp_path, job, change):
    before = contents(trained.path)
    tiny_run.use_corpus(monkeypatch, change(trained.corpus))
    jobs = {
        "evaluate": lambda: workflow.evaluate(trained.path, "keras", "elsewhere", str(tmp_path)),
        "fold_and_convert": lambda: workflow.fold_and_convert(trained.path, "elsewhere", str(tmp_path), 2),
        "resume": lambda: workflow.resume(trained.path, "elsewhere", str(tmp_path), tiny_run.Quiet()),
    }
    with pytest.raises(RunError, match="other clips of 'tiny' than lie in elsewhere; point --data_dir") as error:
        jobs[job]()
    assert trained.path in str(error.value)
    assert contents(trained.path) == before


def test_the_corpus_may_have_moved(trained, monkeypatch):
    asked = []
    monkeypatch.setattr(workflow, "load_corpus", lambda name, data_dir: asked.append((name, data_dir)) or trained.corpus)
    workflow.open_run(trained.path, "", trained.cache_dir)
    workflow.open_run(trained.path, "moved", trained.cache_dir)
    assert asked == [("tiny", trained.run.data_dir), ("tiny", "moved")]
    assert Path(trained.run.data_dir).is_dir()


def test_differences_to_the_published_corpus_are_told(trained, monkeypatch, capsys):
    sentence = "This corpus is smaller than the published one."
    tiny_run.use_corpus(monkeypatch, dataclasses.replace(trained.corpus, warnings=(sentence,)))
    trained.material()
    assert capsys.readouterr().err == f"Warning: {sentence}\n"


def test_the_parts_are_the_runs_speakers(trained):
    split = trained.material().split
    speakers = [trained.corpus.utterances[i].speaker for i in split.test]
    assert set(speakers) == set(trained.run.test_speakers) and len(speakers) == len(split.test)
    assert split.validation_speakers == trained.run.validation_speakers


def test_clips_of_the_held_out_speakers(trained):
    clips = workflow.test_clips(trained.path)
    assert clips == [u for u in trained.corpus.utterances if u.speaker == "a"]


# --- train ------------------------------------------------------------------------------------------------------------


def test_training_never_touches_an_existing_run(trained, monkeypatch):
    before = contents(trained.path)
    monkeypatch.setattr(workflow, "load_material", forbid)
    with pytest.raises(RunError, match="already holds a run"):
        workflow.train_new(trained.path, tiny.run_config(), "", trained.cache_dir, tiny_run.Quiet())
    assert contents(trained.path) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": 5}, "has splits 1 to 4, not 5"),
        ({"validation_speakers": 3}, "3 for validation are too many"),
        ({"dataset": "nowhere"}, "no corpus 'nowhere'; known: .*ravdess"),
    ],
)
def test_a_training_that_cannot_be_leaves_nothing(trained, tmp_path, settings, message):
    with pytest.raises(DatasetError, match=message):
        workflow.train_new(str(tmp_path / "run"), tiny.run_config(**settings), "", trained.cache_dir, tiny_run.Quiet())
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_only_scored_again(spoilt):
    before = contents(spoilt.path)
    _, scores = workflow.resume(spoilt.path, "", spoilt.cache_dir, tiny_run.Quiet())
    after = contents(spoilt.path)
    assert scores.to_dict() == json.loads(before["metrics.json"])["test"]
    assert {name: after[name] for name in before if not name.endswith(".png")} == {
        name: data for name, data in before.items() if not name.endswith(".png")
    }


# --- fold_and_convert -------------------------------------------------------------------------------------------------


def test_a_broken_bound_writes_nothing_and_keeps_the_older_model(spoilt, monkeypatch):
    before = contents(spoilt.path)
    monkeypatch.setattr(fold, "MAX_LOGIT_DIFFERENCE", -1.0)
    with pytest.raises(FoldError, match="The fold is not exact: a logit changed by"):
        convert(spoilt)
    assert contents(spoilt.path) == before


def test_a_wrong_rule_writes_nothing(spoilt, monkeypatch):
    for name in CONVERTED:
        Path(spoilt.run.file(name)).unlink()
    before = contents(spoilt.path)
    (kind, rule), *_ = fold.FOLD_RULES.items()

    def transposed_sign(layer):
        right = rule(layer)
        return fold.Folded(right.layer, [-right.weights[0], right.weights[1]])

    monkeypatch.setitem(fold.FOLD_RULES, kind, transposed_sign)
    with pytest.raises(FoldError, match="Nothing was written"):
        convert(spoilt)
    assert contents(spoilt.path) == before


@pytest.mark.parametrize("num_bytes", [100, 5000, 60_000])
def test_a_full_disk_leaves_all_files_as_they_were(spoilt, monkeypatch, num_bytes):
    """Whichever of the files is the first that does not fit."""
    before = contents(spoilt.path)
    other = dataclasses.replace(spoilt.result, report={"another": "conversion"}, float_model=b"another model")
    monkeypatch.setattr(workflow.export, "export", lambda *_: other)
    assert num_bytes < max(len(before[name]) for name in CONVERTED)
    with files_at_most(num_bytes), pytest.raises(KserError, match=r"^Cannot write .*: File too large\.$"):
        convert(spoilt)
    assert contents(spoilt.path) == before


def test_representative_clips_are_of_the_training_part_and_drawn_by_the_seed(trained, spoilt, monkeypatch):
    seen = []

    def export(run, representative, test, passes):
        seen.append(representative)
        return trained.result

    monkeypatch.setattr(workflow.export, "export", export)
    for count in (3, 3, 1000):
        workflow.fold_and_convert(spoilt.path, "", spoilt.cache_dir, count)
    training = trained.material().part(trained.run, "train").features
    assert [len(clips) for clips in seen] == [3, 3, len(training)]
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[2], training)
    assert {clip.tobytes() for clip in seen[0]} <= {clip.tobytes() for clip in training}


def test_a_cache_directory_that_is_none_is_told(trained, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KserError, match="Cannot write"):
        workflow.open_run(trained.path, "", str(tmp_path / "file"))


def test_a_clip_that_vanished_is_told(trained, monkeypatch, tmp_path):
    gone = dataclasses.replace(trained.corpus.utterances[0], path=str(tmp_path / "gone.wav"))
    corpus = dataclasses.replace(trained.corpus, utterances=(gone, *trained.corpus.utterances[1:]))
    tiny_run.use_corpus(monkeypatch, corpus)
    with pytest.raises(DatasetError, match="gone.wav"):
        workflow.open_run(trained.path, "", str(tmp_path))


def test_the_cache_is_used(trained, monkeypatch):
    monkeypatch.setattr(pipeline, "extract_features", forbid)
    assert len(trained.material().features) == len(trained.corpus.utterances)
