"""What the firmware's core takes on emulated Cortex-M boards: flash, RAM, and instructions of its parts.

.venv/bin/python -m benchmarks.core
.venv/bin/pip download --no-deps --no-build-isolation --no-binary :all: cmsisdsp && tar xf cmsisdsp-*.tar.gz
.venv/bin/python -m benchmarks.core --cmsis_dsp=cmsisdsp-VERSION
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from absl import app, flags

from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from tests.micro import sources, toolchain
from tests.micro.toolchain import BOARDS, CORE_SOURCES, HERE

FLAGS = flags.FLAGS
flags.DEFINE_string("cmsis_dsp", "", "CMSIS-DSP's unpacked source, to measure its FFT as well.")

REPEATS = 50
CLOCK_HZ = 64e6
TITLES = {
    "log_mel_frame": "log-mel of a frame",
    "advance": "samples moved on by a hop",
    "window_add": "frame into the window",
    "ring_hop": "a hop into the ring and out",
    "window_quantize": "window to the model's input",
    "window_loudest": "level of the window",
    "smoother_update": "smoother",
}


def measure(
    directory: Path, board: toolchain.Board, cmsis_dsp: str = ""
) -> tuple[toolchain.Size, dict[str, int], dict[str, float]]:
    """Size of the core's objects, bytes of its classes, instructions of its functions."""
    settings = sources.write_settings(directory, FeatureConfig())
    flags, objects = [], []
    if cmsis_dsp:
        flags = ["-DKSER_FFT_CMSIS", *toolchain.cmsis_flags(Path(cmsis_dsp).resolve())]
        objects = toolchain.cmsis_fft_objects(directory, Path(cmsis_dsp).resolve(), board)
    core = toolchain.cortex_m_objects(directory, settings, [*board.flags, *flags])
    check = [HERE / "core_check.cc"]
    program = toolchain.cortex_m_program(directory / "check", settings, board, check, [*core, *objects], flags)
    lines = [line.split() for line in toolchain.emulate(program, board).splitlines()]
    ram = {line[1]: int(line[2]) for line in lines if line[0] == "bytes"}
    ticks = {line[1]: int(line[2]) for line in lines if line[0] == "ticks"}
    return toolchain.size(core), ram, {n: toolchain.instructions(t, board) / REPEATS for n, t in ticks.items()}


def print_sizes(measured: dict) -> None:
    print("| board | flash | front end and window | smoother | ring of 2048 samples | FFT's work, in the arena |")
    print("|---|---|---|---|---|---|")
    for name, (size, ram, _) in measured.items():
        columns = (ram[part] for part in ("stream", "smoother", "ring", "work"))
        print(f"| {name} | {size.text} | " + " | ".join(map(str, columns)) + " |")


def print_classifier(directory: Path) -> None:
    """The class that holds all of these and TFLM's interpreter, whose own code and arena are not counted."""
    for name, board in BOARDS.items():
        settings = sources.write_settings(directory / name, FeatureConfig())
        size = toolchain.classifier_size(settings, settings, board)
        print(f"EmotionClassifier on the {name}: {size.text} bytes of code besides, {size.bss} bytes of RAM in all")


def print_instructions(measured: dict) -> None:
    print(f"| part | {' | '.join(measured)} |\n|---|{'---|' * len(measured)}")
    for part, title in TITLES.items():
        print(f"| {title} | " + " | ".join(f"{costs[part]:.0f}" for _, _, costs in measured.values()) + " |")


def main(_) -> None:
    with tempfile.TemporaryDirectory() as directory:
        measured = {name: measure(Path(directory, name), board) for name, board in BOARDS.items()}
    print_sizes(measured)
    print()
    if not toolchain.missing_tflm():
        with tempfile.TemporaryDirectory() as directory:
            print_classifier(Path(directory))
        print()
    print_instructions(measured)
    hop = CLOCK_HZ * FeatureConfig().hop_samples / SAMPLE_RATE_HZ
    share = measured["M4F"][2]["log_mel_frame"] / hop
    print(f"\nlog-mel of a frame on the M4F: {share:.1%} of a hop's {hop:.0f} clock cycles at {CLOCK_HZ / 1e6:g} MHz")
    print(f"sources: {', '.join(source.name for source in CORE_SOURCES)}")
    if FLAGS.cmsis_dsp:
        with tempfile.TemporaryDirectory() as directory:
            _, _, costs = measure(Path(directory), BOARDS["M4F"], FLAGS.cmsis_dsp)
        print(f"log-mel of a frame on the M4F with CMSIS-DSP's FFT: {costs['log_mel_frame']:.0f}")


if __name__ == "__main__":
    app.run(main)
