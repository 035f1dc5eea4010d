"""Compares a board's features, logits and labels for audio files with this computer's, and measures the board's times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kser.audio import reading
from kser.errors import BoardError, ModelFileError
from kser.firmware import codegen
from kser.firmware.serial_link import SILENCE, Board
from kser.tflite import interpreter, model_file
from kser.tflite.predict import Predictor

# With the FFT of another library a board rounds one in tens of thousands of log-mel values differently; one step of its
# 8 bits is at most two steps of the model's input. Any other difference (window, table, scale) changes far more values.
MAX_INPUT_STEPS, MAX_INPUTS_SHARE = 2, 0.001
# Kernels round like TFLM's reference, but some multiply scales in float32, others in double: one step in an inner layer,
# which becomes a few at the output. Different inputs add to that. A label can differ only if two logits are that close.
MAX_LOGIT_STEPS, MAX_HEARD_STEPS = 4, 16


@dataclass(frozen=True)
class ClipParity:
    """Results of one file on the board and on this computer.

    Attributes:
      inputs: number of values of the model's input.
      other_inputs: number of these that differ; `input_steps` is the largest difference.
      logit_steps: largest difference of the logits for the same inputs (this computer's): the model alone.
      heard_steps: largest difference of the logits for the sound, each with its own features.
      board_label, host_label: names; the board's may be "silence".
      consistent: whether the board's label is silence or that of its largest logit.
      frame_us: microseconds of the front end for one frame, for each block of samples.
      decision_us, model_us: microseconds of the whole decision, and of the model alone.
    """

    path: str
    inputs: int
    other_inputs: int
    input_steps: int
    logit_steps: int
    heard_steps: int
    board_label: str
    host_label: str
    consistent: bool
    frame_us: tuple[float, ...]
    decision_us: int
    model_us: int

    @property
    def problem(self) -> str:
        """The bound that is exceeded, empty if none is."""
        if self.input_steps > MAX_INPUT_STEPS or self.other_inputs > MAX_INPUTS_SHARE * self.inputs:
            return "features differ"
        if self.logit_steps > MAX_LOGIT_STEPS:
            return "logits differ for equal features"
        if self.heard_steps > (MAX_HEARD_STEPS if self.other_inputs else MAX_LOGIT_STEPS):
            return "logits of the sound differ"
        return "" if self.consistent else "the board's label does not match its logits"


def require_same_model(board: Board, predictor: Predictor) -> None:
    """Raises BoardError if the board has another model, ModelFileError if this one is not int8."""
    if {predictor.input.dtype, predictor.output.dtype} != {"int8"}:
        raise ModelFileError("The board runs an int8 model; give --model the model.tflite of bin/fold_and_convert.")
    wanted = codegen.fnv1a(model_file.encode_metadata(predictor.metadata))
    if board.hello.metadata_hash != wanted:
        raise BoardError(
            f"The board has another model (metadata {board.hello.metadata_hash:08x}) than --model (metadata "
            f"{wanted:08x}); flash the sketch that was generated for this one."
        )


class Comparison:
    """Sends files to a board and compares its results with this computer's.

    Raises:
      BoardError: the board has another model.
      ModelFileError: the model is not int8.
    """

    def __init__(self, board: Board, predictor: Predictor):
        require_same_model(board, predictor)
        self._board, self._predictor = board, predictor

    def compare(self, path: str) -> ClipParity:
        """Compares one file; raises AudioError if it cannot be used."""
        predictor, board = self._predictor, self._board
        clip = reading.fix_clip(reading.load(path, predictor.config.upper_hz), predictor.config)
        samples = reading.to_pcm16(clip)
        inputs, logits = self._on_host(samples)
        board.reset()
        frame_us = board.play(samples)
        decision = board.decide()
        steps = _steps(board.features(), inputs)
        model_logits, model_us = board.classify(inputs)
        return ClipParity(
            path=path,
            inputs=inputs.size,
            other_inputs=int(np.count_nonzero(steps)),
            input_steps=int(steps.max()),
            logit_steps=int(_steps(model_logits, logits).max()),
            heard_steps=int(_steps(decision.logits, logits).max()),
            board_label=self._label(decision.label),
            host_label=self._label(int(logits.argmax())),
            consistent=decision.label in (SILENCE, int(decision.logits.argmax())),
            frame_us=tuple(frame_us),
            decision_us=decision.microseconds,
            model_us=model_us,
        )

    def _on_host(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The model's input (num_frames, num_mels) and output (num_classes,), int8 as stored."""
        features = self._predictor.features(samples)
        logits = self._predictor.logits(features[np.newaxis])[0]
        return interpreter.quantize(features, self._predictor.input), interpreter.quantize(logits, self._predictor.output)

    def _label(self, index: int) -> str:
        if not SILENCE <= index < len(self._predictor.labels):
            raise BoardError(f"The board reports label {index}, which the model does not have; generate its sketch again.")
        return "silence" if index == SILENCE else self._predictor.labels[index]


def _steps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(int) - b.astype(int))


@dataclass(frozen=True)
class Latency:
    """Milliseconds."""

    least: float
    mean: float
    most: float


def latency(microseconds: Sequence[float]) -> Latency:
    """Statistics of one or more measurements."""
    return Latency(min(microseconds) / 1000, statistics.fmean(microseconds) / 1000, max(microseconds) / 1000)


def summary(clips: Sequence[ClipParity]) -> dict:
    """A summary of one or more clips as JSON values."""
    times = {
        "front_end_frame": [us for clip in clips for us in clip.frame_us],
        "decision": [clip.decision_us for clip in clips],
        "model": [clip.model_us for clip in clips],
    }
    return {
        "clips": len(clips),
        "inputs": sum(clip.inputs for clip in clips),
        "other_inputs": sum(clip.other_inputs for clip in clips),
        "input_steps": max(clip.input_steps for clip in clips),
        "logits_equal": sum(clip.logit_steps == 0 for clip in clips),
        "logit_steps": max(clip.logit_steps for clip in clips),
        "heard_logits_equal": sum(clip.heard_steps == 0 for clip in clips),
        "labels_equal": sum(clip.board_label == clip.host_label for clip in clips),
        "silent": sum(clip.board_label == "silence" for clip in clips),
        "beyond_bounds": sum(bool(clip.problem) for clip in clips),
        "latency_ms": {name: latency(values).__dict__ for name, values in times.items()},
    }
