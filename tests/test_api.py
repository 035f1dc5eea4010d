"""The Python API: its page and examples, what importing it loads, and that commands and API compute the same."""

from __future__ import annotations

import contextlib
import dataclasses
import doctest
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import kser
from docs import make_api
from kser import workflow
from kser.audio import reading
from kser.config import DataPaths
from kser.errors import AudioError, ConfigError, DatasetError, KserError, ModelFileError
from kser.export import parity
from kser.export.device_ops import one_operation_each
from kser.export.fake_quant import rounded_kernels
from kser.export.graph import read_graph
from kser.export.ranges import measure_ranges
from kser.firmware import project
from kser.training import run_directory
from tests import sounds, tiny
from tests.tiny_run import Quiet

SHAPE = tiny.FEATURES.num_frames, tiny.FEATURES.num_mels
SIZES = {"num_layers": 1, "hidden_dim": 8, "ffn_dim": 12, "kernel_size": 3, "stem_channels": (4, 4)}


@dataclasses.dataclass(frozen=True)
class Session:
    """The examples of docs/api.md, run in their order: how many failed, what was printed of these, and what they made."""

    failed: int
    told: str
    made: dict


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory to be in, with `clips/`; log-mel is cached beside them."""
    directory = tmp_path_factory.mktemp("session")
    sounds.write_clips(directory / "clips")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setenv("KSER_CACHE_DIR", str(directory / "cache"))
        yield directory


@pytest.fixture(scope="module")
def session(folder) -> Session:
    examples = doctest.DocTestParser().get_doctest(
        make_api.PAGE.read_text(encoding="utf-8"),
        dict(kser=kser, np=np, tf=tf, HRFDense=kser.HRFDense),
        "api.md",
        "docs/api.md",
        0,
    )
    told = io.StringIO()
    failed = doctest.DocTestRunner().run(examples, out=told.write, clear_globs=False).failed
    return Session(failed, told.getvalue(), examples.globs)


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Nine clips of noise as a user's own: in double, labels as indices."""
    return np.random.default_rng(0).normal(size=(9, *SHAPE)), np.arange(9) % 3


def small_model(**changes) -> keras.Model:
    return kser.create_model("conformer_micro", 3, **{"hrf": 2, "features": tiny.FEATURES, **SIZES, **changes})


@pytest.fixture(scope="module")
def small() -> keras.Model:
    return kser.rewrite(kser.fold(small_model()))


