"""Flags of the commands that work on a run and its corpus."""

from __future__ import annotations

from absl import flags

from kser.config import DataPaths

FLAGS = flags.FLAGS

# --help lists the flags of the module that calls `define`.
flags.disclaim_key_flags()


def define(run_dir_help: str) -> None:
    flags.DEFINE_string("run_dir", "", run_dir_help)
    flags.DEFINE_string(
        "data_dir", "", "Directory of the corpus; default: where bin/train found it ('synthetic' makes its own)."
    )
    flags.DEFINE_string("eval_data_dir", "", "Directory of the corpus that --eval_dataset names.")
    flags.DEFINE_string("manifest", "", "A manifest of bin/prepare, which fixes the clips, their order and their content.")
    flags.DEFINE_string("cache_dir", "", "Directory of cached features; default: $KSER_CACHE_DIR or the user's cache.")
    flags.DEFINE_integer("threads", 0, "Threads TensorFlow may use; 0: as many as there are cores.", 0, 1024)


def paths() -> DataPaths:
    """The places the flags give."""
    return DataPaths(FLAGS.data_dir, FLAGS.cache_dir, FLAGS.eval_data_dir, FLAGS.manifest)
