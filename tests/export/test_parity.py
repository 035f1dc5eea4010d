"""The comparison of a model's forms: bounds hold for sound ones, and the first that is not is named with its layer."""

from __future__ import annotations

import numpy as np
import pytest

from kser.export import parity
from kser.export.convert import to_int8_tflite
from kser.export.device_ops import one_operation_each
from kser.export.fake_quant import fake_quantized, rounded_kernels
from kser.export.graph import build_graph, read_graph
from kser.export.parity import Bound, Stage, compare, rounding_bound, worst_layers
from kser.export.ranges import measure_ranges
from kser.export.rewrites import deploy_model
from kser.models.inference import predict_logits, softmax
from kser.tflite import interpreter
from kser.training.metrics import calibration_error
from tests.networks import clips, network

LABELS = np.array([0, 1, 2, 1])
LOGITS = np.float32([[2, 0, 0], [0, 3, 0], [0, 1, 2], [1, 0, 0]])


def stages(*others: Stage) -> list[Stage]:
    return [Stage("keras", LOGITS), *others]


def test_a_row_tells_scores_and_differences():
    moved = LOGITS + np.float32([[0.5, 0, 0], [0, 0, 0], [0, 2.5, 0], [0, 0, 0]])
    found = compare(stages(Stage("same", LOGITS, Bound("max", 0.0, "why")), Stage("moved", moved)), LABELS)
    keras, same, last = found["stages"]
    assert keras["WA"] == 0.75 and keras["same_decision_as_first"] == 1 and "against" not in keras
    assert keras["calibration_error"] == calibration_error(LABELS, softmax(LOGITS))
    assert same["against"] == "keras" and same["max_difference"] == 0 and same["within"]
    assert same["bound"] == {"of": "max", "at_most": 0.0, "because": "why"}
    assert (last["against"], last["max_difference"], last["mean_difference"]) == ("same", 2.5, 0.25)
    assert last["same_decision"] == last["same_decision_as_first"] == 0.75 and "bound" not in last
    assert found["first_beyond_bound"] is None and found["clips"] == 4


@pytest.mark.parametrize(("kind", "at_most", "beyond"), [("max", 0.4, "b"), ("max", 0.6, None), ("mean", 0.04, "b")])
def test_the_first_stage_beyond_its_bound_is_named(kind, at_most, beyond):
    moved = LOGITS + np.float32([[0.5, 0, 0]] + [[0, 0, 0]] * 3)
    bound = Bound(kind, at_most, "")
    found = compare(stages(Stage("a", LOGITS, bound), Stage("b", moved, bound), Stage("c", LOGITS, bound)), LABELS)
    assert found["first_beyond_bound"] == beyond


def test_no_number_is_within_no_bound():
    assert compare(stages(Stage("a", LOGITS * np.nan, Bound("max", 1e9, ""))), LABELS)["first_beyond_bound"] == "a"


def test_calibration_error_is_the_gap_of_confidence_and_accuracy():
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.3, 0.7]] * 10)
    labels = np.array([0] * 6 + [1] * 4 + [1] * 7 + [0] * 3)
    assert calibration_error(labels, probabilities) == pytest.approx(0.5 * 0.3 + 0.5 * 0.0)


# --- A network in int8 ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["conformer", "convtransformer", "speechformer"])
def quantized(request):
    """A graph, the same with rounded kernels, the ranges, and the converted model."""
    graph = one_operation_each(read_graph(deploy_model(network(request.param), clips()).model))
    rounded, ranges = rounded_kernels(graph, {}), measure_ranges(graph, clips())
    return graph, rounded, ranges, to_int8_tflite(fake_quantized(rounded, ranges), clips(4))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())


def test_rounding_stays_within_its_bound_and_a_wrong_scale_does_not(quantized):
    graph, rounded, ranges, model_bytes = quantized
    bound = rounding_bound(graph, rounded, ranges, clips())
    assert bound == rounding_bound(graph, rounded, ranges, clips())
    exact = predict_logits(build_graph(graph), clips())
    simulated = predict_logits(fake_quantized(rounded, ranges), clips())
    assert difference(simulated, exact) <= bound.value < 0.3 * np.ptp(exact)
    assert difference(interpreter.TFLMRunner(model_bytes).logits(clips()), simulated) <= bound.value
    name = max((n for n in ranges if n.endswith("_add")), key=lambda n: ranges[n][1])
    wrong = {**ranges, name: tuple(0.2 * end for end in ranges[name])}
    assert difference(predict_logits(fake_quantized(rounded, wrong), clips()), exact) > bound.value


def test_a_layer_with_a_wrong_scale_is_the_first_to_be_named(quantized):
    graph, rounded, ranges, model_bytes = quantized
    sound = worst_layers(graph, model_bytes, clips())
    assert len(sound) == parity.WORST_LAYERS and [e.snr_db for e in sound] == sorted(e.snr_db for e in sound)
    assert sound[0].snr_db > 12
    name = next(node.name for node in graph if node.kind == "Add")
    wrong = {**ranges, name: tuple(0.05 * end for end in ranges[name])}
    spoiled = worst_layers(graph, to_int8_tflite(fake_quantized(rounded, wrong), clips(4)), clips())
    assert spoiled[0].snr_db < sound[0].snr_db - 6
    order = [node.name for node in graph].index
    assert min(order(error.layer) for error in spoiled if error.snr_db < sound[0].snr_db - 3) == order(name)
