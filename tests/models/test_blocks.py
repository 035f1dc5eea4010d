"""Where HRF stands in each backbone, its overrides, its depth and forms; and that all of it folds away."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kser.config import FeatureConfig, HRFConfig
from kser.errors import ConfigError
from kser.export.fold import fold_model, prove
from kser.models.hrf import HRFDense
from kser.models.inference import predict_logits
from kser.models.presets import PRESETS, build_model, plain

FEATURES = FeatureConfig(clip_seconds=0.6, num_mels=16, hop_ms=20)
NUM_CLASSES = 4
# The Dense layers of one block (of the last stage) that each role reaches.
SMALL = {
    "conformer": {"num_layers": 1, "hidden_dim": 8, "ffn_dim": 12, "kernel_size": 3, "stem_channels": (4, 4)},
    "convtransformer": {"num_layers": 1, "hidden_dim": 8, "ffn_dim": 12, "stem_channels": (4, 4)},
    "speechformer": {"stage_layers": (1, 1, 1, 1), "hidden_dim": 8, "ffn_dim": 6, "head_layers": 2},
}
ATTENTION = {f"attention_{role}" for role in ("query", "key", "value", "out")}
ROLES = {
    "conformer": {
        "first": {"ffn1_first", "ffn2_first"},
        "second": {"ffn1_second", "ffn2_second"},
        "attention": ATTENTION,
        "pointwise": {"conv_gate", "conv_value", "conv_out"},
    },
    "convtransformer": {"first": {"ffn_first"}, "second": {"ffn_second"}, "attention": ATTENTION, "pointwise": set()},
    "speechformer": {"first": {"ffn_first"}, "second": {"ffn_second"}, "attention": ATTENTION, "pointwise": set()},
}
CLASSIFIER = {
    "conformer": {"classifier"},
    "convtransformer": {"classifier"},
    "speechformer": {"classifier", "head_0", "head_1"},
}


def small_config(backbone: str, hrf: HRFConfig, **changes):
    return dataclasses.replace(PRESETS[backbone, "micro"], **SMALL[backbone], hrf=hrf, **changes)


def small_model(backbone: str, hrf: HRFConfig):
    return build_model(small_config(backbone, hrf), FEATURES, NUM_CLASSES)


def clips(num_clips: int) -> np.ndarray:
    shape = (num_clips, FEATURES.num_frames, FEATURES.num_mels)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def factorized(model) -> set[str]:
    return {layer.name for layer in model.layers if isinstance(layer, HRFDense)}


@pytest.mark.parametrize("role", ["first", "second", "attention", "pointwise", "classifier"])
@pytest.mark.parametrize("backbone", sorted(SMALL))
def test_each_role_reaches_its_layers(backbone, role):
    names = factorized(small_model(backbone, HRFConfig(2, (role,))))
    if role == "classifier":
        assert names == CLASSIFIER[backbone]
    else:
        assert {name.split("_", 2)[2] for name in names} == ROLES[backbone][role]


@pytest.mark.parametrize("backbone", sorted(SMALL))
def test_everything_at_once_folds_away(backbone):
    hrf = HRFConfig(3, ("both", "attention", "pointwise", "classifier"), depth=2, inner_bias=True)
    config = small_config(backbone, hrf)
    model = build_model(config, FEATURES, NUM_CLASSES)
    rng = np.random.default_rng(1)
    model.set_weights([(w + 0.05 * np.abs(rng.normal(size=w.shape))).astype(np.float32) for w in model.get_weights()])
    proof = prove(model, fold_model(model), build_model(plain(config), FEATURES, NUM_CLASSES), clips(16))
    assert proof.argmax_agreement == 1 and len(proof.layers) == len(factorized(model)) >= 6
    assert {layer.depth for layer in proof.layers} == {2}


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("backbone", sorted(SMALL))
def test_hrf_starts_as_the_plain_network(backbone, depth):
    hrf = HRFConfig(2, ("both", "attention", "pointwise", "classifier"), depth)
    before, after = (predict_logits(small_model(backbone, h), clips(4)) for h in (HRFConfig(), hrf))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)  # float32 rounding of a few layers


def test_an_override_decides_for_the_layers_it_names():
    hrf = HRFConfig(2, ("first",), override="block_0_ffn1_.*=3;.*_query=5;.*ffn2.*=0")
    model = small_model("conformer", hrf)
    expansions = {layer.name: layer.expansion for layer in model.layers if isinstance(layer, HRFDense)}
    assert expansions == {"block_0_ffn1_first": 3, "block_0_ffn1_second": 3, "block_0_attention_query": 5}


def test_an_override_alone_factorizes():
    assert factorized(small_model("convtransformer", HRFConfig(override="stem_out=2"))) == {"stem_out"}


def test_an_override_that_matches_nothing_is_told():
    with pytest.raises(ConfigError, match="override 'blok.*' matches no Dense layer of conformer"):
        small_model("conformer", HRFConfig(2, override="classifier=2;blok.*=3"))
