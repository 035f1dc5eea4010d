"""The commands' jobs from files to files: what they write, and that they write nothing when anything is wrong."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser import workflow
from kser.boards import catalog, doctor
from kser.config import AUGMENT_OFF, SAMPLE_RATE_HZ, DataPaths, QuantizationConfig
from kser.datasets import SOURCES, Source, feature_cache
from kser.datasets.corpus import speakers_held_out
from kser.datasets.feature_cache import load_features
from kser.datasets.labels import LABEL_SETS
from kser.datasets.manifest import manifest_text
from kser.errors import ConfigError, DatasetError, FoldError, KserError, KserWarning, ModelFileError, RunError
from kser.export import fold, weight_compression
from kser.firmware import project
from kser.models.hrf import HRFDense
from kser.tflite import model_file, op_graph
from kser.training import run_data, run_directory
from kser.training.evaluation import evaluate_predictions, read_predictions
from kser.training.metrics import METRICS
from kser.training.run_data import load_run_data
from kser.workflow import Deployment
from tests import tiny, tiny_run
from tests.limits import files_at_most
from tests.tiny_run import NUM_REPRESENTATIVE, Quiet

CONVERTED = [
    *("conversion.json", "fold.json", "parity.json"),
    *("kser_model.cc", "kser_model.h", "model.tflite", "model_float.tflite"),
]


FEW = QuantizationConfig(representative_clips=2)


@pytest.fixture
def exported(trained, monkeypatch):
    """What conversions return in a test of what follows them: the tiny run's own result, which is not computed anew."""
    monkeypatch.setattr("kser.workflow.convert.export_run", lambda *_: copy.deepcopy(trained.result))


@pytest.fixture
def spoilt(trained, tmp_path):
    """A copy of the run to do harm to."""
    return trained.copy(tmp_path)


def contents(directory) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in Path(directory).rglob("*") if p.is_file()}


def without_plots(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if not name.endswith(".png")}


def convert(run) -> tuple:
    return workflow.fold_and_convert(run.path, run.paths, FEW)


def evaluate(run, kind: str):
    return workflow.evaluate(run.path, kind, run.paths)[1]


def forbid(*_, **__):
    raise AssertionError("this must not be reached")


# --- What is written --------------------------------------------------------------------------------------------------


def test_training_and_conversion_leave_their_files(trained):
    names = {path.name for path in Path(trained.path).iterdir()}
    assert names == {
        *("config.json", "weights.h5", "history.csv", "checkpoint", "tensorboard"),
        *("metrics.json", "predictions.csv", "split.csv", "confusion.png"),
        *CONVERTED,
    }


def test_the_written_models_are_the_conversions_result(trained):
    files = contents(trained.path)
    assert files["model.tflite"] == trained.result.model_bytes and files["model_float.tflite"] == trained.result.float_model
    report = json.loads(files["conversion.json"])
    assert report == trained.result.report
    assert report["sha256"] == hashlib.sha256(files["model.tflite"]).hexdigest()
    assert f"{len(files['model.tflite'])} bytes" in files["kser_model.cc"].decode()
    assert op_graph.describe(files["model.tflite"]).inputs[0].dtype == "int8"
    assert op_graph.describe(files["model_float.tflite"]).inputs[0].dtype == "float32"


def test_metrics_are_of_the_best_epoch_and_the_held_out_speakers(trained):
    metrics = json.loads(contents(trained.path)["metrics.json"])
    best = max(run_directory.read_history(trained.run, 2), key=lambda row: (row["val_UA"], -row["val_loss"]))
    assert (metrics["best_epoch"], metrics["val_UA"]) == (best["epoch"], best["val_UA"])
    assert metrics["test"] == evaluate(trained, "keras").to_dict()
    assert {*METRICS, "recall", "precision", "f1", "confusion", "intervals", "speakers"} <= set(metrics["test"])


def test_predictions_are_of_the_held_out_clips(trained):
    found = read_predictions(trained.run.file("predictions.csv"))
    clips = workflow.test_clips(trained.path, trained.paths)
    assert found.utterance_ids == tuple(u.utterance_id for u in clips)
    assert found.speakers.tolist() == [u.speaker for u in clips]
    assert [tiny.LABELS[i] for i in found.labels] == [u.label for u in clips]
    assert evaluate_predictions(found).to_dict() == evaluate(trained, "keras").to_dict()


