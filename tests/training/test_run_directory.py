"""The run directory: made once, never overwritten, read back exactly, and refused in a sentence when it is damaged."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from kser import __version__
from kser.audio.log_mel import Normalization
from kser.config import DataPaths, HRFConfig, SmoothingConfig, to_dict
from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.protocols import make_split
from kser.errors import KserError, RunError
from kser.training import run_directory
from tests import tiny
from tests.limits import files_at_most

CORPUS = Corpus(
    "tiny",
    tiny.LABELS,
    tuple(Utterance(f"{s}-{label}", f"{s}-{label}.wav", label, s) for s in tiny.SPEAKERS for label in tiny.LABELS),
    tiny.PROTOCOLS,
)
PATHS = DataPaths("data", "cache", "", "corpus.jsonl")
NUM_MELS = tiny.FEATURES.num_mels
NORMALIZATION = Normalization(np.linspace(-9, 0.1, NUM_MELS, dtype=np.float32), np.full(NUM_MELS, 0.3, np.float32))


def create(path, config=None) -> run_directory.Run:
    split = make_split(CORPUS, num_validation_speakers=1)
    return run_directory.create(str(path), config or tiny.run_config(), PATHS, CORPUS, split, NORMALIZATION)


@pytest.fixture
def run(tmp_path) -> run_directory.Run:
    return create(tmp_path / "run")


def assert_one_sentence(error: pytest.ExceptionInfo, *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message and message.endswith(".") and len(message) < 400, message
    for word in words:
        assert word in message, message


def contents(directory) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in Path(directory).rglob("*") if p.is_file()}


# --- Older runs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def older(tmp_path) -> run_directory.Run:
    """What kser 0.1.0 wrote of a run, whose defaults were others: no HRF, another augmentation, validation speakers."""
    text = (Path(__file__).parent / "config_of_0.1.0.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(text)
    return run_directory.load(str(tmp_path))


def test_an_older_run_keeps_its_own_settings(older):
    written = json.loads(Path(older.file("config.json")).read_text())["config"]
    since = {
        "smoothing": to_dict(SmoothingConfig()),
        "train": {**written["train"], "hrf_balance": "none"},
        "data": {**written["data"], "columns": ""},
    }
    assert to_dict(older.config) == {**written, **since, "model": {**written["model"], **_as_tuples(written["model"])}}
    assert older.config.train.select == "validation" and older.config.augment.augment.startswith("tempo:0.1,shift:200,")
    assert (older.config.model.hrf.expansion, older.validation_speakers) == (2, ("Speaker_04",))


def _as_tuples(model: dict) -> dict:
    lists = {name: tuple(value) for name, value in model.items() if isinstance(value, list)}
    return {**lists, "hrf": {**model["hrf"], "where": tuple(model["hrf"]["where"])}}


def test_an_older_run_has_its_network(older):
    model = run_directory.new_model(older)
    assert model.count_params() == 2737  # as kser 0.1.0 told of its fold
    assert model.output_shape == (None, 4) and model.input_shape == (None, 18, 16)


# --- create -----------------------------------------------------------------------------------------------------------


def test_a_run_is_read_back_as_it_was_made(run):
    loaded = run_directory.load(run.path)
    assert dataclasses.replace(loaded, normalization=None) == dataclasses.replace(run, normalization=None)
    np.testing.assert_array_equal(loaded.normalization.mean, NORMALIZATION.mean)
    np.testing.assert_array_equal(loaded.normalization.std, NORMALIZATION.std)
    assert loaded.config == tiny.run_config() and loaded.test_speakers == ("a",)


def test_config_json_holds_all_it_takes_to_repeat_the_run(run):
    values = json.loads(Path(run.file("config.json")).read_text(encoding="utf-8"))
    assert values["format"] == run_directory.FORMAT and values["kser"] == __version__
    assert {"python", "tensorflow", "tf_keras", "numpy", "tflite-micro"} <= set(values["versions"])
    assert values["corpus"] == CORPUS.fingerprint() and values["config"]["data"]["dataset"] == "tiny"


def test_a_run_remembers_where_its_corpus_lies_but_no_cache(run):
    places = DataPaths(os.path.abspath("data"), "", "", os.path.abspath("corpus.jsonl"))
    assert run.paths == run_directory.load(run.path).paths == places


def test_an_empty_directory_may_become_a_run(tmp_path):
    (tmp_path / "run").mkdir()
    assert os.path.isfile(create(tmp_path / "run").file("config.json"))


def test_an_existing_run_is_left_alone(run):
    before = contents(run.path)
    with pytest.raises(RunError, match="already holds a run; continue it with --resume") as error:
        create(run.path, tiny.run_config(seed=1))
    assert_one_sentence(error, run.path)
    assert contents(run.path) == before


def test_what_else_is_there_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(RunError, match="not an empty directory") as error:
            create(path)
        assert_one_sentence(error, str(path))
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_no_path():
    with pytest.raises(RunError, match="--run_dir"):
        run_directory.require_free("")


def test_a_run_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KserError, match="Cannot write") as error:
        create(tmp_path / "file" / "run")
    assert_one_sentence(error)
    with files_at_most(100), pytest.raises(KserError, match="Cannot write .*split.csv") as error:
        create(tmp_path / "run")
    assert_one_sentence(error)
    assert os.listdir(tmp_path / "run") == []


# --- load -------------------------------------------------------------------------------------------------------------


def edit(run: run_directory.Run, change) -> None:
    """Rewrites config.json with `change` made to its values."""
    path = Path(run.file("config.json"))
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize("path", ["", "missing", "."])
def test_no_run_there(path, tmp_path):
    with pytest.raises(RunError, match="is not a run directory") as error:
        run_directory.load(path and str(tmp_path / path))
    assert_one_sentence(error, "config.json", "--run_dir")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"format": 1'])
def test_damaged_json(run, content):
    Path(run.file("config.json")).write_bytes(content)
    with pytest.raises(RunError, match="is damaged") as error:
        run_directory.load(run.path)
    assert_one_sentence(error, run.file("config.json"), "train again")


CHANGES = {
    "unknown key": lambda v: v["config"]["train"].update(epoch=3),
    "unknown group": lambda v: v["config"].update(training={}),
    "value out of range": lambda v: v["config"]["features"].update(num_mels=-4),
    "value of another type": lambda v: v["config"]["train"].update(epochs="many"),
    "group of another type": lambda v: v["config"].update(model=[]),
    "unknown backbone": lambda v: v["config"]["model"].update(backbone="rnn"),
    "no normalization": lambda v: v.pop("normalization"),
    "no labels": lambda v: v.pop("labels"),
    "no paths": lambda v: v.pop("paths"),
    "unknown path": lambda v: v["paths"].update(home="/"),
    "unknown augmentation": lambda v: v["config"]["augment"].update(augment="loudness:3"),
    "labels of another type": lambda v: v.update(labels=None),
    "normalization of other features": lambda v: v["config"]["features"].update(num_mels=20),
    "normalization of words": lambda v: v["normalization"].update(mean=["a"] * NUM_MELS),
    "normalization by zero": lambda v: v["normalization"].update(std=[0.0] * NUM_MELS),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_damaged_settings(run, change):
    edit(run, change)
    with pytest.raises(RunError, match="is damaged") as error:
        run_directory.load(run.path)
    assert_one_sentence(error, run.file("config.json"), "train again")


@pytest.mark.parametrize("version", [0, run_directory.FORMAT - 1, run_directory.FORMAT + 1, str(run_directory.FORMAT), None])
def test_another_format(run, version):
    edit(run, lambda values: values.update(format=version, kser="9.9"))
    with pytest.raises(RunError, match="kser 9.9") as error:
        run_directory.load(run.path)
    assert_one_sentence(error, f"format {version!r}", __version__)


# --- Weights ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with weights, and the network they are of."""
    run = create(tmp_path_factory.mktemp("trained") / "run")
    model = run_directory.new_model(run)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    run_directory.save_weights(run, model)
    return run, model


