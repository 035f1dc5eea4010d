"""A conversion's figures agree with the models they are of, and every form decides as it should."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import tf_keras as keras

from kser.config import QuantizationConfig
from kser.errors import ConfigError, FoldError, ModelFileError
from kser.export import convert, exporter
from kser.export.fold import fold_model
from kser.export.rewrites import deploy_model
from kser.export.run_exporter import export_run
from kser.models.hrf import HRFDense
from kser.models.inference import predict_logits
from kser.tflite import interpreter, model_file, op_graph
from kser.training import run_directory
from kser.training.metrics import METRICS, score
from tests import tiny
from tests.tiny_run import NUM_REPRESENTATIVE

FORMS = ["keras", "folded", "deployed", "fake_quant", "tflite", "tflm"]


@pytest.fixture
def part(trained):
    return trained.run_data().part(trained.run, "test")


def test_the_report_is_what_the_file_says(trained):
    model_bytes, report = trained.result.model_bytes, trained.result.report
    description = op_graph.describe(model_bytes)
    assert report["sha256"] == hashlib.sha256(model_bytes).hexdigest()
    assert report["bytes"] == len(model_bytes)
    assert report["nodes"] == description.num_nodes and report["ops"] == description.ops
    assert report["multiply_accumulates"] == op_graph.describe(model_bytes).multiply_accumulates > 0
    assert report["quantization"]["representative_clips"] == NUM_REPRESENTATIVE
    assert report == json.loads(json.dumps(report))


def test_the_report_is_what_the_fold_proved(trained):
    fold, report = trained.result.report["fold"], trained.result.report
    assert fold["max_logit_difference"] <= 1e-5 and fold["argmax_agreement"] == 1
    assert report["parameters"] == fold["parameters_after"] == fold["parameters_plain"] < fold["parameters_before"]
    assert fold["clips"] == sum(u.speaker in trained.run.test_speakers for u in trained.corpus.utterances)


def test_the_arena_is_the_models(trained):
    arena = trained.result.report["arena_bytes"]
    assert (
        arena["total"] == arena["head"] + arena["tail"] == interpreter.TFLMRunner(trained.result.model_bytes).arena().total
    )
    assert interpreter.TFLMRunner(trained.result.model_bytes, arena_bytes=arena["smallest_that_loads"])
    with pytest.raises(ModelFileError, match="needs a tensor arena of more than"):
        interpreter.TFLMRunner(trained.result.model_bytes, arena_bytes=arena["smallest_that_loads"] - 16)


def test_scores_are_of_each_form(trained, part):
    model, report = run_directory.load_model(trained.run), trained.result.report
    logits = {
        "keras": predict_logits(model, part.features),
        "folded": predict_logits(fold_model(model), part.features),
        "deployed": predict_logits(deploy_model(fold_model(model), part.features).model, part.features),
        "tflite": interpreter.LiteRTRunner(trained.result.model_bytes).logits(part.features),
        "tflm": interpreter.TFLMRunner(trained.result.model_bytes).logits(part.features),
    }
    assert list(report["scores"]) == [row["stage"] for row in trained.result.parity["stages"]] == FORMS
    for form, values in logits.items():
        expected = score(part.labels, values.argmax(1), len(tiny.LABELS))
        assert report["scores"][form] == {metric: getattr(expected, metric) for metric in METRICS}
        assert report["agreement_with_keras"][form] == np.mean(values.argmax(1) == logits["keras"].argmax(1))
    assert report["agreement_with_keras"]["folded"] == 1
    np.testing.assert_array_equal(logits["tflm"], logits["tflite"])


def test_int8_is_close_to_float(trained, part):
    logits = predict_logits(run_directory.load_model(trained.run), part.features)
    difference = np.abs(interpreter.TFLMRunner(trained.result.model_bytes).logits(part.features) - logits)
    # A sound int8 conversion of so small a network is off by a few steps of its output, a broken one by its range.
    assert difference.mean() < 0.1 * np.ptp(logits)
    assert trained.result.report["mean_logit_difference_from_keras"]["tflm"] == pytest.approx(difference.mean(), rel=1e-6)


def test_the_float_model_computes_as_keras(trained, part):
    logits = predict_logits(run_directory.load_model(trained.run), part.features)
    np.testing.assert_allclose(interpreter.LiteRTRunner(trained.result.float_model).logits(part.features), logits, atol=1e-4)


def test_a_fold_beyond_its_bound_is_not_converted(trained, part, monkeypatch):
    def off_by_a_little(model):
        folded = fold_model(model)
        weights = folded.get_layer("classifier").get_weights()
        folded.get_layer("classifier").set_weights([weights[0], weights[1] + np.float32([1e-3, 0, 0])])
        return folded

    def converted(*_):
        raise AssertionError("a fold that is not exact was converted")

    monkeypatch.setattr(exporter, "fold_model", off_by_a_little)
    monkeypatch.setattr(convert, "to_float_tflite", converted)
    with pytest.raises(FoldError, match="a logit changed by 1.00e-03"):
        export_run(trained.run, part.features, part)


def test_metadata_that_changes_the_logits_is_refused(trained, part, monkeypatch):
    float_model = trained.result.float_model
    monkeypatch.setattr(convert, "to_float_tflite", lambda model: float_model)
    monkeypatch.setattr(convert, "to_int8_tflite", lambda model, clips: trained.result.model_bytes)
    monkeypatch.setattr(model_file, "add_metadata", lambda model_bytes, metadata: float_model)
    with pytest.raises(ModelFileError, match="different logits with its metadata than without; nothing was written"):
        export_run(trained.run, part.features, part)


# --- Without a run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantize", ["ptq", "int16x8", "float"])
def test_a_users_own_model_is_exported_without_a_run(quantize):
    inputs = keras.Input((12, 8))
    hidden = HRFDense(16, "relu", expansion=2)(keras.layers.Reshape((1, 12, 8))(inputs))
    model = keras.Model(inputs, HRFDense(3, expansion=2)(keras.layers.GlobalAveragePooling2D()(hidden)))
    features = np.random.default_rng(0).normal(size=(40, 12, 8)).astype(np.float32)
    labels = features.mean((1, 2)).round().astype(int) % 3
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(features, labels, verbose=0)
    result = exporter.export(
        model, features, features, labels, QuantizationConfig(quantize), metadata={"labels": ["a", "b", "c"]}
    )
    assert result.report["fold"]["parameters_plain"] is None
    assert result.report["parameters"] == 8 * 16 + 16 + 16 * 3 + 3 < result.report["fold"]["parameters_before"]
    assert result.parity["layers"]["beyond_bound"] == [] and result.parity["layers"]["largest_steps"] < 1
    assert result.parity["first_beyond_bound"] is None and result.report["agreement_with_keras"]["tflm"] > 0.9
    metadata = model_file.read_metadata(result.model_bytes)
    assert metadata["labels"] == ["a", "b", "c"] and metadata["quantization"]["quantize"] == quantize
    assert result.report == json.loads(json.dumps(result.report))


def test_held_out_data_of_another_shape_is_refused():
    model = keras.Sequential([keras.Input((6,)), HRFDense(3)])
    x = np.zeros((4, 6), np.float32)
    with pytest.raises(ConfigError, match=r"Held-out data must be float32 \(n, 6\), not float32 \(4, 5\)"):
        exporter.export(model, x, x[:, 1:], np.zeros(4, int))
