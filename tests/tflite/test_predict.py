"""Prediction by a .tflite alone: the same numbers as the run's own path, and a sentence for every file that is none."""

from __future__ import annotations

import contextlib
import multiprocessing
import os

import numpy as np
import pytest
import soundfile

from kser.config import SAMPLE_RATE_HZ
from kser.errors import AudioError, ConfigError, ModelFileError
from kser.models.inference import predict_logits, softmax
from kser.tflite import interpreter, model_file, op_graph
from kser.tflite.predict import Predictor, audio_files
from kser.tflite.sandbox import Limits
from kser.training import run_directory
from tests import tiny


@pytest.fixture
def open_predictor():
    """Predictor(path, interpreter), closed after the test."""
    with contextlib.ExitStack() as stack:
        limits = Limits(seconds=60, cpu_seconds=10)
        yield lambda path, kind="tflm": stack.enter_context(Predictor(str(path), kind, limits))


@pytest.fixture
def predictor(trained, open_predictor):
    return open_predictor(trained.model_file())


@pytest.fixture
def write_model(trained, tmp_path):
    """A function that writes the tiny run's int8 model with changed metadata, and returns its path."""

    def write(change=lambda metadata: None, model_bytes: bytes = trained.result.model_bytes) -> str:
        metadata = model_file.read_metadata(trained.result.model_bytes)
        change(metadata)
        path = tmp_path / "changed.tflite"
        path.write_bytes(model_file.add_metadata(model_bytes, metadata))
        return str(path)

    return write


@pytest.fixture
def clip(trained):
    """A held-out utterance, and its features as the pipeline makes them: (1, num_frames, num_mels), normalized."""
    run_data = trained.run_data()
    index = run_data.split.test[0]
    return trained.corpus.utterances[index], trained.run.normalization.apply(run_data.features.values[index : index + 1])


# --- The numbers ------------------------------------------------------------------------------------------------------


def test_int8_predictions_are_the_runs(trained, predictor, clip):
    utterance, features = clip
    logits = interpreter.TFLMRunner(trained.result.model_bytes).logits(features)
    # The NumPy front end differs from the graph's by up to 1e-4: a few inputs may round to the next of 256 steps, and so
    # may an output or two after them.
    step = op_graph.describe(trained.result.model_bytes).outputs[0].scale
    prediction = predictor.predict(utterance.path)
    np.testing.assert_allclose(prediction.probabilities, softmax(logits)[0], atol=2 * step)
    assert prediction.path == utterance.path
    assert prediction.label == tiny.LABELS[prediction.probabilities.argmax()]


def test_float_predictions_are_keras_own(trained, write_model, clip, open_predictor):
    utterance, features = clip
    predictor = open_predictor(write_model(model_bytes=trained.result.float_model), "tflite")
    expected = softmax(predict_logits(run_directory.load_model(trained.run), features))[0]
    # Front ends 1e-4 apart, divided by standard deviations of order 1, through a network of gain of order 1.
    np.testing.assert_allclose(predictor.predict(utterance.path).probabilities, expected, atol=1e-3)


def test_both_interpreters_agree_to_the_bit(trained, predictor, open_predictor):
    other = open_predictor(trained.model_file(), "tflite")
    for utterance in trained.corpus.utterances[:4]:
        np.testing.assert_array_equal(
            predictor.predict(utterance.path).probabilities, other.predict(utterance.path).probabilities
        )


def test_predicting_again_or_after_another_clip_changes_nothing(trained, predictor):
    first, second = (u.path for u in trained.corpus.utterances[:2])
    before = predictor.predict(first).probabilities
    predictor.predict(second)
    np.testing.assert_array_equal(predictor.predict(first).probabilities, before)


def test_a_recording_of_another_format_gives_nearly_the_same(trained, predictor, tmp_path):
    samples = tiny.tone(0, 0, 0)
    soundfile.write(tmp_path / "24bit.flac", np.stack([samples, samples], axis=1), SAMPLE_RATE_HZ, subtype="PCM_24")
    step = op_graph.describe(trained.result.model_bytes).outputs[0].scale
    expected = predictor.predict(trained.corpus.utterances[0].path).probabilities  # the same tone in 16 bits, mono
    np.testing.assert_allclose(predictor.predict(str(tmp_path / "24bit.flac")).probabilities, expected, atol=4 * step)


# --- Models that are none ---------------------------------------------------------------------------------------------


def assert_one_sentence(error: pytest.ExceptionInfo, path: str) -> None:
    message = str(error.value)
    assert message.startswith(path) and message.endswith(".") and "\n" not in message, message


def test_a_missing_file_and_a_folder(tmp_path, open_predictor):
    for path in (tmp_path / "missing.tflite", tmp_path):
        with pytest.raises(ModelFileError, match="cannot be read") as error:
            open_predictor(path)
        assert_one_sentence(error, str(path))


