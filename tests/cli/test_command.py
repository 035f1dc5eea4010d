"""Commands are called in messages as the program itself was called."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from kser.cli.command import as_called
from tests.imports import ROOT

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


# --- Settings for other programs


def presets(**environment) -> subprocess.CompletedProcess:
    """What builds networks and prints text that is not ASCII: the help of bin/train and its table of presets."""
    code = "import sys; from kser.cli import train; sys.argv = ['train', '--list_presets']; print('caf\\xe9'); train.run()"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**inherited, **environment}, cwd=ROOT, capture_output=True, encoding="utf-8")


def test_keras_settings_of_other_programs_have_no_influence(tmp_path):
    (tmp_path / ".keras").mkdir()
    theirs = {"floatx": "float64", "epsilon": 0.1, "backend": "torch", "image_data_format": "channels_first"}
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(theirs))
    plain, other = presets(), presets(HOME=str(tmp_path))
    assert (other.returncode, other.stdout) == (0, plain.stdout) and "Traceback" not in other.stderr


def test_an_ascii_locale_prints_everything(tmp_path):
    ascii_only = presets(LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="ascii:backslashreplace")
    assert ascii_only.returncode == 0 and "Traceback" not in ascii_only.stderr
    assert "conformer" in ascii_only.stdout