# --- Quantization -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qat_hrf", "int16x8", "float"])
def test_every_way_to_quantize_gives_a_model_that_runs(trained, kind, tmp_path):
    mine = trained.copy(tmp_path)
    settings = QuantizationConfig(kind, representative_clips=NUM_REPRESENTATIVE, qat_epochs=2)
    _, result = workflow.fold_and_convert(mine.path, mine.paths, settings, progress=Quiet())
    require_running(mine, result, kind)
    epochs = [row["epoch"] for row in result.report.get("qat", ())]
    assert epochs == ([0, 1, 2] if kind.startswith("qat") else [])


def require_running(mine, result, kind):
    assert json.loads(contents(mine.path)["parity.json"]) == result.parity
    assert result.parity["first_beyond_bound"] is None
    dtype = {"int16x8": "int16", "float": "float32"}.get(kind, "int8")
    assert (result.parity["layers"]["compared"] > 10) == (dtype == "int8") and result.parity["layers"]["beyond_bound"] == []
    assert op_graph.describe(result.model_bytes).inputs[0].dtype == result.report["input"]["dtype"] == dtype
    assert model_file.read_metadata(result.model_bytes)["quantization"]["quantize"] == kind
    # Tones with a peak of 0.13 and noise.
    low, middle, high = model_file.read_metadata(result.model_bytes)["training_dbfs"]
    assert -24 < low <= middle <= high < -20
    assert result.report["scores"]["tflm"]["UA"] == workflow.evaluate(mine.path, "tflm", mine.paths)[1].scores.UA
    assert ("fold_after_qat" in result.certificate) == kind.startswith("qat")
    folded = [layer["name"] for layer in result.certificate.get("fold_after_qat", {}).get("layers", ())]
    assert bool(folded) == (kind == "qat_hrf")


def test_where_no_speaker_validates_the_last_epoch_of_training_aware_of_rounding_is_kept(trained, tmp_path):
    run_dir, models = str(tmp_path / "last"), []
    workflow.train_new(run_dir, tiny.run_config(epochs=1, select="last"), trained.paths, Quiet())
    for targets, epochs in (("network", 1), ("labels", 2)):
        settings = QuantizationConfig("qat", NUM_REPRESENTATIVE, qat_epochs=epochs, qat_targets=targets)
        _, result = workflow.fold_and_convert(run_dir, trained.paths, settings, progress=Quiet())
        models.append(result.model_bytes)
        rows = result.report["qat"]
        assert [row["epoch"] for row in rows] == list(range(epochs + 1))
        assert {name for row in rows for name in row} == {"epoch", "loss"}
    assert models[0] != models[1]


def test_training_aware_of_rounding_comes_closer_to_its_aim(trained, tmp_path):
    """Imitating the float network ends no further from it than it began, on the speakers that choose the epoch."""
    mine = trained.copy(tmp_path)
    settings = QuantizationConfig("qat", NUM_REPRESENTATIVE, qat_learning_rate=1e-3)
    rows = {}
    for targets, epochs in (("network", 12), ("labels", 1)):
        chosen = dataclasses.replace(settings, qat_targets=targets, qat_epochs=epochs)
        _, result = workflow.fold_and_convert(mine.path, mine.paths, chosen, progress=Quiet())
        require_running(mine, result, "qat")
        rows[targets] = result.report["qat"]
        assert result.report["quantization"]["qat_targets"] == targets
    divergences = [row["val_divergence"] for row in rows["network"]]
    assert min(divergences[1:]) < divergences[0] and all(d > 0 for d in divergences)
    assert all("val_divergence" not in row for row in rows["labels"])
    assert rows["network"][1]["loss"] != rows["labels"][1]["loss"]


@pytest.mark.parametrize("kind, use", [("qat_hrf", "trains on"), ("ptq", "takes ranges and scores from")])
def test_a_corpus_that_is_absent_is_said_to_be_needed(trained, kind, use, tmp_path, monkeypatch):
    absent = tmp_path / "absent"

    def read(data_dir, options):
        raise DatasetError(f"There is no directory {data_dir}.")

    source = dataclasses.replace(SOURCES["tiny"], load=read)
    monkeypatch.setitem(SOURCES, "tiny", source)
    message = rf"^There is no directory {absent}\. --quantize={kind} {use} the run's own corpus\.$"
    with pytest.raises(DatasetError, match=message):
        workflow.fold_and_convert(trained.path, DataPaths(str(absent)), QuantizationConfig(kind))


# --- evaluate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", workflow.MODELS)
def test_every_form_scores_as_the_conversion_reported(trained, kind):
    scores = evaluate(trained, kind).scores
    assert trained.result.report["scores"][kind] == {metric: getattr(scores, metric) for metric in METRICS}


