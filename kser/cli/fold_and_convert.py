"""Folds a trained run exactly, converts it to int8 TensorFlow Lite, and measures every form on the held-out speakers."""

from __future__ import annotations

from absl import flags

from kser.cli import command, corpus_flags

FLAGS = flags.FLAGS


def define_flags() -> None:
    corpus_flags.define("Directory bin/train wrote; the models are written there.")
    flags.DEFINE_integer(
        "representative_clips", 200, "Training clips the ranges of activations are taken from.", lower_bound=1
    )


def main(_) -> None:
    from kser import workflow
    from kser.report import export_text
    from kser.threads import use_threads

    use_threads(FLAGS.threads)
    run, result = workflow.fold_and_convert(FLAGS.run_dir, FLAGS.data_dir, FLAGS.cache_dir, FLAGS.representative_clips)
    print(export_text(run, result.report))
    print("written to " + run.file(workflow.MODEL_FILE))


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
