"""Settings: what is accepted, what is refused in which words, what follows from them, and the way through JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from kser.config import (
    AUGMENT_OFF,
    AUGMENTATIONS,
    SAMPLE_RATE_HZ,
    STAGES,
    AugmentConfig,
    DataConfig,
    FeatureConfig,
    HRFConfig,
    ModelConfig,
    QuantizationConfig,
    RunConfig,
    SmoothingConfig,
    TrainConfig,
    from_dict,
    to_dict,
)
from kser.errors import ConfigError


def other(cls, name: str):
    """A value of a choice or a switch that is not its default."""
    setting = {field.name: field for field in dataclasses.fields(cls)}[name]
    choices = setting.metadata["choices"] or (True, False)
    return next(value for value in choices if value != setting.default)


# Every setting differs from its default (but for the backbone, there is one), so that one that is lost on the way shows.
UNUSUAL = RunConfig(
    DataConfig("ravdess", "an_option", "4class", "leave_one_speaker_out", 2, 7, "folder", True, "path:file"),
    FeatureConfig(
        window_ms=27.0,
        hop_ms=9.0,
        num_mels=23,
        lower_hz=83.0,
        upper_hz=7100.0,
        log_floor=3e-3,
        noise_dbfs=-61.0,
        remove_level=other(FeatureConfig, "remove_level"),
        clip_seconds=2.3,
    ),
    ModelConfig(
        num_layers=7,
        num_heads=11,
        hidden_dim=55,
        ffn_dim=97,
        kernel_size=9,
        stem_channels=(3, 5, 7),
        activation=other(ModelConfig, "activation"),
        norm=other(ModelConfig, "norm"),
        pooling=other(ModelConfig, "pooling"),
        dropout=0.23,
        hrf=HRFConfig(
            3, ("second", "classifier"), 2, other(HRFConfig, "init"), other(HRFConfig, "inner_bias"), "layers", "a.*=2;b=0"
        ),
        backbone="speechformer",
        norm_position="post",
        stage_layers=(1, 3, 5, 7),
        stage_widening=(2, 1, 3),
        head_layers=1,
    ),
    AugmentConfig("codec:0.43,gain:8.7,spec:0.7", 7),
    TrainConfig(71, 13, 1.3e-3, 0.13, 0.017, "adam", "factors", 0.23, 0.57, 3, 0.37, "last"),
    SmoothingConfig(700.0, 2100.0, 0.2, 1400.0, -50.0),
)


def through_json(config):
    return from_dict(type(config), json.loads(json.dumps(to_dict(config))))


def refusal(make) -> str:
    """The message of the ConfigError that `make` ends in: one sentence."""
    with pytest.raises(ConfigError) as error:
        make()
    message = str(error.value)
    assert message.endswith(".") and ". " not in message and "\n" not in message, message
    return message


def test_the_unusual_run_has_no_default_left():
    def same(ours, default) -> list[str]:
        return [name for name in ours if ours[name] == default[name]]

    ours, default = to_dict(UNUSUAL), to_dict(RunConfig())
    assert [same(ours[part], default[part]) for part in ours] == [[]] * len(ours)
    assert same(ours["model"]["hrf"], default["model"]["hrf"]) == []


@pytest.mark.parametrize("config", [RunConfig(), UNUSUAL], ids=["default", "unusual"])
def test_json_round_trip(config):
    assert through_json(config) == config
    assert isinstance(through_json(config).model.stem_channels, tuple)  # hashable again


def test_a_missing_setting_takes_its_default():
    assert from_dict(RunConfig, {"features": {"num_mels": 32}}) == RunConfig(features=FeatureConfig(num_mels=32))


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FeatureConfig().num_mels = 3


@pytest.mark.parametrize(
    ("values", "unknown", "owner"),
    [
        ({"colour": "red"}, "colour", "RunConfig"),
        ({"features": {"n_mels": 40}}, "n_mels", "FeatureConfig"),
        ({"model": {"hrf": {"rank": 4}}}, "rank", "HRFConfig"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(values, unknown, owner):
    message = refusal(lambda: from_dict(RunConfig, values))
    known = {"RunConfig": "features", "FeatureConfig": "num_mels", "HRFConfig": "expansion"}[owner]
    assert repr(unknown) in message and owner in message and known in message


@pytest.mark.parametrize("values", [3, "features", None, ["features"]])
def test_what_is_no_mapping_is_refused(values):
    assert "RunConfig" in refusal(lambda: from_dict(RunConfig, values))
    assert "FeatureConfig" in refusal(lambda: from_dict(RunConfig, {"features": values}))


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (FeatureConfig, "num_mels", -40),
        (FeatureConfig, "num_mels", 0),
        (FeatureConfig, "num_mels", 129),
        (FeatureConfig, "num_mels", 40.0),
        (FeatureConfig, "num_mels", True),
        (FeatureConfig, "num_mels", "40"),
        (FeatureConfig, "num_mels", None),
        (FeatureConfig, "window_ms", -25.0),
        (FeatureConfig, "window_ms", math.nan),
        (FeatureConfig, "hop_ms", 0.0),
        (FeatureConfig, "clip_seconds", math.inf),
        (FeatureConfig, "clip_seconds", True),
        (FeatureConfig, "log_floor", 0.0),
        (FeatureConfig, "upper_hz", SAMPLE_RATE_HZ / 2 + 1),
        (FeatureConfig, "noise_dbfs", 0.0),
        (SmoothingConfig, "hysteresis", 1.5),
        (SmoothingConfig, "silence_dbfs", 1.0),
        (SmoothingConfig, "decision_ms", 0.0),
        (HRFConfig, "expansion", -1),
        (HRFConfig, "inner_bias", 1),
        (ModelConfig, "num_layers", 0),
        (ModelConfig, "hidden_dim", -32),
        (ModelConfig, "dropout", 1.0),
        (ModelConfig, "stem_channels", ()),
        (ModelConfig, "stem_channels", (8, -16)),
        (ModelConfig, "stem_channels", (8, True)),
        (ModelConfig, "stem_channels", 8),
        (AugmentConfig, "augment", 3),
        (AugmentConfig, "augment_variants", 0),
        (AugmentConfig, "augment_variants", 65),
        (DataConfig, "dataset", 3),
        (DataConfig, "label_set", None),
        (DataConfig, "split", 0),
        (DataConfig, "validation_speakers", -1),
        (DataConfig, "shuffle_labels", 1),
        (TrainConfig, "epochs", -1),
        (TrainConfig, "batch_size", 0),
        (TrainConfig, "learning_rate", 0.0),
        (TrainConfig, "seed", -1),
    ],
)
def test_a_value_out_of_range_is_told_in_one_sentence(cls, name, value):
    message = refusal(lambda: cls(**{name: value}))
    assert message.startswith(name) and (repr(value) in message or repr(value[-1]) in message)


@pytest.mark.parametrize(
    ("cls", "name", "choices"),
    [
        (HRFConfig, "form", ("product", "layers")),
        (HRFConfig, "init", ("spectral", "identity", "glorot")),
        (ModelConfig, "backbone", ("conformer", "convtransformer", "speechformer")),
        (ModelConfig, "norm_position", ("pre", "post")),
        (ModelConfig, "activation", ("relu", "swish", "hard_swish")),
        (ModelConfig, "norm", ("layer", "rms")),
        (ModelConfig, "pooling", ("mean", "attention", "statistics")),
        (TrainConfig, "hrf_balance", ("adam", "none")),
        (TrainConfig, "hrf_decay", ("kernel", "product", "factors")),
    ],
)
def test_choices(cls, name, choices):
    for choice in choices:
        assert getattr(cls(**{name: choice}), name) == choice
    message = refusal(lambda: cls(**{name: "gelu"}))
    assert message.startswith(name) and "'gelu'" in message and all(choice in message for choice in choices)


@pytest.mark.parametrize("where", [("first",), ("both", "attention"), ("pointwise", "classifier")])
def test_where_hrf_stands_is_a_list_of_choices(where):
    assert HRFConfig(where=where).where == where
    assert "where must be a list" in refusal(lambda: HRFConfig(where=where[0]))
    assert "where must be a list" in refusal(lambda: HRFConfig(where=()))
    assert "not 'gelu'" in refusal(lambda: HRFConfig(where=(*where, "gelu")))


def test_overrides_are_patterns_and_expansions():
    assert HRFConfig(override="block_[01]_.*=8;classifier=0").overrides() == (("block_[01]_.*", 8), ("classifier", 0))
    assert HRFConfig(override="a=b=3").overrides() == (("a=b", 3),) and HRFConfig().overrides() == ()


@pytest.mark.parametrize("override", ["block", "=3", "a=", "a=-1", "a=65", "a=1.5", "(=2", "a=1;b"])
def test_an_override_that_is_none_is_told(override):
    assert "override" in refusal(lambda: HRFConfig(override=override))


@pytest.mark.parametrize(("name", "value"), [("stage_layers", (1, 2, 3)), ("stage_widening", (1, 1, 1, 1))])
def test_stages_are_given_for_all(name, value):
    assert refusal(lambda: ModelConfig(**{name: value})).startswith(f"{name} must be")


@pytest.mark.parametrize(
    ("cls", "values", "names"),
    [
        (FeatureConfig, {"lower_hz": 4000.0, "upper_hz": 4000.0}, ("lower_hz", "upper_hz")),
        (FeatureConfig, {"window_ms": 20.0, "hop_ms": 20.5}, ("window_ms", "hop_ms")),
        (SmoothingConfig, {"decision_ms": 500, "average_ms": 400}, ("average_ms", "decision_ms")),
        (SmoothingConfig, {"decision_ms": 10, "average_ms": 650}, ("average_ms", "decision_ms")),
        (FeatureConfig, {"window_ms": 128.0, "clip_seconds": 0.1}, ("clip_seconds", "128 ms")),
        (ModelConfig, {"hidden_dim": 30, "num_heads": 4}, ("hidden_dim", "num_heads")),
        (ModelConfig, {"kernel_size": 4}, ("kernel_size", "odd")),
    ],
)
def test_settings_that_do_not_fit_each_other(cls, values, names):
    message = refusal(lambda: cls(**values))
    assert all(name in message for name in names)


def test_smoothing_counts_decisions():
    smoothing = SmoothingConfig(decision_ms=250, average_ms=2000, dwell_ms=600)
    assert (smoothing.average_decisions, smoothing.dwell_decisions) == (8, 3)
    assert from_dict(SmoothingConfig, to_dict(smoothing)) == smoothing
    assert from_dict(SmoothingConfig, {}) == SmoothingConfig()


def test_a_whole_number_will_do_for_a_fraction():
    assert FeatureConfig(window_ms=32, hop_ms=16) == FeatureConfig(window_ms=32.0, hop_ms=16.0)


@pytest.mark.parametrize(
    ("window_ms", "samples", "fft_length"), [(4.0, 64, 64), (16.0, 256, 256), (16.0625, 257, 512), (25.0, 400, 512)]
)
def test_window_and_fft_length(window_ms, samples, fft_length):
    config = FeatureConfig(window_ms=window_ms, hop_ms=4.0)
    assert (config.window_samples, config.fft_length) == (samples, fft_length)


@pytest.mark.parametrize(
    ("clip_samples", "num_frames"), [(1600, 1), (1600 + 159, 1), (1600 + 160, 2), (1600 + 161, 2), (48000, 291)]
)
def test_num_frames_counts_the_windows_that_fit_wholly(clip_samples, num_frames):
    config = FeatureConfig(window_ms=100.0, hop_ms=10.0, clip_seconds=clip_samples / SAMPLE_RATE_HZ)
    assert (config.clip_samples, config.num_frames) == (clip_samples, num_frames)


# --- Augmentation -----------------------------------------------------------------------------------------------------


def steps(text: str) -> list[tuple[tuple[str, float], ...]]:
    """Of every stage."""
    return [AugmentConfig(text).steps(stage) for stage in STAGES]


def test_augmentations_are_told_by_stage_in_the_order_given():
    assert steps("codec:0.5,speed:0.1,shift:200,tempo:1e-1,shift:7,mixup:0.2") == [
        (("codec", 0.5), ("speed", 0.1)),
        (("shift", 200.0), ("tempo", 0.1), ("shift", 7.0)),
        (),
        (("mixup", 0.2),),
    ]
    assert steps("gain:3, spec:2") == steps("gain:3,spec:2") == [(), (("gain", 3.0),), (("spec", 2.0),), ()]


def test_none_is_no_augmentation():
    assert steps("none") == [(), (), (), ()] and AUGMENT_OFF == AugmentConfig("none")


@pytest.mark.parametrize("text", ["loudness:3", "", "gain:3,", ",gain:3", "gain:3,,spec:1", "none,gain:3", "Gain:3"])
def test_an_unknown_augmentation_is_told_with_the_known_ones(text):
    message = refusal(lambda: AugmentConfig(text))
    unknown = next(name for name in (part.partition(":")[0] for part in text.split(",")) if name not in AUGMENTATIONS)
    assert f"has no {unknown!r}" in message and all(name in message for name in (*AUGMENTATIONS, "none"))


@pytest.mark.parametrize("text", ["gain", "gain:", "gain:much", "gain:1:2", "gain:3dB", "gain=3"])
def test_an_augmentation_without_a_strength_is_told(text):
    message = refusal(lambda: AugmentConfig(f"tempo:0.1,{text}"))
    assert message.startswith("augment") and repr(text) in message


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_strength_has_its_range(name):
    known = AUGMENTATIONS[name]
    for strength in (known.low, known.high):
        assert AugmentConfig(f"{name}:{strength}").steps(known.stage) == ((name, strength),)
    for strength in (known.low - 1e-3, known.high + 1e-3, math.nan, math.inf):
        message = refusal(lambda strength=strength: AugmentConfig(f"{name}:{strength}"))
        assert f"augment's {name} must be a number from {known.low:g} to {known.high:g}, not {strength!r}" in message


@pytest.mark.parametrize("text", ["gain:3,speed:0.1", "spec:1,gain:3", "mixup:0.2,spec:1", "tempo:0.1,mixup:0.2,shift:3"])
def test_stages_out_of_order_are_told_with_their_order(text):
    message = refusal(lambda: AugmentConfig(text))
    assert message.startswith("augment must keep the order of the stages (speed, ") and repr(text) in message
    assert [message.index(name) for name in AUGMENTATIONS] == sorted(message.index(name) for name in AUGMENTATIONS)


@pytest.mark.parametrize("name, value", [("ranges", "mse"), ("dense_scales", "channel"), ("compress", 4)])
@pytest.mark.parametrize("quantize", ["int16x8", "float"])
def test_settings_of_int8_are_refused_elsewhere(quantize, name, value):
    with pytest.raises(ConfigError, match=f"{name} applies to int8 only, not to {quantize}; leave it out"):
        QuantizationConfig(quantize, **{name: value})
    assert getattr(QuantizationConfig("qat", **{name: value}), name) == value
