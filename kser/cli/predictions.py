"""The emotions of one file as text for people and for other programs."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass

import numpy as np

from kser.audio import reading
from kser.config import SAMPLE_RATE_HZ
from kser.progress import counting
from kser.tflite.predict import Predictor
from kser.tflite.timeline import Timeline, is_long, timeline


@dataclass(frozen=True)
class FileResult:
    """A file's emotions over time; of a clip, `is_clip`, there is a single one."""

    path: str
    labels: tuple[str, ...]
    is_clip: bool
    timeline: Timeline


def predict(predictor: Predictor, path: str) -> FileResult:
    """The emotions of one audio file.

    Raises:
      AudioError: the file cannot be used.
    """
    samples = reading.load(path, predictor.config.upper_hz)
    if not is_long(samples, predictor.config):
        found, seconds = predictor.predict_samples(samples, path), len(samples) / SAMPLE_RATE_HZ
        whole = Timeline(seconds, np.float64([seconds]), (found.label,), found.probabilities[np.newaxis])
        return FileResult(path, predictor.labels, True, whole)
    with counting(path, "windows") as progress:
        over_time = timeline(predictor, samples, progress.advance)
    return FileResult(path, predictor.labels, False, over_time)


def lines(result: FileResult) -> str:
    """Path, of a long recording begin and end in seconds, label, and the probabilities, the largest first."""
    return "\n".join(_line(result, segment) for segment in result.timeline.segments())


def _line(result: FileResult, segment) -> str:
    shares = sorted(zip(result.labels, segment.probabilities, strict=True), key=lambda item: -item[1])
    time = [] if result.is_clip else [f"{segment.begin:.2f}-{segment.end:.2f}"]
    return "\t".join([result.path, *time, segment.label, " ".join(f"{label}={p:.2f}" for label, p in shares)])


def json_line(result: FileResult) -> str:
    """An object: of a clip its label and probabilities, of a long recording its segments."""
    if result.is_clip:
        (segment,) = result.timeline.segments()
        return json.dumps({"path": result.path, "label": segment.label, "probabilities": _shares(result, segment)})
    segments = [
        {
            "begin": round(segment.begin, 3),
            "end": round(segment.end, 3),
            "label": segment.label,
            "probabilities": _shares(result, segment),
        }
        for segment in result.timeline.segments()
    ]
    return json.dumps({"path": result.path, "seconds": round(result.timeline.seconds, 3), "segments": segments})


def _shares(result: FileResult, segment) -> dict[str, float]:
    return {label: round(float(p), 4) for label, p in zip(result.labels, segment.probabilities, strict=True)}


def csv_head(labels: tuple[str, ...]) -> str:
    """The columns of `csv_rows`."""
    return _csv([("path", "begin", "end", "label", *labels)])


def csv_rows(result: FileResult) -> str:
    """A row for each segment."""
    return _csv(
        (result.path, f"{s.begin:.3f}", f"{s.end:.3f}", s.label, *(f"{p:.4f}" for p in s.probabilities))
        for s in result.timeline.segments()
    )


def _csv(rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")


def label_track(result: FileResult) -> str:
    """A label track of Audacity: begin, end and label of each segment."""
    return "".join(f"{s.begin:.6f}\t{s.end:.6f}\t{' '.join(s.label.split())}\n" for s in result.timeline.segments())
