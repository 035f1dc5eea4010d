"""Checks every clip of a corpus, writes a manifest of the usable ones, and fills the feature cache.

Exit status: 0 complete, 2 usable with warnings, 1 unusable.
"""

from __future__ import annotations

import sys

from absl import flags

from kser.cli import command, settings
from kser.config import DataConfig, DataPaths, FeatureConfig

FLAGS = flags.FLAGS
USABLE = 2
DATA_SETTINGS = ("dataset", "corpus_options", "columns", "label_set", "protocol", "validation_speakers")


def define_flags() -> None:
    settings.define(FeatureConfig)
    settings.define(DataConfig, names=DATA_SETTINGS)
    settings.define(DataPaths, names=("data_dir", "cache_dir"))
    flags.DEFINE_string("manifest", "", "Manifest file to write; empty: a file in the cache directory.")
    flags.DEFINE_integer("seed", 0, "Random seed of the validation speakers shown.", lower_bound=0)
    flags.DEFINE_string("runner", "", "Apache Beam runner for the scan, such as DirectRunner; empty: this process.")
    flags.DEFINE_string("work_dir", "", "Directory shared by the Beam workers and this process. Default: a temporary one.")
    flags.DEFINE_list("runner_flags", [], "Further options of the Beam runner, as --name=value.")


def main(_) -> None:
    from kser.cli.tables import preparation_text
    from kser.cli.threads import use_threads
    from kser.datasets.prepare import beam_scanner, prepare_corpus
    from kser.datasets.scan import scan

    use_threads(1)  # within an operation: the scan has a thread for every core already
    data = DataConfig(**settings.given(DataConfig, names=DATA_SETTINGS))
    paths = DataPaths(**settings.given(DataPaths, names=("data_dir", "cache_dir")), manifest=FLAGS.manifest)
    scanner = beam_scanner(FLAGS.runner, FLAGS.runner_flags, FLAGS.work_dir) if FLAGS.runner else scan
    prepared = prepare_corpus(data, settings.feature_config(), paths, scanner)
    print(preparation_text(prepared, data, FLAGS.seed))
    sys.exit(0 if prepared.complete else USABLE)


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
