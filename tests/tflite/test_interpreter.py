from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.errors import ConfigError, ModelFileError
from kser.export import convert
from kser.tflite import interpreter, model_file
from kser.tflite.interpreter import InterpreterError, LiteRTRunner, TFLMRunner
from kser.tflite.op_graph import Tensor
from tests import toy_model
from tests.toy_model import NUM_CLASSES, NUM_FRAMES, NUM_MELS


@pytest.fixture(scope="module")
def gelu_bytes():
    return convert.to_int8_tflite(toy_model.one_op_model(tf.nn.gelu, "gelu"), toy_model.features(5))


def test_tflm_and_reference_kernels_agree_bit_for_bit(int8_bytes):
    clips = toy_model.features(50, seed=1)
    expected = LiteRTRunner(int8_bytes).logits(clips)
    assert expected.shape == (50, NUM_CLASSES) and expected.dtype == np.float32
    assert len(np.unique(expected)) > 10
    np.testing.assert_array_equal(TFLMRunner(int8_bytes).logits(clips), expected)


def test_float_model_runs_in_both(model, float_bytes):
    clips = toy_model.features(3, seed=1)
    for kind in ("tflite", "tflm"):
        logits = interpreter.open_runner(kind, float_bytes).logits(clips)
        np.testing.assert_allclose(logits, model(clips).numpy(), atol=1e-5)  # float32 sums in another order


def test_clips_do_not_influence_each_other(int8_bytes):
    clips = toy_model.features(4, seed=1)
    runner = TFLMRunner(int8_bytes)
    np.testing.assert_array_equal(runner.logits(clips)[::-1], runner.logits(clips[::-1]))
    assert runner.logits(clips[:0]).shape == (0, NUM_CLASSES)


def test_loud_clips_are_clipped_not_wrapped(int8_bytes):
    runner = LiteRTRunner(int8_bytes)
    top = (127 - runner.input.zero_point) * runner.input.scale
    loud, loudest = (np.full((1, NUM_FRAMES, NUM_MELS), value, np.float32) for value in (top, 1000 * top))
    np.testing.assert_array_equal(runner.logits(loudest), runner.logits(loud))


def test_quantize_rounds_clips_and_inverts():
    tensor = Tensor((4,), "int8", scale=0.5, zero_point=10)
    stored = interpreter.quantize(np.array([0.0, 0.3, -1e9, 1e9], np.float32), tensor)
    assert stored.dtype == np.int8 and stored.tolist() == [10, 11, -128, 127]
    assert interpreter.dequantize(stored, tensor).tolist() == [0.0, 0.5, -69.0, 58.5]


def test_interpreters_are_silent(int8_bytes, capfd):
    for kind in ("tflite", "tflm"):
        interpreter.open_runner(kind, int8_bytes).logits(toy_model.features(1))
    TFLMRunner(int8_bytes).arena()
    assert capfd.readouterr() == ("", "")


def test_captured_log_gives_stderr_back(capfd):
    with pytest.raises(KeyError), interpreter.captured_log() as log:
        os.write(2, b"native noise")
        assert log() == "native noise"
        raise KeyError
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_arena_is_measured(int8_bytes):
    runner = TFLMRunner(int8_bytes)
    arena = runner.arena()
    # Two tensors of the first convolution's size live at once, so the head holds at least one.
    assert arena.head >= 12 * 8 * 8 and arena.tail > 0 and arena.total == arena.head + arena.tail
    runner.logits(toy_model.features(2))
    assert runner.arena() == arena == TFLMRunner(int8_bytes, arena_bytes=1 << 20).arena()


def test_smallest_arena_is_enough_and_less_is_an_error(int8_bytes):
    smallest = interpreter.smallest_arena_bytes(int8_bytes)
    assert smallest >= TFLMRunner(int8_bytes).arena().total
    clips = toy_model.features(2)
    fitting = TFLMRunner(int8_bytes, arena_bytes=smallest)
    np.testing.assert_array_equal(fitting.logits(clips), TFLMRunner(int8_bytes).logits(clips))
    with pytest.raises(ModelFileError, match=f"needs a tensor arena of more than {smallest - 16} bytes"):
        TFLMRunner(int8_bytes, arena_bytes=smallest - 16)


def test_op_missing_in_tflm_is_named(gelu_bytes):
    with pytest.raises(ModelFileError, match="^a.tflite does not run in TensorFlow Lite Micro: the op GELU is missing"):
        TFLMRunner(gelu_bytes, name="a.tflite")
    assert LiteRTRunner(gelu_bytes).logits(toy_model.features(1)).shape == (1, NUM_CLASSES)


@pytest.mark.parametrize(
    "clips, message",
    [
        (toy_model.features(2)[:, 1:], r"m.tflite takes float32 features \(n, 24, 16\), not float32 \(2, 23, 16\)"),
        (toy_model.features(2)[0], r"not float32 \(24, 16\)"),
        (toy_model.features(2).astype(np.float64), r"not float64 \(2, 24, 16\)"),
    ],
)
@pytest.mark.parametrize("kind", ["tflite", "tflm"])
def test_unfit_features_are_refused(int8_bytes, kind, clips, message):
    with pytest.raises(ModelFileError, match=message):
        interpreter.open_runner(kind, int8_bytes, name="m.tflite").logits(clips)


def test_unknown_interpreter_is_refused(int8_bytes):
    with pytest.raises(ConfigError, match="'onnx'; known: tflite, tflm"):
        interpreter.open_runner("onnx", int8_bytes)


def test_model_of_another_form_is_refused(int8_bytes):
    model = model_file.parse(int8_bytes)
    model.subgraphs[0].outputs = np.append(model.subgraphs[0].outputs, model.subgraphs[0].outputs)
    with pytest.raises(ModelFileError, match=r"must have one input .* outputs \[\(1, 4\), \(1, 4\)\]"):
        TFLMRunner(model_file.pack(model))


def test_any_model_is_tried_and_measured():
    """Two inputs of rank 4, which no runner takes."""
    inputs = [keras.Input((4, 4, 2), batch_size=1) for _ in range(2)]
    model = keras.Model(inputs, keras.layers.MaxPool2D()(keras.layers.Add()(inputs)))
    model_bytes = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    used = interpreter.trial_run(model_bytes)
    assert used.total == used.head + used.tail
    assert used.eval_tensors == len(model_file.parse(model_bytes).subgraphs[0].tensors)
    assert interpreter.smallest_arena_bytes(model_bytes) >= used.total


def test_a_model_that_does_not_run_is_not_measured(gelu_bytes):
    for measure in (interpreter.trial_run, interpreter.smallest_arena_bytes):
        with pytest.raises(InterpreterError, match="^a.tflite does not run in TensorFlow Lite Micro: .*GELU") as error:
            measure(gelu_bytes, "a.tflite")
        assert "GELU" in error.value.reason and "a.tflite" not in error.value.reason
