"""The deploy passes: each exact by itself and with the others, on every backbone, and caught where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from kser.config import FeatureConfig, HRFConfig, ModelConfig
from kser.errors import ConfigError, FoldError
from kser.export import rewrites
from kser.export.convert import to_int8_tflite
from kser.export.fold import fold_model, foldable_layers
from kser.export.rewrites import DEPLOY_PASSES, deploy_model
from kser.models.hrf import HRFDense
from kser.models.inference import predict_logits
from kser.models.presets import build_model
from kser.tflite.interpreter import TFLMRunner
from kser.tflite.op_graph import describe
from tests.export.rewrites.rewritten import rewritten
from tests.networks import NETWORKS, clips, network, perturb


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
    atol = rewrites.BOUNDS.get(name, rewrites.MAX_REWRITE_DIFFERENCE)
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


def _corrupt(graph):
    node = next(node for node in graph if node.name == "block_0_ffn1_first")
    return graph.replaced(node.with_weights(node.weights[0], node.weights[1] + 0.1))


def test_a_pass_that_is_not_exact_is_caught(monkeypatch):
    monkeypatch.setitem(DEPLOY_PASSES, "fuse", _corrupt)
    with pytest.raises(FoldError, match="pass 'fuse' is not exact: a logit changed by .* Nothing was written"):
        deploy_model(network("conformer"), clips())


def test_a_changed_decision_is_caught_by_itself(monkeypatch):
    monkeypatch.setitem(DEPLOY_PASSES, "fuse", _corrupt)
    monkeypatch.setattr(rewrites, "MAX_REWRITE_DIFFERENCE", np.inf)

    def other_class(graph):
        node = graph["classifier"]
        return graph.replaced(node.with_weights(node.weights[0], node.weights[1] + [1e3, 0, 0, 0]))

    monkeypatch.setitem(DEPLOY_PASSES, "fuse", other_class)
    with pytest.raises(FoldError, match="pass 'fuse' is not exact"):
        deploy_model(network("conformer"), clips())


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
