"""Writes a board's firmware project for a finished .tflite model, in seconds and without its corpus.

Exit status: 0 written, 1 bad input or a model that does not run on the board.
"""

from __future__ import annotations

from absl import flags

from kser.boards.catalog import BOARDS
from kser.cli import command, settings
from kser.config import SmoothingConfig
from kser.errors import ConfigError, KserError

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("model", "", "An int8 .tflite that bin/fold_and_convert wrote; required.")
    flags.DEFINE_enum("board", None, list(BOARDS), "The board; required.")
    flags.DEFINE_string(
        "deploy_dir",
        "",
        "Directory for the project (Arduino IDE, arduino-cli and PlatformIO, or idf.py and PlatformIO); it must be empty or "
        "not exist; required.",
    )
    flags.DEFINE_bool("force", False, "Write the project even if the model does not run on the board.")
    settings.define(SmoothingConfig, default="the model's")


def main(_) -> None:
    missing = [name for name in ("model", "board", "deploy_dir") if not FLAGS[name].value]
    if missing:
        raise ConfigError(f"bin/deploy needs --{' and --'.join(missing)}; --help says what they are.")
    from kser.boards.doctor import DOES_NOT_RUN
    from kser.cli.doctor import diagnosis_text
    from kser.workflow import write_project

    diagnosis = write_project(FLAGS.model, FLAGS.board, FLAGS.deploy_dir, settings.given(SmoothingConfig), FLAGS.force)
    print(diagnosis_text(FLAGS.model, diagnosis))
    if diagnosis.verdict == DOES_NOT_RUN and not FLAGS.force:
        raise KserError(
            f"The model does not run on {FLAGS.board}, so no project was written; fix the problems above, choose another "
            "--board, or write it anyway with --force."
        )
    print(f"project for {FLAGS.board} written to {FLAGS.deploy_dir}; next: its README.md says how to build it")


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