def copy_of(trained, tmp_path) -> run_directory.Run:
    """A run of its own for a test that does harm to it."""
    run = create(tmp_path / "run")
    Path(run.file("weights.h5")).write_bytes(Path(trained[0].file("weights.h5")).read_bytes())
    return run


def test_weights_are_read_back_exactly(trained):
    run, model = trained
    for a, b in zip(run_directory.load_model(run).get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_missing_weights(run):
    with pytest.raises(RunError, match="has no weights.h5 yet; finish it with bin/train --resume") as error:
        run_directory.load_model(run)
    assert_one_sentence(error, run.path)


def _truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _zeros_in_the_middle(data: bytes) -> bytes:
    third = len(data) // 3
    return data[:third] + bytes(third) + data[2 * third :]


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"garbage", _truncated, _zeros_in_the_middle])
def test_damaged_weights(trained, tmp_path, damage):
    run = copy_of(trained, tmp_path)
    path = Path(run.file("weights.h5"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match="weights.h5 is damaged or belongs to another network") as error:
        run_directory.load_model(run)
    assert_one_sentence(error)


@pytest.mark.parametrize("changes", [{"hrf": HRFConfig()}, {"ffn_dim": 16}, {"num_layers": 2}], ids=str)
def test_weights_of_another_network(trained, tmp_path, changes):
    run = copy_of(trained, tmp_path)
    config = dataclasses.replace(run.config, model=dataclasses.replace(run.config.model, **changes))
    with pytest.raises(RunError, match="weights.h5 is damaged or belongs to another network"):
        run_directory.load_model(dataclasses.replace(run, config=config))


def test_weights_of_an_empty_h5_file(trained, tmp_path):
    import h5py

    run = copy_of(trained, tmp_path)
    h5py.File(run.file("weights.h5"), "w").close()
    with pytest.raises(RunError, match="weights.h5 is damaged or belongs to another network"):
        run_directory.load_model(run)


def test_weights_that_do_not_fit_on_the_disk_leave_the_old_ones(trained, tmp_path):
    run = copy_of(trained, tmp_path)
    before = contents(run.path)
    with files_at_most(8192), pytest.raises(KserError, match="Cannot write .*weights.h5") as error:
        run_directory.save_weights(run, trained[1])
    assert_one_sentence(error)
    assert contents(run.path) == before


# --- History ----------------------------------------------------------------------------------------------------------

ROWS = [
    {"epoch": 1, "loss": 0.1 + 0.2, "val_loss": math.pi, "val_UA": 1 / 3, "learning_rate": 1e-300},
    {"epoch": 2, "loss": float(np.float32(0.1)), "val_loss": 1e17 + 1, "val_UA": 0.0, "learning_rate": 2.0**-1074},
]


def test_history_makes_the_exact_round_trip(run):
    run_directory.write_history(run, ROWS)
    assert run_directory.read_history(run, 2) == ROWS
    assert run_directory.read_history(run, 1) == ROWS[:1]
    assert [type(v) for v in run_directory.read_history(run, 1)[0].values()] == [int, float, float, float, float]


def test_no_history_is_needed_for_no_epoch(run):
    assert run_directory.read_history(run, 0) == []


def test_history_shorter_than_the_checkpoint(run):
    run_directory.write_history(run, ROWS)
    with pytest.raises(RunError, match="has 2 epochs where the checkpoint has 3") as error:
        run_directory.read_history(run, 3)
    assert_one_sentence(error)


@pytest.mark.parametrize("content", ["epoch,loss\n1\n", "epoch,loss\n1,much\n", "epoch,loss\n1,0.5,7\n", None])
def test_missing_or_damaged_history(run, content):
    if content is not None:
        Path(run.file("history.csv")).write_text(content)
    with pytest.raises(RunError, match="is missing or damaged") as error:
        run_directory.read_history(run, 1)
    assert_one_sentence(error, run.file("history.csv"))


def test_history_that_does_not_fit_on_the_disk_leaves_the_old_one(run):
    run_directory.write_history(run, ROWS)
    with files_at_most(200), pytest.raises(KserError, match="Cannot write .*history.csv"):
        run_directory.write_history(run, 50 * ROWS)
    assert run_directory.read_history(run, 2) == ROWS
