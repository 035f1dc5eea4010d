from __future__ import annotations

import itertools

import numpy as np
import pytest
import tf_keras as keras

from kser.errors import ConfigError, ModelFileError
from kser.export import convert, weight_compression
from kser.tflite import interpreter, model_file, op_graph
from tests import toy_model

METADATA = {"labels": ["a", "b"]}


@pytest.fixture(scope="module")
def model_bytes():
    """An int8 model with short kernels and with ones that are long enough to pay, of one scale and of one a channel."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((toy_model.NUM_FRAMES, toy_model.NUM_MELS))
    x = keras.layers.Reshape((toy_model.NUM_FRAMES, toy_model.NUM_MELS, 1))(inputs)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = keras.layers.Conv2D(16, (5, 7), activation="relu")(x)
    x = keras.layers.DepthwiseConv2D((40, 1), padding="same")(x)
    x = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(toy_model.NUM_CLASSES)(x), name="long_kernels")
    return model_file.add_metadata(convert.to_int8_tflite(model, toy_model.features(10)), METADATA)


def kernels(model_bytes: bytes) -> dict[str, np.ndarray]:
    """Constant int8 weights by name."""
    model = model_file.parse(model_bytes)
    tensors = [tensor for _, tensor in weight_compression._weights(model)]
    return {t.name.decode(): model.buffers[t.buffer].data.view(np.int8).reshape(t.shape) for t in tensors}


@pytest.mark.parametrize(("bits", "num_decoded"), [(2, 3), (3, 2), (4, 2), (5, 2), (7, 1)])
def test_tflm_decodes_what_was_clustered_to_the_bit(model_bytes, bits, num_decoded):
    """Of four kernels the first is too short for any, the depthwise one pays only with 2 bits."""
    clips = toy_model.features(20, seed=1)
    clustered, compressed = weight_compression.cluster(model_bytes, bits), weight_compression.compress(model_bytes, bits)
    expected = interpreter.LiteRTRunner(clustered).logits(clips)
    np.testing.assert_array_equal(interpreter.TFLMRunner(compressed).logits(clips), expected)
    assert op_graph.describe(compressed).ops["TFLM_DECODE"] == num_decoded and len(compressed) < len(model_bytes)
    assert model_file.read_metadata(compressed) == METADATA


def test_less_bits_are_less_bytes_and_more_error(model_bytes):
    clips = toy_model.features(20, seed=1)
    exact = interpreter.TFLMRunner(model_bytes).logits(clips)
    sizes, errors = [], []
    for bits in (2, 4, 6):
        compressed = weight_compression.compress(model_bytes, bits)
        sizes.append(len(compressed))
        errors.append(np.abs(interpreter.TFLMRunner(compressed).logits(clips) - exact).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


def test_kernels_have_few_values_for_each_scale(model_bytes):
    before, after = kernels(model_bytes), kernels(weight_compression.cluster(model_bytes, 3))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    channels = {True: 0, False: 0}
    for name in changed:
        per_channel = next(t for t in model_file.parse(model_bytes).subgraphs[0].tensors if t.name.decode() == name)
        many = len(per_channel.quantization.scale) > 1
        channels[many] += 1
        groups = np.moveaxis(after[name], per_channel.quantization.quantizedDimension, 0) if many else [after[name]]
        assert all(len(np.unique(group)) <= 8 for group in groups)
    assert all(channels.values())


def test_short_kernels_stay_as_they_are(model_bytes):
    short = {name for name, weights in kernels(model_bytes).items() if weights.size < 270}
    before, after = kernels(model_bytes), kernels(weight_compression.cluster(model_bytes, 1))
    assert short and all(np.array_equal(before[name], after[name]) for name in short)


def test_a_model_without_long_kernels_is_left_alone():
    model_bytes = convert.to_int8_tflite(toy_model.toy_model(), toy_model.features(5))
    assert weight_compression.compress(model_bytes, 4) == model_bytes


@pytest.mark.parametrize("bits", [0, 8, -1])
def test_unfit_bits_are_refused(model_bytes, bits):
    with pytest.raises(ConfigError, match=f"1 to 7 bits, not {bits}"):
        weight_compression.compress(model_bytes, bits)


def test_what_is_no_model_is_refused():
    with pytest.raises(ModelFileError, match="not a TensorFlow Lite model"):
        weight_compression.compress(b"text", 4)


# --- Side by side


LABELS = np.random.default_rng(2).integers(0, toy_model.NUM_CLASSES, 20)


def test_models_are_measured_side_by_side(model_bytes):
    clips = toy_model.features(20, seed=1)
    found = weight_compression.compress_and_measure(model_bytes, 4, clips, LABELS)
    before, after = found.report["before"], found.report["after"]
    assert found.pays and (before["kernels"], after["kernels"]) == (0, 2)
    assert after["bytes"] == len(found.model) < before["bytes"] == len(model_bytes)
    assert after["arena_bytes"] == interpreter.TFLMRunner(found.model).arena().total > before["arena_bytes"]
    for content, figures in ((model_bytes, before), (found.model, after)):
        decided = interpreter.TFLMRunner(content).logits(clips).argmax(1)
        recalls = [np.mean(decided[LABELS == label] == label) for label in np.unique(LABELS)]
        assert figures["UA"] == pytest.approx(np.mean(recalls))
    told = model_file.read_metadata(found.model)
    assert told == {**METADATA, "test_UA": after["UA"], "arena_bytes": after["arena_bytes"]}


def test_another_decoding_than_encoding_is_an_error(model_bytes, monkeypatch):
    monkeypatch.setattr(
        weight_compression, "cluster", lambda content, bits, cluster=weight_compression.cluster: cluster(content, 1)
    )
    monkeypatch.setattr(weight_compression, "compress", lambda content, bits: content)
    with pytest.raises(ModelFileError, match="TFLM decodes different weights than were encoded"):
        weight_compression.compress_and_measure(model_bytes, 4, toy_model.features(4), LABELS[:4])


# --- Clustering


def error(weights, clustered) -> int:
    return int(((weights.astype(int) - clustered) ** 2).sum())


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_the_best_there_are(seed):
    """Against every way to cut the sorted values, with centres rounded afterwards as there."""
    random = np.random.default_rng(seed)
    weights = random.integers(-128, 128, 9).astype(np.int8)
    values = np.sort(weights).astype(float)
    costs = []
    for cuts in itertools.combinations(range(1, 9), 2):
        costs.append(sum(((part - part.mean()) ** 2).sum() for part in np.split(values, cuts)))
    clustered = weight_compression.nearest_of_few(weights, 3)
    assert clustered.dtype == np.int8 and len(np.unique(clustered)) <= 3
    # Rounding a centre by at most a half adds at most a quarter for each weight.
    assert min(costs) <= error(weights, clustered) <= min(costs) + 9 / 4


def test_values_that_are_few_already_stay():
    weights = np.array([[3, -7], [-7, 3]], np.int8)
    np.testing.assert_array_equal(weight_compression.nearest_of_few(weights, 2), weights)


def test_bell_shaped_weights_keep_the_ratio_that_theory_gives():
    """Lloyd and Max: 16 levels for a normal distribution leave 20.2 dB."""
    weights = np.clip(np.rint(np.random.default_rng(0).normal(0, 30, 100_000)), -127, 127).astype(np.int8)
    noise = error(weights, weight_compression.nearest_of_few(weights, 16))
    assert 10 * np.log10((weights.astype(int) ** 2).sum() / noise) == pytest.approx(20.2, abs=0.3)
