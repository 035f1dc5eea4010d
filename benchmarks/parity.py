"""A model's inputs and labels as the firmware makes them of real clips, against those of training and of bin/predict.

.venv/bin/python -m benchmarks.parity --model=RUN/model.tflite --data_dir=RAVDESS --clips=480

The clip goes through the ring buffer, front end, window and smoother in C++, the model runs in TFLM.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

from kser.audio import reading
from kser.audio.log_mel import log_mel_numpy
from kser.datasets.files import find_audio
from kser.firmware import codegen
from kser.tflite import interpreter, model_file, op_graph
from kser.tflite.predict import Predictor
from tests.micro import toolchain
from tests.micro.host_core import HostCore

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "The .tflite of bin/fold_and_convert.", required=True)
flags.DEFINE_string("data_dir", None, "Directory of audio files.", required=True)
flags.DEFINE_integer("clips", 480, "Clips, from all of the directory.", lower_bound=1)


def open_core(directory: Path, model_bytes: bytes, predictor: Predictor) -> HostCore:
    """The core with the model's settings."""
    settings = codegen.settings_source(model_file.read_metadata(model_bytes), op_graph.describe(model_bytes))
    (directory / "kser_settings.h").write_text(settings)
    library = toolchain.host_library(directory / "core.so", directory)
    return HostCore(library, predictor.config, len(predictor.labels))


def main(_) -> None:
    model_bytes = model_file.read_model_file(FLAGS.model)
    with Predictor(FLAGS.model, "tflm") as predictor:
        compare(model_bytes, predictor)


def compare(model_bytes: bytes, predictor: Predictor) -> None:
    """Prints how far the firmware's features and labels are from those of training and of bin/predict."""
    tensor = op_graph.describe(model_bytes).inputs[0]
    runner = interpreter.TFLMRunner(model_bytes)
    paths = list(find_audio(FLAGS.data_dir))
    paths = paths[:: max(1, len(paths) // FLAGS.clips)][: FLAGS.clips]
    steps, others, same = np.zeros(256, int), 0, 0
    with tempfile.TemporaryDirectory() as directory:
        core = open_core(Path(directory), model_bytes, predictor)
        for path in paths:
            clip = reading.fix_clip(reading.load(path, predictor.config.upper_hz), predictor.config)
            samples = reading.to_pcm16(clip)
            trained_on = predictor.normalization.apply(log_mel_numpy(clip, predictor.config))
            with core.open_stream() as stream:
                stream.feed(samples)
                values = stream.take()
                label, _ = stream.decide(runner.invoke(values[np.newaxis])[0])
            difference = np.abs(values.astype(int) - interpreter.quantize(trained_on, tensor))
            steps += np.bincount(difference.ravel(), minlength=256)
            others += np.count_nonzero(values != interpreter.quantize(predictor.features(samples), tensor))
            same += predictor.labels[label] == predictor.predict(path).label
    shares = ", ".join(f"{step}: {count / steps.sum():.4%}" for step, count in enumerate(steps) if count)
    print(f"{len(paths)} clips, {steps.sum()} inputs; steps between the firmware's and those of training: {shares}")
    print(f"inputs other than bin/predict's: {others}")
    print(f"labels equal to bin/predict's: {same} of {len(paths)}")


if __name__ == "__main__":
    app.run(main)
