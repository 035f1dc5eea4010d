"""A picture is a whole PNG or not there."""

from __future__ import annotations

import errno
import os
import struct

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from kser import plots
from kser.errors import KserError
from kser.tflite.timeline import Timeline
from kser.training.metrics import score

LABELS = ("calm", "happy", "sad")
SCORES = score([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2], 3)


def png_size(path) -> tuple[int, int]:
    """Width and height from the header, of a file that begins and ends as a PNG does."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") and data.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", data[16:24])


@pytest.mark.parametrize("num_labels", [2, 8])
def test_confusion_is_a_png_whose_size_follows_the_labels(tmp_path, num_labels):
    labels = tuple(f"label{i}" for i in range(num_labels))
    scores = score(list(range(num_labels)), [0] * num_labels, num_labels)
    plots.save_confusion(str(tmp_path / "confusion.png"), scores, labels, "a title")
    pixels = round(120 * (2.2 + 0.6 * num_labels))  # 120 dots per inch
    assert png_size(tmp_path / "confusion.png") == (pixels, pixels)
    assert os.listdir(tmp_path) == ["confusion.png"]


def test_confusion_shows_counts_labels_and_scores(tmp_path, monkeypatch):
    seen = {}

    def look(figure, path, **kwargs):
        axes = figure.axes[0]
        seen["counts"] = [int(text.get_text()) for text in axes.texts]
        seen["labels"] = [tick.get_text() for tick in axes.get_yticklabels()]
        seen["title"] = axes.get_title()
        seen["colours"] = axes.images[0].get_array()

    monkeypatch.setattr(Figure, "savefig", look)
    plots.save_confusion(str(tmp_path / "confusion.png"), SCORES, LABELS, "split 4")
    assert seen["counts"] == SCORES.confusion.ravel().tolist()
    assert tuple(seen["labels"]) == LABELS
    assert "split 4" in seen["title"] and "UA 0.722" in seen["title"] and "WA 0.667" in seen["title"]
    np.testing.assert_allclose(seen["colours"], [[2 / 3, 1 / 3, 0], [0, 1 / 2, 1 / 2], [0, 0, 1]])


@pytest.mark.parametrize("labels", [("$_$", ">_<", "^_^"), ("a\\b", "$\\frac{1}$", "$"), ("caf\udce9", "x_{", "")])
def test_confusion_survives_any_label(tmp_path, labels):
    plots.save_confusion(str(tmp_path / "confusion.png"), SCORES, labels, "$_$ caf\udce9")
    assert png_size(tmp_path / "confusion.png")


@pytest.mark.parametrize("labels", [("a", "b"), ("$_$", ">_<")])
def test_a_timeline_is_a_png(tmp_path, labels):
    found = Timeline(
        5.1, np.float64([2.5, 3, 4, 5]), (*labels, labels[0], "silence"), np.float32([[0.8, 0.2]] * 3 + [[0, 0]])
    )
    plots.save_timeline(str(tmp_path / "time.png"), found, labels, "caf\udce9 $_$.wav")
    assert png_size(tmp_path / "time.png") == (1000, 400)


def test_a_full_disk_leaves_the_old_confusion(tmp_path, monkeypatch):
    path = tmp_path / "confusion.png"
    path.write_bytes(b"old")

    def fill(figure, temporary, **kwargs):
        with open(temporary, "wb") as file:
            file.write(b"\x89PNG half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Figure, "savefig", fill)
    with pytest.raises(KserError, match=r"^Cannot write .*confusion\.png: No space left on device\.$"):
        plots.save_confusion(str(path), SCORES, LABELS, "a title")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["confusion.png"]
    assert pyplot.get_fignums() == []  # no figure is left in pyplot's memory either
