"""Checks whether a .tflite model (of any origin) runs on a board: ops, memory, time; each problem with its fix.

Exit status: 0 fits, 3 tight, 4 does not run (with --all_boards: of the best board), 1 bad input.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap

from absl import flags

from kser.boards.catalog import BOARDS
from kser.cli import command
from kser.cli.columns import table_text
from kser.errors import ConfigError

FLAGS = flags.FLAGS
STATUS = {"fits": 0, "tight": 3, "does not run": 4}
WIDTH = 110


def define_flags() -> None:
    flags.DEFINE_enum("board", None, list(BOARDS), "The board.")
    flags.DEFINE_bool("all_boards", False, "Print a table of all boards instead.")
    flags.DEFINE_float(
        "decision_ms",
        None,
        "Milliseconds between two decisions; front end and inference must finish within them. Default: the model's own, or "
        "500 without kser's metadata.",
    )
    flags.DEFINE_bool("json", False, "Print JSON instead of text: an object, or a list of them with --all_boards.")


def main(paths: list[str]) -> None:
    if len(paths) != 1:
        raise ConfigError(f"bin/doctor needs one .tflite file, not {len(paths)}.")
    if FLAGS.all_boards == bool(FLAGS.board):
        raise ConfigError(f"bin/doctor needs either --board or --all_boards; boards: {', '.join(BOARDS)}.")
    from kser.boards import doctor
    from kser.tflite import model_file

    model_bytes = model_file.read_model_file(paths[0])
    names = list(BOARDS) if FLAGS.all_boards else [FLAGS.board]
    diagnoses = doctor.examine(model_bytes, names, FLAGS.decision_ms, paths[0])
    if FLAGS.json:
        values = [dataclasses.asdict(d) for d in diagnoses]
        print(json.dumps(values if FLAGS.all_boards else values[0], indent=2))
    else:
        print(boards_text(diagnoses) if FLAGS.all_boards else diagnosis_text(paths[0], diagnoses[0]))
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


def boards_text(diagnoses) -> str:
    """One line a board."""
    columns = ("board", "verdict", "RAM", "flash", "inference ms", "real time", "first problem")
    return table_text(columns, map(_row, diagnoses), left=("board", "verdict", "first problem"))


def _row(diagnosis) -> tuple[str, ...]:
    figures = diagnosis.figures
    ram = f"{figures.ram_bytes / figures.free_ram_bytes:.0%}" if figures.ram_bytes is not None else "?"
    flash = f"{figures.flash_bytes / figures.free_flash_bytes:.0%}"
    serious = [textwrap.shorten(p.what, 70) for p in diagnosis.problems if p.severity != "hint"]
    times = _band(figures.inference_ms), _band(figures.real_time_factor, 2)
    return diagnosis.board, diagnosis.verdict, ram, flash, *times, serious[0] if serious else ""


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * 6, break_on_hyphens=False)


def _arena(figures) -> str:
    if figures.arena_bytes is None:
        return "unknown: the model does not run in TFLM"
    return f"{figures.arena_bytes} bytes on the board ({figures.host_arena_bytes} measured on this 64-bit computer)"


def _memory(needed: int | None, free: int, what: str) -> str:
    return f"unknown of {free} free" if needed is None else f"{needed} of {free} bytes free ({needed / free:.0%}): {what}"


def _band(band, digits: int = 0) -> str:
    # Below ten milliseconds a decimal is shown.
    digits = digits or int(band.high < 10)
    low, middle, high = (f"{value:.{digits}f}" for value in (band.low, band.middle, band.high))
    return f"{middle} ({low} to {high})"


def run() -> None:
    define_flags()
    command.run(main, positional="a .tflite file")


if __name__ == "__main__":
    run()
