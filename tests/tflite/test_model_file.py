from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from kser.errors import ModelFileError
from kser.tflite import interpreter, model_file
from tests import toy_model
from tests.toy_model import NUM_FRAMES, NUM_MELS

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
