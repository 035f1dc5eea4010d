"""The serial mode of the firmware and its PC's end together: the whole classifier in a real TensorFlow Lite Micro.

The firmware is built for this computer and stands at a pseudo-terminal; what it is asked comes as it does from bin/board.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

import kser
from kser.boards.catalog import OWN_OPS
from kser.cli.board_microphone import training_levels
from kser.config import SAMPLE_RATE_HZ
from kser.errors import ModelFileError
from kser.export import convert
from kser.export.rewrites import deploy_model
from kser.firmware import board_microphone
from kser.firmware.board_microphone import Sound
from kser.firmware.board_parity import Comparison, summary
from kser.firmware.serial_link import Board, BoardError, Frame, FrameDecoder, Heard, SerialPort
from kser.tflite.interpreter import smallest_arena_bytes
from kser.tflite.model_file import add_metadata, pack, parse
from kser.tflite.predict import Predictor
from tests import networks, tiny
from tests.cli.command_server import CommandServer, assert_told
from tests.micro import serial_board, sources, toolchain
from tests.micro.serial_board import SerialBoard

REASON = toolchain.missing("g++") or toolchain.missing_tflm()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

NUM_CLIPS = 12
HELLO, RESET, SAMPLES, DECIDE, FEATURES, INPUT, CLASSIFY, HEARD, REFUSED = 1, 2, 3, 4, 5, 6, 7, 8, 0x7F
NO_HELLO, BAD_REQUEST, NO_RESULT, NO_MICROPHONE = 1, 2, 3, 4
WAIT = {"timeout_seconds": 5.0, "resend_seconds": 0.2}
CLIP = tiny.tone(0, 0, 0)


@dataclass(frozen=True)
class Firmware:
    """A small network of a backbone: its .tflite and a program that runs it."""

    model_file: Path
    program: Path


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return toolchain.kernel_objects(tmp_path_factory.mktemp("kernels"))


def model_bytes_of(backbone: str) -> bytes:
    model = deploy_model(networks.network(backbone), networks.clips()).model
    return add_metadata(convert.to_int8_tflite(model, networks.clips()), sources.metadata(networks.FEATURES))


@pytest.fixture(scope="module")
def firmware(tmp_path_factory, kernels):
    """A function of a backbone's name to its Firmware, built once."""
    built = {}

    def firmware(backbone: str) -> Firmware:
        if backbone not in built:
            directory = tmp_path_factory.mktemp(backbone)
            model_bytes = model_bytes_of(backbone)
            (directory / "model.tflite").write_bytes(model_bytes)
            serial_board.write_sources(directory, model_bytes, OWN_OPS)
            built[backbone] = Firmware(directory / "model.tflite", toolchain.serial_board(directory, kernels))
        return built[backbone]

    return firmware


@pytest.fixture(scope="module")
def conformer(firmware):
    return firmware("conformer")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[str]:
    directory = tmp_path_factory.mktemp("clips")
    tones = [tiny.tone(index % 3, index % 4, index) for index in range(NUM_CLIPS)]
    for index, tone in enumerate(tones):
        soundfile.write(directory / f"{index:02}.wav", tone, SAMPLE_RATE_HZ)
    return sorted(map(str, directory.glob("*.wav")))


def compared(firmware: Firmware, stand_in: SerialBoard, clips: list[str]) -> dict:
    predictor = Predictor(str(firmware.model_file), "tflm")
    with predictor, stand_in, SerialPort(stand_in.port, 115200) as port:
        comparison = Comparison(Board(port, **WAIT), predictor)
        return summary([comparison.compare(clip) for clip in clips])


# --- Numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", networks.SMALL)
def test_the_whole_classifier_gives_the_wheels_logits(firmware, clips, backbone):
    built = firmware(backbone)
    found = compared(built, SerialBoard(built.program), clips)
    assert found["logits_equal"] == found["clips"] == NUM_CLIPS
    assert found["beyond_bounds"] == found["silent"] == 0
    assert found["labels_equal"] == NUM_CLIPS
    assert all(0 < times["least"] <= times["mean"] <= times["most"] for times in found["latency_ms"].values())


