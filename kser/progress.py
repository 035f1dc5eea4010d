"""Progress of long work, on stderr: a bar on a terminal, elsewhere one line per minute."""

from __future__ import annotations

import sys
import time

SECONDS_BETWEEN_LINES = 60.0


def counting(work: str, unit: str, total: int | None = None, done: int = 0) -> Bar | Lines:
    """A context manager that shows the progress of `work`.

    Args:
      unit: what is counted, in the plural.
      total: the total count; None: given later by `advance`.
      done: how many were done before.
    """
    return (Bar if sys.stderr.isatty() else Lines)(work, unit, total, done)


class Lines:
    """For a log: at most one line per minute, and every note."""

    def __init__(self, work: str, unit: str, total: int | None, done: int):
        self._work, self._unit, self._total, self._done = work, unit, total, done
        self._told = time.monotonic()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_) -> None:
        pass

    def advance(self, count: int = 1, total: int | None = None) -> None:
        """`count` more are done, of `total`."""
        self._done += count
        self._total = total or self._total
        if time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._tell(f"{self._done} of {self._total} {self._unit}")

    def note(self, text: str) -> None:
        """What else there is to say of the work."""
        self._tell(text)

    def _tell(self, text: str) -> None:
        print(f"{self._work}: {text}", file=sys.stderr, flush=True)
        self._told = time.monotonic()


class Bar:
    """For a terminal: a bar with the time left and the last note; its line always ends, even after an error."""

    def __init__(self, work: str, unit: str, total: int | None, done: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        description, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}", markup=False)
        columns = (description, BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn(), note)
        # Twice a second: more costs a small computer's training time.
        self._progress = Progress(*columns, console=Console(stderr=True), refresh_per_second=2)
        self._task = self._progress.add_task(work, total=total, completed=done, note="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    def advance(self, count: int = 1, total: int | None = None) -> None:
        """`count` more are done, of `total`."""
        self._progress.update(self._task, advance=count, total=total)

    def note(self, text: str) -> None:
        """What else there is to say of the work."""
        self._progress.update(self._task, note=text)
