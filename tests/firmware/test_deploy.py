"""bin/deploy: a project from a finished model."""

from __future__ import annotations

import re

import pytest

from kser.config import SmoothingConfig, from_dict
from kser.tflite import model_file
from tests.cli.command_server import CommandServer, assert_told
from tests.micro import small_model

SETTINGS = "speech_emotion/src/kser_micro/kser_settings.h"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = CommandServer(tmp_path_factory.mktemp("deploy"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(small_model.model_bytes())
    return path


@pytest.fixture
def deploy(server, model, tmp_path):
    """Runs the command for the Nano; the project goes to tmp_path/project."""

    def deploy(*arguments, path=model, board="nano33ble"):
        given = (f"--model={path}", f"--board={board}", f"--deploy_dir={tmp_path / 'project'}")
        return server.run("deploy", *given, *arguments)

    return deploy


def test_the_project_is_the_one_of_a_conversion(deploy, model, tmp_path):
    outcome = deploy()
    assert (outcome.status, outcome.stderr) == (0, "")
    first, *_, last = outcome.stdout.splitlines()
    assert first.startswith(f"{model} on Arduino Nano 33 BLE (Sense)")
    assert last.startswith("project for nano33ble written to ")
    written = {p.relative_to(tmp_path / "project").as_posix(): p for p in (tmp_path / "project").rglob("*") if p.is_file()}
    wanted = small_model.project_files("nano33ble")
    assert {name: path.read_bytes() for name, path in written.items()} == wanted


def test_settings_of_the_decisions_reach_board_and_doctor(deploy, tmp_path):
    outcome = deploy("--decision_ms=2000", "--hysteresis=0.25", "--silence_dbfs=-45", "--dwell_ms=0")
    assert outcome.status == 0 and "of the 2000 ms between decisions" in outcome.stdout
    lines = (tmp_path / "project" / SETTINGS).read_text().splitlines()
    frames = round(2000 / small_model.FEATURES.hop_ms)
    for constant in (f"int kFramesPerDecision = {frames}", "int kAverageDecisions = 1", "int kDwellDecisions = 0"):
        assert f"constexpr {constant};" in lines
    assert "constexpr float kHysteresis = 2.5e-01f;" in lines and "constexpr float kSilenceDbfs = -4.5e+01f;" in lines


def test_doctor_decides_as_often_as_the_models_metadata_say(server, tmp_path):
    values = model_file.read_metadata(small_model.model_bytes())
    path = tmp_path / "slow.tflite"
    path.write_bytes(model_file.add_metadata(small_model.model_bytes(), {**values, "smoothing": {"decision_ms": 1200}}))
    assert "of the 1200 ms between decisions" in server.run("doctor", path, "--board=nano33ble").stdout
    assert "of the 600 ms between decisions" in server.run("doctor", path, "--board=nano33ble", "--decision_ms=600").stdout


def test_an_average_follows_the_interval_unless_it_is_given():
    assert SmoothingConfig().changed(decision_ms=2000.0).average_ms == 2000
    assert SmoothingConfig().changed(decision_ms=10.0).average_ms == 640
    assert SmoothingConfig().changed(decision_ms=500.0, average_ms=3000.0).average_ms == 3000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model=",), ("needs --model",)),
        (("--model=none.tflite",), ("none.tflite",)),
        (("--board=nicla_sense",), ("There is no project for the board 'nicla_sense'", "nano33ble")),
        (("--decision_ms=0",), ("decision_ms must be a number from 10 to 60000",)),
        (("--decision_ms=500", "--average_ms=100"), ("average_ms (100)",)),
    ],
)
def test_what_cannot_be_is_told_and_nothing_left(deploy, tmp_path, arguments, words):
    assert_told(deploy(*arguments), *words)
    assert not list(tmp_path.iterdir())


def test_models_that_are_none_of_ksers_are_told(deploy, tmp_path):
    damaged, bare = tmp_path / "damaged.tflite", tmp_path / "bare.tflite"
    damaged.write_bytes(small_model.model_bytes()[:5000])
    model = model_file.parse(small_model.model_bytes())
    model.metadata = None
    bare.write_bytes(model_file.pack(model))
    assert_told(deploy(path=damaged), str(damaged))
    assert_told(deploy(path=bare), str(bare), "no kser metadata")
    assert not (tmp_path / "project").exists()


def test_a_project_overwrites_nothing(deploy, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "mine.txt").write_text("mine")
    assert_told(deploy(), "is not an empty directory")
    assert [p.name for p in (tmp_path / "project").iterdir()] == ["mine.txt"]


def test_a_model_that_does_not_run_there_needs_force(deploy, tmp_path):
    outcome = deploy("--decision_ms=10")
    assert outcome.status == 1 and "does not run" in outcome.stdout and "--force" in outcome.stderr
    assert not (tmp_path / "project").exists()
    assert deploy("--decision_ms=10", "--force").status == 0 and (tmp_path / "project" / SETTINGS).is_file()


def test_metadata_hold_the_settings(deploy, tmp_path):
    deploy("--decision_ms=1000", board="esp32")
    source = (tmp_path / "project" / "components" / "kser_micro" / "src" / "kser_model.cpp").read_text()
    numbers = re.findall(r"\b(?:0x[0-9a-f]+|\d+)\b", source.split("= {")[1].split("}")[0])
    content = bytes(int(number, 0) for number in numbers)
    smoothing = from_dict(SmoothingConfig, model_file.read_metadata(content)["smoothing"])
    assert (smoothing.decision_ms, smoothing.average_ms) == (1000, 1500)