def test_an_unknown_form_is_told_before_any_work(trained):
    with pytest.raises(ConfigError, match="keras, folded, tflite, tflm, not 'onnx'"):
        workflow.evaluate("nowhere", "onnx", DataPaths())


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
    paths = DataPaths("elsewhere", str(tmp_path))
    jobs = {
        "evaluate": lambda: workflow.evaluate(trained.path, "keras", paths),
        "fold_and_convert": lambda: workflow.fold_and_convert(trained.path, paths, FEW),
        "resume": lambda: workflow.resume(trained.path, paths, tiny_run.Quiet()),
    }
    with pytest.raises(RunError, match="other clips of 'tiny' than those in elsewhere; point --data_dir") as error:
        jobs[job]()
    assert trained.path in str(error.value)
    assert contents(trained.path) == before


def _another_default_protocol(corpus):
    """What is tested on by default is now two speakers."""
    return dataclasses.replace(corpus, protocols={"pairs": corpus.protocols["pairs"], **corpus.protocols})


@pytest.mark.parametrize("job", ["evaluate", "fold_and_convert", "resume"])
def test_a_run_is_scored_on_its_own_test_part_or_not_at_all(trained, monkeypatch, job):
    before = contents(trained.path)
    tiny_run.use_corpus(monkeypatch, _another_default_protocol(trained.corpus))
    jobs = {
        "evaluate": lambda: workflow.evaluate(trained.path, "keras", trained.paths),
        "fold_and_convert": lambda: workflow.fold_and_convert(trained.path, trained.paths, FEW),
        "resume": lambda: workflow.resume(trained.path, trained.paths, tiny_run.Quiet()),
    }
    with pytest.raises(RunError, match="trained with another split: '.*' was in the train part and is in the test part now"):
        jobs[job]()
    assert contents(trained.path) == before


def test_a_run_without_a_record_of_its_split_is_scored_with_a_warning(spoilt):
    Path(spoilt.run.file("split.csv")).unlink()
    with pytest.warns(KserWarning, match="did not record which clips were trained on"):
        workflow.open_run(spoilt.path, spoilt.paths)


@pytest.mark.parametrize("text", ["", "nonsense", "utterance_id,part\na,b\n", "utterance_id,part\na\n"])
def test_a_damaged_record_of_the_split_is_told(spoilt, text):
    Path(spoilt.run.file("split.csv")).write_text(text)
    with pytest.raises(RunError, match="split.csv is damaged"):
        workflow.open_run(spoilt.path, spoilt.paths)


def test_the_corpus_may_have_moved(trained, monkeypatch):
    asked = []
    monkeypatch.setattr(run_data, "load_corpus", lambda *arguments: asked.append(arguments) or trained.corpus)
    workflow.open_run(trained.path, trained.paths)
    workflow.open_run(trained.path, dataclasses.replace(trained.paths, data_dir="moved"))
    assert [arguments[:2] for arguments in asked] == [("tiny", trained.run.paths.data_dir), ("tiny", "moved")]
    assert Path(trained.run.paths.data_dir).is_dir()


def test_differences_to_the_published_corpus_are_told(trained, monkeypatch):
    sentence = "This corpus is smaller than the published one."
    tiny_run.use_corpus(monkeypatch, dataclasses.replace(trained.corpus, warnings=(sentence,)))
    with pytest.warns(KserWarning, match=f"^{sentence}$"):
        trained.run_data()


def test_the_parts_are_the_runs_speakers(trained):
    split = trained.run_data().split
    speakers = [trained.corpus.utterances[i].speaker for i in split.test]
    assert set(speakers) == set(trained.run.test_speakers) and len(speakers) == len(split.test)
    assert split.validation_speakers == trained.run.validation_speakers


def test_clips_of_the_held_out_speakers(trained):
    clips = workflow.test_clips(trained.path, trained.paths)
    assert clips == [u for u in trained.corpus.utterances if u.speaker == "a"]


# --- train ------------------------------------------------------------------------------------------------------------


