"""What is found in a model without a board."""

from __future__ import annotations

import pytest
from tensorflow.lite.python import schema_py_generated as schema

from kser.boards.inspection import Measurement, inspect, measure
from kser.errors import ModelFileError
from kser.tflite import interpreter, model_file, op_graph
from tests.boards.diagnoses import FEATURES, changed


def test_graph_metadata_and_measurement_of_a_model(model_bytes):
    found, description = inspect(model_bytes, measure(model_bytes)), op_graph.describe(model_bytes)
    assert (found.num_bytes, len(found.nodes)) == (description.num_bytes, description.num_nodes)
    assert found.multiply_accumulates == description.multiply_accumulates
    assert (found.num_graphs, found.float_islands, found.features) == (1, (), FEATURES)
    assert found.measurement.failure == ""
    assert found.measurement.arena_bytes == interpreter.smallest_arena_bytes(model_bytes)
    assert found.measurement.eval_tensors == len(model_file.parse(model_bytes).subgraphs[0].tensors)


def test_why_a_model_does_not_run(model_bytes, gelu_bytes):
    def customize(model):
        code = next(c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.SOFTMAX)
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "FlexErf"

    def take_text(model):
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].type = schema.TensorType.STRING

    for content, words in (
        (gelu_bytes, "the op GELU is missing there"),
        (changed(model_bytes, customize), "a custom op is missing there"),
        (changed(model_bytes, take_text), ""),
    ):
        found = measure(content)
        assert words in found.failure and found.failure.isprintable()
        assert found == Measurement(found.failure, 0, 0) and found.failure


def test_what_is_no_model_is_refused():
    for function in (measure, lambda content: inspect(content, Measurement())):
        with pytest.raises(ModelFileError, match="not a TensorFlow Lite model"):
            function(b"RIFF\x24\0\0\0WAVEfmt ")


def test_damaged_metadata_is_none(model_bytes):
    for metadata in ({}, {"features": {"num_mels": -4}}):
        assert inspect(model_file.add_metadata(model_bytes, metadata), Measurement()).features is None
