"""SpeechFormer against the authors' reference: every stage and the logits, with all weights given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from kser.config import FeatureConfig, ModelConfig
from kser.models import blocks, layers, speechformer
from kser.models.presets import PRESETS, build_model

# Float32 rounding in another order of operations, on outputs of order 1.
TOLERANCE = 1e-4
STAGE_LAYERS = {"small": (1, 1, 2, 2), "expand": (1, 1, 1, 1)}
WIDENING = {"small": (1, 1, 1), "expand": (1, 1, 2)}
# The authors' sinusoid is overwritten by Xavier's draws when the block sets its parameters: |entry| <= sqrt(6 / (2000 + d)).
MAX_POSITIONS = 2000
FIT_STEPS = 1500


@pytest.fixture(scope="module", params=sorted(STAGE_LAYERS))
def oracle(request, speech_data_dir):
    path = speech_data_dir.parent / "oracles" / f"speechformer_{request.param}.npz"
    if not path.is_file():
        pytest.skip(f"no reference outputs in {path}")
    return request.param, np.load(path)


def network(name: str, num_frames: int, dim: int, num_classes: int) -> keras.Model:
    """(batch, num_frames, dim) to the outputs of all stages and merges, and the logits."""
    config = ModelConfig(
        "speechformer",
        num_heads=4,
        hidden_dim=dim,
        ffn_dim=dim // 2,
        stage_layers=STAGE_LAYERS[name],
        stage_widening=WIDENING[name],
        head_layers=2,
        activation="relu",
        norm="layer",
        pooling="mean",
    )
    features = FeatureConfig(num_mels=dim, window_ms=10, hop_ms=10, clip_seconds=num_frames / 100)
    builder = blocks.Builder(config, features, seed=0)
    inputs = keras.Input((num_frames, dim))
    outputs = speechformer.trunk(builder, keras.layers.Reshape((1, num_frames, dim))(inputs))
    return keras.Model(inputs, [*outputs, speechformer.head(builder, outputs[-1], num_classes)])


def linear(weights: dict, name: str) -> list[np.ndarray]:
    return [weights[f"{name}.weight"].T, weights[f"{name}.bias"]]


def norm(weights: dict, name: str) -> list[np.ndarray]:
    return [weights[f"{name}.weight"], weights[f"{name}.bias"]]


def layer_weights(weights: dict, source: str, name: str) -> dict[str, list[np.ndarray]]:
    """One reference layer's weights by the name of kser's; query, key and value are stacked along the outputs."""
    kernel, bias = linear(weights, f"{source}.attention.project_qkv")
    parts = zip(("query", "key", "value"), np.split(kernel, 3, axis=1), np.split(bias, 3), strict=True)
    return {
        **{f"{name}_attention_{role}": [k, b] for role, k, b in parts},
        f"{name}_attention_out": linear(weights, f"{source}.attention.project_out"),
        f"{name}_attention_norm": norm(weights, f"{source}.attention_layer_norm"),
        f"{name}_ffn_first": linear(weights, f"{source}.fc1"),
        f"{name}_ffn_second": linear(weights, f"{source}.fc2"),
        f"{name}_ffn_norm": norm(weights, f"{source}.final_layer_norm"),
    }


def all_weights(weights: dict, stage_layers: tuple[int, ...]) -> dict[str, list[np.ndarray]]:
    result = {"head_0": linear(weights, "classifier.0"), "head_1": linear(weights, "classifier.3")}
    result["classifier"] = linear(weights, "classifier.6")
    for i, stage in enumerate(speechformer.STAGES):
        result[f"{stage}_norm"] = norm(weights, f"layers.{2 * i}.input_norm")
        for j in range(stage_layers[i]):
            result.update(layer_weights(weights, f"layers.{2 * i}.layers.{j}", f"{stage}_{j}"))
        if i < 3:
            result[f"merge_{i}_out"] = linear(weights, f"layers.{2 * i + 1}.fc")
            result[f"merge_{i}_norm"] = norm(weights, f"layers.{2 * i + 1}.norm")
    return result


def set_weights(model: keras.Model, values: dict[str, list[np.ndarray]]) -> None:
    for name, weights in values.items():
        model.get_layer(name).set_weights(weights)
    assert sum(v.size for weights in values.values() for v in weights) == model.count_params()


def fit_positions(model: keras.Model, positions: tf.Variable, x, frame_stage) -> None:
    """Finds the positions with which the model's first output is `frame_stage`: they are not among the oracle's weights."""
    stage = keras.Model(model.input, model.outputs[0])
    rate = keras.optimizers.schedules.ExponentialDecay(0.02, 150, 0.5)
    optimizer = keras.optimizers.Adam(rate, beta_2=0.99)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((stage(x)[:, 0] - frame_stage) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, positions), positions)])

    for _ in range(FIT_STEPS):
        step()


def test_every_stage_and_the_logits_are_the_references(oracle, monkeypatch):
    name, values = oracle
    num_clips, num_frames, dim = values["x"].shape
    positions = tf.Variable(tf.zeros((num_frames, dim)))
    monkeypatch.setattr(layers.AddPositions, "call", lambda self, inputs: inputs + positions)
    model = network(name, num_frames, dim, values["y"].shape[1])
    weights = {key[2:]: values[key] for key in values.files if key.startswith("w:")}
    set_weights(model, all_weights(weights, STAGE_LAYERS[name]))
    fit_positions(model, positions, values["x"], values["stage:0"])
    # num_frames * dim unknowns for num_clips times as many numbers: that they can be met to rounding by what Xavier's rule
    # can draw is no accident.
    assert num_clips >= 3
    assert np.abs(positions).max() <= np.sqrt(6 / (MAX_POSITIONS + dim)) * 1.001
    *stages, logits = model(values["x"])
    for i, stage in enumerate(stages):
        np.testing.assert_allclose(stage[:, 0], values[f"stage:{i}"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(logits, values["y"], rtol=0, atol=TOLERANCE)


IEMOCAP = FeatureConfig(num_mels=128, window_ms=25, clip_seconds=6.525)


@pytest.mark.parametrize(("widening", "parameters"), [((1, 1, 1), 1_059_428), ((1, 1, 2), 2_095_300)])
def test_the_published_sizes_have_the_published_parameters(widening, parameters):
    """SpeechFormer-S and -B on IEMOCAP's log-mel: 651 frames of 128 mels, 4 classes."""
    config = dataclasses.replace(PRESETS["speechformer", "large"], stage_widening=widening)
    model = build_model(config, IEMOCAP, num_classes=4)
    assert model.input_shape == (None, 651, 128) and model.count_params() == parameters


def test_merges_and_windows_in_tokens():
    assert speechformer.merge_sizes(10) == (5, 5, 4) and speechformer.windows(10) == (5, 9, 9)
    assert speechformer.merge_sizes(16) == (3, 5, 4) and speechformer.windows(16) == (3, 9, 9)
    assert speechformer.merge_sizes(100) == (1, 2, 5) and speechformer.windows(100) == (1, 5, 11)


def test_tokens_get_fewer_and_wider():
    model = build_model(PRESETS["speechformer", "micro"], FeatureConfig(), num_classes=4)
    shapes = [model.get_layer(f"{stage}_norm").output_shape[2:] for stage in speechformer.STAGES]
    assert shapes == [(247, 24), (50, 24), (10, 48), (3, 48)]
