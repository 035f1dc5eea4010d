"""Projects as bin/fold_and_convert writes them, compiled with fakes of the boards' headers, run with a fake microphone."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kser.export import convert
from kser.files import write_tree
from kser.firmware import codegen
from kser.firmware import project as project_module
from kser.tflite import model_file
from tests.micro import host_board, small_model, sources, toolchain

REASON = toolchain.missing("g++") or toolchain.missing_tflm()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

# One of each microphone; what other boards have of their own is compiled, and the rest is the same files.
SHELLS = {"nano33ble": toolchain.ARDUINO, "rp2040": toolchain.ARDUINO, "esp32s3": toolchain.ESP_IDF}
LIT = {"nano33ble": "low", "rp2040": "high", "esp32s3": "high"}  # level of a LED's pin
SECONDS = 6
SELFTEST = "-DKSER_SELFTEST=1"


class Project:
    """A project of the small model for a board, in a directory."""

    def __init__(self, directory: Path, board: str, builder: toolchain.ProjectBuilder):
        self._directory, self._shell, self._builder = directory / board, SHELLS[board], builder
        write_tree(str(self._directory), small_model.project_files(board))
        (self.sources / "kser_memory.h").write_text(host_board.memory_header(board))

    @property
    def arena_bytes(self) -> int:
        return self._memory("kArenaBytes")

    @property
    def ring_samples(self) -> int:
        return self._memory("kRingSamples")

    def _memory(self, name: str) -> int:
        return int(re.search(rf"{name} = (\d+)", (self.sources / "kser_memory.h").read_text())[1])

    @property
    def sources(self) -> Path:
        return self._directory / self._shell.library

    def program(self, *flags: str) -> Path:
        return self._builder.program(self._directory, self._shell, flags)


@pytest.fixture(scope="module")
def builder(tmp_path_factory) -> toolchain.ProjectBuilder:
    return toolchain.ProjectBuilder(tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="module", params=SHELLS)
def board(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def project(board, builder, tmp_path_factory) -> Project:
    return Project(tmp_path_factory.mktemp("projects"), board, builder)


@pytest.fixture
def own_project(builder, tmp_path) -> Project:
    """One to do harm to."""
    return Project(tmp_path, "nano33ble", builder)


@pytest.fixture(scope="module")
def program(project) -> Path:
    return project.program()


@pytest.fixture
def sound(tmp_path):
    """Writes int16 samples to a file."""

    def write(samples: np.ndarray) -> Path:
        path = tmp_path / "sound.raw"
        samples.astype("<i2").tofile(path)
        return path

    return write


@pytest.fixture
def speech(sound):
    return sound(codegen.golden_clip(small_model.FEATURES))


def run(program: Path, sound: Path, stall_ms: int = 0, seconds: int = SECONDS) -> tuple[list[dict], str]:
    """The lines that the board prints, and what it does with its pins."""
    command = [str(program), str(sound), str(seconds), str(stall_ms)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    # Other lines are TFLM's own.
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done.stderr


def decisions(lines: list[dict]) -> list[dict]:
    return [line for line in lines if "label" in line]


def test_speech_gives_a_decision_every_half_second(board, project, program, speech):
    lines, pins = run(program, speech)
    start, microphone, *found = lines
    assert 0.95 * project.arena_bytes < start["arena_used_bytes"] <= project.arena_bytes
    assert microphone["microphone"] == "good" and abs(microphone["offset"]) < 328
    # The microphone is checked for 1.5 s, then a clip of 1 s fills the window.
    seconds = np.array([line["second"] for line in found])
    assert seconds[0] == pytest.approx(2.5, abs=0.06) and SECONDS - seconds[-1] < 0.6
    np.testing.assert_allclose(np.diff(seconds), 0.5, atol=0.06)
    for line in found:
        assert line["label"] in sources.LABELS and tuple(line["scores"]) == sources.LABELS
        assert sum(line["scores"].values()) == pytest.approx(1, abs=0.003)
        assert line["inference_ms"] == 0 and 0 <= line["latency_ms"] < 32
        assert (line["overruns"], line["lost_samples"]) == (0, 0)
        assert line["asleep"] == 1  # for nothing takes any time
    assert LIT[board] in pins


def test_a_busy_loop_is_told_as_an_overrun_and_the_window_fills_anew(board, project, program, speech):
    found = decisions(run(program, speech, stall_ms=2000, seconds=10)[0])
    before, after = ([line for line in found if line["overruns"] == count] for count in (0, 1))
    assert len(before) + len(after) == len(found) and before and after
    assert after[0]["second"] - before[-1]["second"] > 2 + 0.9
    # Of the time since the decision before, the loop was busy for two seconds; on ESP-IDF's fake the sleep takes them.
    awake = 0 if board == "esp32s3" else 2 / (after[0]["second"] - before[-1]["second"])
    assert after[0]["asleep"] == pytest.approx(1 - awake, abs=0.02)
    assert before[-1]["asleep"] == after[-1]["asleep"] == 1
    # What came in two seconds and found no room, but for a block of the microphone's.
    lost = 2 * 16000 - project.ring_samples
    assert lost <= after[0]["lost_samples"] + 512 and after[-1]["lost_samples"] == after[0]["lost_samples"]


def test_silence_and_noise_of_a_bit_are_told(board, program, sound):
    lines, pins = run(program, sound(np.arange(16000) % 2))
    assert lines[1]["microphone"] == "silent" and lines[1]["error"].startswith("The microphone gives nothing but silence;")
    assert {line["label"] for line in decisions(lines)} == {"silence"}
    assert all(value == 0 for line in decisions(lines) for value in line["scores"].values())
    assert pins and LIT[board] not in pins


def test_clipping_is_told(program, sound):
    square = np.where(np.arange(16000) // 40 % 2, 32767, -32768)
    assert run(program, sound(square))[0][1]["microphone"] == "clipping"


def test_a_microphone_that_sends_nothing_is_told_once(program, sound):
    lines, _ = run(program, sound(np.empty(0)))
    assert [line["error"] for line in lines[1:]] == [
        "No samples come from the microphone; look at its wires and pins, and start the board again."
    ]


def test_the_self_test_passes_and_the_board_goes_on(project, speech):
    lines, _ = run(project.program(SELFTEST), speech)
    # The input to the bit; the linked TFLM is not the one that made the golden logits.
    assert (lines[1]["selftest"], lines[1]["input_steps"]) == ("PASS", 0) and lines[1]["logit_steps"] <= 2
    assert decisions(lines)


@pytest.mark.parametrize(("array", "what", "index"), [("kGoldenLogits", "logits", 2), ("kGoldenInput", "input", 1234)])
def test_the_self_test_tells_the_first_difference_and_the_board_stops(own_project, speech, array, what, index):
    golden = own_project.sources / "kser_golden.h"
    golden.write_text(_changed(golden.read_text(), array, index))
    lines, _ = run(own_project.program(SELFTEST), speech)
    assert len(lines) == 2 and {**lines[1], "value": 0, "expected": 0} == {
        **{"selftest": "FAIL", "differs": what, "index": index},
        **{"value": 0, "expected": 0},
    }


def _changed(text: str, name: str, index: int) -> str:
    """The generated text with one value of an array three steps off."""
    head, values, tail = re.fullmatch(rf"(.*{name}\[[^\]]*\] = {{)([^}}]*)(}}.*)", text, re.DOTALL).groups()
    numbers = values.split(",")
    numbers[index] = str(int(numbers[index]) + (3 if int(numbers[index]) < 0 else -3))
    return f"{head}{','.join(numbers)}{tail}"


def test_a_model_that_the_settings_are_not_of_is_told_in_a_sentence(own_project, speech):
    other = model_file.add_metadata(small_model.model_bytes(), {**sources.metadata(small_model.FEATURES), "test_UA": 0.5})
    (own_project.sources / "kser_model.cpp").write_text(convert.cc_sources(other, "kser_model")[1])
    lines, _ = run(own_project.program(), speech)
    # At the start, and then every second.
    told = {"error": "kser_settings.h was generated from another model; generate the project again."}
    assert lines == (1 + SECONDS) * [told]


def test_what_the_readme_says_of_callbacks_is_called_with_each_decision(own_project, speech):
    readme = (project_module.DEPLOY / "arduino" / "README.md").read_text()
    before, within = re.findall(r"```cpp\n(.*?)```", readme, re.DOTALL)
    scores = decisions(run(own_project.program(), speech)[0])[-1]["scores"]
    label = max(scores, key=scores.get)
    sketch = own_project.sources.parent.parent / "speech_emotion.ino"
    text = sketch.read_text().replace("void setup() {\n", f"{before}\nvoid setup() {{\n{within}")
    # Of a test's model, whose scores are near each other.
    sketch.write_text(text.replace('"angry"', f'"{label}"').replace("> 0.5f", "> 0.0f").replace("++*count;", _PRINT_COUNT))
    done = subprocess.run([own_project.program(), speech, str(SECONDS), "0"], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    called = sum(line.get("label") == label for line in lines)
    assert called > 0 and done.stdout.count("That sounded angry.") == called
    assert [line["count"] for line in lines if "count" in line] == list(range(1, called + 1))


_PRINT_COUNT = 'kser::JsonLine([](const char* text) { Serial.print(text); }).Number("count", ++*count);'


def shrunk(project: Project) -> int:
    """Takes an eighth of the arena of a project; returns what it was."""
    memory = project.sources / "kser_memory.h"
    arena_bytes = project.arena_bytes
    memory.write_text(memory.read_text().replace(f"kArenaBytes = {arena_bytes}", f"kArenaBytes = {arena_bytes * 7 // 8}"))
    return arena_bytes


def test_an_arena_too_small_is_told_every_second_with_what_it_needs_while_the_led_blinks(own_project, speech):
    enough = shrunk(own_project)
    lines, pins = run(own_project.program(), speech)
    assert len(lines) == 1 + SECONDS and all(line == lines[0] for line in lines)
    assert lines[0]["error"].startswith("The arena is too small: raise kArenaBytes in kser_memory.h.")
    assert lines[0]["arena_bytes"] == enough * 7 // 8 and 0.95 * enough < lines[0]["arena_needed_bytes"] <= 1.02 * enough
    blue = [line for line in pins.splitlines() if line.startswith("pin 22")]
    assert blue[-4:] == 2 * ["pin 22 low", "pin 22 high"] or blue[-4:] == 2 * ["pin 22 high", "pin 22 low"]


def test_a_board_with_memory_to_spare_finds_its_arena_by_itself(own_project, speech):
    enough = shrunk(own_project)
    start, *lines = run(own_project.program("-DKSER_ARENA_AUTO=1"), speech)[0]
    assert 0.95 * enough < start["arena_used_bytes"] <= enough and decisions(lines)


def test_boards_of_a_shell_differ_in_their_settings_and_pins_only():
    for boards, own in (
        (("nano33ble", "xiao_nrf52840", "portenta_h7", "nicla_vision"), {"sketch.yaml", "platformio.ini", "kser_memory.h"}),
        (("rp2040", "pico2"), {"sketch.yaml", "platformio.ini", "kser_memory.h", "switches.h", "kser_resolver.h"}),
        (("teensy40", "teensy41"), {"sketch.yaml", "platformio.ini", "kser_memory.h"}),
        (("esp32", "esp32c3"), {"sdkconfig.defaults", "platformio.ini", "pins.h", "kser_memory.h"}),
    ):
        first, *others = (small_model.project_files(board) for board in boards)
        for other in others:
            assert set(other) == set(first)
            assert {Path(name).name for name in first if first[name] != other[name]} <= own


@pytest.mark.parametrize(
    ("board", "fakes", "flags", "names"),
    [
        ("esp32", (), (), ["main/pins.h"]),
        ("esp32c3", (), (), ["main/pins.h"]),
        ("xiao_esp32s3", (), (), ["main/main.cpp", "main/microphone.cpp"]),
        *(
            (board, ("esp_idf",), (), ["speech_emotion/board.cpp", "speech_emotion/microphone.cpp"])
            for board in ("esp32_arduino", "esp32s3_arduino")
        ),
        *((board, ("teensy",), (), ["speech_emotion/board.cpp"]) for board in ("teensy40", "teensy41")),
        ("nano_rp2040", (), ("-DARDUINO_NANO_RP2040_CONNECT",), ["speech_emotion/board.cpp"]),
        ("nicla_vision", (), ("-DARDUINO_NICLA_VISION",), ["speech_emotion/board.cpp"]),
        ("nano33ble", (), (), ["examples/ble/speech_emotion.ino"]),
    ],
)
def test_what_boards_have_of_their_own_compiles(board, fakes, flags, names, tmp_path):
    project = tmp_path / board
    write_tree(str(project), small_model.project_files(board))
    shell = toolchain.ESP_IDF if (project / "main").is_dir() else toolchain.ARDUINO
    folders = [f"-I{project / 'speech_emotion'}", *(f"-I{toolchain.HERE / 'fakes' / fake}" for fake in fakes)]
    warnings = ["-std=gnu++20", "-Wno-missing-field-initializers"] if "esp_idf" in fakes else []
    toolchain.check_project_sources(project, shell, names, [*folders, *warnings, *flags])


@pytest.mark.parametrize("board", SHELLS)
@pytest.mark.parametrize("console", ["CONFIG_ESP_CONSOLE_UART", "CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG"])
def test_what_answers_a_pc_compiles(board, console, tmp_path):
    write_tree(str(tmp_path / board), small_model.project_files(board))
    shell = SHELLS[board]
    main = "speech_emotion/speech_emotion.ino" if shell is toolchain.ARDUINO else "main/main.cpp"
    flags = ("-DKSER_SERIAL=1", f"-D{console}=1", "-DCONFIG_ESP_CONSOLE_UART_NUM=0")
    toolchain.check_project_sources(tmp_path / board, shell, [main, f"{shell.library}/application.cpp"], flags)
