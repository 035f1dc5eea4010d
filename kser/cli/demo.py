"""Runs the whole path on generated sounds: train with HRF, fold, convert to int8, run in TensorFlow Lite Micro, predict."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time

from absl import flags

from kser.cli import command
from kser.cli.progress import Progress

FLAGS = flags.FLAGS
EPOCHS = 25


def define_flags() -> None:
    flags.DEFINE_string("out_dir", "", "Directory to write to. Default: a new one in the system's temporary directory.")
    flags.DEFINE_integer("epochs", EPOCHS, "Number of epochs.", lower_bound=1)


def main(_) -> None:
    from kser import workflow
    from kser.cli.tables import export_text, scores_text
    from kser.config import RECOMMENDED_HRF, DataConfig, DataPaths, QuantizationConfig, RunConfig, TrainConfig
    from kser.models.presets import preset
    from kser.tflite.predict import Predictor

    start = time.monotonic()
    out_dir = FLAGS.out_dir or tempfile.mkdtemp(prefix="kser-demo-")
    corpus_dir, run_dir = os.path.join(out_dir, "corpus"), os.path.join(out_dir, "run")
    paths = DataPaths(corpus_dir, os.path.join(out_dir, "cache"))
    model = dataclasses.replace(preset("conformer", "micro"), hrf=RECOMMENDED_HRF)
    config = RunConfig(DataConfig("synthetic"), model=model, train=TrainConfig(epochs=FLAGS.epochs))
    with Progress() as progress:
        run, scores = workflow.train_new(run_dir, config, paths, progress)
    _, result = workflow.fold_and_convert(run_dir, paths, QuantizationConfig(representative_clips=100))
    clip = workflow.test_clips(run_dir, paths)[0]
    with Predictor(run.file(workflow.MODEL_FILE), "tflm") as predictor:
        prediction = predictor.predict(clip.path)
    print()
    print(scores_text(run, scores))
    print(export_text(run, result.report, result.certificate, result.parity))
    share = prediction.probabilities.max()
    print(f"predict      {os.path.basename(clip.path)}: {prediction.label} ({share:.2f}), spoken {clip.label}")
    print(f"model        {run.file(workflow.MODEL_FILE)}")
    print(f"C++ source   {run.file(workflow.CC_NAME + '.cc')}")
    print(f"confusion    {run.file('confusion.png')}")
    print(f"corpus       {corpus_dir} (generated sounds: a smoke test; its scores say nothing about real speech)")
    print(f"took         {time.monotonic() - start:.0f} s")


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
