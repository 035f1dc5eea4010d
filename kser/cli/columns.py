"""Rows of cells as text: on a terminal as wide as that, elsewhere plain lines for grep, awk and logs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

# Wider than any table: what is no terminal wraps nothing.
UNBOUNDED = 10_000


def table_text(columns: Sequence[str], rows: Iterable[Sequence[object]], left: Sequence[str] = ()) -> str:
    """The rows below the names of their columns: those in `left` begin alike, all others end alike, as numbers should."""
    terminal = sys.stdout.isatty()
    console = Console(force_terminal=terminal, width=None if terminal else UNBOUNDED, markup=False, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if terminal else None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right")
    for row in rows:
        table.add_row(*map(str, row))
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines())
