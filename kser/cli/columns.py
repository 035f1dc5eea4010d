"""Tables as text: as wide as the terminal, elsewhere plain lines for grep, awk and logs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

# Wider than any table, so that output to a file or pipe is never wrapped.
UNBOUNDED = 10_000


def table_text(columns: Sequence[str], rows: Iterable[Sequence[object]], left: Sequence[str] = ()) -> str:
    """The rows below the column names; columns in `left` are left-aligned, all others right-aligned."""
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
