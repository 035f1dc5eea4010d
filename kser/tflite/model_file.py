"""Reading and writing .tflite files, and kser's metadata inside them.

Schema: https://github.com/tensorflow/tensorflow/blob/v2.16.2/tensorflow/lite/schema/schema.fbs
"""

from __future__ import annotations

import json
import os

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from kser.errors import ModelFileError

FILE_IDENTIFIER = b"TFL3"
METADATA_NAME = b"kser"
METADATA_VERSION = 1
BUFFER_ALIGNMENT = 16
# No board has more flash, and the offsets of a flatbuffer end at 2 GB.
MAX_MODEL_BYTES = 64 << 20


def _names(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


OP_NAMES = _names(schema.BuiltinOperator)
TYPE_NAMES = _names(schema.TensorType)


# --- The file ---------------------------------------------------------------------------------------------------------


def read_model_file(path: str) -> bytes:
    """The bytes of a file that may be a model; a file larger than MAX_MODEL_BYTES is not read.

    Raises:
      ModelFileError: the file is missing, unreadable, or too large.
    """
    try:
        with open(path, "rb") as file:
            # A device file has no size and can be endless.
            too_long = os.fstat(file.fileno()).st_size > MAX_MODEL_BYTES
            content = b"" if too_long else file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
    if too_long or len(content) > MAX_MODEL_BYTES:
        raise ModelFileError(
            f"{path} is longer than {MAX_MODEL_BYTES >> 20} MB; no supported board has flash for such a model."
        )
    return content


def parse(model_bytes: bytes, name: str = "The model") -> schema.ModelT:
    """The model as objects of the flatbuffer schema. `name` is what error messages call the file.

    Neither interpreter verifies a file, and both crash on a truncated one: so a file that `parse` refuses must not reach
    them.

    Raises:
      ModelFileError: not a TensorFlow Lite model, truncated, or with invalid indices.
    """
    if not model_bytes:
        raise ModelFileError(f"{name} is empty.")
    if bytes(model_bytes[4:8]) != FILE_IDENTIFIER:
        raise ModelFileError(f"{name} is not a TensorFlow Lite model: it lacks the file identifier TFL3.")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(_StrictBytes(model_bytes), 0))
        whole = _indices_in_range(model)
    except Exception as error:  # damaged offsets can make the generated parser raise anything
        raise ModelFileError(f"{name} is truncated or damaged; write it again.") from error
    if not whole:
        raise ModelFileError(f"{name} is damaged; write it again.")
    return model


class _StrictBytes(bytes):
    """Bytes that refuse slices beyond the last byte: a plain slice would hide that a string is truncated."""

    def __getitem__(self, key):
        if isinstance(key, slice) and key.stop is not None and key.stop > len(self):
            raise IndexError("slice beyond the end of the file")
        return super().__getitem__(key)


def items(vector) -> tuple[int, ...]:
    """A vector of integers; the generated parser gives None for an empty one."""
    return () if vector is None else tuple(int(item) for item in vector)


def _indices_in_range(model: schema.ModelT) -> bool:
    def below(indices, count: int, lowest: int = 0) -> bool:
        return all(lowest <= i < count for i in indices)

    def graph_in_range(graph) -> bool:
        count = len(graph.tensors)
        return (
            below((t.buffer for t in graph.tensors), len(model.buffers))
            and below((op.opcodeIndex for op in graph.operators), len(model.operatorCodes))
            and below(
                (i for op in graph.operators for i in items(op.inputs)), count, lowest=-1
            )  # -1: an optional tensor that is left out
            and below((i for op in graph.operators for i in items(op.outputs)), count)
            and below([*items(graph.inputs), *items(graph.outputs)], count)
        )

    metadata_in_range = below((m.buffer for m in model.metadata or ()), len(model.buffers))
    return len(model.subgraphs) > 0 and metadata_in_range and all(map(graph_in_range, model.subgraphs))


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns byte vectors to 16 bytes, as the schema's `force_align` demands; generated Python code does not do it.

    Optimised kernels on microcontrollers load weights 16 bytes at a time; TensorFlow's own converter writes its result with
    the unaligned Python code.
    """

    def StartVector(self, element_size, num_elements, alignment):  # noqa: N802 (overrides flatbuffers' name)
        return super().StartVector(element_size, num_elements, BUFFER_ALIGNMENT if element_size == 1 else alignment)


def pack(model: schema.ModelT) -> bytes:
    """The inverse of `parse`, every buffer on a 16-byte boundary of the file."""
    builder = _AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


# --- Metadata ---------------------------------------------------------------------------------------------------------


def add_metadata(model_bytes: bytes, metadata: dict) -> bytes:
    """The model with `metadata` (JSON values) stored inside; it replaces earlier metadata of kser.

    It is a buffer named "kser" in `Model.metadata`, UTF-8 JSON with a `schema_version`; interpreters ignore it.

    Raises:
      ModelFileError: `model_bytes` is not a TensorFlow Lite model.
    """
    model = parse(model_bytes)
    _metadata_buffer(model).data = np.frombuffer(encode_metadata(metadata), np.uint8)
    return pack(model)


def encode_metadata(metadata: dict) -> bytes:
    """The buffer's content for `metadata`; the inverse of `read_metadata`, to the byte."""
    content = json.dumps({**metadata, "schema_version": METADATA_VERSION}, ensure_ascii=False, allow_nan=False)
    return content.encode("utf-8")


def _metadata_buffer(model: schema.ModelT) -> schema.BufferT:
    """The buffer registered under kser's name; appended, empty, if there is none."""
    model.metadata = model.metadata or []
    for entry in model.metadata:
        if entry.name == METADATA_NAME:
            return model.buffers[entry.buffer]
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers)
    model.metadata.append(entry)
    model.buffers.append(schema.BufferT())
    return model.buffers[-1]


def damaged_metadata(name: str = "The model") -> ModelFileError:
    return ModelFileError(f"{name} has damaged kser metadata; write it again with bin/fold_and_convert.")


def read_metadata(model_bytes: bytes, name: str = "The model") -> dict:
    """The metadata that `add_metadata` stored in the model.

    Raises:
      ModelFileError: not a TensorFlow Lite model, or kser's metadata is missing, damaged, or of a newer kser.
    """
    data = _metadata_buffer(parse(model_bytes, name)).data
    if data is None:
        raise ModelFileError(f"{name} has no kser metadata; the model.tflite that bin/fold_and_convert writes has.")
    try:
        metadata = json.loads(bytes(data).decode("utf-8"))
        version = int(metadata.pop("schema_version"))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise damaged_metadata(name) from error
    if version > METADATA_VERSION:
        raise ModelFileError(
            f"{name} has kser metadata of version {version}, this kser reads up to {METADATA_VERSION}; update kser."
        )
    return metadata