def test_a_hello_tells_what_is_on_the_board(conformer):
    with SerialBoard(conformer.program) as stand_in, SerialPort(stand_in.port, 115200) as port:
        hello = Board(port, **WAIT).hello
    config = networks.FEATURES
    assert hello.kser_version == kser.__version__
    assert (hello.num_frames, hello.num_mels, hello.num_classes) == (config.num_frames, config.num_mels, len(sources.LABELS))
    assert (hello.window_samples, hello.hop_samples) == (config.window_samples, config.hop_samples)
    assert smallest_arena_bytes(conformer.model_file.read_bytes()) < 2 * hello.arena_bytes


def test_decisions_have_what_the_model_gave(conformer):
    with SerialBoard(conformer.program) as stand_in, SerialPort(stand_in.port, 115200) as port:
        board = Board(port, **WAIT)
        samples = np.int16(3000 * np.sin(np.arange(networks.FEATURES.clip_samples) / 5))
        board.play(samples)
        decision = board.decide()
        features = board.features()
        logits, _ = board.classify(features)
        np.testing.assert_array_equal(logits, decision.logits)
        np.testing.assert_array_equal(board.features(), features)
        assert decision.label == logits.argmax() and abs(decision.probabilities.sum() - 1) < 1e-5
        # A sine's mean square is half of its peak's, and the mel bands hold nearly all of it; whole dB come back.
        assert len(np.unique(features)) > 10 and abs(decision.loudest_dbfs - 20 * np.log10(3000 / 32768 / 2**0.5)) <= 1.5


# --- A bad line -------------------------------------------------------------------------------------------------------


class Noise:
    """Changes, drops or adds a byte in every so many chunks."""

    def __init__(self, seed: int, share: float = 0.05):
        self._rng, self._share = np.random.default_rng(seed), share
        self.faults = 0

    def __call__(self, data: bytes) -> bytes:
        if not data or self._rng.random() > self._share:
            return data
        self.faults += 1
        at, kind = int(self._rng.integers(len(data))), self._rng.integers(3)
        inserted = (bytes([data[at] ^ 0x10]), b"", data[at : at + 1] + self._rng.bytes(9))[kind]
        return data[:at] + inserted + data[at + 1 :]


def test_a_noisy_line_changes_no_number(conformer, clips):
    to_board, to_pc = Noise(1), Noise(2)
    quiet = compared(conformer, SerialBoard(conformer.program), clips[:3])
    noisy = compared(conformer, SerialBoard(conformer.program, to_board, to_pc), clips[:3])
    assert min(to_board.faults, to_pc.faults) > 3
    del quiet["latency_ms"], noisy["latency_ms"]
    assert noisy == quiet


def test_what_a_board_prints_besides_is_passed_over(conformer, clips):
    talkative = SerialBoard(conformer.program, to_pc=lambda data: b"I (42) app: hello\r\n" + data)
    assert compared(conformer, talkative, clips[:1])["logits_equal"] == 1


def test_a_restart_is_told(conformer):
    with SerialBoard(conformer.program) as stand_in, SerialPort(stand_in.port, 115200) as port:
        board = Board(port, **WAIT)
        board.play(np.zeros(1000, np.int16))
        stand_in.restart()
        with pytest.raises(BoardError, match="has restarted; start again"):
            board.play(np.zeros(1000, np.int16))


def test_a_board_that_falls_silent_is_told(conformer):
    silent = []
    with (
        SerialBoard(conformer.program, to_pc=lambda data: b"" if silent else data) as stand_in,
        SerialPort(stand_in.port, 115200) as port,
    ):
        board = Board(port, timeout_seconds=0.5, resend_seconds=0.2)
        silent.append(True)
        with pytest.raises(BoardError, match="sent nothing for 0.5 s"):
            board.reset()


# --- Its own microphone -----------------------------------------------------------------------------------------------

# Samples that come while a request is answered, which brings at most 253 of them.
FEW, TOO_MANY = 200, 300


@pytest.fixture(scope="module")
def ramp(tmp_path_factory) -> Path:
    """What a microphone hears: each sample tells its place, from 1."""
    path = tmp_path_factory.mktemp("microphone") / "ramp.raw"
    np.arange(1, 1 << 15, dtype="<i2").tofile(path)
    return path


def heard_by(firmware: Firmware, sound: Path, per_request: int, num_samples: int) -> list[Sound]:
    found = []
    stand_in = SerialBoard(firmware.program, microphone=(sound, per_request))
    with stand_in, SerialPort(stand_in.port, 115200) as port:
        for part in board_microphone.listen(Board(port, **WAIT)):
            found.append(part)
            if sum(len(part.samples) for part in found) >= num_samples:
                return found


