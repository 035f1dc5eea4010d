from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from kser.errors import ConfigError, ModelFileError
from kser.export import convert
from kser.tflite import interpreter, model_file, op_graph
from kser.tflite.interpreter import LiteRTRunner, TFLMRunner
from kser.tflite.op_graph import Tensor
from tests import toy_model
from tests.toy_model import NUM_CLASSES, NUM_FRAMES, NUM_MELS


@pytest.fixture(scope="module")
def model():
    return toy_model.toy_model()


@pytest.fixture(scope="module")
def int8_bytes(model):
    return convert.to_int8_tflite(model, toy_model.features(50))


@pytest.fixture(scope="module")
def float_bytes(model):
    return convert.to_float_tflite(model)


@pytest.fixture(scope="module")
def gelu_bytes():
    return convert.to_int8_tflite(toy_model.one_op_model(tf.nn.gelu, "gelu"), toy_model.features(5))


# --- Interpreters


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


# --- Description


def test_describe_counts_nodes(int8_bytes):
    description = op_graph.describe(int8_bytes)
    # Conv2D: two in the stem, one after attention; a permutation that moves only a size of 1 is a RESHAPE.
    assert description.ops == {
        "RESHAPE": 6, "TRANSPOSE": 4, "FULLY_CONNECTED": 4, "CONV_2D": 3, "BATCH_MATMUL": 2,
        "ADD": 1, "SOFTMAX": 1, "DEPTHWISE_CONV_2D": 1, "MEAN": 1,
    }  # fmt: skip
    assert description.num_nodes == sum(description.ops.values())
    assert description.num_bytes == len(int8_bytes)


def test_describe_tells_types(int8_bytes, float_bytes):
    (stored,), (real,) = op_graph.describe(int8_bytes).inputs, op_graph.describe(float_bytes).inputs
    assert (stored.dtype, stored.shape) == ("int8", (1, NUM_FRAMES, NUM_MELS)) and stored.scale > 0
    assert (real.dtype, real.scale, real.zero_point) == ("float32", 0.0, 0)
    assert op_graph.describe(float_bytes).float_islands == ()


def test_multiply_accumulates_are_those_of_the_layers(int8_bytes, float_bytes):
    stem = 12 * 8 * 8 * (3 * 3) + 12 * 16 * (8 * 8)
    projections = 4 * 12 * 16 * 16
    products = 2 * (2 * 12 * 12 * 8)
    depthwise = 12 * 16 * 5
    assert op_graph.describe(int8_bytes).multiply_accumulates == stem + projections + products + depthwise + 16 * NUM_CLASSES
    assert op_graph.describe(float_bytes).multiply_accumulates == op_graph.describe(int8_bytes).multiply_accumulates


# --- Metadata


METADATA = {"labels": ["ruhig", "fröhlich"], "features": {"hop_ms": 16.0}, "arena_bytes": 12345}


def test_metadata_round_trip(int8_bytes):
    tagged = model_file.add_metadata(int8_bytes, METADATA)
    assert model_file.read_metadata(tagged) == METADATA
    again = model_file.add_metadata(tagged, {"labels": []})
    assert model_file.read_metadata(again) == {"labels": []}
    assert len(again) < len(tagged)


def test_metadata_encodes_to_the_bytes_it_was_read_from(int8_bytes):
    with_metadata = model_file.add_metadata(int8_bytes, {"labels": ["fröhlich"], "mean": [0.1, 1e-9], "n": 3})
    assert model_file.encode_metadata(model_file.read_metadata(with_metadata)) in with_metadata


def test_metadata_changes_no_output(int8_bytes):
    clips = toy_model.features(5, seed=1)
    tagged = model_file.add_metadata(int8_bytes, METADATA)
    for kind in ("tflite", "tflm"):
        expected = interpreter.open_runner(kind, int8_bytes).logits(clips)
        np.testing.assert_array_equal(interpreter.open_runner(kind, tagged).logits(clips), expected)


