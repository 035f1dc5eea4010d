"""What a run's model carries of its run."""

from __future__ import annotations

import hashlib

import numpy as np

from kser.config import FeatureConfig, ModelConfig, QuantizationConfig, SmoothingConfig, from_dict
from kser.export import exporter
from kser.tflite import model_file
from tests import tiny
from tests.tiny_run import NUM_REPRESENTATIVE


def test_the_metadata_tells_all_that_prediction_needs(trained):
    metadata = model_file.read_metadata(trained.result.model_bytes)
    assert tuple(metadata["labels"]) == tiny.LABELS
    assert from_dict(FeatureConfig, metadata["features"]) == tiny.FEATURES
    assert from_dict(ModelConfig, metadata["model"]) == tiny.MODEL
    assert from_dict(SmoothingConfig, metadata["smoothing"]) == SmoothingConfig()
    np.testing.assert_array_equal(np.float32(metadata["normalization"]["mean"]), trained.run.normalization.mean)
    np.testing.assert_array_equal(np.float32(metadata["normalization"]["std"]), trained.run.normalization.std)
    assert metadata["arena_bytes"] == trained.result.report["arena_bytes"]["total"]
    settings = from_dict(QuantizationConfig, metadata["quantization"])
    assert settings == QuantizationConfig(representative_clips=NUM_REPRESENTATIVE)
    certificate = exporter.certificate_json(trained.result.certificate).encode()
    assert metadata["fold_certificate_sha256"] == hashlib.sha256(certificate).hexdigest()
    assert (metadata["corpus"], metadata["protocol"], metadata["split"]) == ("tiny", "", 1)
    assert tuple(metadata["test_speakers"]) == trained.run.test_speakers
    assert (metadata["test_corpus"], metadata["label_set"], metadata["seed"]) == ("tiny", "", trained.run.config.train.seed)
    assert metadata["select"] == trained.run.config.train.select
    assert metadata["test_UA"] == trained.result.report["scores"]["tflm"]["UA"]
