"""Emotions of audio files by a .tflite alone: settings and labels come from its metadata."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kser.audio import reading
from kser.audio.decoding import FORMATS
from kser.audio.device_log_mel import board_codes, board_input, input_tables
from kser.audio.log_mel import Normalization, feature_code
from kser.config import FeatureConfig, SmoothingConfig, from_dict
from kser.datasets.files import find_audio, other_sound
from kser.errors import AudioError, KserError, KserWarning, ModelFileError
from kser.models.inference import softmax
from kser.tflite import interpreter
from kser.tflite.sandbox import Limits, Sandbox, SandboxedRunner


@dataclass(frozen=True)
class Prediction:
    """A clip's probabilities, (num_classes,) float32, and the label of the largest; `path` of its file, "" without one."""

    path: str
    label: str
    probabilities: np.ndarray


class Predictor:
    """An untrusted .tflite, a file or its bytes, run in a sandbox, with the front end it was trained with in the arithmetic
    of deploy/kser_micro (16-bit samples, rounded features). A context manager; leaving it ends the sandbox.

    Attributes:
      metadata: kser's metadata in the file.
      labels, config, normalization, smoothing: class names, front end and how a board decides, from the metadata.
      input, output: the model's tensors.

    Raises:
      ConfigError: there is no such interpreter.
      ModelFileError: not a TensorFlow Lite model, without valid metadata of kser, or it does not run.
    """

    def __init__(self, model: str | bytes, interpreter: str = "tflm", limits: Limits = Limits()):  # noqa: B008 (frozen)
        self._sandbox = Sandbox(limits)
        try:
            self._open(SandboxedRunner(interpreter, model, self._sandbox))
        except BaseException:
            self.close()
            raise

    def _open(self, runner: SandboxedRunner) -> None:
        self._runner, self.metadata = runner, runner.metadata()
        rewrite = "write it again with bin/fold_and_convert."
        try:
            self.labels = tuple(self.metadata["labels"])
            self.config = from_dict(FeatureConfig, self.metadata["features"])
            self.normalization = Normalization.from_dict(self.metadata["normalization"], self.config)
            self.smoothing = from_dict(SmoothingConfig, self.metadata.get("smoothing", {}))
        except (KeyError, TypeError, ValueError, KserError) as error:
            raise ModelFileError(f"{runner.name} has damaged kser metadata; {rewrite}") from error
        self.input, self.output = runner.tensors()
        shapes = (1, self.config.num_frames, self.config.num_mels), (1, len(self.labels))
        if (self.input.shape, self.output.shape) != shapes:
            raise ModelFileError(f"{runner.name} has kser metadata of another model; {rewrite}")

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends the sandbox."""
        self._sandbox.close()

    def predict(self, path: str) -> Prediction:
        """The prediction for one audio file.

        Raises:
          AudioError: the file cannot be used.
        """
        return self.predict_samples(reading.load(path, self.config.upper_hz), path)

    def predict_samples(self, samples: np.ndarray, path: str = "") -> Prediction:
        """The prediction for a recording (num_samples,) float32 in [-1, 1] at 16 kHz; `path` is its file, if any."""
        clip = reading.fix_clip(samples, self.config)
        probabilities = softmax(self.logits(self.features(reading.to_pcm16(clip))[np.newaxis])[0])
        return Prediction(path, self.labels[int(probabilities.argmax())], probabilities)

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(clip_samples,) int16 to (num_frames, num_mels) float32, normalized, as a board computes them from these samples.

        For an int8 model the quantized features are those of the board bit for bit.
        """
        return self.features_of_codes(board_codes(samples, self.config))

    def features_of_codes(self, codes: np.ndarray) -> np.ndarray:
        """`features` of log-mel as a board stores it, (num_frames, num_mels) codes."""
        code = feature_code(self.config)
        if self.input.dtype != "int8":
            return self.normalization.apply(code.decode(codes))
        tables = input_tables(self.normalization, code, self.input.scale)
        stored = board_input(codes, tables, self.input.zero_point, self.config.remove_level)
        return interpreter.dequantize(stored, self.input)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (n, num_classes) float32 of features (n, num_frames, num_mels) float32."""
        return self._runner.logits(features)


def audio_files(paths: list[str]) -> Iterator[str]:
    """`paths`, with every directory replaced by the audio files below it.

    Raises:
      AudioError: a directory contains no audio file.
    """
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found = list(find_audio(path))
        for warning in other_sound(path):
            warnings.warn(warning, KserWarning, stacklevel=2)
        if not found:
            raise AudioError(f"No audio file ({FORMATS}) lies below {path}.")
        yield from found