@pytest.mark.parametrize("content", [b"", b"garbage", b"RIFF" + bytes(100), b"\x1c\x00\x00\x00TFL3"])
def test_a_file_that_is_no_model(tmp_path, content, open_predictor):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="empty|not a TensorFlow Lite model|truncated") as error:
        open_predictor(path)
    assert_one_sentence(error, str(path))


@pytest.mark.parametrize("share", [*(part / 16 for part in range(1, 16)), 0.999])
def test_a_truncated_model(trained, tmp_path, share, open_predictor):
    path, data = tmp_path / "model.tflite", trained.model_file().read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelFileError, match="truncated or damaged") as error:
        open_predictor(path)
    assert_one_sentence(error, str(path))


def test_a_refused_model_leaves_no_process(write_model, open_predictor):
    before = multiprocessing.active_children()
    with pytest.raises(ModelFileError):
        open_predictor(write_model(DAMAGES["no labels"]))
    assert multiprocessing.active_children() == before


def test_a_model_of_someone_else(trained, open_predictor):
    path = trained.run.file("model_float.tflite")
    with pytest.raises(ModelFileError, match="has no kser metadata") as error:
        open_predictor(path)
    assert_one_sentence(error, path)


DAMAGES = {
    "no labels": lambda m: m.pop("labels"),
    "labels that are none": lambda m: m.update(labels=3),
    "no features": lambda m: m.pop("features"),
    "unknown feature": lambda m: m["features"].update(num_mfccs=13),
    "negative mels": lambda m: m["features"].update(num_mels=-4),
    "no normalization": lambda m: m.update(normalization={}),
    "normalization of words": lambda m: m["normalization"].update(mean=["a"]),
    "normalization of other features": lambda m: m["normalization"].update(mean=[0.0], std=[1.0]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_metadata(write_model, damage, open_predictor):
    path = write_model(damage)
    with pytest.raises(ModelFileError, match="damaged kser metadata; write it again") as error:
        open_predictor(path)
    assert_one_sentence(error, path)


OTHERS = {
    "a label less": lambda m: m["labels"].pop(),
    "another clip length": lambda m: m["features"].update(clip_seconds=2.0),
    "another number of mels": lambda m: (
        m["features"].update(num_mels=20),
        m["normalization"].update(mean=[0.0] * 20, std=[1.0] * 20),
    ),
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_metadata_of_another_model(write_model, change, open_predictor):
    path = write_model(change)
    with pytest.raises(ModelFileError, match="metadata of another model") as error:
        open_predictor(path)
    assert_one_sentence(error, path)


def test_an_unknown_interpreter(trained, open_predictor):
    with pytest.raises(ConfigError, match="no interpreter 'onnx'"):
        open_predictor(trained.model_file(), "onnx")


# --- Clips that are none ----------------------------------------------------------------------------------------------


def test_clips_that_cannot_be_used(predictor, tmp_path):
    def written(name: str, samples, rate: int = SAMPLE_RATE_HZ) -> str:
        soundfile.write(tmp_path / name, np.asarray(samples, np.float32), rate)
        return str(tmp_path / name)

    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE_HZ)
    (tmp_path / "empty.wav").write_bytes(b"")
    cases = {
        str(tmp_path / "missing.wav"): "no audio file",
        str(tmp_path / "empty.wav"): "is empty",
        str(tmp_path): "no audio file",
        written("silent.wav", np.zeros(SAMPLE_RATE_HZ)): "is silent",
        written("one.wav", [0.5]): "1 samples",
        written("slow.wav", noise, 8000): "8000 Hz",
        written("six.wav", np.stack([noise] * 6, axis=1)): "6 channels",
    }
    for path, words in cases.items():
        with pytest.raises(AudioError, match=words) as error:
            predictor.predict(path)
        assert path in str(error.value) and "\n" not in str(error.value)


def test_files_and_folders(tmp_path):
    for name in ("b.wav", "a.FLAC", "notes.txt", ".hidden.wav", "deeper/c.wav"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    folder, named = str(tmp_path / "folder"), str(tmp_path / "folder" / "notes.txt")
    found = [os.path.relpath(path, folder) for path in audio_files([folder, named, "missing.wav"])]
    assert found[:-1] == ["a.FLAC", "b.wav", os.path.join("deeper", "c.wav"), "notes.txt"]  # named files as they are
    assert list(audio_files(["missing.wav"])) == ["missing.wav"]


def test_a_folder_without_audio(tmp_path):
    with pytest.raises(AudioError, match=f"No audio file .* lies below {tmp_path}"):
        list(audio_files([str(tmp_path)]))
