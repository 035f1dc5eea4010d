"""Hours of simulated streaming through the firmware's core on this computer, as fast as they go, with overruns injected.

.venv/bin/python -m benchmarks.stream --hours=24
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from absl import app, flags

from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from tests.micro import sources, toolchain

FLAGS = flags.FLAGS
flags.DEFINE_float("hours", 24, "Simulated time.", lower_bound=0.01)

WRAP = 2**32


def main(_) -> None:
    seconds = round(FLAGS.hours * 3600)
    with tempfile.TemporaryDirectory() as directory:
        settings = sources.write_settings(Path(directory), FeatureConfig())
        files = [toolchain.HERE / "stream.cc", *toolchain.CORE_SOURCES]
        program = toolchain.host_program(settings / "stream", settings, files, toolchain.OPTIMISED)
        start = time.perf_counter()
        # The sample counter wraps half-way.
        counted = toolchain.stream(program, seconds, (WRAP - seconds * SAMPLE_RATE_HZ // 2) % WRAP)
        took = time.perf_counter() - start
    print(f"{FLAGS.hours:g} simulated hours in {took:.0f} s: {counted['samples']} samples, {counted['wraps']} wraps of 2^32")
    print(f"{counted['decisions']} decisions; {counted['overruns']} overruns lost {counted['lost']} samples, as counted")
    print(f"{counted['checks']} checks of features, averages, counters held; heap growth {counted['heap_growth']} bytes")


if __name__ == "__main__":
    app.run(main)
