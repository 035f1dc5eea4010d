"""Firmware projects: all files are there and agree with each other, with the tree and with the board."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras

from kser.boards import doctor
from kser.boards.catalog import BOARDS, find_board
from kser.errors import ConfigError, KserError, ModelFileError
from kser.export import convert
from kser.firmware import project
from kser.tflite import interpreter, model_file, op_graph
from tests.micro import small_model, sources

ARDUINO = ("nano33ble", "xiao_nrf52840", "portenta_h7", "nicla_vision", "rp2040", "pico2")
ESP32 = ("esp32", "esp32s3", "esp32c3")
GENERATED = {f"kser_{name}" for name in ("settings.h", "resolver.h", "memory.h", "golden.h", "model.h", "model.cpp")}
SWITCHES = "kernels/switches.h"


@pytest.fixture(scope="module")
def projects():
    return {board: small_model.project_files(board) for board in (*ARDUINO, *ESP32)}


def library_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """The library's sources in a project."""
    (root,) = {name.removesuffix("application.h") for name in files if name.endswith("application.h")}
    return {name.removeprefix(root): data for name, data in files.items() if name.startswith(root)}


@pytest.mark.parametrize("board", ARDUINO)
def test_an_arduino_project_has_what_its_tools_look_for(projects, board):
    files = projects[board]
    assert {"README.md", "platformio.ini", "speech_emotion/sketch.yaml", "speech_emotion/speech_emotion.ino"} <= set(files)
    assert "speech_emotion/board.cpp" in files and "speech_emotion/src/kser_micro/application.h" in files
    ini = files["platformio.ini"].decode()
    assert "src_dir = speech_emotion\n" in ini and f"default_envs = {board}\n" in ini and f"[env:{board}]" in ini
    for text in (ini, files["speech_emotion/sketch.yaml"].decode()):
        assert "Chirale_TensorFLowLite" in text and "2.0.0" in text


@pytest.mark.parametrize("board", ESP32)
def test_an_esp32_project_has_what_its_tools_look_for(projects, board):
    files = projects[board]
    assert {"CMakeLists.txt", "sdkconfig.defaults", "platformio.ini", "README.md"} <= set(files)
    assert {f"main/{name}" for name in ("CMakeLists.txt", "idf_component.yml", "main.cpp", "pins.h")} <= set(files)
    assert {f"components/kser_micro/{name}" for name in ("CMakeLists.txt", "idf_component.yml")} <= set(files)
    assert f'CONFIG_IDF_TARGET="{board}"\n' in files["sdkconfig.defaults"].decode()
    named = re.search(r"SRCS (.*) INCLUDE_DIRS", files["main/CMakeLists.txt"].decode())[1]
    assert {f"main/{name}" for name in re.findall(r'"(.+?)"', named)} <= set(files)


@pytest.mark.parametrize("board", (*ARDUINO, *ESP32))
def test_the_library_is_that_of_the_tree_and_what_is_generated_joins_it(projects, board):
    library = library_of(projects[board])
    root = project.DEPLOY / "kser_micro" / "src"
    tree = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert set(library) == set(tree) | GENERATED
    assert {name for name in tree if library[name] != tree[name]} <= {SWITCHES}


@pytest.mark.parametrize("board", (*ARDUINO, *ESP32))
def test_own_kernels_are_those_of_the_board_and_the_library_has_all_others(projects, board):
    library, own = library_of(projects[board]), find_board(board).library.kernels.own
    switches = dict(re.findall(r"#define KSER_KERNEL_(\w+) (\d)", library[SWITCHES].decode()))
    assert {op for op, on in switches.items() if on == "1"} == own
    ops = set(op_graph.describe(small_model.model_bytes()).ops)
    added = len(re.findall(r"resolver->Add", library["kser_resolver.h"].decode()))
    assert added == len(ops - own) < len(ops)


