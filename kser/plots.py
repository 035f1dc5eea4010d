"""Plots of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kser.files import replacing
from kser.training.metrics import Scores

if TYPE_CHECKING:  # avoids importing the search for a confusion matrix
    from kser.boards.search.candidates import Candidate
    from kser.boards.search.search import Fit
    from kser.tflite.timeline import Timeline


def save_confusion(path: str, scores: Scores, labels: tuple[str, ...], title: str) -> None:
    """The confusion matrix as a PNG: rows are true labels, colours shares of the row, numbers clips."""
    confusion = scores.confusion
    size = 2.2 + 0.6 * len(labels)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(confusion / np.maximum(1, confusion.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="recognized", ylabel="spoken")
    axes.set_title(_shown(f"{title}: UA {scores.UA:.3f}, WA {scores.WA:.3f}"), parse_math=False)
    names = [_shown(label) for label in labels]
    axes.set_xticks(range(len(labels)), names, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(labels)), names, parse_math=False)
    for (row, column), count in np.ndenumerate(confusion):
        dark = count > confusion[row].sum() / 2
        axes.text(column, row, count, ha="center", va="center", color="white" if dark else "black")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _shown(text: str) -> str:
    """Text that can be drawn, also if it comes from a file name that is not UTF-8; to be drawn with `parse_math=False`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def save_timeline(path: str, found: Timeline, labels: tuple[str, ...], title: str) -> None:
    """The emotions of a recording over time as a PNG: lines of probabilities, above them a strip in the labels' colours."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    strip, axes = figure.subplots(2, sharex=True, height_ratios=(1, 6))
    colours = {label: f"C{index % 10}" for index, label in enumerate(labels)}
    for segment in found.segments():
        strip.axvspan(segment.begin, segment.end, color=colours.get(segment.label, "lightgrey"), linewidth=0)
    for index, label in enumerate(labels):
        axes.stairs(
            found.probabilities[:, index], [0.0, *found.ends[:-1], found.seconds], baseline=None, color=colours[label]
        )
    handles = [Patch(color=colours[label], label=f" {_shown(label)}") for label in labels]
    handles.append(Patch(color="lightgrey", label=" silence"))
    for text in figure.legend(handles=handles, loc="outside right upper").get_texts():
        text.set_parse_math(False)
    strip.set_yticks([])
    strip.set_title(_shown(title), parse_math=False)
    axes.set(xlabel="seconds", ylabel="probability", xlim=(0, found.seconds), ylim=(0, 1))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def save_frontier(path: str, found: Fit) -> None:
    """The frontier of a search as a PNG: parameters over milliseconds, marker size by RAM, the chosen network circled."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(c.model.backbone for c in found.frontier):
        points = [(*_place(c), 3e-3 * c.figures.ram_bytes) for c in found.frontier if c.model.backbone == name]
        x, y, sizes = zip(*points, strict=True)
        axes.scatter(x, y, sizes, alpha=0.5, label=name)
    axes.scatter(*_place(found.best), 400, facecolors="none", edgecolors="black", label="chosen")
    axes.axvline(found.budget.latency_ms, color="grey", linestyle=":", label="budget")
    axes.set(xlabel="inference ms", ylabel="parameters", yscale="log", title=f"networks for {found.budget.board.title}")
    axes.legend(markerscale=0.6)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _place(candidate: Candidate) -> tuple[float, int]:
    return candidate.figures.inference_ms.middle, candidate.parameters