def test_a_board_sends_what_its_microphone_hears_and_decides_on_it(conformer, ramp):
    parts = heard_by(conformer, ramp, FEW, 30000)
    samples = np.concatenate([part.samples for part in parts])
    assert not any(part.lost for part in parts)
    assert len(samples) >= 30000 and set(np.diff(samples)) <= {1, -(1 << 15) + 2}
    # A decision when the window is full and every 0.5 s from then on.
    config = networks.FEATURES
    ends = np.cumsum([len(part.samples) for part in parts])[[part.decision is not None for part in parts]]
    full = config.window_samples + (config.num_frames - 1) * config.hop_samples
    wanted = np.arange(full, ends[-1] + 1, SAMPLE_RATE_HZ // 2)
    # Samples arrive in blocks, and a decision is due at the end of a hop.
    assert len(ends) == len(wanted) >= 2
    assert np.all((ends >= wanted) & (ends <= wanted + 253 + config.hop_samples))
    # Those of the same sound played to the board.
    first = samples[: ends[0]]
    with SerialBoard(conformer.program) as stand_in, SerialPort(stand_in.port, 115200) as port:
        board = Board(port, **WAIT)
        board.play(first)
        played = board.decide()
    decided = next(part.decision for part in parts if part.decision)
    np.testing.assert_array_equal(decided.logits, played.logits)
    assert (decided.label, decided.loudest_dbfs) == (played.label, played.loudest_dbfs)


def test_what_a_slow_line_loses_is_counted_in_its_place(conformer, ramp):
    parts = heard_by(conformer, ramp, TOO_MANY, 60_000)
    assert sum(part.lost for part in parts) > 4096
    place = parts[0].samples[0]
    for part in parts:
        kept = part.samples[part.lost :]
        assert not part.samples[: part.lost].any()
        place += part.lost
        np.testing.assert_array_equal(kept, (place - 1 + np.arange(len(kept))) % ((1 << 15) - 1) + 1)
        place += len(kept)


def test_a_board_without_a_microphone_says_so(greeted):
    reason, sentence = greeted.refusal(Frame(HEARD, 1))
    assert reason == NO_MICROPHONE and "could not be started" in sentence


def test_a_microphone_that_brings_nothing_is_told(conformer, ramp, monkeypatch):
    monkeypatch.setattr(board_microphone, "_PATIENCE_SECONDS", 0.3)
    with pytest.raises(BoardError, match="brings no samples"):
        heard_by(conformer, ramp, 0, 1)


@pytest.mark.parametrize(
    "loudest, words", [(-25.0, ""), (-45.0, "20 dB quieter than most of training; raise"), (-5.0, "20 dB louder")]
)
def test_the_advice_is_how_far_speech_is_from_most_of_training(loudest, words):
    advice = board_microphone.level_advice(loudest, (-35.0, -25.0, -12.0))
    assert advice.startswith(words) and bool(advice) == bool(words)


def test_a_count_that_goes_back_is_told_and_no_silence_made_of_it():
    class Confused:
        places = iter((1000, 500))

        def reset(self):
            pass

        def heard(self):
            return Heard(next(self.places), np.ones(100, np.int16), False)

    sounds = board_microphone.listen(Confused())
    assert len(next(sounds).samples) == 100
    with pytest.raises(BoardError, match="makes no sense"):
        next(sounds)


@pytest.mark.parametrize("levels", [[1.0], "loud", [-10.0, -20.0, -30.0], [None, None, None]])
def test_levels_that_are_none_are_told(levels):
    with pytest.raises(ModelFileError, match="damaged kser metadata"):
        training_levels({"training_dbfs": levels})


def test_levels_of_training():
    assert training_levels({"training_dbfs": [-30.5, -20.0, -10]}) == (-30.5, -20.0, -10)
    assert training_levels({}) is None


# --- The firmware's end -----------------------------------------------------------------------------------------------


class Line:
    """The firmware's bytes themselves."""

    def __init__(self, program: Path):
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._decoder = FrameDecoder()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        assert self._process.wait() == 0
        self._process.stdout.close()

    def ask(self, *frames: Frame, before: bytes = b"", answers: int = 1, seconds: float = 5.0) -> list[Frame]:
        """So many answers to frames that come in one go, or fewer if no more come."""
        self._process.stdin.write(before + b"".join(frame.encode() for frame in frames))
        found = []
        while len(found) < answers and select.select([self._process.stdout], [], [], seconds)[0]:
            found += self._decoder.feed(os.read(self._process.stdout.fileno(), 4096))
        return found

    def refusal(self, frame: Frame) -> tuple[int, str]:
        (answer,) = self.ask(frame)
        assert (answer.type, answer.sequence) == (REFUSED, frame.sequence)
        return answer.payload[0], answer.payload[1:].decode()


@pytest.fixture
def line(conformer):
    with Line(conformer.program) as line:
        yield line


@pytest.fixture
def greeted(line):
    assert line.ask(Frame(HELLO, 0))
    return line


def test_nothing_works_before_a_hello(line):
    for kind in (0, RESET, SAMPLES, DECIDE, FEATURES, INPUT, CLASSIFY, 99):
        assert line.refusal(Frame(kind, 0))[0] == NO_HELLO
    assert line.ask(Frame(HELLO, 1))[0].type == HELLO


@pytest.mark.parametrize(
    "frame, words",
    [
        (Frame(99, 1), "does not know"),
        (Frame(SAMPLES, 1, b"abc"), "whole samples"),
        (Frame(FEATURES, 1), "No features"),
        (Frame(FEATURES, 1, b"\xff\xff\xff\xff"), "No features"),
        (Frame(FEATURES, 1, bytes(5)), "No features"),
        (Frame(INPUT, 1, bytes(3)), "no such place"),
        (Frame(INPUT, 1, bytes(4)), "no such place"),
        (Frame(INPUT, 1, (networks.FEATURES.num_frames * 16 - 1).to_bytes(4, "little") + b"ab"), "no such place"),
        (Frame(INPUT, 1, b"\xff\xff\xff\xffa"), "no such place"),
    ],
)
def test_unfit_requests_are_refused(greeted, frame, words):
    reason, sentence = greeted.refusal(frame)
    assert reason == BAD_REQUEST and words in sentence and sentence.endswith(".")


def test_a_decision_must_be_due(greeted):
    reason, sentence = greeted.refusal(Frame(DECIDE, 1))
    assert reason == NO_RESULT and "No decision is due yet" in sentence


def test_a_repeated_request_is_done_once(greeted):
    block = Frame(SAMPLES, 1, bytes(512))
    first, again = greeted.ask(block, block, answers=2)
    assert first == again and int.from_bytes(first.payload[:4], "little") == 256
    (then,) = greeted.ask(Frame(SAMPLES, 2, bytes(512)))
    assert int.from_bytes(then.payload[:4], "little") == 512
    (reset, anew) = greeted.ask(Frame(RESET, 3), Frame(SAMPLES, 4, bytes(2)), answers=2)
    assert reset.payload == b"" and int.from_bytes(anew.payload[:4], "little") == 1


def test_no_request_is_lost_to_garbage_before_it(greeted):
    rng = np.random.default_rng(0)
    cut = Frame(SAMPLES, 9, bytes(200)).encode()[:50]
    too_long = bytes.fromhex("a5cb0309 ffff")
    for sequence, garbage in enumerate([cut, too_long, b"\xa5", *(rng.bytes(int(n)) for n in rng.integers(1, 1500, 20))], 1):
        # A frame that goes on for no longer than its beginning announced is known to be none after so many bytes more.
        answers = greeted.ask(Frame(RESET, sequence), Frame(SAMPLES, sequence, bytes(512)), before=garbage, answers=2)
        assert [(a.type, a.sequence) for a in answers] == [(RESET, sequence), (SAMPLES, sequence)]


def test_a_damaged_request_is_not_answered(greeted):
    damaged = bytearray(Frame(SAMPLES, 1, bytes(64)).encode())
    damaged[20] ^= 1
    assert greeted.ask(before=bytes(damaged), seconds=0.3) == []
    assert greeted.ask(Frame(RESET, 2)) == [Frame(RESET, 2)]


# --- bin/board --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Runs it at a stand-in's port with a model and clips."""
    server = CommandServer(tmp_path_factory.mktemp("board"))

    def command(stand_in: SerialBoard, model_file, *arguments):
        with stand_in:
            return server.run("board", f"--port={stand_in.port}", f"--model={model_file}", *arguments)

    yield command
    server.close()


def test_the_table(command, conformer, clips):
    outcome = command(SerialBoard(conformer.program), conformer.model_file, *clips[:2])
    assert (outcome.status, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    assert lines[0].startswith(f"board: kser {kser.__version__}, model ") and "29 x 16 inputs, 4 labels" in lines[0]
    assert [line.split()[-1] for line in lines[2:4]] == clips[:2]
    assert "logits equal for equal inputs: 2 of 2, others by 0 steps at most" in lines
    assert [line.split()[0] for line in lines[-3:]] == ["front", "decision", "of"]


def test_json(command, conformer, clips):
    outcome = command(SerialBoard(conformer.program), conformer.model_file, "--json", *clips[:2])
    *each, total = map(json.loads, outcome.stdout.splitlines())
    assert [clip["path"] for clip in each] == clips[:2] and {clip["problem"] for clip in each} == {""}
    assert (total["clips"], total["logits_equal"], outcome.status) == (2, 2, 0)


def test_a_clip_that_cannot_be_read_stops_no_other(command, conformer, clips, tmp_path):
    (tmp_path / "none.wav").write_bytes(b"none")
    outcome = command(SerialBoard(conformer.program), conformer.model_file, tmp_path / "none.wav", clips[0])
    assert outcome.status == 1 and "none.wav is not a readable audio file" in outcome.stderr
    assert "logits equal for equal inputs: 1 of 1" in outcome.stdout


def test_another_model_is_told(command, conformer, clips, tmp_path):
    other = add_metadata(conformer.model_file.read_bytes(), {**sources.metadata(networks.FEATURES), "test_UA": 0.5})
    (tmp_path / "other.tflite").write_bytes(other)
    outcome = command(SerialBoard(conformer.program), tmp_path / "other.tflite", clips[0])
    assert_told(outcome, "The board has another model", "flash the sketch")


def test_other_weights_are_beyond_the_bounds(command, conformer, clips, tmp_path):
    model = parse(conformer.model_file.read_bytes())
    contents = [buffer for buffer in model.buffers if buffer.data is not None and buffer.data[0] != ord("{")]
    largest = max(contents, key=lambda buffer: len(buffer.data))
    largest.data = np.roll(largest.data, 7)
    (tmp_path / "model.tflite").write_bytes(pack(model))
    outcome = command(SerialBoard(conformer.program), tmp_path / "model.tflite", *clips[:2])
    assert outcome.status == 1 and "differ beyond the bounds on" in outcome.stderr
    assert "logits differ for equal features" in outcome.stdout


def test_silence_is_told(command, conformer, clips):
    assert_told(command(SerialBoard(None), conformer.model_file, "--timeout=0.5", clips[0]), "sent nothing for 0.5 s")


def test_what_a_board_hears_is_recorded(command, conformer, ramp, tmp_path):
    path = tmp_path / "heard.wav"
    stand_in = SerialBoard(conformer.program, microphone=(ramp, FEW))
    outcome = command(stand_in, conformer.model_file, f"--record={path}", "--level", "--seconds=2")
    assert (outcome.status, outcome.stderr) == (0, "")
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == SAMPLE_RATE_HZ and 2 * rate <= len(samples) <= 2 * rate + 253
    assert set(np.diff(samples)) <= {1, 2 - (1 << 15)}
    _, *decisions, recorded = outcome.stdout.splitlines()
    assert recorded == f"recorded {len(samples) / rate:.1f} s to {path}"
    assert len(decisions) == 3 and all(line.split()[2] in (*sources.LABELS, "silence") for line in decisions)
    assert all(line.endswith("convert it again)") for line in decisions if "silence" not in line)


def test_a_recording_that_a_slow_line_tore_is_told(command, conformer, ramp, tmp_path):
    stand_in = SerialBoard(conformer.program, microphone=(ramp, TOO_MANY))
    outcome = command(stand_in, conformer.model_file, f"--record={tmp_path}/heard.wav", "--seconds=10", "--json")
    assert outcome.status == 1 and "did not arrive and are silence here" in outcome.stderr
    names = {"second", "label", "scores", "loudest_dbfs"}
    assert all(names == set(json.loads(line)) for line in outcome.stdout.splitlines())
    assert len(soundfile.read(tmp_path / "heard.wav")[0]) >= 10 * SAMPLE_RATE_HZ
