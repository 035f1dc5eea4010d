"""Recognizes the emotion in audio files (or all those in folders) with a model.tflite.

A clip gives one line. A recording of more than two clips' length gives a line for each time of one emotion: it is decided on
window by window, as the board does that hears it.
"""

from __future__ import annotations

import os
import sys

from absl import flags

from kser.cli import command
from kser.errors import AudioError, ConfigError

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("model", "", "The model: a .tflite written by bin/fold_and_convert; required.")
    flags.DEFINE_enum(
        "interpreter",
        "tflm",
        ("tflm", "tflite"),
        "Run it in TensorFlow Lite Micro, as on the board (tflm), or in LiteRT (tflite).",
    )
    flags.DEFINE_bool("json", False, "Print one JSON object per file instead of text.")
    flags.DEFINE_bool("csv", False, "Print a CSV table with a row for each time of one emotion instead of text.")
    flags.DEFINE_string("audacity", "", "Write the emotions of one file as a label track of Audacity to this file.")
    flags.DEFINE_string("plot", "", "Plot the emotions of one file over time to this PNG file.")


def main(paths: list[str]) -> None:
    from kser.tflite.predict import Predictor, audio_files

    if not FLAGS.model:
        raise ConfigError("bin/predict needs --model, a .tflite written by bin/fold_and_convert.")
    if not paths:
        raise ConfigError("bin/predict needs one or more audio files or folders.")
    if FLAGS.json and FLAGS.csv:
        raise ConfigError("bin/predict prints JSON or CSV; leave out --json or --csv.")
    files = list(audio_files(paths))
    _check_outputs(files)
    with Predictor(FLAGS.model, FLAGS.interpreter) as predictor:
        sys.exit(predict_all(predictor, files))


def _check_outputs(files: list[str]) -> None:
    for flag, path in (("audacity", FLAGS.audacity), ("plot", FLAGS.plot)):
        if path and len(files) > 1:
            raise ConfigError(f"--{flag} is for one file, not {len(files)}; give them one at a time.")
        if path and any(os.path.realpath(path) == os.path.realpath(source) for source in (FLAGS.model, *files)):
            raise ConfigError(f"--{flag}={path} would replace what is read; choose another file.")


def predict_all(predictor, files: list[str]) -> int:
    """Prints the result of each file (on stderr for unusable ones); returns the exit status."""
    from kser.cli import predictions

    status = 0
    if FLAGS.csv:
        print(predictions.csv_head(predictor.labels))
    for path in files:
        try:
            result = predictions.predict(predictor, path)
        except AudioError as error:
            status = command.fail(str(error))
            continue
        print(_text(result), flush=True)
        _write(result)
    return status


def _text(result) -> str:
    from kser.cli import predictions

    if FLAGS.json:
        return predictions.json_line(result)
    return predictions.csv_rows(result) if FLAGS.csv else predictions.lines(result)


def _write(result) -> None:
    if FLAGS.audacity:
        from kser.cli.predictions import label_track
        from kser.files import write_text

        write_text(FLAGS.audacity, label_track(result))
    if FLAGS.plot:
        from kser import plots

        plots.save_timeline(FLAGS.plot, result.timeline, result.labels, os.path.basename(result.path))


def run() -> None:
    define_flags()
    command.run(main, positional="audio files")


if __name__ == "__main__":
    run()
