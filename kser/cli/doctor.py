"""Says whether any .tflite model runs on a board: ops, memory, time, each problem with its fix.

Exit status: 0 fits, 3 tight, 4 does not run (with --all_boards: the best of the boards), 1 bad input.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap

from absl import flags

from kser.boards import BOARDS
from kser.cli import command
from kser.errors import ConfigError

FLAGS = flags.FLAGS
STATUS = {"fits": 0, "tight": 3, "does not run": 4}
WIDTH = 110


def define_flags() -> None:
    flags.DEFINE_enum("board", None, list(BOARDS), "The board.")
    flags.DEFINE_bool("all_boards", False, "Print a table of all boards instead.")
    flags.DEFINE_float(
        "decision_ms",
        500.0,
        "Milliseconds between two decisions; each takes the frames since the last one, and an inference.",
    )
    flags.DEFINE_bool("json", False, "Print JSON instead of text: an object, with --all_boards a list of them.")


def main(paths: list[str]) -> None:
    if len(paths) != 1:
        raise ConfigError(f"bin/doctor needs one .tflite file, not {len(paths)}.")
    if FLAGS.all_boards == bool(FLAGS.board):
        raise ConfigError(f"bin/doctor needs either --board or --all_boards; boards: {', '.join(BOARDS)}.")
    from kser import doctor, tflite

    model_bytes = tflite.read_model_file(paths[0])
    names = list(BOARDS) if FLAGS.all_boards else [FLAGS.board]
    diagnoses = doctor.examine(model_bytes, names, FLAGS.decision_ms, paths[0])
    if FLAGS.json:
        values = [dataclasses.asdict(d) for d in diagnoses]
        print(json.dumps(values if FLAGS.all_boards else values[0], indent=2))
    else:
        print(table_text(diagnoses) if FLAGS.all_boards else diagnosis_text(paths[0], diagnoses[0]))
    sys.stdout.flush()
    sys.exit(min(STATUS[d.verdict] for d in diagnoses))


def diagnosis_text(path: str, diagnosis) -> str:
    """The verdict, the figures, the problems with their fixes."""
    board, figures = BOARDS[diagnosis.board], diagnosis.figures
    rows = [
        ("library", f"{board.library.title}, kernels {board.library.kernels.name}"),
        ("model", f"{figures.model_bytes} bytes, {figures.nodes} nodes, {figures.multiply_accumulates} MACs"),
        ("arena", _arena(figures)),
        ("RAM", _memory(figures.ram_bytes, figures.free_ram_bytes, "arena, ring, front end, stack")),
        ("flash", _memory(figures.flash_bytes, figures.free_flash_bytes, "model and library")),
        ("instructions", f"{figures.instructions / 1e6:.1f} M, {figures.assumed_share:.0%} of them at assumed costs"),
        ("inference", f"{_band(figures.inference_ms)} ms at {board.clock_mhz:g} MHz"),
        ("front end", f"{_band(figures.front_end_ms)} ms" if figures.front_end_ms else "unknown: no kser metadata"),
        ("real time", f"{_band(figures.real_time_factor, 2)} of the {figures.decision_ms:g} ms between decisions"),
    ]
    lines = [f"{path} on {board.title} ({board.core}): {diagnosis.verdict}"]
    lines += [f"{name:<13}{value}" for name, value in rows]
    for number, problem in enumerate(diagnosis.problems, 1):
        lines += _wrapped(f"{number}. {problem.severity}: ", f"{problem.what}.")
        lines += _wrapped("   where: ", f"{problem.where}") + _wrapped("   fix: ", f"{problem.fix}.")
    return "\n".join(lines)


def table_text(diagnoses) -> str:
    """One line a board."""
    lines = [f"{'board':<13} {'verdict':<13} {'RAM':>6} {'flash':>6} {'inference ms':>20} {'real time':>18}  first problem"]
    for diagnosis in diagnoses:
        figures = diagnosis.figures
        ram = f"{figures.ram_bytes / figures.free_ram_bytes:.0%}" if figures.ram_bytes is not None else "?"
        flash = f"{figures.flash_bytes / figures.free_flash_bytes:.0%}"
        serious = [p for p in diagnosis.problems if p.severity != "hint"]
        lines.append(
            f"{diagnosis.board:<13} {diagnosis.verdict:<13} {ram:>6} {flash:>6} {_band(figures.inference_ms):>20} "
            f"{_band(figures.real_time_factor, 2):>18}  {textwrap.shorten(serious[0].what, 70) if serious else ''}".rstrip()
        )
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * 6, break_on_hyphens=False)


def _arena(figures) -> str:
    if figures.arena_bytes is None:
        return "unknown: the model does not run in TFLM"
    return f"{figures.arena_bytes} bytes on the board ({figures.host_arena_bytes} measured on this 64-bit computer)"


def _memory(needed: int | None, free: int, what: str) -> str:
    return f"unknown of {free} free" if needed is None else f"{needed} of {free} bytes free ({needed / free:.0%}): {what}"


def _band(band, digits: int = 0) -> str:
    # Less than ten milliseconds are worth a digit.
    digits = digits or int(band.high < 10)
    low, middle, high = (f"{value:.{digits}f}" for value in (band.low, band.middle, band.high))
    return f"{middle} ({low} to {high})"


def run() -> None:
    define_flags()
    command.run(main, positional="a .tflite file")


if __name__ == "__main__":
    run()
