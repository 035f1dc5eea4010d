"""The counts of a Keras graph against those of the converted model."""

from __future__ import annotations

import dataclasses

import pytest

from kser.config import FeatureConfig, HRFConfig
from kser.export.convert import to_float_tflite
from kser.models.presets import PRESETS, build_model
from kser.models.size import multiply_accumulates, num_tokens
from kser.tflite.op_graph import describe

FEATURES = FeatureConfig(clip_seconds=1)


@pytest.mark.parametrize(
    ("backbone", "pooling"),
    [("conformer", "mean"), ("convtransformer", "attention"), ("convtransformer", "statistics"), ("speechformer", "mean")],
)
def test_multiply_accumulates_are_those_of_the_converted_model(backbone, pooling):
    config = dataclasses.replace(PRESETS[backbone, "micro"], pooling=pooling)
    model = build_model(config, FEATURES, num_classes=4)
    assert multiply_accumulates(model) == describe(to_float_tflite(model)).multiply_accumulates
    factorized = dataclasses.replace(config, hrf=HRFConfig(4, ("both", "attention", "classifier")))
    assert multiply_accumulates(build_model(factorized, FEATURES, num_classes=4)) == multiply_accumulates(model)


def test_tokens_of_each_stage():
    assert num_tokens(build_model(PRESETS["conformer", "micro"], FeatureConfig(), 4)) == (62,)
    assert num_tokens(build_model(PRESETS["speechformer", "micro"], FeatureConfig(), 4)) == (247, 50, 10, 3)