def own_model() -> keras.Model:
    """A user's own network of layers that stand in kser's, HRF among them."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.Reshape((*SHAPE, 1))(inputs)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Reshape((-1, x.shape[2] * x.shape[3]))(x)
    x = kser.HRFDense(8, expansion=2)(x)
    x = keras.layers.Reshape((x.shape[1] * x.shape[2],))(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x), name="own")


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_is_what_the_docstrings_say():
    assert make_api.PAGE.read_text(encoding="utf-8") == make_api.page(), "python -m docs.make_api writes it again"


def test_a_name_is_public_if_it_stands_on_the_page():
    headings = re.findall(r"^## kser\.(\w+)$", make_api.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == kser.__all__
    assert set(kser.__all__) <= set(dir(kser))


def test_every_public_name_has_an_example_and_says_what_it_raises():
    sections = re.split(r"^## ", make_api.page(), flags=re.MULTILINE)[1:]
    for section in sections:
        assert ">>> " in section, section
        assert "**Raises**" in section or section.startswith("kser.KserError"), section


def test_all_examples_run(session):
    assert session.failed == 0, session.told
    assert len(session.made) > 10


@pytest.mark.parametrize("number", [0, 1], ids=["corpus", "arrays"])
def test_the_ten_lines_lead_to_a_verdict(folder, number):
    blocks = re.findall(r"^```python\n(.*?)^```", make_api.fenced(kser.__doc__), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2 and all(len(re.findall(r"^\w", block, re.MULTILINE)) <= 10 for block in blocks)
    before, printed = set(os.listdir()), io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks[number], "docs/api.md", "exec"), {})
    assert re.search(r"^Arduino Nano 33 BLE \(Sense\): (fits|tight)\nRAM \d+ of", printed.getvalue(), re.MULTILINE)
    assert re.search(r"^6 clips.*: WA 0\.\d+", printed.getvalue(), re.MULTILINE)
    assert set(os.listdir()) - before <= {"cache"}  # no run directory


# --- Importing --------------------------------------------------------------------------------------------------------


def modules_after(statement: str) -> set[str]:
    code = f"import sys\nbefore = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import kser; dir(kser)", "import kser; kser.KserError; kser.FeatureConfig()"])
def test_importing_loads_nothing_heavy(statement):
    loaded = modules_after(statement)
    assert "kser" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"tensorflow", "tf_keras", "numpy", "matplotlib", "absl"}


def test_names_resolve_to_what_defines_them():
    from kser.models.hrf import HRFDense
    from kser.tflite.interpreter import TFLMRunner

    assert kser.HRFDense is HRFDense and kser.TFLMInterpreter is TFLMRunner
    for name in kser.__all__:
        assert getattr(kser, name).__doc__, name
    with pytest.raises(AttributeError, match="'kser' has no attribute 'train'"):
        kser.train  # noqa: B018


# --- The same as the commands -----------------------------------------------------------------------------------------


def test_a_run_and_the_api_train_to_the_same_bits(folder, tmp_path):
    config = tiny.run_config(dataset="folder", epochs=2, select="validation")
    run, evaluation = workflow.train_new(str(tmp_path / "run"), config, DataPaths("clips"), Quiet())
    corpus = kser.load_corpus("folder", Path("clips"))
    train, validation, test = kser.load_split(
        corpus, features=tiny.FEATURES, augment=config.augment.augment, select="validation", validation_speakers=1
    )
    sizes = {name: value for name, value in SIZES.items() if name != "kernel_size"}
    model = kser.create_model("convtransformer_micro", 3, hrf=config.model.hrf, features=tiny.FEATURES, **sizes)
    train_settings = {**dataclasses.asdict(config.train)}
    rows = kser.fit(model, train, validation, verbose=False, **train_settings)
    assert rows == run_directory.read_history(run, 2)
    for ours, theirs in zip(model.get_weights(), run_directory.load_model(run).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert kser.evaluate(model, test).to_dict() == evaluation.to_dict()


def test_what_the_api_converts_makes_a_board_project(session):
    made = session.made
    files = project.project_files(made["model_bytes"], "nano33ble", made["verdict"].figures)
    settings = next(text for name, text in files.items() if name.endswith("kser_settings.h"))
    text = settings.decode() if isinstance(settings, bytes) else settings
    assert all(f'"{label}"' in text for label in made["corpus"].labels)


def test_recordings_in_memory_are_heard_as_those_of_files(folder):
    corpus = kser.load_corpus("folder", "clips")
    index = {label: i for i, label in enumerate(corpus.labels)}
    train, _, test = kser.load_split(corpus, features=tiny.FEATURES, select="last")

    def recordings(speakers):
        chosen = [u for u in corpus.utterances if u.speaker in speakers]
        return [reading.load(u.path) for u in chosen], [index[u.label] for u in chosen], [u.speaker for u in chosen]

    held_out = set(test.speakers)
    mine, none, heard = kser.load_waveforms(
        recordings(set(corpus.speakers) - held_out), recordings(held_out), labels=corpus.labels, features=tiny.FEATURES
    )
    assert none is None
    np.testing.assert_allclose(mine.normalized(), train.normalized(), atol=1e-5)
    np.testing.assert_allclose(heard.features, test.features, atol=1e-5)
    np.testing.assert_array_equal(heard.speakers, test.speakers)


# --- A user's own data ------------------------------------------------------------------------------------------------


def test_a_dataset_leads_to_a_verdict(arrays):
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(4)
    model = own_model()
    rows = kser.fit(model, dataset, validation=dataset, epochs=2, verbose=False)
    assert [row["epoch"] for row in rows] == [1, 2] and "val_UA" in rows[0]
    folded = kser.fold(model)
    assert not any(isinstance(layer, kser.HRFDense) for layer in folded.layers)
    model_bytes = kser.to_tflite(kser.rewrite(folded), dataset)
    found = kser.evaluate(model_bytes, dataset)
    assert found.scores.confusion.sum() == 9 and found.num_speakers == 0 and found.intervals == {}
    np.testing.assert_allclose(kser.predict(folded, arrays[0]).sum(1), 1, atol=1e-5)
    assert kser.check_board(model_bytes, "esp32s3").verdict == "fits"


def test_a_users_own_network_learns_from_one_hot_labels(arrays):
    x, y = arrays
    model = own_model()
    rows = kser.fit(model, (x, np.eye(3)[y]), augment="none", epochs=12, batch_size=3, learning_rate=1e-2, verbose=False)
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert kser.evaluate(model, (x, y)).UA > 0.8


def test_hrf_that_was_left_is_folded_before_conversion(arrays):
    x, model = arrays[0].astype(np.float32), small_model()
    logits = kser.TFLMInterpreter(kser.to_tflite(model, x)).logits(x)
    np.testing.assert_array_equal(logits, kser.TFLMInterpreter(kser.to_tflite(kser.fold(model), x)).logits(x))


def test_progress_is_a_line_an_epoch(arrays, capsys):
    kser.fit(small_model(), arrays, validation=arrays, epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r"[\d.]+", "N", line) for line in lines] == 2 * ["epoch N/N  loss N  val_loss N  val_UA N"]


def test_speakers_given_make_intervals(arrays):
    found = kser.evaluate(small_model(), (*arrays, np.array(list("abc") * 3)))
    assert found.num_speakers == 3 and "of 3 speakers" in str(found) and " to " in str(found)


@pytest.mark.parametrize("dtype", ["int8", "int16x8", "float32"])
def test_each_dtype_computes_what_the_network_does(arrays, small, dtype):
    clips = arrays[0].astype(np.float32)
    logits = kser.TFLMInterpreter(kser.to_tflite(small, clips, dtype)).logits(clips)
    graph = one_operation_each(read_graph(small))
    rounded = rounded_kernels(graph, {})
    bound = parity.rounding_bound(graph, rounded, measure_ranges(graph, clips), clips).value
    assert np.abs(logits - small(clips)).mean() < (1e-5 if dtype == "float32" else bound)


# --- What is wrong is told in a sentence ------------------------------------------------------------------------------


def unknown_setting(x, y):
    kser.fit(small_model(), (x, y), epoch=3)


def softmax_model(x, y):
    inputs = keras.Input(SHAPE)
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(inputs))
    kser.fit(keras.Model(inputs, outputs), (x, y))


def dataset_of(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(4)


MISTAKES = {
    "no such model": (lambda x, y: kser.create_model("conformer_tiny", 3), ConfigError, "known: conformer_micro"),
    "foreign size": (lambda x, y: kser.create_model("conformer_micro", 3, head_layers=1), ConfigError, "no head_layers"),
    "one class": (lambda x, y: kser.create_model("conformer_micro", 1), ConfigError, "at least 2"),
    "no such corpus": (lambda x, y: kser.load_corpus("ravdes", "."), DatasetError, "known: "),
    "unknown setting": (unknown_setting, ConfigError, "no setting 'epoch'; known"),
    "softmax": (softmax_model, ConfigError, "ends in a softmax"),
    "labels out of range": (lambda x, y: kser.fit(small_model(), (x, y + 1)), ConfigError, "from 0 to 2"),
    "labels too few": (lambda x, y: kser.fit(small_model(), (x, y[:4])), ConfigError, "labels (9,)"),
    "labels in words": (lambda x, y: kser.fit(small_model(), (x, y.astype(str))), ConfigError, "whole numbers"),
    "other clips": (lambda x, y: kser.fit(small_model(), (x[:, :5], y)), ConfigError, "takes clips (n, 18, 16)"),
    "other representative clips": (lambda x, y: kser.to_tflite(small_model(), x[:, 1:]), ConfigError, "takes clips"),
    "no clips": (lambda x, y: kser.predict(small_model(), x[:0]), ConfigError, "n >= 1"),
    "subclassed": (lambda x, y: kser.fit(keras.Model(), (x, y)), ConfigError, "no known shapes"),
    "waveforms for log-mel": (lambda x, y: kser.fit(small_model(), (x[:, 0], y)), ConfigError, "num_mels"),
    "not finite": (lambda x, y: kser.fit(small_model(), (x * np.nan, y)), ConfigError, "finite"),
    "no data": (lambda x, y: kser.fit(small_model(), x), ConfigError, "(clips, labels)"),
    "raw augmentation": (lambda x, y: kser.fit(small_model(), (x, y), augment="warp:0.1,spec:1"), ConfigError, "spec:1"),
    "augmented dataset": (
        lambda x, y: kser.fit(small_model(), dataset_of(x, y), augment="spec:1"),
        ConfigError,
        "leave out augment",
    ),
    "endless dataset": (lambda x, y: kser.fit(small_model(), dataset_of(x, y).repeat()), ConfigError, "is infinite"),
    "dataset without labels": (lambda x, y: kser.fit(small_model(), dataset_of(x).map(lambda x: x)), ConfigError, "labels"),
    "empty dataset": (lambda x, y: kser.fit(small_model(), dataset_of(x, y).take(0)), ConfigError, "is empty"),
    "no representative": (lambda x, y: kser.to_tflite(small_model(hrf=0)), ConfigError, "representative clips"),
    "no such dtype": (lambda x, y: kser.to_tflite(small_model(hrf=0), x, "int4"), ConfigError, "known: int8"),
    "no such pass": (lambda x, y: kser.rewrite(small_model(hrf=0), passes=("magic",)), ConfigError, "known: "),
    "no such board": (lambda x, y: kser.check_board(b"", "nano"), ConfigError, "known: nano33ble"),
    "no model": (lambda x, y: kser.check_board(b"garbage", "esp32"), ModelFileError, "The model is not"),
    "no such file": (lambda x, y: kser.predict("missing.tflite", x), ModelFileError, "cannot be read"),
    "something else": (lambda x, y: kser.evaluate(3, (x, y)), ConfigError, "not int"),
    "a recording for Keras": (lambda x, y: kser.predict(small_model(), "clip.wav"), ConfigError, "to_tflite(model, train)"),
    "silence": (
        lambda x, y: kser.load_waveforms(([np.zeros(16000)], [0]), ([np.zeros(16000)], [0]), labels=("a", "b")),
        AudioError,
        "Waveform 0 is silent",
    ),
    "16-bit samples": (
        lambda x, y: kser.load_waveforms(([np.ones(16000, int)], [0]), ([], []), labels=("a", "b")),
        ConfigError,
        "floats in [-1, 1]",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistakes(arrays, mistake):
    make, kind, words = mistake
    with pytest.raises(KserError) as error:
        make(*arrays)
    message = str(error.value)
    assert isinstance(error.value, kind) and words in message, message
    assert message.endswith(".") and "\n" not in message, message


def test_a_damaged_model_is_told(session):
    damaged = session.made["model_bytes"][:2000]
    for use in (kser.evaluate, kser.predict):
        with pytest.raises(ModelFileError, match="truncated or damaged"):
            use(damaged, session.made["test"] if use is kser.evaluate else session.made["test"].features)