def test_stock_interpreter_loads_a_tagged_model(int8_bytes):
    interpreter = tf.lite.Interpreter(model_content=model_file.add_metadata(int8_bytes, METADATA))
    interpreter.allocate_tensors()
    assert interpreter.get_input_details()[0]["shape"].tolist() == [1, NUM_FRAMES, NUM_MELS]


def test_buffers_are_aligned(int8_bytes, float_bytes):
    for content in (int8_bytes, float_bytes, model_file.add_metadata(int8_bytes, METADATA)):
        model = schema.Model.GetRootAs(content, 0)
        buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
        starts = [b._tab.Vector(b._tab.Offset(4)) for b in buffers if b.DataLength()]  # 4: the field `data`
        assert len(starts) > 10 and {start % 16 for start in starts} == {0}


def test_model_without_metadata_is_refused(int8_bytes):
    with pytest.raises(ModelFileError, match="^other.tflite has no kser metadata"):
        model_file.read_metadata(int8_bytes, name="other.tflite")


def test_newer_metadata_is_refused(int8_bytes, monkeypatch):
    monkeypatch.setattr(model_file, "METADATA_VERSION", 2)
    newer = model_file.add_metadata(int8_bytes, METADATA)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="version 2, this kser reads up to 1; update kser"):
        model_file.read_metadata(newer)


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[]", b"{}", b'{"schema_version": null}'])
def test_damaged_metadata_is_refused(int8_bytes, content):
    model = model_file.parse(model_file.add_metadata(int8_bytes, METADATA))
    model.buffers[model.metadata[-1].buffer].data = np.frombuffer(content, np.uint8)
    with pytest.raises(ModelFileError, match="damaged kser metadata"):
        model_file.read_metadata(model_file.pack(model))


# --- Files


def test_read_model_file(int8_bytes, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(int8_bytes)
    assert model_file.read_model_file(str(path)) == int8_bytes


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"\x00", "is not a TensorFlow Lite model"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "is not a TensorFlow Lite model"),
        (b"\x1c\x00\x00\x00TFL3", "is truncated or damaged"),
        (b"\xff\xff\xff\xffTFL3" + bytes(64), "is truncated or damaged"),
    ],
)
def test_what_is_no_model_is_refused(content, message):
    with pytest.raises(ModelFileError, match=f"^other.tflite {message}"):
        model_file.parse(content, "other.tflite")


def test_missing_file_and_folder_are_refused(tmp_path):
    for path, message in ((tmp_path / "none.tflite", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ModelFileError, match=f"{path} cannot be read: {message}"):
            model_file.read_model_file(str(path))


def test_longest_file_and_endless_file_are_refused_unread(tmp_path):
    path = tmp_path / "long.tflite"
    with open(path, "wb") as file:
        file.write(b"\x1c\0\0\0TFL3")
        file.truncate(2 << 30)
    for name in (str(path), "/dev/zero"):
        with pytest.raises(ModelFileError, match=f"^{name} is longer than 64 MB"):
            model_file.read_model_file(name)


def test_every_truncation_is_refused(int8_bytes):
    size = len(int8_bytes)
    for length in [*range(8, size, size // 50), *range(size - 64, size)]:
        with pytest.raises(ModelFileError, match="truncated or damaged"):
            model_file.parse(int8_bytes[:length])


@pytest.mark.parametrize("field", ["buffer", "input", "output", "opcode"])
def test_index_to_nowhere_is_refused(int8_bytes, field):
    model = model_file.parse(int8_bytes)
    graph = model.subgraphs[0]
    if field == "buffer":
        graph.tensors[3].buffer = 9999
    elif field == "input":
        graph.operators[2].inputs = np.array([9999, 0], np.int32)
    elif field == "output":
        graph.outputs = np.array([-1], np.int32)
    else:
        graph.operators[0].opcodeIndex = 9999
    with pytest.raises(ModelFileError, match="damaged"):
        interpreter.open_runner("tflm", model_file.pack(model))
