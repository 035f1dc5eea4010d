"""Importing kser: TensorFlow's settings are fixed in time, or it is said that they are not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SETTINGS = ("TF_CPP_MIN_LOG_LEVEL", "TF_USE_LEGACY_KERAS", "TF_ENABLE_ONEDNN_OPTS")


def complaints(before: str = "", **environment: str) -> str:
    """What `import kser` prints after `before`, with none of its settings in the environment but those given."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-c", f"import os, sys\n{before}\nimport kser\nprint(*map(os.environ.get, {SETTINGS}))"]
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True)
    assert done.stdout == "3 1 0\n"
    return done.stderr


def test_settings_are_made_without_a_word():
    assert complaints() == ""


@pytest.mark.parametrize("environment", [{}, {"TF_ENABLE_ONEDNN_OPTS": "0"}], ids=["as it is", "set by the user"])
def test_coming_after_tensorflow_is_told_where_it_matters(environment):
    told = complaints("sys.modules['tensorflow'] = os  # as if it had been imported", **environment)
    assert ("import kser first" in told) == (not environment)
