"""Minutes of simulated streaming with overruns, across the wrap of the sample counter; benchmarks/stream.py takes hours."""

from __future__ import annotations

import pytest

from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from tests.micro import sources, toolchain

pytestmark = pytest.mark.skipif(bool(toolchain.missing("g++")), reason=toolchain.missing("g++"))

SECONDS = 600


def test_minutes_of_streaming(tmp_path):
    settings = sources.write_settings(tmp_path, FeatureConfig())
    files = [toolchain.HERE / "stream.cc", *toolchain.CORE_SOURCES]
    program = toolchain.host_program(tmp_path / "stream", settings, files, toolchain.OPTIMISED)
    counted = toolchain.stream(program, SECONDS, 2**32 - SECONDS // 2 * SAMPLE_RATE_HZ)
    assert counted["samples"] >= SECONDS * SAMPLE_RATE_HZ
    assert counted["wraps"] == 1
    assert counted["overruns"] > 3 and counted["lost"] > 0
    assert 100 < counted["decisions"] < 2 * SECONDS
    assert counted["checks"] == counted["decisions"] // 20
    assert counted["heap_growth"] == 0
