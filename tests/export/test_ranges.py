"""Ranges are as asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tf_keras as keras

from kser.errors import ConfigError, KserError
from kser.export import quantizers, ranges
from kser.export.graph import build_graph, new_node
from kser.export.ranges import measure_ranges
from tests.export.graphs import graph_of
from tests.networks import clips


@pytest.fixture(scope="module")
def conformer():
    return graph_of("conformer", num_layers=2)


def test_a_layer_without_a_config_is_named():
    graph = graph_of("convtransformer")
    stranger = new_node(keras.layers.LeakyReLU(name="stranger"), (graph.output,))
    graph = dataclasses.replace(graph, nodes=(*graph.nodes, stranger), output=("stranger", 0))
    with pytest.raises(KserError, match="no QuantizeConfig for LeakyReLU"):
        measure_ranges(graph, clips(2))


def test_minmax_is_all_that_was_seen(conformer):
    ranges = measure_ranges(conformer, clips(), "minmax")
    model = build_graph(conformer)
    for node in conformer:
        if node.name not in ranges or quantizers.fixed_range(node):
            continue
        seen = keras.Model(model.inputs, model.get_layer(node.name).output)(clips()).numpy()
        low, high = ranges[node.name]
        np.testing.assert_allclose((low, high), (min(seen.min(), 0), max(seen.max(), 1e-6)), rtol=1e-4, atol=1e-6)
    assert ranges["log_mel"] == (clips().min(), clips().max())


def test_ranges_the_device_fixes_are_those(conformer):
    ranges = measure_ranges(conformer, clips(4))
    fixed = {node.kind: ranges[node.name] for node in conformer if node.kind in ("Softmax", "L2Norm")}
    assert fixed == {"Softmax": (0, 255 / 256), "L2Norm": (-1, 127 / 128)}


def test_tensors_that_are_only_moved_have_none(conformer):
    ranges = measure_ranges(conformer, clips(4))
    moved = {node.name for node in conformer if node.kind in ("Reshape", "Permute", "Split")}
    assert moved and not moved & set(ranges)
    assert set(ranges) == {node.name for node in conformer} - moved | {"log_mel"}


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_outliers_do_not_widen_the_range(method):
    values = np.append(np.random.default_rng(0).normal(size=60000), [300.0, -200.0])
    low, high = ranges._METHODS[method](values)
    assert -200 < low < -3 and 3 < high < 300
    if method == "mse":
        assert ranges._squared_error(values, low, high) < ranges._squared_error(values, -200, 300)


def test_a_quantile_is_one_of_all_values_whatever_the_batches(conformer, monkeypatch):
    """Of 70 clips, three batches, the last of six; one clip of ten is ten times as loud."""
    monkeypatch.setattr(ranges, "SAMPLES", 7000)
    loud = clips(70) * np.where(np.arange(70) % 10, 1, 10)[:, np.newaxis, np.newaxis].astype(np.float32)
    name = next(node.name for node in conformer if node.kind == "Add")
    seen = keras.Model((model := build_graph(conformer)).inputs, model.get_layer(name).output)(loud).numpy()
    monkeypatch.setattr(ranges, "TAIL", 0.02)
    low, high = measure_ranges(conformer, loud, "percentile")[name]
    assert np.mean(seen < low) == pytest.approx(0.02, abs=0.006) and np.mean(seen > high) == pytest.approx(0.02, abs=0.006)


def test_a_last_batch_of_one_clip_counts_as_one_clip(conformer, monkeypatch):
    monkeypatch.setattr(ranges, "SAMPLES", 33 * 10)
    drawn = ranges._drawn(conformer, clips(33), {conformer.nodes[1].name}, ranges._sampler(33))
    assert [len(values) for values in drawn.values()] == [330]


def test_bad_settings_are_refused(conformer):
    with pytest.raises(ConfigError, match="at least one representative clip"):
        measure_ranges(conformer, clips(0))
    with pytest.raises(ConfigError, match="no range method 'guess'; known: minmax, percentile, mse"):
        measure_ranges(conformer, clips(2), "guess")
