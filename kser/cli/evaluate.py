"""Scores a run's model, before or after conversion, on the held-out speakers; or those of all splits, and all together."""

from __future__ import annotations

import json

from absl import flags

from kser.cli import command, corpus_flags

FLAGS = flags.FLAGS


def define_flags() -> None:
    corpus_flags.define("Run directory written by bin/train; required.")
    flags.DEFINE_enum(
        "model",
        "keras",
        ("keras", "folded", "tflite", "tflm"),
        "Model to score: as trained (keras), without HRF (folded), model.tflite in LiteRT (tflite) or TFLM.",
    )
    flags.DEFINE_string(
        "compare", "", "Another run directory, tested on the same clips: print how much better this one was, after training."
    )
    flags.DEFINE_bool("json", False, "Print one JSON object instead of text.")


def main(_) -> None:
    from kser import workflow
    from kser.cli.tables import scores_text
    from kser.cli.threads import use_threads

    use_threads(FLAGS.threads)
    if FLAGS.compare:
        return _compare()
    if workflow.splits_of(FLAGS.run_dir):
        return print_all_splits(FLAGS.run_dir, FLAGS.model, FLAGS.json)
    run, found, long_clips = workflow.evaluate(FLAGS.run_dir, FLAGS.model, corpus_flags.paths())
    if FLAGS.json:
        print(json.dumps({"model": FLAGS.model, **found.to_dict(), **_several_windows(long_clips)}))
    else:
        print(scores_text(run, found, long_clips))


def _several_windows(long_clips) -> dict:
    """Scores by several windows, where clips are longer than one, as JSON."""
    return {"several_windows": {"clips": long_clips.count, **long_clips.evaluation.to_dict()}} if long_clips else {}


def print_all_splits(run_dir: str, model: str, as_json: bool = False) -> None:
    """The scores of each split of a directory that `bin/train --split=all` wrote, and of all together."""
    from kser import workflow
    from kser.cli.tables import splits_text

    runs, evaluations, pooled, long_clips = workflow.evaluate_all_splits(run_dir, model, corpus_flags.paths())
    if as_json:
        splits = [found.to_dict() for found in evaluations]
        print(json.dumps({"model": model, "pooled": pooled.to_dict(), "splits": splits, **_several_windows(long_clips)}))
    else:
        print(splits_text(runs, evaluations, pooled, long_clips))


def _compare() -> None:
    from kser import workflow
    from kser.cli.tables import comparison_text

    run, other, differences = workflow.compare(FLAGS.run_dir, FLAGS.compare)
    print(json.dumps(differences) if FLAGS.json else comparison_text(run, other, differences))


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
