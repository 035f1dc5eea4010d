from __future__ import annotations

import dataclasses
import re

import pytest
from absl import flags
from absl.testing import flagsaver

from kser.boards.catalog import BOARDS
from kser.boards.search import search
from kser.cli import search as cli_search
from kser.cli import settings
from kser.config import FeatureConfig, SmoothingConfig
from kser.models.presets import BACKBONES, plain, preset
from tests.cli.command_server import CommandServer, Outcome, assert_told

# A search of seconds.
QUICK = ("--board=generic_m4", "--backbone=convtransformer", "--hop_ms=20", "--ram_kb=60", "--latency_ms=80", "--jobs=1")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def server(directory):
    server = CommandServer(directory)
    yield server
    server.close()


@pytest.fixture(scope="module")
def found(server) -> Outcome:
    """A search that writes all it can, into the server's directory."""
    return server.run("search", *QUICK, "--activation=relu", "--flagfile_out=flags", "--plot=frontier.png")


@pytest.fixture
def run_flags():
    """The flags of bin/train that decide what a run computes."""
    before = set(flags.FLAGS)
    settings.define_run()
    yield flags.FLAGS
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


def test_the_frontier_is_a_table_with_the_choice_marked(found):
    assert (found.status, found.stderr) == (0, "")
    first, head, *rows = found.stdout.splitlines()
    assert first.startswith("any Cortex-M4F (Cortex-M4F, kernels CMSIS-NN): ")
    assert "for 60.0 kB of RAM and 80 ms an inference" in first
    assert head.split()[:4] == ["backbone", "preset", "hop", "frames"]
    table = [row for row in rows if row[3:].startswith("convtransformer")]
    assert 1 < len(table) <= 5 and max(map(len, [head, *table])) <= 125
    assert sum(row.startswith("*") for row in table) == 1
    for row in table:
        assert int(re.search(r"(\d+) \(\d+ to \d+\)$", row)[1]) <= 80


def test_the_choice_is_shown_even_beside_the_frontier(found_by_depth):
    text = cli_search.frontier_text(found_by_depth)
    assert found_by_depth.best not in found_by_depth.frontier
    (marked,) = [line for line in text.splitlines() if line.startswith("*")]
    model = found_by_depth.best.model
    assert [str(model.hidden_dim), str(model.num_layers)] in [marked.split()[i : i + 2] for i in range(8)]


@pytest.fixture(scope="module")
def found_by_depth():
    """A search whose frontier is without its choice, which is as deep as the preset."""
    found = search.search(search.make_budget("generic_m4", 60, 150, 500), ("convtransformer",), hops_ms=(20.0,))
    deep = next(c for c in found.frontier if c.model.num_layers > 1)
    return dataclasses.replace(found, best=deep, frontier=tuple(c for c in found.frontier if c != deep))


def test_the_choice_is_flags_of_a_training(found, server, directory):
    lines = (directory / "flags").read_text().splitlines()
    assert lines[:2] == ["--backbone=convtransformer", "--preset=micro"]
    assert "--activation=relu" in lines and "--hop_ms=20.0" in lines
    assert " ".join(lines) in found.stdout.splitlines()
    # A training takes them, and stops only at the corpus it cannot find.
    assert_told(server.run("train", "--flagfile=flags", "--dataset=nosuch", "--run_dir=run"), "nosuch")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_flags_give_the_network_back(backbone, run_flags):
    features, smoothing = FeatureConfig(hop_ms=16.0, num_mels=32), SmoothingConfig().changed(decision_ms=2000.0)
    models = [model for family in search.grid(backbone, {"activation": "relu"}) for model in family]
    for model in [*models[::7], preset(backbone, "light")]:
        name, *lines = cli_search.flag_lines(search.Candidate(model, features, 0, None, 1.0), smoothing)[1:]
        with flagsaver.flagsaver():
            run_flags(["train", f"--backbone={backbone}", *lines])
            config = settings.run_config(preset(backbone, name.removeprefix("--preset=")))
        assert config.smoothing == smoothing
        assert (plain(config.model), config.features) == (dataclasses.replace(model, dropout=config.model.dropout), features)
        assert config.model.dropout == preset(backbone, name.removeprefix("--preset=")).dropout
        assert (name == "--preset=light") == (model == preset(backbone, "light"))


def test_the_frontier_is_drawn(found, directory):
    assert "plot written to frontier.png" in found.stdout
    assert (directory / "frontier.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), ("--board", "nano33ble")),
        (("--board=uno",), ("uno", *list(BOARDS)[:2])),
        (("--board=esp32", "somewhere"), ("somewhere",)),
        (("--board=esp32", "--ram_kb=-1"), ("ram_kb must be above 0",)),
        (("--board=esp32", "--latency_ms=900"), ("--decision_ms",)),
        (("--board=esp32", "--backbone=perceiver"), ("no backbone 'perceiver'",)),
        (("--board=esp32", "--plot=frontier.txt"), ("must name a file that ends in .png", "frontier.txt")),
        (("--board=esp32", "--flagfile_out=/dev/null/flags"), ("Cannot write /dev/null/flags",)),
        (("--board=esp32", "--plot=/dev/null/plot.png"), ("Cannot write /dev/null/plot.png",)),
        (("--board=esp32", "--num_mels=3"), ("num_mels must be a whole number from 4",)),
        ((*QUICK, "--ram_kb=3"), ("No network fits any Cortex-M4F: the closest one, convtransformer", "of the 3.0 allowed")),
        ((*QUICK, "--latency_ms=1"), ("ms per inference of the 1 allowed",)),
    ],
)
def test_bad_input_is_told_in_a_sentence(server, directory, arguments, words):
    before = set(directory.iterdir())
    assert_told(server.run("search", *arguments), *words)
    assert set(directory.iterdir()) == before


def test_help_lists_the_flags(server):
    outcome = server.run("search", "--help")
    for flag in ("--board", "--ram_kb", "--latency_ms", "--flagfile_out", "--plot", "--clip_seconds"):
        assert f"  {flag}:" in outcome.stdout
