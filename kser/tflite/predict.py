"""Emotions of audio files, by a .tflite alone: all that is needed to know travels in its metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kser.audio import reading
from kser.audio.device_log_mel import board_codes, board_input, input_tables
from kser.audio.log_mel import Normalization, feature_code
from kser.config import FeatureConfig, from_dict
from kser.datasets.files import find_audio
from kser.errors import AudioError, KserError, ModelFileError
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
    """An untrusted .tflite, a file or its bytes, with the front end it was trained with, as deploy/kser_micro has it (16-bit
    samples, rounded features), run in a sandbox. A context manager; its end ends the sandbox.

    Attributes:
      metadata: what kser put into the file.
      labels, config, normalization: of it, the names of the classes and the front end.
      input, output: the model's tensors.

    Raises:
      ConfigError: there is no such interpreter.
      ModelFileError: no TensorFlow Lite model, without usable metadata of kser, or one that does not run.
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
        """One audio file.

        Raises:
          AudioError: the file cannot be used.
        """
        return self.predict_samples(reading.load(path, self.config.upper_hz), path)

    def predict_samples(self, samples: np.ndarray, path: str = "") -> Prediction:
        """One recording, (num_samples,) float32 in [-1, 1] at 16 kHz, of the file `path`, if it is of one."""
        clip = reading.fix_clip(samples, self.config)
        probabilities = softmax(self.logits(self.features(reading.to_pcm16(clip))[np.newaxis])[0])
        return Prediction(path, self.labels[int(probabilities.argmax())], probabilities)

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(clip_samples,) int16 to (num_frames, num_mels) float32, normalized: those of a board that hears these samples.

        For a model in int8, which a board can run, they are the board's to the bit once they are quantized.
        """
        code, codes = feature_code(self.config), board_codes(samples, self.config)
        if self.input.dtype != "int8":
            return self.normalization.apply(code.decode(codes))
        tables = input_tables(self.normalization, code, self.input.scale)
        stored = board_input(codes, tables, self.input.zero_point, self.config.remove_level)
        return interpreter.dequantize(stored, self.input)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (n, num_classes) float32 of features (n, num_frames, num_mels) float32."""
        return self._runner.logits(features)


def audio_files(paths: list[str]) -> Iterator[str]:
    """The files among `paths` as they are, and for a directory the audio files below it.

    Raises:
      AudioError: a directory holds none.
    """
    for path in paths:
        found = list(find_audio(path)) if os.path.isdir(path) else [path]
        if not found:
            raise AudioError(f"No .wav or .flac file lies below {path}.")
        yield from found
