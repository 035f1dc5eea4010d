"""Predictions against conversions, and the choice among candidates."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from kser.boards import doctor
from kser.boards.catalog import find_board
from kser.boards.memory_planner import buffers
from kser.boards.search.candidates import Candidate, choose, frontier, predict
from kser.config import FeatureConfig
from kser.models.presets import build_model, preset
from kser.tflite.interpreter import TFLMRunner, smallest_arena_bytes
from kser.tflite.model_file import parse
from kser.tflite.op_graph import graph_nodes
from tests.random_networks import converted, random_network

NUM_CLASSES = 4
# What bin/fit promises; benchmarks/fit.py measures far less.
ARENA_ERROR = 0.03


def ops(nodes) -> tuple:
    """Every op with the shapes of all it reads and writes, and from when to when its results are needed."""
    return [(n.op, [t.shape for t in n.inputs if t], [t.shape for t in n.outputs]) for n in nodes], buffers(nodes)


# Small ones, of both norms, all poolings and activations, one head and many.
@pytest.mark.parametrize(
    "backbone, seed",
    [
        *(("conformer", 0), ("conformer", 11), ("convtransformer", 8), ("convtransformer", 13)),
        *(("speechformer", 0), ("speechformer", 12)),
    ],
)
def test_a_prediction_is_what_a_conversion_measures(backbone, seed):
    rng = np.random.default_rng(seed)
    model, features = random_network(rng, backbone)
    findings, parameters = predict(model, features, NUM_CLASSES)
    model_bytes = converted(model, features, NUM_CLASSES, rng)
    parsed = parse(model_bytes)
    assert ops(findings.nodes) == ops(graph_nodes(parsed))
    # The converter keeps an index constant twice now and then.
    assert findings.measurement.eval_tensors == pytest.approx(len(parsed.subgraphs[0].tensors), abs=2)
    assert findings.measurement.arena_bytes == pytest.approx(smallest_arena_bytes(model_bytes), rel=ARENA_ERROR)
    assert findings.num_bytes == pytest.approx(len(model_bytes), rel=0.05)
    assert parameters >= build_model(model, features, NUM_CLASSES).count_params() * 0.9


def test_the_doctor_says_the_same_of_the_converted_model():
    model, features = preset("conformer", "micro"), FeatureConfig(clip_seconds=1.0)
    findings, _ = predict(model, features, NUM_CLASSES)
    told = doctor.diagnose(findings, find_board("generic_m4"))
    model_bytes = converted(model, features, NUM_CLASSES, np.random.default_rng(0))
    (found,) = doctor.examine(model_bytes, ["generic_m4"])
    assert told.verdict == found.verdict
    assert told.figures.ram_bytes == pytest.approx(found.figures.ram_bytes, rel=ARENA_ERROR)
    for figure in ("inference_ms", "front_end_ms", "real_time_factor"):
        assert getattr(told.figures, figure).middle == pytest.approx(getattr(found.figures, figure).middle, rel=1e-6)
    assert told.figures.multiply_accumulates == found.figures.multiply_accumulates


def test_small_networks_are_held_to_what_loads_them():
    """Not to what they keep, which is less."""
    rng = np.random.default_rng(3)
    model = dataclasses.replace(preset("conformer", "micro"), num_layers=3)
    features = FeatureConfig(num_mels=16, clip_seconds=0.6)
    model_bytes = converted(model, features, NUM_CLASSES, rng)
    needed = predict(model, features, NUM_CLASSES)[0].measurement.arena_bytes
    assert needed > 1.1 * TFLMRunner(model_bytes).arena().total
    assert needed == pytest.approx(smallest_arena_bytes(model_bytes), rel=ARENA_ERROR)


# --- The choice


def test_the_frontier_is_of_each_backbone_and_hop():
    model, features = preset("conformer", "micro"), FeatureConfig(clip_seconds=1.0)
    findings, parameters = predict(model, features, NUM_CLASSES)
    figures = doctor.diagnose(findings, find_board("generic_m4")).figures
    good = Candidate(model, features, parameters, figures, load=1.0)
    worse = dataclasses.replace(good, figures=dataclasses.replace(figures, ram_bytes=figures.ram_bytes + 1))
    assert frontier([good, worse]) == frontier([worse, good]) == [good]
    at_another_hop = dataclasses.replace(worse, features=FeatureConfig(clip_seconds=1.0, hop_ms=20.0))
    of_another_backbone = dataclasses.replace(worse, model=dataclasses.replace(model, backbone="convtransformer"))
    for other in (at_another_hop, of_another_backbone):
        assert other in frontier([good, other])


def candidate(hop_ms: float, parameters: int, layers: int) -> SimpleNamespace:
    model = dataclasses.replace(preset("conformer", "micro"), num_layers=layers)
    features = FeatureConfig(hop_ms=hop_ms)
    return SimpleNamespace(model=model, features=features, parameters=parameters, capacity=float(parameters))


def test_frames_and_depth_are_given_up_last():
    fine, coarse, coarsest, flat = (candidate(*c) for c in ((10.0, 20, 2), (16.0, 60, 2), (20.0, 90, 2), (10.0, 95, 1)))
    candidates = [coarsest, flat, fine, coarse]
    assert choose(candidates, parameters=20, layers=2) is fine
    assert choose(candidates, parameters=50, layers=2) is coarse
    assert choose(candidates, parameters=50, layers=1) is flat
    assert choose(candidates, parameters=500, layers=2) is flat
