"""How far a training is, on stderr."""

from __future__ import annotations

from tqdm import tqdm


class Progress:
    """A bar over all steps of a training, with the time left and the last epoch's scores.

    It is a context, for the bar to end its line whatever happens: an error's sentence belongs on one of its own.
    """

    def __enter__(self) -> Progress:
        self._bar = None
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()

    def start(self, done: int, total: int, steps: int) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = tqdm(
            total=total * steps, initial=done * steps, desc="training", unit="step", mininterval=1, dynamic_ncols=True
        )
        self._best = 0.0

    def step(self) -> None:
        self._bar.update()

    def epoch(self, row: dict) -> None:
        text = f"epoch {row['epoch']} loss {row['loss']:.3f}"
        if "val_UA" in row:
            self._best = max(self._best, row["val_UA"])
            text += f" val UA {row['val_UA']:.3f} (best {self._best:.3f})"
        self._bar.set_postfix_str(text)
