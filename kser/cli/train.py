"""Trains a network on a corpus and scores it on the held-out speakers."""

from __future__ import annotations

from absl import flags

from kser.cli import command, corpus_flags, settings
from kser.cli.progress import Progress
from kser.errors import ConfigError

FLAGS = flags.FLAGS


def define_flags() -> None:
    corpus_flags.define("Directory to write the run to; required, must be new or empty.")
    flags.DEFINE_string(
        "preset", "micro", "Size of the network: micro, light or large; flags such as --hidden_dim change single sizes."
    )
    flags.DEFINE_bool("list_presets", False, "Print all presets with parameters and multiply-accumulates, and exit.")
    flags.DEFINE_bool("resume", False, "Continue the interrupted run in --run_dir with its own settings.")
    flags.DEFINE_list(
        "teachers",
        [],
        "Distillation: directories of finished runs, separated by commas, whose mean probabilities are training targets "
        "besides the labels; with --split=all, directories of runs over all splits.",
    )
    settings.define_run()


def main(_) -> None:
    # Imported here so that --help and a wrong flag answer at once.
    from kser import workflow
    from kser.cli.tables import presets_text, scores_text, splits_text
    from kser.cli.threads import use_threads
    from kser.models.presets import preset

    if FLAGS.list_presets:
        print(presets_text(settings.feature_config()))
        return
    use_threads(FLAGS.threads)
    paths = corpus_flags.paths()
    config = None if FLAGS.resume else settings.run_config(preset(FLAGS.backbone or "conformer", FLAGS.preset))
    require_use()
    with Progress() as progress:
        if settings.all_splits():
            text = splits_text(*_train_all_splits(config, paths, progress))
        elif FLAGS.resume:
            text = scores_text(*workflow.resume(FLAGS.run_dir, paths, progress))
        else:
            text = scores_text(*workflow.train_new(FLAGS.run_dir, config, paths, progress, FLAGS.teachers))
    print(f"{text}\nwritten to {FLAGS.run_dir}")


def _train_all_splits(config, paths, progress):
    from kser import workflow

    if FLAGS.resume:
        return workflow.resume_all_splits(FLAGS.run_dir, paths, progress)
    return workflow.train_all_splits(FLAGS.run_dir, config, paths, progress, FLAGS.teachers)


def require_use() -> None:
    """Raises ConfigError where a flag has no effect in combination with the others."""
    if FLAGS.resume and FLAGS.teachers:
        raise ConfigError("A resumed run keeps its teachers; leave out --teachers.")
    if FLAGS.teacher_share is not None and not FLAGS.teachers:
        raise ConfigError("--teacher_share needs --teachers.")
    if FLAGS.select == "last" and FLAGS.validation_speakers is not None:
        raise ConfigError("With --select=last there are no validation speakers; leave out --validation_speakers.")


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
