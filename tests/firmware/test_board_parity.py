"""The comparison with a board that is made up; with a real firmware in tests/micro/test_serial_link.py."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kser.errors import AudioError, BoardError, ModelFileError
from kser.firmware import codegen
from kser.firmware.board_parity import (
    MAX_HEARD_STEPS,
    MAX_INPUT_STEPS,
    MAX_INPUTS_SHARE,
    MAX_LOGIT_STEPS,
    ClipParity,
    Comparison,
    Latency,
    latency,
    summary,
)
from kser.firmware.serial_link import SILENCE, BoardDecision, Hello
from kser.tflite import interpreter, model_file
from kser.tflite.predict import Predictor
from tests import tiny

CLIP = ClipParity("a.wav", 10000, 0, 0, 0, 0, "sad", "sad", True, (1000.0, 3000.0), 5000, 4000)


class MadeUpBoard:
    """Answers what a flawless board would, with the changes that a test makes."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor
        self.label, self.logit_steps, self.features_change = None, 0, lambda values: values
        hash_ = codegen.fnv1a(model_file.encode_metadata(predictor.metadata))
        self.hello = Hello(1, hash_, *predictor.input.shape[1:], len(predictor.labels), 512, 512, 1, 0, "")

    def reset(self):
        self._heard = []

    def play(self, samples):
        self._inputs = interpreter.quantize(self._predictor.features(samples), self._predictor.input)
        return [1.0]

    def decide(self):
        logits, _ = self.classify(self._inputs)
        label = int(logits.argmax()) if self.label is None else self.label
        return BoardDecision(label, logits, np.zeros(len(logits), np.float32), -20.0, 7)

    def features(self):
        return self.features_change(self._inputs)

    def classify(self, inputs):
        features = interpreter.dequantize(inputs, self._predictor.input)[np.newaxis]
        logits = interpreter.quantize(self._predictor.logits(features)[0], self._predictor.output).astype(int)
        logits += np.where(logits > 0, -self.logit_steps, self.logit_steps)
        return logits.astype(np.int8), 5


@pytest.fixture
def predictor(trained):
    with Predictor(str(trained.model_file()), "tflm") as predictor:
        yield predictor


@pytest.fixture
def board(predictor):
    return MadeUpBoard(predictor)


@pytest.fixture
def compare(trained, predictor, board):
    return lambda: Comparison(board, predictor).compare(trained.corpus.utterances[0].path)


def test_a_flawless_board(compare, predictor, trained):
    clip = compare()
    assert (clip.other_inputs, clip.input_steps, clip.logit_steps, clip.heard_steps, clip.problem) == (0, 0, 0, 0, "")
    assert clip.inputs == predictor.config.num_frames * predictor.config.num_mels
    assert clip.host_label == clip.board_label == predictor.predict(trained.corpus.utterances[0].path).label
    assert (clip.frame_us, clip.decision_us, clip.model_us) == ((1.0,), 7, 5)


def test_features_that_differ(compare, board):
    board.features_change = lambda values: np.where(np.arange(values.size).reshape(values.shape) < 3, values ^ 1, values)
    clip = compare()
    assert (clip.other_inputs, clip.input_steps, clip.logit_steps) == (3, 1, 0)


def test_a_model_that_differs(compare, board):
    board.logit_steps = MAX_LOGIT_STEPS + 1
    clip = compare()
    assert clip.logit_steps == MAX_LOGIT_STEPS + 1 and "logits differ for equal features" in clip.problem


@pytest.mark.parametrize("label, problem", [(SILENCE, ""), (1, "does not match its logits")])
def test_labels(compare, board, label, problem):
    best = compare().board_label
    board.label = label if label == SILENCE else (tiny.LABELS.index(best) + 1) % len(tiny.LABELS)
    clip = compare()
    assert clip.board_label == ("silence" if label == SILENCE else tiny.LABELS[board.label])
    assert problem in clip.problem and bool(problem) == bool(clip.problem)


def test_a_label_there_is_not(compare, board):
    board.label = len(tiny.LABELS)
    with pytest.raises(BoardError, match="reports label 3"):
        compare()


def test_another_model(board, predictor):
    board.hello = dataclasses.replace(board.hello, metadata_hash=1)
    with pytest.raises(BoardError, match=r"has another model \(metadata 00000001\)"):
        Comparison(board, predictor)


def test_a_float_model(trained, board, tmp_path):
    path = tmp_path / "float.tflite"
    path.write_bytes(
        model_file.add_metadata(trained.result.float_model, model_file.read_metadata(trained.result.model_bytes))
    )
    with Predictor(str(path), "tflm") as predictor, pytest.raises(ModelFileError, match="runs an int8 model"):
        Comparison(board, predictor)


def test_audio_that_cannot_be_read(board, predictor, tmp_path):
    with pytest.raises(AudioError, match="no audio file"):
        Comparison(board, predictor).compare(str(tmp_path / "none.wav"))


@pytest.mark.parametrize(
    "change, beyond",
    [
        ({"other_inputs": MAX_INPUTS_SHARE * CLIP.inputs, "input_steps": MAX_INPUT_STEPS}, ""),
        ({"other_inputs": MAX_INPUTS_SHARE * CLIP.inputs + 1, "input_steps": 1}, "features differ"),
        ({"other_inputs": 1, "input_steps": MAX_INPUT_STEPS + 1}, "features differ"),
        ({"logit_steps": MAX_LOGIT_STEPS, "heard_steps": MAX_LOGIT_STEPS}, ""),
        ({"logit_steps": MAX_LOGIT_STEPS + 1}, "logits differ for equal features"),
        ({"heard_steps": MAX_LOGIT_STEPS + 1}, "logits of the sound differ"),
        ({"heard_steps": MAX_HEARD_STEPS, "other_inputs": 1}, ""),
        ({"heard_steps": MAX_HEARD_STEPS + 1, "other_inputs": 1}, "logits of the sound differ"),
        ({"consistent": False}, "the board's label does not match its logits"),
    ],
)
def test_bounds(change, beyond):
    assert dataclasses.replace(CLIP, **change).problem == beyond


def test_the_summary_counts():
    other = dataclasses.replace(CLIP, other_inputs=2, input_steps=1, logit_steps=5, heard_steps=6, board_label="silence")
    found = summary([CLIP, other])
    assert {name: found[name] for name in ("clips", "inputs", "other_inputs", "input_steps", "logit_steps")} == {
        "clips": 2,
        "inputs": 20000,
        "other_inputs": 2,
        "input_steps": 1,
        "logit_steps": 5,
    }
    assert (found["logits_equal"], found["heard_logits_equal"], found["labels_equal"], found["silent"]) == (1, 1, 1, 1)
    assert found["beyond_bounds"] == 1
    assert found["latency_ms"]["model"] == {"least": 4.0, "mean": 4.0, "most": 4.0}
    assert latency([1000, 3000]) == Latency(1.0, 2.0, 3.0)
