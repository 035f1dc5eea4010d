"""The search for what fits a board."""

from __future__ import annotations

import dataclasses
import math

import pytest

from kser.boards import doctor
from kser.boards.catalog import CMSIS_NN, OWN_OPS, find_board
from kser.boards.search import search
from kser.config import FeatureConfig
from kser.errors import ConfigError

NUM_CLASSES = 4
# What bin/search promises; benchmarks/search.py measures far less.
ARENA_ERROR = 0.03
HOP = (20.0,)
ROOMY = 10_000.0


# --- The search


@pytest.fixture(scope="module")
def found():
    """ConvTransformers for half a budget."""
    return search.search(search.make_budget("esp32", 60, 120, 500), ("convtransformer",), hops_ms=HOP)


def test_what_is_found_fits(found):
    for candidate in (*found.frontier, found.best):
        assert candidate.fits and candidate.features.hop_ms == 20
        assert candidate.figures.inference_ms.middle <= 120 and candidate.figures.ram_bytes <= 60 * 1024
        assert candidate.figures.arena_bytes < candidate.figures.ram_bytes
    assert found.best.capacity <= found.frontier[0].capacity == max(c.capacity for c in found.frontier)


def test_nothing_that_fits_is_passed_over(found):
    """A network that is larger in some size and smaller in none than one too large does not fit either."""
    features, fitting = FeatureConfig(hop_ms=20.0), []
    models = [model for family in search.grid("convtransformer") for model in family]
    assert found.tried < len(models)
    for model in models:
        figures = doctor.diagnose(search.predict(model, features, 8)[0], found.budget.board).figures
        if max(found.budget.shares(figures).values()) <= 1:
            fitting.append(model)
    best = max(found.frontier, key=lambda c: c.capacity).model
    assert best in fitting and {c.model for c in found.frontier} <= set(fitting)
    again = search.explore(search.Family(found.budget, tuple(models), features, 8))
    assert {c.model for c in again if c.fits} == set(fitting)


def test_processes_find_the_same(found):
    told = []
    again = search.search(
        found.budget, ("convtransformer",), hops_ms=HOP, jobs=2, progress=lambda done, total: told.append((done, total))
    )
    assert again == found
    assert told == [(1, 2), (2, 2)]


def test_none_on_the_frontier_is_worse_than_another(found):
    for one in found.frontier:
        for other in found.frontier:
            no_less = other.capacity >= one.capacity
            no_more_ms = other.figures.inference_ms.middle <= one.figures.inference_ms.middle
            no_more_ram = other.figures.ram_bytes <= one.figures.ram_bytes
            assert other is one or not (no_less and no_more_ms and no_more_ram)


def test_the_first_backbone_that_fits_is_chosen():
    budget = search.make_budget("generic_m55", None, 30, 500)
    both = search.search(budget, ("speechformer", "convtransformer"), hops_ms=HOP)
    assert both.best.model.backbone == "speechformer"
    assert {c.model.backbone for c in both.frontier} == {"speechformer", "convtransformer"}


def test_given_settings_hold():
    budget = search.make_budget("generic_m4", None, 40, 500)
    features = FeatureConfig(num_mels=20, clip_seconds=0.8, window_ms=16.0)
    found = search.search(budget, ("conformer",), features, model_settings={"activation": "relu"}, num_classes=3)
    assert {c.features.hop_ms for c in found.frontier} == {10.0, 16.0}  # no hop is longer than the window
    for c in found.frontier:
        assert c.model.activation == "relu"
        assert dataclasses.replace(c.features, hop_ms=10.0) == dataclasses.replace(features, hop_ms=10.0)


# --- Budgets


def test_a_budget_is_at_most_what_leaves_the_board_fit():
    board = find_board("esp32")
    free = 0.85 * board.free_ram_bytes
    assert search.make_budget("esp32", None, None, 500.0) == search.Budget(board, free, 400.0, 500.0)
    assert search.make_budget("esp32", 50, 30, 200.0) == search.Budget(board, 50 * 1024, 30, 200.0)
    assert search.make_budget("esp32", 1e6, None, 500.0).ram_bytes == free


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("uno", None, None, 500.0), "no board 'uno'"),
        (("esp32", 0.0, None, 500.0), "ram_kb must be above 0, not 0"),
        (("esp32", None, -1.0, 500.0), "latency_ms must be above 0, not -1"),
        (("esp32", None, math.nan, 500.0), "latency_ms must be above 0, not nan"),
        (("esp32", None, None, math.inf), "decision_ms must be above 0, not inf"),
        (("esp32", None, 900.0, 500.0), "latency_ms .900. is more than the 500 ms between two decisions"),
    ],
)
def test_unfit_budgets_are_told(arguments, message):
    with pytest.raises(ConfigError, match=message):
        search.make_budget(*arguments)


@pytest.mark.parametrize(
    "ram_kb, latency_ms, words",
    [
        (5, None, ("kB of RAM of the 5.0 allowed",)),
        (None, 2, ("ms per inference of the 2 allowed",)),
        (5, 2, ("of the 5.0 allowed and ", "of the 2 allowed.")),
    ],
)
def test_what_comes_nearest_is_told(ram_kb, latency_ms, words):
    budget = search.make_budget("esp32", ram_kb, latency_ms, 500.0)
    with pytest.raises(ConfigError, match="^No network fits ESP32: the closest one, convtransformer") as error:
        search.search(budget, ("convtransformer",), hops_ms=HOP)
    assert all(word in str(error.value) for word in words)


def test_what_needs_more_flash_or_time_than_there_is_is_told():
    board = find_board("esp32")
    for change, words in (
        ({"flash_bytes": board.reserved_flash_bytes + 180_000}, "kB of flash of 176"),
        ({"clock_mhz": 5.0}, "of the 500 ms between two decisions"),
    ):
        budget = search.Budget(dataclasses.replace(board, **change), ROOMY * 1024, ROOMY, 500.0)
        with pytest.raises(ConfigError, match=words):
            search.search(budget, ("conformer",), hops_ms=HOP)


def test_backbones_without_kernels_are_left_out(monkeypatch):
    lacking = dataclasses.replace(find_board("esp32").library, kernels=CMSIS_NN)
    lacking = dataclasses.replace(lacking, ops=lacking.ops - {"AVERAGE_POOL_2D", "SLICE"})
    board = dataclasses.replace(find_board("generic_m55"), library=lacking)
    budget = search.Budget(board, 60 * 1024, 60, 500.0)
    assert search.search(budget, ("speechformer", "convtransformer"), hops_ms=HOP).best.model.backbone == "convtransformer"
    with pytest.raises(ConfigError, match=r"^No speechformer runs on .*: .* has no kernel for (SLICE|AVERAGE_POOL_2D); "):
        search.search(budget, ("speechformer",), hops_ms=HOP)
    assert not OWN_OPS & {"AVERAGE_POOL_2D", "SLICE"}


def test_settings_that_make_no_network_are_told():
    with pytest.raises(ConfigError, match="no backbone 'perceiver'"):
        search.search(search.make_budget("esp32", None, None, 500.0), ("perceiver",))