def test_training_never_touches_an_existing_run(trained, monkeypatch):
    before = contents(trained.path)
    monkeypatch.setattr(workflow.train, "load_run_data", forbid)
    with pytest.raises(RunError, match="already holds a run"):
        workflow.train_new(trained.path, tiny.run_config(), trained.paths, tiny_run.Quiet())
    with pytest.raises(RunError, match="is not an empty directory"):
        workflow.train_all_splits(str(Path(trained.path).parent), tiny.run_config(), trained.paths, tiny_run.Quiet())
    assert contents(trained.path) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": 5}, "has splits 1 to 4, not 5"),
        ({"protocol": "singles"}, "no protocol 'singles'; known: singly, pairs, leave_one_speaker_out"),
        ({"label_set": "3class"}, "no label set '3class'"),
        ({"corpus_options": "loud"}, "has no option 'loud'; it has none"),
        ({"eval_dataset": "nowhere"}, "no corpus 'nowhere'"),
        ({"validation_speakers": 3}, "3 for validation are too many"),
        ({"dataset": "nowhere"}, "no corpus 'nowhere'; known: .*ravdess"),
    ],
)
def test_a_training_that_cannot_be_leaves_nothing(trained, tmp_path, settings, message):
    with pytest.raises(DatasetError, match=message):
        workflow.train_new(str(tmp_path / "run"), tiny.run_config(**settings), trained.paths, tiny_run.Quiet())
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_only_scored_again(spoilt):
    before = contents(spoilt.path)
    _, found = workflow.resume(spoilt.path, spoilt.paths, tiny_run.Quiet())
    assert found.to_dict() == json.loads(before["metrics.json"])["test"]
    assert without_plots(contents(spoilt.path)).items() >= without_plots(before).items()


def test_scores_are_kept_where_the_picture_fails(spoilt, monkeypatch):
    """As for a label that the drawing library does not take."""
    before = contents(spoilt.path)["metrics.json"]
    Path(spoilt.path, "metrics.json").unlink()

    def fail(*arguments):
        raise ValueError("this cannot be drawn")

    monkeypatch.setattr("kser.plots.save_confusion", fail)
    with pytest.raises(ValueError, match="cannot be drawn"):
        workflow.resume(spoilt.path, spoilt.paths, tiny_run.Quiet())
    assert contents(spoilt.path)["metrics.json"] == before


# --- Every split ------------------------------------------------------------------------------------------------------


class Counting(tiny_run.Quiet):
    """Progress that counts the steps of every training, and may be killed in the second."""

    def __init__(self, killed: bool = False):
        self.steps, self._killed = [], killed

    def start(self, done, total, steps):
        self.steps.append(0)

    def step(self):
        self.steps[-1] += 1
        if self._killed and len(self.steps) == 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def all_splits(_tiny_run, tmp_path_factory):
    """Two splits, the second killed and continued: directory, contents of the first when that was done, and results."""
    run_dir = tmp_path_factory.mktemp("splits") / "run"
    pairs = {"pairs": speakers_held_out([("a", "b"), ("c", "d")])}
    with pytest.MonkeyPatch.context() as patch:
        tiny_run.use_corpus(patch, dataclasses.replace(_tiny_run.corpus, protocols=pairs))
        with pytest.raises(KeyboardInterrupt):
            workflow.train_all_splits(
                str(run_dir), tiny.run_config(AUGMENT_OFF, epochs=1), _tiny_run.paths, Counting(killed=True)
            )
        before, progress = contents(run_dir / "split_1"), Counting()
        results = workflow.resume_all_splits(str(run_dir), _tiny_run.paths, progress)
    return run_dir, before, progress, results


def test_all_splits_are_runs_of_their_own(all_splits):
    run_dir, _, _, (runs, found, pooled) = all_splits
    assert {path.name for path in run_dir.iterdir()} == {
        *("split_1", "split_2"),
        *("summary.json", "predictions.csv", "confusion.png"),
    }
    assert [run.config for run in runs] == [tiny.run_config(AUGMENT_OFF, epochs=1, split=split) for split in (1, 2)]
    assert [run.test_speakers for run in runs] == [("a", "b"), ("c", "d")]
    for split, evaluation in enumerate(found, start=1):
        metrics = json.loads((run_dir / f"split_{split}" / "metrics.json").read_text())
        assert metrics["test"] == evaluation.to_dict()


def test_a_finished_split_is_left_as_it_is(all_splits):
    run_dir, before, progress, _ = all_splits
    assert without_plots(contents(run_dir / "split_1")).items() >= without_plots(before).items()
    assert progress.steps == [0, 1]  # nine clips in batches of eight


def test_all_predictions_are_pooled(all_splits):
    run_dir, _, _, (runs, found, pooled) = all_splits
    header, *first = Path(runs[0].file("predictions.csv")).read_text().splitlines()
    again, *second = Path(runs[1].file("predictions.csv")).read_text().splitlines()
    assert header == again and len(first) == len(second) == 18
    assert (run_dir / "predictions.csv").read_text().splitlines() == [header, *first, *second]
    assert pooled.to_dict() == evaluate_predictions(read_predictions(str(run_dir / "predictions.csv"))).to_dict()
    np.testing.assert_array_equal(pooled.scores.confusion, sum(f.scores.confusion for f in found))
    assert pooled.num_speakers == 4


