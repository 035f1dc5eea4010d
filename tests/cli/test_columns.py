"""Tables: plain lines where no terminal is, within a terminal's width where one is."""

from __future__ import annotations

import subprocess
import sys

from kser.cli.columns import table_text
from tests.cli.command_server import REPOSITORY
from tests.terminal import on_a_terminal, plain

LONG = "a problem told in so many words that no terminal is as wide as they are long, " * 2
PROGRAM = f"""
from kser.cli.columns import table_text
print(table_text(("board", "ms"), [("esp32", 12), ({LONG!r}, 3)], ("board",)))
"""


def test_columns_are_aligned():
    text = table_text(("network", "UA", "of"), [("a", 0.5, "RAVDESS"), ("a longer one", 12.25, "")], left=("network", "of"))
    assert text.splitlines() == [
        "network          UA  of",
        "a               0.5  RAVDESS",
        "a longer one  12.25",
    ]


def test_nothing_is_wrapped_or_drawn_where_no_terminal_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as some test services set it
    outcome = subprocess.run([sys.executable, "-c", PROGRAM], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    head, short, long = outcome.stdout.splitlines()
    assert (head.split(), short.split()) == (["board", "ms"], ["esp32", "12"]) and long.split() == [*LONG.split(), "3"]
    assert outcome.stdout.isascii() and "\x1b" not in outcome.stdout


def test_a_terminal_is_filled_no_further_than_its_width():
    printed = on_a_terminal(PROGRAM, columns=60)
    lines = plain(printed).splitlines()
    assert "\x1b[" in printed and len(lines) > 4 and all(len(line) <= 60 for line in lines)


def test_brackets_in_a_cell_are_text():
    assert table_text(("name",), [("[bold]clip[/bold]",)], ("name",)).splitlines()[1] == "[bold]clip[/bold]"
