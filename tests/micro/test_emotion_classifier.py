"""The firmware's classifier, linked and run with a real TensorFlow Lite Micro."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.config import FeatureConfig
from kser.export import convert
from kser.firmware import codegen
from kser.tflite import interpreter, model_file, op_graph
from tests.micro import sources, toolchain

REASON = toolchain.missing("g++") or toolchain.missing_tflm()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

# Without and with room in the model's input for the frame that is transformed.
CONFIGS = {"small": FeatureConfig(clip_seconds=0.6, num_mels=16, hop_ms=32), "default": FeatureConfig()}


def network(config):
    """Of ops that every TFLM has."""
    start = keras.initializers.GlorotUniform(seed=1)
    inputs = keras.Input((config.num_frames, config.num_mels))
    x = keras.layers.Reshape((config.num_frames, config.num_mels, 1))(inputs)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", kernel_initializer=start)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(len(sources.LABELS), kernel_initializer=start)(x)
    return keras.Model(inputs, logits, name="small")


def changed(model_bytes, change):
    """The model with `change` made to it and its main graph."""
    model = model_file.parse(model_bytes)
    change(model, model.subgraphs[0])
    return model_file.pack(model)


def of_schema_2(model, graph):
    model.version = 2


def of_another_scale(index):
    def change(model, graph):
        graph.tensors[index(graph)].quantization.scale = np.float32([0.01])

    return change


def tflm_output(model_bytes, values):
    return interpreter.TFLMRunner(model_bytes).invoke(values[np.newaxis])[0]


def write_all(directory, config):
    """All that is generated for a model, and models that are not it under names of their own; returns C++ files."""
    rng = np.random.default_rng(0)
    clips = rng.standard_normal((20, config.num_frames, config.num_mels)).astype(np.float32)
    metadata = sources.metadata(config)
    bare = convert.to_int8_tflite(network(config), clips)
    model = model_file.add_metadata(bare, metadata)
    models = {
        "kser_model": model,
        "without_metadata": bare,
        "other_metadata": model_file.add_metadata(bare, {**metadata, "test_UA": 0.5}),
        "other_schema": changed(model, of_schema_2),
        "other_input": changed(model, of_another_scale(lambda graph: graph.inputs[0])),
        "other_output": changed(model, of_another_scale(lambda graph: graph.outputs[0])),
    }
    description = op_graph.describe(model)
    golden = codegen.golden_input(metadata, description)
    texts = {
        "kser_settings.h": codegen.settings_source(model_file.read_metadata(model), description),
        "kser_resolver.h": codegen.resolver_source(description),
        "kser_golden.h": codegen.golden_source(golden, tflm_output(model, golden)),
    }
    for name, content in models.items():
        namespace = "kser" if name == "kser_model" else name
        texts[f"{name}.h"], texts[f"{name}.cc"] = convert.cc_sources(content, name, namespace)
    for name, text in texts.items():
        (directory / name).write_text(text)
    return [directory / f"{name}.cc" for name in models]


@pytest.mark.parametrize("name", CONFIGS)
def test_classifier(name, tmp_path):
    files = write_all(tmp_path, CONFIGS[name])
    test = toolchain.HERE / "emotion_classifier_test.cc"
    all_sources = [test, *files, *toolchain.CORE_SOURCES, toolchain.CLASSIFIER_SOURCE]
    toolchain.run(toolchain.tflm_program(tmp_path / "test", tmp_path, all_sources))
