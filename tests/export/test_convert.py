from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.errors import ConfigError, KserError
from kser.export import convert
from kser.tflite import interpreter, op_graph
from tests import toy_model
from tests.toy_model import NUM_CLASSES, NUM_FRAMES, NUM_MELS

MICRO = Path(__file__).resolve().parents[1] / "micro"


@pytest.fixture(scope="module")
def model():
    return toy_model.toy_model()


@pytest.fixture(scope="module")
def int8_bytes(model):
    return convert.to_int8_tflite(model, toy_model.features(50))


def test_float_model_computes_what_keras_computes(model):
    clips = toy_model.features(8, seed=1)
    logits = interpreter.LiteRTRunner(convert.to_float_tflite(model)).logits(clips)
    # The same float32 sums in another order, over at most 128 terms of order 1.
    np.testing.assert_allclose(logits, model(clips).numpy(), atol=1e-5)


def test_int8_model_is_close_to_keras(model, int8_bytes):
    clips = toy_model.features(20, seed=1)
    runner = interpreter.LiteRTRunner(int8_bytes)
    # Rounding a tensor moves it by at most half a step, 1/510 of its range. If no later layer enlarges that share of
    # the range, n nodes move the logits by at most n/510 of theirs: n/2 steps of the output.
    bound = op_graph.describe(int8_bytes).num_nodes / 2 * runner.output.scale
    assert np.abs(runner.logits(clips) - model(clips).numpy()).max() <= bound


def test_int8_model_is_int8_throughout(int8_bytes):
    description = op_graph.describe(int8_bytes)
    assert description.float_islands == ()
    assert [t.dtype for t in (*description.inputs, *description.outputs)] == ["int8", "int8"]
    assert description.inputs[0].shape == (1, NUM_FRAMES, NUM_MELS)
    assert description.outputs[0].shape == (1, NUM_CLASSES)


def test_no_shape_arithmetic_is_left(int8_bytes):
    assert set(op_graph.describe(int8_bytes).ops) == {
        "ADD", "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN", "RESHAPE", "SOFTMAX", "TRANSPOSE",
    }  # fmt: skip


def test_conversion_is_silent_and_repeatable(model, int8_bytes, capfd):
    assert convert.to_int8_tflite(model, toy_model.features(50)) == int8_bytes
    assert capfd.readouterr() == ("", "")


def test_op_unknown_to_tensorflow_lite_is_named():
    model = toy_model.one_op_model(tf.math.erf, "error_function")
    with pytest.raises(KserError, match=r"Model 'one_op' cannot be converted .*tf\.Erf.*") as raised:
        convert.to_float_tflite(model)
    assert "\n" not in str(raised.value)


def test_layer_left_in_float_is_named():
    model = toy_model.one_op_model(lambda x: tf.cumsum(x, axis=-1), "running_sum")
    with pytest.raises(KserError, match="still float: .*running_sum"):
        convert.to_int8_tflite(model, toy_model.features(2))


@pytest.mark.parametrize(
    "clips, message",
    [
        (toy_model.features(0), "at least one representative clip"),
        (toy_model.features(2)[:, 1:], r"float32 \(n, 24, 16\), not float32 \(2, 23, 16\)"),
        (toy_model.features(2).astype(np.float64), "not float64"),
    ],
)
def test_unfit_representative_data_is_refused(model, clips, message):
    with pytest.raises(ConfigError, match=message):
        convert.to_int8_tflite(model, clips)


def test_variable_number_of_frames_is_refused():
    inputs = keras.Input((None, NUM_MELS))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(inputs), name="any_length")
    with pytest.raises(ConfigError, match="'any_length' must have one input"):
        convert.to_float_tflite(model)


def test_cc_sources_hold_the_bytes():
    content = bytes(range(256)) + b"\x07"
    header, source = convert.cc_sources(content, "model")
    assert bytes(int(byte, 16) for byte in re.findall(r"0x(..),", source)) == content
    assert '#include "model.h"' in source
    assert "#ifndef KSER_MODEL_H_\n#define KSER_MODEL_H_\n" in header
    assert max(line.count("0x") for line in source.splitlines()) == 12


@pytest.mark.parametrize("name, namespace", [("my-model", "kser"), ("model", "a::b"), ("", "kser"), ("2nd", "kser")])
def test_names_that_are_not_identifiers_are_refused(name, namespace):
    with pytest.raises(ConfigError, match="not a C\\+\\+ identifier"):
        convert.cc_sources(b"TFL3", name, namespace)


_CHECK_PROGRAM = """\
#include <cstdio>

#include "array_check.h"
#include "speech.h"

int main() {
  std::printf("%d %lu %lu", kser_test::IsAligned(emotion::kModelData, 16), static_cast<unsigned long>(emotion::kModelSize),
              static_cast<unsigned long>(kser_test::Adler32(emotion::kModelData, emotion::kModelSize)));
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile the C++ sources with")
def test_cc_sources_compile_as_cpp11(int8_bytes, tmp_path):
    header, source = convert.cc_sources(int8_bytes, "speech", namespace="emotion")
    for name, text in (("speech.h", header), ("speech.cc", source), ("main.cc", _CHECK_PROGRAM)):
        (tmp_path / name).write_text(text)
    command = [
        "g++",
        "-std=c++11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        f"-I{MICRO}",
        "speech.cc",
        "main.cc",
        "-o",
        "check",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "check"], check=True, capture_output=True, text=True).stdout
    assert printed == f"1 {len(int8_bytes)} {zlib.adler32(int8_bytes)}"
