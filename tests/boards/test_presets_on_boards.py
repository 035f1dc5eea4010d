"""What is told of whole networks against what was measured of them on emulated boards."""

from __future__ import annotations

import pytest

from kser.boards.arena_layouts import LAYOUTS
from kser.boards.catalog import find_board
from kser.boards.cost_model import instructions
from kser.boards.memory_planner import needed_bytes, with_margin
from kser.boards.own_kernels import kernels_of
from kser.boards.search import candidates
from kser.config import FeatureConfig
from kser.models.presets import preset
from tests import measured_presets

NETWORKS = [
    *((preset(*row[:2]), FeatureConfig(), row[2:]) for row in measured_presets.PRESETS),
    (measured_presets.TWO_BLOCKS, measured_presets.TWO_BLOCKS_FEATURES, measured_presets.TWO_BLOCKS_MEASURED),
]


@pytest.mark.parametrize("model, features, measured", NETWORKS)
def test_arena_and_instructions_are_those_measured(model, features, measured):
    """The arena never below and at most 3 % above with the margin; instructions within 10 %."""
    nodes = candidates.predict(model, features, 8)[0].nodes
    for (library, board), arena, millions in zip(measured_presets.LIBRARIES.items(), *measured, strict=True):
        kernels = kernels_of(nodes, find_board(board).library.kernels)
        told = needed_bytes(nodes, LAYOUTS[library], kernels.own)
        assert arena <= with_margin(told) <= 1.03 * arena and told == pytest.approx(arena, rel=0.001)
        assert instructions(nodes, kernels).total / 1e6 == pytest.approx(millions, rel=0.10)
