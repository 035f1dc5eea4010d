from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from kser.errors import ConfigError, ModelFileError
from kser.export import convert
from kser.tflite import interpreter, model_file
from kser.tflite.guarded import CLIPS_PER_CALL, GuardedRunner
from kser.tflite.sandbox import Examiner, Limits
from tests import damage, toy_model
from tests.toy_model import NUM_CLASSES, NUM_FRAMES, NUM_MELS

KINDS = ("tflite", "tflm")
METADATA = {"labels": ["a", "b"]}
NUM_FLIPPED = 500


@pytest.fixture(scope="module")
def model_bytes():
    """A healthy int8 model with metadata."""
    bare = convert.to_int8_tflite(toy_model.toy_model(), toy_model.features(10))
    return model_file.add_metadata(bare, METADATA)


@pytest.fixture
def examiner():
    with Examiner(Limits(seconds=60, cpu_seconds=10, memory_bytes=1 << 30)) as examiner:
        yield examiner


@pytest.fixture
def guarded(examiner, tmp_path):
    """A function of kind and bytes to the GuardedRunner of a file m.tflite with them."""

    def guarded(kind: str, content: bytes) -> GuardedRunner:
        path = tmp_path / "m.tflite"
        path.write_bytes(content)
        return GuardedRunner(kind, str(path), examiner)

    return guarded


def assert_one_sentence(error: ModelFileError, path: str) -> None:
    message = str(error)
    assert message.startswith(f"{path} ") and message.endswith(".") and message.isprintable(), message


# --- Healthy models


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_computes_what_this_process_does(guarded, model_bytes, kind):
    clips = toy_model.features(CLIPS_PER_CALL + 3, seed=1)
    runner = guarded(kind, model_bytes)
    logits = runner.logits(clips)
    assert logits.dtype == np.float32 and len(np.unique(logits)) > 10
    np.testing.assert_array_equal(logits, interpreter.open_runner(kind, model_bytes).logits(clips))
    assert runner.shapes() == ((1, NUM_FRAMES, NUM_MELS), (1, NUM_CLASSES))
    assert runner.metadata() == METADATA


def test_float_logits_come_back_to_the_bit(guarded):
    model_bytes = convert.to_float_tflite(toy_model.toy_model())
    clips = toy_model.features(3)
    expected = interpreter.open_runner("tflm", model_bytes).logits(clips)
    np.testing.assert_array_equal(guarded("tflm", model_bytes).logits(clips), expected)


# --- Bad input


def test_an_unknown_interpreter_is_refused(guarded, model_bytes):
    with pytest.raises(ConfigError, match="'onnx'; known: tflite, tflm"):
        guarded("onnx", model_bytes)


@pytest.mark.parametrize("kind", KINDS)
def test_unfit_features_are_refused(guarded, model_bytes, kind):
    with pytest.raises(ModelFileError, match=r"m.tflite takes float32 features \(n, 24, 16\), not float32 \(2, 23, 16\)"):
        guarded(kind, model_bytes).logits(toy_model.features(2)[:, 1:])


@pytest.mark.parametrize("kind", KINDS)
def test_every_sixteenth_of_a_model_is_refused(guarded, model_bytes, kind):
    for content in damage.truncated(model_bytes):
        with pytest.raises(ModelFileError, match="m.tflite is (empty|not a TensorFlow Lite model|truncated or damaged)"):
            guarded(kind, content).shapes()


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_never_take_this_process_down(guarded, tmp_path, model_bytes, kind):
    """Each of 500 variants gives logits or one sentence: what bin/predict and bin/evaluate do with a model."""
    clips, computed, refused = toy_model.features(2), 0, 0
    for content in damage.flipped(model_bytes, NUM_FLIPPED):
        runner = guarded(kind, content)
        try:
            runner.metadata()
            shape = runner.shapes()[1]
            assert runner.logits(clips).shape == (2, shape[1])
            computed += 1
        except ModelFileError as error:
            assert_one_sentence(error, str(tmp_path / "m.tflite"))
            refused += 1
    assert computed > 50 and refused > 50


@pytest.mark.parametrize(("kind", "words"), [("tflite", "the op Erf is missing"), ("tflm", "a custom op is missing")])
def test_an_unknown_custom_op_is_told_of(guarded, model_bytes, kind, words):
    model = model_file.parse(model_bytes)
    code = next(c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.SOFTMAX)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "Erf"
    with pytest.raises(ModelFileError, match=f"m.tflite does not run in TensorFlow Lite.*: {words} there"):
        guarded(kind, model_file.pack(model)).shapes()


def test_a_model_that_crashes_at_a_clip_is_told_of(guarded, model_bytes, monkeypatch):
    monkeypatch.setattr(interpreter.TFLMRunner, "invoke", lambda *_: os.kill(os.getpid(), signal.SIGSEGV))
    runner = guarded("tflm", model_bytes)
    assert runner.shapes()
    with pytest.raises(ModelFileError, match=r"m.tflite is damaged: running it crashes \(SIGSEGV\); write it again\.$"):
        runner.logits(toy_model.features(1))


def test_logits_that_are_not_finite_are_refused(guarded, model_bytes):
    model = model_file.parse(model_bytes)
    graph = model.subgraphs[0]
    graph.tensors[graph.outputs[0]].quantization.scale = np.array([np.inf], np.float32)
    with pytest.raises(ModelFileError, match="m.tflite is damaged: its logits are not finite"):
        guarded("tflm", model_file.pack(model)).logits(toy_model.features(1))
