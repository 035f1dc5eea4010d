"""The sizes that a search tries."""

from __future__ import annotations

import dataclasses

import pytest

from kser.boards.search.grid import depth, grid, no_smaller
from kser.models.presets import BACKBONES, preset


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_small_presets_are_in_the_grid(backbone):
    models = [model for family in grid(backbone) for model in family]
    assert len(set(models)) == len(models)
    # All sizes have the dropout of micro, which deployment removes.
    light = dataclasses.replace(preset(backbone, "light"), dropout=preset(backbone, "micro").dropout)
    assert {preset(backbone, "micro"), light} <= set(models)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_larger_networks_come_after_smaller_ones(backbone):
    for family in grid(backbone, {"activation": "relu"}):
        assert {model.activation for model in family} == {"relu"}
        for index, model in enumerate(family):
            assert not any(no_smaller(model, later) for later in family[index + 1 :])
            assert depth(model) >= depth(family[0])