def test_the_vector_kernels_of_an_esp32s3_add(projects):
    s3, plain = (library_of(projects[board]) for board in ("esp32s3", "esp32"))
    assert b"KSER_KERNEL_ADD 0" in s3[SWITCHES] and b"KSER_KERNEL_MUL 1" in s3[SWITCHES]
    assert b"AddAdd()" in s3["kser_resolver.h"] and b"AddAdd()" not in plain["kser_resolver.h"]


def test_shells_alone_include_a_boards_headers(projects):
    for files in projects.values():
        library = library_of(files)
        for name, data in library.items():
            assert not re.search(rb'#include [<"](Arduino|PDM|I2S\.h|freertos/|driver/|esp_)', data), name


def test_no_project_for_a_board_without_a_shell():
    assert set(BOARDS) > {*ARDUINO, *ESP32}
    with pytest.raises(ConfigError, match=r"^There is no project for the board 'nicla_sense'; there is one for nano33ble, "):
        project.require_shell("nicla_sense")


def test_a_model_that_is_not_int8_is_refused():
    inputs = keras.Input((small_model.FEATURES.num_frames, small_model.FEATURES.num_mels))
    network = keras.Model(inputs, keras.layers.Dense(len(sources.LABELS))(keras.layers.Flatten()(inputs)))
    floats = model_file.add_metadata(convert.to_float_tflite(network), sources.metadata(small_model.FEATURES))
    with pytest.raises(ModelFileError, match="one int8 input and one int8 output"):
        project.project_files(floats, "esp32", small_model.figures("esp32"))


# --- Memory -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures():
    return small_model.figures("esp32")


def test_the_arena_is_the_doctors_and_a_margin(figures):
    needed = figures.arena_bytes
    assert needed * 65 / 64 <= project.arena_bytes(figures) < needed * 65 / 64 + 64
    assert project.arena_bytes(dataclasses.replace(figures, arena_bytes=8192)) == 8320
    with pytest.raises(KserError, match="see bin/doctor"):
        project.arena_bytes(dataclasses.replace(figures, arena_bytes=None))


@pytest.mark.parametrize(
    ("high_ms", "free_bytes", "samples"),
    [
        (10, 10**6, 2048),  # 74 ms are 1184 samples
        (100, 10**6, 4096),  # 164 ms: 2624
        (400, 10**6, 8192),  # 464 ms: 7424
        (500, 10**6, 16384),
        (400, 10000, 4096),  # 8192 bytes of 10000
        (400, -5, 2048),
    ],
)
def test_the_ring_holds_an_inference_as_far_as_there_is_room(high_ms, free_bytes, samples):
    assert doctor.ring_samples(high_ms, free_bytes) == samples


def test_the_ring_is_the_doctors(projects, figures):
    memory = library_of(projects["esp32"])["kser_memory.h"].decode()
    assert f"kRingSamples = {figures.ring_samples};" in memory
    assert figures.ring_samples == doctor.ring_samples(min(figures.inference_ms.high, figures.decision_ms), 1e6)


def test_golden_logits_are_those_of_litert_for_the_golden_input(projects):
    text = library_of(projects["esp32"])["kser_golden.h"].decode()
    golden, logits = (
        np.array(re.search(rf"{name}\[[^\]]*\] = {{([^}}]*)}}", text)[1].split(","), np.int8)
        for name in ("kGoldenInput", "kGoldenLogits")
    )
    config = small_model.FEATURES
    assert golden.size == config.num_frames * config.num_mels and len(np.unique(golden)) > 50
    clip = golden.reshape(1, config.num_frames, config.num_mels)
    output = interpreter.LiteRTRunner(small_model.model_bytes()).invoke(clip)
    np.testing.assert_array_equal(output[0], logits)


def test_templates_have_no_carriage_returns_and_end_in_a_newline():
    for path in Path(project.DEPLOY).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"\r" not in data and data.endswith(b"\n"), path
