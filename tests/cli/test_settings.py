"""Flags follow from the settings: one for each, unset by default, and back into settings."""

from __future__ import annotations

import dataclasses

import pytest
from absl import flags
from absl.testing import flagsaver

from kser.cli import settings
from kser.config import (
    AUGMENT_OFF,
    RECOMMENDED_HRF,
    AugmentConfig,
    DataConfig,
    FeatureConfig,
    HRFConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from kser.errors import ConfigError
from kser.models.presets import BACKBONES, plain, preset

FLAGS = flags.FLAGS
MICRO = preset("conformer", "micro")
GROUPS = {FeatureConfig: "", ModelConfig: "", HRFConfig: "hrf_", DataConfig: "", AugmentConfig: "", TrainConfig: ""}


@pytest.fixture(scope="module", autouse=True)
def _defined():
    before = set(FLAGS)
    settings.define_run()
    yield
    for name in set(FLAGS) - before:
        delattr(FLAGS, name)


def parse(*arguments: str, preset: ModelConfig = MICRO) -> RunConfig:
    """The settings a command line gives."""
    with flagsaver.flagsaver():
        FLAGS(["train", *arguments])
        return settings.run_config(preset)


def test_without_flags_all_is_as_recommended():
    """What the README's figures were trained with."""
    config = parse()
    assert config == RunConfig(model=dataclasses.replace(MICRO, hrf=RECOMMENDED_HRF))
    assert (config.model.hrf.expansion, config.augment.augment) == (4, "speed:0.1,noise:10,spec:1,mixup:0.2")
    assert (config.train.select, config.model.dropout) == ("auto", 0.1)
    assert [parse(preset=preset(name, "light")).model.dropout for name in BACKBONES] == [0.2, 0.2, 0.2]


def test_validation_speakers_are_asked_for_to_choose_the_epoch():
    assert parse("--validation_speakers=3").train.select == "validation"
    assert parse("--validation_speakers=0").train.select == "validation"
    assert parse("--validation_speakers=3", "--select=auto").train.select == "auto"


def test_the_presets_sizes_hold_unless_a_flag_is_given():
    light = preset("conformer", "light")
    assert plain(parse(preset=light).model) == light
    assert plain(parse("--num_layers=1", preset=light).model) == dataclasses.replace(light, num_layers=1)
    assert parse("--hrf_init=glorot").model.hrf == HRFConfig(4, init="glorot")


def test_a_backbone_may_have_a_learning_rate_of_its_own():
    speechformer = preset("speechformer", "light")
    assert parse(preset=speechformer).train == TrainConfig(learning_rate=1e-3)
    assert parse("--learning_rate=3e-4", preset=speechformer).train == TrainConfig(learning_rate=3e-4)
    assert parse(preset=preset("convtransformer", "light")).train == TrainConfig()


@pytest.mark.parametrize("cls", GROUPS, ids=lambda cls: cls.__name__)
def test_every_setting_has_its_flag(cls):
    for setting in dataclasses.fields(cls):
        if "help" in setting.metadata:
            flag = FLAGS[GROUPS[cls] + setting.name]
            assert flag.value is None and setting.metadata["help"] in flag.help and "Default: " in flag.help


def test_every_kind_of_value():
    config = parse(
        *("--num_mels=32", "--window_ms=25.5", "--stem_channels=8,24", "--activation=relu", "--dataset=ravdess"),
        *("--hrf_expansion=4", "--hrf_where=first", "--hrf_inner_bias", "--augment=gain:3,spec:1"),
        *("--split=3", "--shuffle_labels", "--label_set=4class", "--learning_rate=1e-3", "--augment_variants=2"),
    )
    assert config.features == FeatureConfig(num_mels=32, window_ms=25.5)
    assert config.model == dataclasses.replace(
        MICRO, stem_channels=(8, 24), activation="relu", hrf=HRFConfig(4, ("first",), inner_bias=True)
    )
    assert config.data == DataConfig("ravdess", label_set="4class", split=3, shuffle_labels=True)
    assert config.augment == AugmentConfig("gain:3,spec:1", 2)
    assert config.train == TrainConfig(learning_rate=1e-3)


def test_flags_are_told_from_settings():
    model = dataclasses.replace(MICRO, hidden_dim=48, num_heads=3, stem_channels=(4, 8, 16), activation="relu", dropout=0.25)
    features = FeatureConfig(hop_ms=12.5, remove_level=False)
    lines = [*settings.flags_for(model, MICRO), *settings.flags_for(features, FeatureConfig())]
    assert "--stem_channels=4,8,16" in lines and "--noremove_level" in lines and len(lines) == 7
    assert parse(*lines, "--hrf_expansion=0") == RunConfig(model=model, features=features)
    assert settings.flags_for(FeatureConfig(), features) == ["--hop_ms=10.0", "--remove_level"]
    assert settings.flags_for(MICRO, MICRO) == []


def test_a_flag_may_give_the_neutral_value():
    assert parse("--hrf_expansion=0", "--nohrf_inner_bias").model == MICRO


def test_augmentation_is_switched_off_whole_or_but_for_a_part():
    assert parse("--augment=none").augment == AUGMENT_OFF
    assert parse("--augment=gain:3").augment == AugmentConfig("gain:3")


def test_a_split_is_a_number_or_all_of_them():
    with flagsaver.flagsaver():
        FLAGS(["train", "--split=all"])
        assert settings.all_splits() and settings.run_config(MICRO).data == DataConfig()
    with flagsaver.flagsaver():
        FLAGS(["train", "--split=2"])
        assert not settings.all_splits() and settings.run_config(MICRO).data == DataConfig(split=2)
    assert not settings.all_splits()


def test_flags_from_a_file(tmp_path):
    (tmp_path / "flags").write_text("# tried first\n--num_mels=32\n\n--hrf_expansion=4\n--augment=none\n")
    config = parse(f"--flagfile={tmp_path}/flags", "--num_mels=24")  # the later one counts
    assert (config.features.num_mels, config.model.hrf.expansion, config.augment) == (24, 4, AUGMENT_OFF)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--num_mels=-4", "num_mels must be a whole number from 4 to 128, not -4"),
        ("--hidden_dim=-1", "hidden_dim must be a whole number"),
        ("--epochs=0", "epochs must be a whole number from 1"),
        ("--learning_rate=nan", "learning_rate must be a number"),
        ("--stem_channels=8,x", "stem_channels must be a whole number from 1 to 512, not 'x'"),
        ("--stem_channels=8,-2", "not -2"),
        ("--stem_channels=--3", "not '--3'"),
        ("--stem_channels=3²", "not '3²'"),
        ("--stem_channels=", "stem_channels must be a list of whole numbers"),
        ("--num_heads=5", "must be a multiple of num_heads"),
        ("--lower_hz=7900", "must be below upper_hz"),
        ("--hrf_where=first,third", "where must be one of first, second, .*, not 'third'"),
        ("--hrf_override=x", "override must be PATTERN=EXPANSION .*, not 'x'"),
        ("--hrf_override=(=2", "'\\(' in override is not a regular expression"),
        ("--augment=mixup:-0.1", "augment's mixup must be a number from 0.01 to 10, not -0.1"),
        ("--augment=gain_db:3", "augment has no 'gain_db'; it knows speed, "),
        ("--augment=spec:1,gain:3", "augment must keep the order of the stages"),
        ("--augment_variants=0", "augment_variants must be a whole number from 1 to 64"),
        ("--split=0", "split must be a whole number from 1 to 1000, not 0"),
        ("--split=1.5", "split must be a number or 'all', not '1.5'"),
        ("--split=All", "split must be a number or 'all', not 'All'"),
        ("--split=", "split must be a number or 'all', not ''"),
        ("--hrf_expansion=65", "expansion must be a whole number from 0 to 64"),
    ],
)
def test_values_out_of_range(argument, message):
    with pytest.raises(ConfigError, match=message):
        parse(argument)


@pytest.mark.parametrize(
    ("preset_of", "argument", "message"),
    [
        ("conformer", "--norm_position=post", "conformer has no norm_position; it is a setting of convtransformer"),
        ("convtransformer", "--kernel_size=7", "convtransformer has no kernel_size; it is a setting of conformer"),
        ("speechformer", "--num_layers=3", "no num_layers; it is a setting of conformer and convtransformer"),
        ("conformer", "--stage_layers=1,1,1,1", "conformer has no stage_layers; it is a setting of speechformer"),
    ],
)
def test_a_setting_of_other_backbones_is_refused(preset_of, argument, message):
    with pytest.raises(ConfigError, match=message):
        parse(argument, preset=preset(preset_of, "micro"))


@pytest.mark.parametrize("argument", ["--epochs=abc", "--epochs=1.5", "--backbone=foo", "--nonsense"])
def test_values_that_no_flag_takes(argument):
    with pytest.raises(flags.Error):
        parse(argument)
