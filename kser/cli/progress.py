"""Progress of a training, on stderr."""

from __future__ import annotations

from kser.progress import counting


class Progress:
    """Shows the steps of a training, and the scores after every epoch.

    A context manager: it ends the progress bar's line, so that an error message starts a new one.
    """

    def __enter__(self) -> Progress:
        self._counter = None
        return self

    def __exit__(self, *_) -> None:
        if self._counter is not None:
            self._counter.__exit__()

    def start(self, done: int, total: int, steps: int) -> None:
        self.__exit__()
        self._counter = counting("training", "steps", total * steps, done * steps)
        self._counter.__enter__()
        self._epochs, self._best = total, 0.0

    def step(self) -> None:
        self._counter.advance()

    def epoch(self, row: dict) -> None:
        text = f"epoch {row['epoch']} of {self._epochs}, loss {row['loss']:.3f}"
        if "val_UA" in row:
            self._best = max(self._best, row["val_UA"])
            text += f", validation UA {row['val_UA']:.3f} (best {self._best:.3f})"
        self._counter.note(text)
