"""Flags of the commands that work on a run and its corpus."""

from __future__ import annotations

from absl import flags

from kser.cli import settings
from kser.config import DataPaths

# --help lists the flags of the module that calls `define`.
flags.disclaim_key_flags()


def define(run_dir_help: str) -> None:
    flags.DEFINE_string("run_dir", "", run_dir_help)
    settings.define(DataPaths)
    flags.DEFINE_integer("threads", 0, "Number of TensorFlow threads; 0: one per core.", 0, 1024)


def paths() -> DataPaths:
    """The paths that the flags give."""
    return DataPaths(**settings.given(DataPaths))
