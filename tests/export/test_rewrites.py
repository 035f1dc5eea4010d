"""The deploy passes: each exact by itself and with the others, on every backbone, and caught where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.config import FeatureConfig, HRFConfig, ModelConfig
from kser.errors import ConfigError, FoldError
from kser.export import rewrites
from kser.export.convert import to_int8_tflite
from kser.export.fold import fold_model, foldable_layers
from kser.export.graph import build_graph, read_graph
from kser.export.rewrites import DEPLOY_PASSES, deploy_model
from kser.models.hrf import HRFDense
from kser.models.inference import predict_logits
from kser.models.layers import AddPositions
from kser.models.norms import L2Norm, LayerNorm, RMSNorm
from kser.models.presets import build_model
from kser.tflite.interpreter import TFLMRunner
from kser.tflite.op_graph import describe
from tests.networks import NETWORKS, clips, network, perturb


def kinds(model: keras.Model) -> list[type]:
    return [type(layer) for layer in model.layers]


def rewritten(model: keras.Model, *names: str) -> keras.Model:
    """By these passes, without the proof."""
    graph = read_graph(model)
    for name in names:
        graph = DEPLOY_PASSES[name](graph)
    return build_graph(graph)


# --- All passes, each pass --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("backbone", "changes"), NETWORKS)
def test_all_passes_together_are_exact(backbone, changes):
    model = network(backbone, **changes)
    before = [w.copy() for w in model.get_weights()]
    deployed = deploy_model(model, clips())
    assert [proof.name for proof in deployed.proofs] == list(DEPLOY_PASSES)
    assert all(proof.max_logit_difference <= proof.bound and proof.argmax_agreement == 1 for proof in deployed.proofs)
    np.testing.assert_allclose(predict_logits(deployed.model, clips()), predict_logits(model, clips()), rtol=0, atol=1e-3)
    assert len(deployed.model.layers) < len(model.layers)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", DEPLOY_PASSES)
@pytest.mark.parametrize(("backbone", "changes"), NETWORKS)
def test_each_pass_alone_is_exact(backbone, changes, name):
    model = network(backbone, **changes)
    atol = rewrites.BOUNDS.get(name, rewrites.MAX_LOGIT_DIFFERENCE)
    np.testing.assert_allclose(rewritten(model, name)(clips(4)), model(clips(4)), rtol=0, atol=atol)


@pytest.mark.parametrize("hrf", [HRFConfig(3), HRFConfig(2, ("both", "attention", "classifier"), 2, inner_bias=True)])
@pytest.mark.parametrize(("backbone", "changes"), NETWORKS)
def test_a_factorized_network_is_rewritten_to_what_folds_to_the_rewritten_fold(backbone, changes, hrf):
    model = network(backbone, **changes, hrf=hrf)
    names = [name for name in DEPLOY_PASSES if name != "fuse"]  # which waits for the fold where attention is factorized
    before, after = (rewritten(m, *names) for m in (model, fold_model(model)))
    assert {layer.name for layer in before.layers if isinstance(layer, HRFDense)} == set(foldable_layers(model))
    np.testing.assert_allclose(before(clips(4)), model(clips(4)), rtol=0, atol=1e-3)
    for layer, expected in zip(fold_model(before).layers, after.layers, strict=True):
        for a, b in zip(layer.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=layer.name)


def test_passes_do_nothing_the_second_time():
    once = rewritten(network("conformer", norm="layer", num_layers=2), *DEPLOY_PASSES)
    twice = rewritten(once, *DEPLOY_PASSES)
    assert [layer.name for layer in twice.layers] == [layer.name for layer in once.layers]
    for a, b in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_without_passes_the_network_is_its_copy():
    model = network("conformer")
    deployed = deploy_model(model, clips(4), [])
    assert deployed.proofs == ()
    np.testing.assert_array_equal(predict_logits(deployed.model, clips(4)), predict_logits(model, clips(4)))


def test_an_unknown_pass_is_told():
    with pytest.raises(ConfigError, match="no deploy pass 'magic'; known: batch_norm, constants"):
        deploy_model(network("conformer"), clips(2), ["batch_norm", "magic"])


# --- What each pass does ----------------------------------------------------------------------------------------------


def test_no_batch_norm_is_left():
    assert keras.layers.BatchNormalization not in kinds(rewritten(network("conformer"), "batch_norm"))


def _after_an_activation(x):
    return keras.layers.BatchNormalization()(keras.layers.Dense(5, activation="relu", name="d")(x))


def _before_a_dense(x):
    return keras.layers.Dense(5)(keras.layers.BatchNormalization()(keras.layers.ReLU()(x)))


def _with_two_readers(x):
    dense = keras.layers.Dense(5, name="d")(x)
    return keras.layers.Add()([dense, keras.layers.BatchNormalization()(dense)])


def _without_scale_or_bias(x):
    return keras.layers.BatchNormalization(scale=False)(keras.layers.Dense(5, use_bias=False)(x))


@pytest.mark.parametrize(
    ("make", "left"), [(_after_an_activation, 1), (_before_a_dense, 0), (_with_two_readers, 1), (_without_scale_or_bias, 0)]
)
def test_a_batch_norm_goes_where_that_is_exact(make, left):
    inputs = keras.Input((3, 4))
    model = perturb(keras.Model(inputs, make(inputs)))
    result = rewritten(model, "batch_norm")
    assert kinds(result).count(keras.layers.BatchNormalization) == left
    x = np.random.default_rng(0).normal(size=(6, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(result(x), model(x), rtol=1e-5, atol=1e-5)


def test_constants_are_gone():
    graph = read_graph(rewritten(network("conformer", norm="layer"), "constants"))
    assert not [node for node in graph if node.kind == "Scale" or node.config.get("scale") not in (None, 1.0, True)]
    graph = read_graph(rewritten(network("speechformer"), "constants"))
    assert {node.config["scale"] for node in graph if node.kind in ("LocalScores", "AttentionProduct")} == {1.0}


def test_norms_before_dense_layers_lose_their_weights():
    model = rewritten(network("convtransformer", norm="rms", pooling="mean"), "norm_affine")
    assert RMSNorm not in kinds(model) and kinds(model).count(L2Norm) == 3
    model = rewritten(network("convtransformer", norm="layer", pooling="mean"), "norm_affine")
    assert not any(layer.affine for layer in model.layers if isinstance(layer, LayerNorm))
    # After a norm's residual somebody else reads it too.
    post = rewritten(network("convtransformer", norm="rms", norm_position="post", pooling="attention"), "norm_affine")
    assert kinds(post).count(L2Norm) == 0


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("backbone", ["conformer", "convtransformer"])
def test_centring_leaves_no_layer_norm(backbone, pooling):
    model = rewritten(network(backbone, norm="layer", pooling=pooling), *DEPLOY_PASSES)
    assert LayerNorm not in kinds(model)
    assert all(layer.centred for layer in model.layers if isinstance(layer, AddPositions))


def test_a_stream_that_something_else_reads_is_not_centred():
    """Post-norm networks feed their Dense layers from the stream itself."""
    model = network("convtransformer", norm="layer", norm_position="post")
    result = rewritten(model, "centre")
    assert kinds(result).count(LayerNorm) == kinds(model).count(LayerNorm) == 2


def test_projections_become_one():
    model = network("conformer")
    result = rewritten(model, "fuse")
    shapes = {layer.name: layer.get_weights()[0].shape for layer in result.layers if layer.name.endswith("_projections")}
    assert shapes == {"block_0_attention_projections": (8, 24)}
    assert "block_0_attention_query" not in {layer.name for layer in result.layers}


def test_the_image_is_not_copied_to_be_flattened():
    result = rewritten(network("conformer"), "flatten")
    stem = result.get_layer("stem_out")
    assert isinstance(stem, keras.layers.Conv2D) and stem.kernel_size == (1, 4) and stem.output_shape[2] == 1


# --- The proof --------------------------------------------------------------------------------------------------------


def _corrupt(graph):
    node = next(node for node in graph if node.name == "block_0_ffn1_first")
    return graph.replaced(node.with_weights(node.weights[0], node.weights[1] + 0.1))


def test_a_pass_that_is_not_exact_is_caught(monkeypatch):
    monkeypatch.setitem(DEPLOY_PASSES, "fuse", _corrupt)
    with pytest.raises(FoldError, match="pass 'fuse' is not exact: a logit changed by .* Nothing was written"):
        deploy_model(network("conformer"), clips())


def test_a_changed_decision_is_caught_by_itself(monkeypatch):
    monkeypatch.setitem(DEPLOY_PASSES, "fuse", _corrupt)
    monkeypatch.setattr(rewrites, "MAX_LOGIT_DIFFERENCE", np.inf)

    def other_class(graph):
        node = graph["classifier"]
        return graph.replaced(node.with_weights(node.weights[0], node.weights[1] + [1e3, 0, 0, 0]))

    monkeypatch.setitem(DEPLOY_PASSES, "fuse", other_class)
    with pytest.raises(FoldError, match="pass 'fuse' is not exact"):
        deploy_model(network("conformer"), clips())


# --- What it is worth -------------------------------------------------------------------------------------------------


def test_the_two_block_conformer_fits():
    """Width 32, 100 frames of 40 mels, one convolution: at most 95 nodes and 48 kB of arena on this computer."""
    config = ModelConfig(
        num_layers=2, num_heads=4, hidden_dim=32, ffn_dim=128, stem_channels=(16,), norm="layer", pooling="mean"
    )
    features = FeatureConfig(clip_seconds=1.022)
    assert features.num_frames == 100
    model = perturb(build_model(config, features, 8))
    model_bytes = to_int8_tflite(deploy_model(model, clips(8, features)).model, clips(8, features))
    assert describe(model_bytes).num_nodes <= 95
    assert TFLMRunner(model_bytes).arena().total <= 48_000
