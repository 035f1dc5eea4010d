"""Commands are called in messages as the program itself was called."""

from __future__ import annotations

import sys

import pytest

from kser.cli.command import as_called

TEXT = "make it with bin/fold_and_convert --run_dir=/srv/bin/train, or see bin/doctor."


@pytest.mark.parametrize("program", ["kser-predict", "/opt/env/bin/kser-predict", "kser-predict.exe"])
def test_by_the_names_that_pip_installs(monkeypatch, program):
    monkeypatch.setattr(sys, "argv", [program])
    assert as_called(TEXT) == "make it with kser-fold-and-convert --run_dir=/srv/bin/train, or see kser-doctor."


@pytest.mark.parametrize("program", ["/home/me/kser/kser/cli/predict.py", "predict", ""])
def test_by_the_launchers_of_a_checkout(monkeypatch, program):
    monkeypatch.setattr(sys, "argv", [program])
    assert as_called(TEXT) == TEXT


@pytest.mark.parametrize(
    "name", ["bin/train.wav", "./bin/train", "a/bin/train", "bin/train/01.wav", "bin/trainer", "bin/other"]
)
def test_files_keep_their_names(monkeypatch, name):
    monkeypatch.setattr(sys, "argv", ["kser-predict"])
    assert as_called(f"There is no audio file {name}.") == f"There is no audio file {name}."
