"""The registry of backbones, what its presets cost once deployed, and where HRF goes."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import tf_keras as keras

from kser.config import HRF_INIT, FeatureConfig, HRFConfig, ModelConfig
from kser.errors import ConfigError
from kser.export.convert import to_int8_tflite
from kser.export.fold import fold_model
from kser.export.graph import build_graph, read_graph
from kser.export.rewrites import DEPLOY_PASSES
from kser.models.hrf import HRFDense
from kser.models.norms import LayerNorm, RMSNorm
from kser.models.presets import BACKBONES, PRESETS, build_model, plain, preset
from kser.tflite.interpreter import TFLMRunner, smallest_arena_bytes
from kser.tflite.op_graph import describe
from tests import tiny

NUM_CLASSES = 8
FEATURES = FeatureConfig()
MAX_PARAMETERS = {"micro": 60_000, "light": 250_000}
MAX_BYTES = {"micro": 110_000, "light": 320_000}
MAX_ARENA_BYTES = {"micro": 48_000, "light": 96_000}
# SpeechFormer's first stage attends to every frame of the clip.
MAX_SPEECHFORMER_ARENA_BYTES = 128_000
FFN_NAMES = ("block_0_ffn1_first", "block_0_ffn1_second", "block_0_ffn2_first", "block_0_ffn2_second")
CONFORMER = dataclasses.replace(tiny.MODEL, backbone="conformer", kernel_size=3)


def tiny_model(seed: int = 0, **changes) -> keras.Model:
    return build_model(dataclasses.replace(CONFORMER, **changes), tiny.FEATURES, NUM_CLASSES, seed)


def clips(num_clips: int, features: FeatureConfig = tiny.FEATURES) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(num_clips, features.num_frames, features.num_mels)).astype(np.float32)


def weights_by_name(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers}


# --- Presets ----------------------------------------------------------------------------------------------------------


def test_every_preset_is_of_a_registered_backbone_and_has_its_bounds():
    assert {config.backbone for config in PRESETS.values()} == {backbone for backbone, _ in PRESETS} == set(BACKBONES)
    assert {name for _, name in PRESETS} == {*MAX_PARAMETERS, "large"}


@pytest.mark.parametrize("name", ["micro", "light"])
@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_a_preset_deployed_keeps_its_bounds(backbone, name):
    config = dataclasses.replace(preset(backbone, name), hrf=HRFConfig(expansion=4))
    folded = fold_model(build_model(config, FEATURES, NUM_CLASSES))
    assert folded.count_params() <= MAX_PARAMETERS[name]
    graph = functools.reduce(lambda graph, rewrite: rewrite(graph), DEPLOY_PASSES.values(), read_graph(folded))
    model_bytes = to_int8_tflite(build_graph(graph), clips(2, FEATURES))
    arena = max(TFLMRunner(model_bytes).arena().total, smallest_arena_bytes(model_bytes))
    if backbone == "speechformer":
        assert arena <= MAX_SPEECHFORMER_ARENA_BYTES
    else:
        assert arena <= MAX_ARENA_BYTES[name] and len(model_bytes) <= MAX_BYTES[name]
    assert describe(model_bytes).inputs[0].shape == (1, FEATURES.num_frames, FEATURES.num_mels)


def test_the_largest_presets_have_the_published_size_or_four_million_parameters():
    sizes = {b: build_model(preset(b, "large"), FEATURES, NUM_CLASSES).count_params() for b in BACKBONES}
    assert min(sizes["conformer"], sizes["convtransformer"]) >= 4_000_000 and sizes["speechformer"] >= 1_059_428


def test_unknown_backbone_or_preset():
    with pytest.raises(ConfigError, match="no backbone 'transformer'; known: conformer, convtransformer, speechformer"):
        preset("transformer", "micro")
    with pytest.raises(ConfigError, match="no preset 'huge'; known: micro, light, large"):
        preset("conformer", "huge")


def test_a_backbone_that_left_the_registry_is_told(monkeypatch):
    monkeypatch.delitem(BACKBONES, "conformer")
    with pytest.raises(ConfigError, match="no backbone 'conformer'"):
        tiny_model()


# --- The network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_clips_to_logits(pooling):
    model = tiny_model(pooling=pooling)
    logits = model(clips(3))
    assert logits.shape == (3, NUM_CLASSES) and np.isfinite(logits).all() and np.std(logits) > 0


def test_the_graph_is_flat_and_of_leaf_layers():
    for layer in tiny_model().layers:
        assert not isinstance(layer, (keras.Model, keras.layers.Wrapper, keras.layers.MultiHeadAttention)), layer.name
        assert "OpLambda" not in type(layer).__name__, layer.name


@pytest.mark.parametrize(("norm", "kind"), [("layer", LayerNorm), ("rms", RMSNorm)])
def test_norm_is_the_chosen_one(norm, kind):
    kinds = {type(layer) for layer in tiny_model(norm=norm).layers if layer.name.endswith("_norm")}
    assert kinds == {kind}


def test_attention_pooling_of_equal_scores_is_the_mean():
    mean, attention = tiny_model(pooling="mean"), tiny_model(pooling="attention")
    attention.get_layer("pool_score").set_weights([np.zeros((CONFORMER.hidden_dim, 1)), np.zeros(1)])
    np.testing.assert_allclose(attention(clips(2)), mean(clips(2)), rtol=1e-4, atol=1e-5)


def test_the_seed_decides_the_start():
    first, again, other = tiny_model(seed=1), tiny_model(seed=1), tiny_model(seed=2)
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.get_layer("classifier").kernel, other.get_layer("classifier").kernel)


def test_layers_of_one_shape_start_differently():
    model = tiny_model(num_layers=2, hrf=HRFConfig())
    kernels = [layer.get_weights()[0] for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


# --- HRF --------------------------------------------------------------------------------------------------------------


def test_expansion_0_is_the_plain_network_bit_for_bit():
    config = dataclasses.replace(CONFORMER, hrf=HRFConfig(expansion=0, where=("first",), init="glorot", inner_bias=True))
    neutral, bare = (build_model(c, tiny.FEATURES, NUM_CLASSES, seed=5) for c in (config, plain(CONFORMER)))
    assert [type(layer) for layer in neutral.layers] == [type(layer) for layer in bare.layers]
    assert {type(neutral.get_layer(name)) for name in FFN_NAMES} == {keras.layers.Dense}
    for a, b in zip(neutral.get_weights(), bare.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("where", "positions"),
    [
        (("first",), {"first"}),
        (("second",), {"second"}),
        (("both",), {"first", "second"}),
        (("second", "both"), {"first", "second"}),
    ],
)
def test_hrf_stands_exactly_where_it_is_put(where, positions):
    model = tiny_model(hrf=HRFConfig(expansion=3, where=where, inner_bias=True))
    factorized = {layer.name for layer in model.layers if isinstance(layer, HRFDense)}
    assert factorized == {name for name in FFN_NAMES if name.rpartition("_")[2] in positions}
    assert all(model.get_layer(name).expansion == 3 and model.get_layer(name).inner_bias for name in factorized)


@pytest.mark.parametrize("init", HRF_INIT)
def test_networks_with_and_without_hrf_start_alike_everywhere_else(init):
    factorized, bare = (weights_by_name(tiny_model(hrf=hrf)) for hrf in (HRFConfig(4, init=init), HRFConfig()))
    assert list(factorized) == list(bare)
    for name in set(bare) - set(FFN_NAMES):
        for a, b in zip(factorized[name], bare[name], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("init", ["spectral", "identity"])
def test_hrf_starts_as_the_plain_network(init):
    logits = [tiny_model(hrf=hrf)(clips(4)).numpy() for hrf in (HRFConfig(4, init=init), HRFConfig())]
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-5)  # float32 rounding of one block


def test_plain_takes_hrf_away_and_nothing_else():
    config = ModelConfig(num_layers=3, hrf=HRFConfig(4, ("first",), 2, "identity", True))
    assert plain(config) == ModelConfig(num_layers=3)
