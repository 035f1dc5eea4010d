"""The firmware's core as a shared object of this computer, called from Python."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from kser.config import FeatureConfig

_INT8, _INT16, _FLOAT = (np.ctypeslib.ndpointer(dtype, flags="C_CONTIGUOUS") for dtype in (np.int8, np.int16, np.float32))
_SIGNATURES = {
    "golden_clip": (None, (_INT16, ctypes.c_int)),
    "log_mel": (ctypes.c_int, (_INT16, ctypes.c_int, _FLOAT)),
    "stream_new": (ctypes.c_void_p, (ctypes.c_uint32,)),
    "stream_delete": (None, (ctypes.c_void_p,)),
    "stream_feed": (ctypes.c_int, (ctypes.c_void_p, _INT16, ctypes.c_int)),
    "stream_take": (None, (ctypes.c_void_p, _INT8)),
    "stream_loudest_dbfs": (ctypes.c_float, (ctypes.c_void_p,)),
    "stream_lost_samples": (ctypes.c_uint32, (ctypes.c_void_p,)),
    "stream_decide": (ctypes.c_int, (ctypes.c_void_p, _INT8, ctypes.c_float, _FLOAT)),
}
FIRST_SAMPLE = 2**32 - 20000  # the sample counter wraps within the first clip
BLOCK_SAMPLES = 256


class HostCore:
    """The core with the settings it was compiled with."""

    def __init__(self, library: Path, config: FeatureConfig, num_classes: int):
        self._library = ctypes.CDLL(str(library))
        self._config, self._num_classes = config, num_classes
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, f"kser_{name}")
            function.restype, function.argtypes = result, arguments

    def golden_clip(self) -> np.ndarray:
        """(clip_samples,) int16."""
        samples = np.empty(self._config.clip_samples, np.int16)
        self._library.kser_golden_clip(samples, len(samples))
        return samples

    def log_mel(self, samples: np.ndarray) -> np.ndarray:
        """(num_samples,) int16 to (num_frames, num_mels) float32, not normalized."""
        frames = np.empty((len(samples) // self._config.hop_samples + 1, self._config.num_mels), np.float32)
        return frames[: self._library.kser_log_mel(samples, len(samples), frames)]

    def open_stream(self) -> Stream:
        return Stream(self._library, self._config, self._num_classes)


class Stream:
    """Ring buffer, features and smoother of one recording."""

    def __init__(self, library: ctypes.CDLL, config: FeatureConfig, num_classes: int):
        self._library, self._config, self._num_classes = library, config, num_classes
        self._handle = library.kser_stream_new(FIRST_SAMPLE)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_) -> None:
        self._library.kser_stream_delete(self._handle)

    def feed(self, samples: np.ndarray) -> bool:
        """Plays (num_samples,) int16, in blocks as an interrupt would; returns whether a decision is due."""
        blocks = (samples[i : i + BLOCK_SAMPLES] for i in range(0, len(samples), BLOCK_SAMPLES))
        return bool([self._library.kser_stream_feed(self._handle, block, len(block)) for block in blocks][-1])

    def take(self) -> np.ndarray:
        """(num_frames, num_mels) int8, the model's input."""
        values = np.empty((self._config.num_frames, self._config.num_mels), np.int8)
        self._library.kser_stream_take(self._handle, values)
        return values

    def loudest_dbfs(self) -> float:
        return self._library.kser_stream_loudest_dbfs(self._handle)

    def lost_samples(self) -> int:
        return self._library.kser_stream_lost_samples(self._handle)

    def decide(self, logits: np.ndarray, loudest_dbfs: float | None = None) -> tuple[int, np.ndarray]:
        """Label (-1: silence) and averaged probabilities after one more window's (num_classes,) int8 logits.

        Args:
          loudest_dbfs: level of the window's loudest frame; None: that of the sound.
        """
        loudest_dbfs = self.loudest_dbfs() if loudest_dbfs is None else loudest_dbfs
        probabilities = np.empty(self._num_classes, np.float32)
        label = self._library.kser_stream_decide(self._handle, logits, loudest_dbfs, probabilities)
        return label, probabilities