def test_the_summary_has_the_pooled_scores_and_those_over_splits(all_splits):
    run_dir, _, _, (_, found, pooled) = all_splits
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["pooled"] == pooled.to_dict()
    values = [evaluation.scores.UA for evaluation in found]
    assert summary["over_splits"]["UA"] == pytest.approx({"mean": np.mean(values), "std": np.std(values, ddof=1)})


def test_all_splits_that_were_never_begun_cannot_be_resumed(trained, tmp_path):
    with pytest.raises(RunError, match="split_1 is not a run directory"):
        workflow.resume_all_splits(str(tmp_path), trained.paths, tiny_run.Quiet())


# --- Labels, another corpus, a manifest -------------------------------------------------------------------------------


@pytest.fixture
def two_labels(monkeypatch):
    """A label set for the tones that leaves out a third of them."""
    monkeypatch.setitem(LABEL_SETS, "extremes", {"high": "bright", "low": "deep"})


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Another corpus, of as many other tones, known by its name."""
    (tmp_path / "other").mkdir()
    corpus = tiny.make_corpus(str(tmp_path / "other"), "other", takes=range(3, 6))
    tiny_run.use_corpus(monkeypatch, corpus)
    return corpus


def test_a_label_set_renames_labels_and_leaves_out_other_clips(trained, two_labels):
    whole = trained.run_data()
    with pytest.warns(KserWarning, match="^12 clips of 'tiny' are left out: 'extremes' has no middle.$"):
        run_data = load_run_data(tiny.run_config(label_set="extremes"), trained.paths)
    kept = [i for i, u in enumerate(whole.corpus.utterances) if u.label != "middle"]
    assert run_data.corpus.labels == ("bright", "deep") and len(run_data.corpus.utterances) == 24
    for i, utterance in zip(kept, run_data.corpus.utterances, strict=True):
        before = whole.corpus.utterances[i]
        assert (utterance.utterance_id, utterance.speaker) == (before.utterance_id, before.speaker)
        assert utterance.label == {"high": "bright", "low": "deep"}[before.label]
    assert run_data.features.reports == tuple(whole.features.reports[i] for i in kept)
    np.testing.assert_allclose(run_data.features.values, whole.features.values[kept], atol=1e-4)


def test_training_here_and_testing_there(trained, other, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setitem(SOURCES, "other", Source(lambda data_dir, options: asked.append((data_dir, options)) or other))
    config = tiny.run_config(AUGMENT_OFF, epochs=1, eval_dataset="other")
    paths = dataclasses.replace(trained.paths, eval_data_dir=str(tmp_path / "other"))
    run, found = workflow.train_new(str(tmp_path / "run"), config, paths, tiny_run.Quiet())
    assert run.test_speakers == tuple(f"other/{speaker}" for speaker in "abcd") and len(run.validation_speakers) == 1
    assert run.validation_speakers[0].startswith("tiny/")
    ids = read_predictions(run.file("predictions.csv")).utterance_ids
    assert ids == tuple(f"other/{u.utterance_id}" for u in other.utterances)
    assert found.scores.confusion.sum() == 36 and found.num_speakers == 4
    assert run.paths.eval_data_dir == str(tmp_path / "other")
    assert workflow.evaluate(run.path, "keras", trained.paths)[1].to_dict() == found.to_dict()
    assert asked == [(str(tmp_path / "other"), frozenset())] * 2


def test_all_of_the_first_corpus_trains_and_validates_for_the_other(trained, other):
    run_data = load_run_data(tiny.run_config(eval_dataset="other"), trained.paths)
    split = run_data.split
    assert sorted((*split.train, *split.validation)) == list(range(36)) and split.test == tuple(range(36, 72))
    alone = load_run_data(tiny.run_config(dataset="other"), trained.paths)
    np.testing.assert_array_equal(run_data.features.values[36:], alone.features.values)


@pytest.mark.parametrize("settings", [{"split": 2}, {"protocol": "singly"}])
def test_another_corpus_is_tested_on_as_a_whole(trained, other, tmp_path, settings):
    config = tiny.run_config(eval_dataset="other", **settings)
    with pytest.raises(ConfigError, match="leave out --protocol and --split"):
        workflow.train_new(str(tmp_path / "run"), config, trained.paths, tiny_run.Quiet())
    assert not (tmp_path / "run").exists()


def test_another_corpus_of_the_same_recordings_is_refused(trained, monkeypatch):
    tiny_run.use_corpus(monkeypatch, dataclasses.replace(trained.corpus, name="copy"))
    with pytest.raises(DatasetError, match=r"leaks: the audio of 36 of its clips .*\(copy/a-low-0 = tiny/a-low-0,"):
        load_run_data(tiny.run_config(eval_dataset="copy"), trained.paths)


def test_another_corpus_with_other_labels_is_refused(trained, other, monkeypatch):
    tiny_run.use_corpus(monkeypatch, dataclasses.replace(other, labels=(*tiny.LABELS, "ultrasonic")))
    with pytest.raises(DatasetError, match="map both to a common --label_set"):
        load_run_data(tiny.run_config(eval_dataset="other"), trained.paths)


def test_a_test_clip_that_trains_too_is_refused(trained, monkeypatch, tmp_path):
    first, *rest = trained.corpus.utterances
    copy = dataclasses.replace(first, path=shutil.copy(rest[-1].path, tmp_path / "copy.wav"))
    tiny_run.use_corpus(monkeypatch, dataclasses.replace(trained.corpus, utterances=(copy, *rest)))
    with pytest.raises(DatasetError, match=r"leaks: the audio of 1 of its clips .*\(a-low-0 = d-high-2\)"):
        load_run_data(tiny.run_config(), DataPaths(cache_dir=str(tmp_path / "cache")))


@pytest.fixture
def manifest(tmp_path, monkeypatch) -> DataPaths:
    """Where a corpus lies that nobody can read, and a manifest of all its clips but the first, in reverse order."""
    (tmp_path / "audio").mkdir()
    corpus, paths = tiny.make_corpus(str(tmp_path / "audio")), DataPaths(str(tmp_path / "audio"), str(tmp_path / "cache"))
    corpus = dataclasses.replace(corpus, utterances=corpus.utterances[:0:-1])
    reports = load_features(corpus, tiny.FEATURES, paths.cache_dir).reports
    path = tmp_path / "tiny.jsonl"
    path.write_text(manifest_text(corpus, reports, paths.data_dir, {"a-low-0": "it is silent."}))
    monkeypatch.setitem(SOURCES, "tiny", Source(forbid))
    return dataclasses.replace(paths, manifest=str(path))


def test_a_run_on_the_clips_of_a_manifest(manifest, two_labels, tmp_path):
    config = tiny.run_config(AUGMENT_OFF, epochs=1, label_set="extremes")
    run, found = workflow.train_new(str(tmp_path / "run"), config, manifest, tiny_run.Quiet())
    assert run.labels == ("bright", "deep") and found.scores.confusion.sum(axis=1).tolist() == [3, 2]
    assert read_predictions(run.file("predictions.csv")).utterance_ids == (
        *("a-high-2", "a-high-1", "a-high-0"),
        *("a-low-2", "a-low-1"),
    )
    assert run.paths == dataclasses.replace(manifest, cache_dir="")
    again = workflow.evaluate(run.path, "keras", DataPaths(cache_dir=manifest.cache_dir))[1]
    assert again.to_dict() == found.to_dict()


def test_a_recording_that_is_another_than_in_the_manifest_is_told(manifest, two_labels):
    path = Path(manifest.data_dir) / "b-low-1.wav"
    soundfile.write(path, tiny.tone(0, 0, 99), SAMPLE_RATE_HZ)
    for settings in ({}, {"label_set": "extremes"}):
        with pytest.raises(DatasetError, match=f"^1 files are not those of the manifest .*tiny.jsonl .the first is {path}"):
            load_run_data(tiny.run_config(**settings), manifest)


# --- fold_and_convert -------------------------------------------------------------------------------------------------


def test_a_broken_bound_writes_nothing_and_keeps_the_older_model(spoilt, monkeypatch):
    before = contents(spoilt.path)
    monkeypatch.setattr(fold, "MAX_FOLD_DIFFERENCE", -1.0)
    with pytest.raises(FoldError, match="The fold is not exact: a logit changed by"):
        convert(spoilt)
    assert contents(spoilt.path) == before


def test_a_wrong_fold_writes_nothing(spoilt, monkeypatch):
    for name in CONVERTED:
        Path(spoilt.run.file(name)).unlink()
    before = contents(spoilt.path)
    right = HRFDense.folded_weights

    def transposed_sign(layer):
        kernel, bias = right(layer)
        return [-kernel, bias]

    monkeypatch.setattr(HRFDense, "folded_weights", transposed_sign)
    with pytest.raises(FoldError, match="computes something else"):
        convert(spoilt)
    assert contents(spoilt.path) == before


@pytest.mark.parametrize("num_bytes", [100, 5000, 60_000])
def test_a_full_disk_leaves_all_files_as_they_were(spoilt, monkeypatch, num_bytes):
    """Whichever of the files is the first that does not fit."""
    before = contents(spoilt.path)
    other = dataclasses.replace(spoilt.result, report={"another": "conversion"}, float_model=b"another model")
    monkeypatch.setattr("kser.workflow.convert.export_run", lambda *_: other)
    assert num_bytes < max(len(before[name]) for name in CONVERTED)
    with files_at_most(num_bytes), pytest.raises(KserError, match=r"^Cannot write .*(: File too large\.$|free some)"):
        convert(spoilt)
    assert contents(spoilt.path) == before


def test_representative_clips_are_of_the_training_part_and_drawn_by_the_seed(trained, spoilt, monkeypatch):
    seen = []

    def export(run, representative, *_):
        seen.append(representative)
        return trained.result

    monkeypatch.setattr("kser.workflow.convert.export_run", export)
    for count in (3, 3, 1000):
        workflow.fold_and_convert(spoilt.path, spoilt.paths, QuantizationConfig(representative_clips=count))
    training = trained.run_data().part(trained.run, "train").features
    assert [len(clips) for clips in seen] == [3, 3, len(training)]
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[2], training)
    assert {clip.tobytes() for clip in seen[0]} <= {clip.tobytes() for clip in training}


COMPRESSED = ["kser_model_compressed.cc", "kser_model_compressed.h", "model_compressed.tflite"]


def test_a_compressed_model_is_written_beside_the_other_and_goes_with_the_next_conversion(spoilt, exported, monkeypatch):
    monkeypatch.setattr(weight_compression, "_OVERHEAD_BYTES", -1000)  # as if short kernels paid
    _, result = workflow.fold_and_convert(spoilt.path, spoilt.paths, dataclasses.replace(FEW, compress=3))
    files, report = contents(spoilt.path), result.report["compression"]
    assert set(COMPRESSED) < set(files) and json.loads(files["conversion.json"])["compression"] == report
    compressed = files["model_compressed.tflite"]
    assert report["bits"] == 3 and report["after"]["bytes"] == len(compressed)
    assert (
        report["before"]["bytes"] == len(files["model.tflite"])
        and report["before"]["UA"] == result.report["scores"]["tflm"]["UA"]
    )
    assert model_file.read_metadata(compressed)["test_UA"] == report["after"]["UA"]
    assert model_file.read_metadata(compressed)["labels"] == list(spoilt.run.labels)
    assert f"{len(compressed)} bytes" in files["kser_model_compressed.cc"].decode()
    convert(spoilt)
    assert not set(COMPRESSED) & set(contents(spoilt.path))


def test_a_compression_that_does_not_pay_writes_no_model(spoilt, exported):
    _, result = workflow.fold_and_convert(spoilt.path, spoilt.paths, dataclasses.replace(FEW, compress=4))
    assert result.report["compression"]["after"]["kernels"] == 0
    assert not set(COMPRESSED) & set(contents(spoilt.path))


SOURCES_WRITTEN = {"kser_model.cc", "kser_model.h"}


def test_a_board_the_model_fits_gets_sources_and_a_verdict(spoilt):
    _, result = workflow.fold_and_convert(spoilt.path, spoilt.paths, FEW, deployment=Deployment("esp32"))
    assert result.report["board"]["board"] == "esp32" and workflow.runs_on_board(result)
    assert json.loads(contents(spoilt.path)["conversion.json"])["board"] == json.loads(json.dumps(result.report["board"]))
    assert SOURCES_WRITTEN < set(contents(spoilt.path))


def test_a_board_the_model_does_not_fit_gets_sources_by_force_only(spoilt, exported, monkeypatch):
    tiny_board = dataclasses.replace(catalog.find_board("esp32"), ram_bytes=1000)
    monkeypatch.setitem(catalog.BOARDS, "esp32", tiny_board)
    _, result = workflow.fold_and_convert(spoilt.path, spoilt.paths, FEW, deployment=Deployment("esp32"))
    assert not workflow.runs_on_board(result)
    files = contents(spoilt.path)
    assert not SOURCES_WRITTEN & set(files) and files["model.tflite"] == result.model_bytes
    workflow.fold_and_convert(spoilt.path, spoilt.paths, FEW, deployment=Deployment("esp32", force=True))
    assert SOURCES_WRITTEN < set(contents(spoilt.path))


def deploy(run, directory, board="esp32", settings=FEW, **more):
    deployment = Deployment(board, str(directory), **more)
    return workflow.fold_and_convert(run.path, run.paths, settings, deployment=deployment)


def test_a_project_for_the_board_is_written_at_once(spoilt, exported, tmp_path):
    _, result = deploy(spoilt, tmp_path / "new" / "project")
    files = contents(tmp_path / "new" / "project")
    figures = doctor.diagnosis_of(result.report["board"]).figures
    assert files == project.project_files(result.model_bytes, "esp32", figures)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"project"}
    assert f"{len(result.model_bytes)} bytes".encode() in files["components/kser_micro/src/kser_model.cpp"]


def test_the_boards_decisions_are_the_runs_or_those_asked_for(spoilt, monkeypatch):
    given = []
    monkeypatch.setattr("kser.workflow.convert.export_run", lambda run, *_: given.append(run) or spoilt.result)
    for smoothing in ({}, {"decision_ms": 2000.0}):
        workflow.fold_and_convert(spoilt.path, spoilt.paths, FEW, deployment=Deployment(smoothing=smoothing))
    own, asked = (run.config.smoothing for run in given)
    assert own == spoilt.run.config.smoothing and (asked.decision_ms, asked.average_ms) == (2000, 2000)


def test_no_project_for_a_board_the_model_does_not_fit_unless_by_force(spoilt, exported, monkeypatch, tmp_path):
    tiny_board = dataclasses.replace(catalog.find_board("esp32"), ram_bytes=1000)
    monkeypatch.setitem(catalog.BOARDS, "esp32", tiny_board)
    deploy(spoilt, tmp_path / "project")
    assert not (tmp_path / "project").exists()
    deploy(spoilt, tmp_path / "project", force=True)
    assert (tmp_path / "project" / "main" / "main.cpp").is_file()


@pytest.mark.parametrize(
    ("board", "kind", "message"),
    [
        ("", "ptq", "^--deploy_dir needs --board"),
        ("nicla_sense", "ptq", "There is no project for the board 'nicla_sense'"),
        ("esp32", "float", "takes an int8 model, not --quantize=float; choose ptq or qat or qat_hrf"),
        ("esp32", "int16x8", "takes an int8 model, not --quantize=int16x8"),
    ],
)
def test_a_project_that_cannot_be_is_told_before_any_work(tmp_path, board, kind, message):
    nowhere = DataPaths()
    with pytest.raises(ConfigError, match=message):
        workflow.fold_and_convert(
            "nowhere", nowhere, QuantizationConfig(kind), deployment=Deployment(board, str(tmp_path / "project"))
        )
    assert not list(tmp_path.iterdir())


def test_a_project_overwrites_nothing(tmp_path):
    (tmp_path / "sketch").mkdir()
    (tmp_path / "sketch" / "mine.ino").touch()
    for place in (tmp_path / "sketch", tmp_path / "sketch" / "mine.ino"):
        with pytest.raises(ConfigError, match="is not an empty directory; choose one that does not exist"):
            workflow.fold_and_convert("nowhere", DataPaths(), deployment=Deployment("esp32", str(place)))


def test_an_unknown_board_is_told_before_any_work(trained):
    with pytest.raises(ConfigError, match="no board 'abacus'"):
        workflow.fold_and_convert("nowhere", DataPaths(), deployment=Deployment("abacus"))


def test_a_cache_directory_that_is_none_is_told(trained, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KserError, match="Cannot write"):
        workflow.open_run(trained.path, DataPaths(cache_dir=str(tmp_path / "file")))


def test_a_clip_that_vanished_is_told(trained, monkeypatch, tmp_path):
    gone = dataclasses.replace(trained.corpus.utterances[0], path=str(tmp_path / "gone.wav"))
    corpus = dataclasses.replace(trained.corpus, utterances=(gone, *trained.corpus.utterances[1:]))
    tiny_run.use_corpus(monkeypatch, corpus)
    with pytest.raises(DatasetError, match="gone.wav"):
        workflow.open_run(trained.path, DataPaths(cache_dir=str(tmp_path)))


def test_the_cache_is_used(trained, monkeypatch):
    monkeypatch.setattr(feature_cache, "extract_to_cache", forbid)
    assert len(trained.run_data().features.values) == len(trained.corpus.utterances)
