"""Activation ranges for quantization, measured on representative clips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kser.config import RANGES
from kser.errors import ConfigError
from kser.export.graph import Graph, evaluator
from kser.export.quantizers import fixed_range, is_moved, require_known

Ranges = dict[str, tuple[float, float]]
STEPS = 255
# Values of each tensor that quantiles and errors are measured on, drawn alike from all clips.
SAMPLES = 1 << 18
BATCH_CLIPS = 32
TAIL = 1e-4
# Shares of the full range that are tried to minimize the squared error.
SHRINKAGES = np.linspace(1.0, 0.5, 26)


def measure_ranges(graph: Graph, clips: np.ndarray, method: str = "minmax") -> Ranges:
    """The range of the input and of every quantized tensor, by node name.

    Args:
      clips: (n, num_frames, num_mels) normalized, n >= 1.
      method: one of config.RANGES.

    Raises:
      ConfigError: there are no clips, or no such method.
      KserError: a layer of an unknown kind.
    """
    if len(clips) == 0:
        raise ConfigError("Quantization needs at least one representative clip; none is given.")
    if method not in RANGES:
        raise ConfigError(f"There is no range method '{method}'; known: {', '.join(RANGES)}.")
    require_known(graph)
    rounded = [node for node in graph if not is_moved(node)]
    measured = {node.name for node in rounded if fixed_range(node) is None}
    draw = _extremes if method == "minmax" else _sampler(len(clips))
    values = {graph.input_name: clips.ravel(), **_drawn(graph, clips, measured, draw)}
    ranges = {name: _with_zero(*_METHODS[method](sample)) for name, sample in values.items()}
    return {**ranges, **{node.name: fixed_range(node) for node in rounded if node.name not in measured}}


def _drawn(graph: Graph, clips: np.ndarray, names: set[str], draw: Callable) -> dict[str, np.ndarray]:
    """What `draw` takes of the values (n, ...) of the tensors `names` in every batch of n clips."""
    evaluate = evaluator(graph)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(clips), BATCH_CLIPS):
        tensors = evaluate(tf.constant(clips[start : start + BATCH_CLIPS]))
        for name in sorted(names):
            parts[name].append(draw(tensors[name, 0].numpy()))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _extremes(values: np.ndarray) -> np.ndarray:
    return np.array([values.min(), values.max()])


def _sampler(num_clips: int) -> Callable[[np.ndarray], np.ndarray]:
    """Draws at random, of every clip as many values, so that a share of the sample is one of all values."""
    rng = np.random.default_rng(0)
    per_clip = -(-SAMPLES // num_clips)

    def draw(values: np.ndarray) -> np.ndarray:
        values = values.reshape(len(values), -1)
        if per_clip >= values.shape[1]:
            return values.ravel()
        return np.concatenate([rng.choice(clip, per_clip, replace=False) for clip in values])

    return draw


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """The range extended so that it contains zero exactly and is not empty."""
    return min(float(low), 0.0), max(float(high), 1e-6)


def symmetric(ranges: Ranges) -> Ranges:
    """Symmetric ranges around zero, as 16-bit activations need them."""
    limits = {name: max(-low, high) for name, (low, high) in ranges.items()}
    return {name: (-limit, limit) for name, limit in limits.items()}


def _minmax(values: np.ndarray) -> tuple[float, float]:
    return values.min(), values.max()


def _percentile(values: np.ndarray) -> tuple[float, float]:
    return tuple(np.quantile(values, (TAIL, 1 - TAIL)))


def _least_squares(values: np.ndarray) -> tuple[float, float]:
    """Both ends of the range moved inwards, one after the other, to minimize the error of rounding and clipping."""
    low, high = _with_zero(*_minmax(values))
    high *= min(SHRINKAGES, key=lambda share: _squared_error(values, low, share * high))
    low *= min(SHRINKAGES, key=lambda share: _squared_error(values, share * low, high))
    return low, high


def _squared_error(values: np.ndarray, low: float, high: float) -> float:
    scale = (high - low) / STEPS
    return float(np.mean((np.rint(np.clip(values, low, high) / scale) * scale - values) ** 2))


_METHODS: dict[str, Callable] = {"minmax": _minmax, "percentile": _percentile, "mse": _least_squares}
