"""Fixtures for all tests. Importing kser here, before any test module, settles what TensorFlow reads once."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import matplotlib
import pytest

import kser  # noqa: F401

matplotlib.use("Agg")
# Building graphs makes many objects that live long: collecting as often as Python does takes a sixth of the suite's time.
gc.set_threshold(200_000, 20, 100)

CORPUS_FOLDER = "ravdess_16k_flac"


@pytest.fixture(scope="session")
def speech_data_dir() -> Path:
    """The folder that holds `ravdess_16k_flac`: $KSER_DATA_DIR, or shared/data beside the repository; without it, skip."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    data_dir = Path(os.environ.get("KSER_DATA_DIR") or beside)
    if not (data_dir / CORPUS_FOLDER).is_dir():
        pytest.skip(f"no {CORPUS_FOLDER} in {data_dir}; set KSER_DATA_DIR to the folder that holds it")
    return data_dir


@pytest.fixture(scope="session")
def _tiny_run(tmp_path_factory):
    from tests import tiny_run  # imports TensorFlow, which takes seconds that not every test needs

    return tiny_run.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def trained(_tiny_run, monkeypatch):
    """The tiny run, trained and converted once for all tests, with its corpus known by name; not to be written to."""
    from tests import tiny_run

    tiny_run.use_corpus(monkeypatch, _tiny_run.corpus)
    return _tiny_run


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Runs commands each in a process of its own; see `tests.cli.command_server`."""
    from tests.cli.command_server import CommandServer  # starts a process, for tests of commands only

    server = CommandServer(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()
