"""Recognizes the emotion in audio files (or all those in folders) with a model.tflite."""

from __future__ import annotations

import json
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
    flags.DEFINE_bool("json", False, "Print one JSON object per clip instead of text.")


def main(paths: list[str]) -> None:
    from kser.tflite.predict import Predictor, audio_files

    if not FLAGS.model:
        raise ConfigError("bin/predict needs --model, a .tflite written by bin/fold_and_convert.")
    if not paths:
        raise ConfigError("bin/predict needs one or more audio files or folders.")
    files = list(audio_files(paths))
    with Predictor(FLAGS.model, FLAGS.interpreter) as predictor:
        sys.exit(predict_all(predictor, files))


def predict_all(predictor, files: list[str]) -> int:
    """Prints a line for each file (on stderr for unusable ones); returns the exit status."""
    status = 0
    for path in files:
        try:
            print(line(predictor.predict(path), predictor.labels), flush=True)
        except AudioError as error:
            status = command.fail(str(error))
    return status


def line(prediction, labels) -> str:
    """One clip's result, for a person or as JSON."""
    shares = {label: round(float(p), 4) for label, p in zip(labels, prediction.probabilities, strict=True)}
    if FLAGS.json:
        return json.dumps({"path": prediction.path, "label": prediction.label, "probabilities": shares})
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return f"{prediction.path}\t{prediction.label}\t" + " ".join(f"{label}={p:.2f}" for label, p in ordered)


def run() -> None:
    define_flags()
    command.run(main, positional="audio files")


if __name__ == "__main__":
    run()
