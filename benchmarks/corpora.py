"""How fast a corpus is looked at and turned into features, and how that grows with the corpus.

    .venv/bin/pip install librosa
    .venv/bin/python -m benchmarks.corpora --data_dir=RAVDESS
    .venv/bin/python -m benchmarks.corpora --counts=10000,100000,300000 --work_dir=DIR

With --data_dir: clips per second of reading, checking and extracting, nothing cached, against librosa.load and librosa's
mel spectrogram of the same files, in turns in one process. With --counts: seconds and peak memory of preparing, splitting,
shuffling and of everything up to the first batch from a warm cache, each in a process of its own, on corpora of so many
generated clips (a tenth of a second each; 4 kB of audio and 40 kB of features a clip on the disk).
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np
import soundfile
from absl import app, flags

from benchmarks.librosa_peer import mel_settings, require_librosa
from kser.cli.threads import use_threads
from kser.config import SAMPLE_RATE_HZ, AugmentConfig, DataConfig, DataPaths, FeatureConfig, RunConfig
from kser.datasets import load_corpus
from kser.datasets.manifest import read_manifest
from kser.datasets.prepare import prepare_corpus
from kser.datasets.protocols import make_split
from kser.datasets.scan import scan
from kser.training.input_pipeline import training_batches, training_data
from kser.training.run_data import load_run_data

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", "", "Directory of RAVDESS.")
flags.DEFINE_integer("rounds", 3, "Turns each of the two takes on RAVDESS.", lower_bound=1)
flags.DEFINE_integer("clips", 1440, "Clips of a turn.", lower_bound=1)
flags.DEFINE_list("counts", [], "Sizes of generated corpora.")
flags.DEFINE_string("work_dir", "", "Directory for generated corpora; each is removed when it is done.")
flags.DEFINE_string("step", "", "Only do this step (prepare, split, shuffle or start) in --work_dir and print its figures.")

LABELS = ("angry", "happy", "neutral", "sad")
CLIPS_PER_SPEAKER = 100
STEPS = ("prepare", "split", "shuffle", "start")


def compare(data_dir: str) -> None:
    """kser's scan against librosa."""
    use_threads(1)  # within an operation, as bin/prepare does: the scan has a thread for every core
    librosa = require_librosa()
    config = FeatureConfig()
    utterances = load_corpus("ravdess", data_dir).utterances[: FLAGS.clips]
    settings = mel_settings(config)

    def ours():
        return sum(len(reports) for reports, _ in scan(utterances, config))

    def theirs():
        for utterance in utterances:
            samples, _ = librosa.load(utterance.path, sr=SAMPLE_RATE_HZ)
            clip = librosa.util.fix_length(samples, size=config.clip_samples)
            np.log(librosa.feature.melspectrogram(y=clip, **settings) + 1e-6)

    ours(), theirs()  # compile
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(FLAGS.rounds)]
    speeds = [len(utterances) / statistics.median(column) for column in zip(*pairs, strict=True)]
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{len(utterances)} clips a turn, median of {len(pairs)}")
    print(f"kser {speeds[0]:.0f} clips/s, librosa {speeds[1]:.0f} clips/s, median ratio {ratio:.2f}")


def seconds(function) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def generate(directory: str, count: int) -> None:
    """`count` clips of noise and the table that lists them."""
    rng = np.random.default_rng(count)
    os.makedirs(directory)
    with open(os.path.join(directory, "manifest.csv"), "w", encoding="utf-8") as table:
        table.write("path,label,speaker\n")
        for i in range(count):
            speaker = i // CLIPS_PER_SPEAKER
            path = os.path.join(f"{speaker:05d}", f"{i:07d}.wav")
            if i % CLIPS_PER_SPEAKER == 0:
                os.makedirs(os.path.join(directory, f"{speaker:05d}"))
            soundfile.write(os.path.join(directory, path), rng.normal(0, 0.1, SAMPLE_RATE_HZ // 10), SAMPLE_RATE_HZ)
            table.write(f"{path},{LABELS[i % len(LABELS)]},{speaker:05d}\n")


def step(name: str, work_dir: str) -> None:
    """Does one of STEPS and prints its seconds and the peak memory of the process."""
    paths = DataPaths(os.path.join(work_dir, "corpus"), os.path.join(work_dir, "cache"))
    manifest = os.path.join(work_dir, "manifest.jsonl")
    config = RunConfig(DataConfig("folder"), augment=AugmentConfig("noise:10,spec:1,mixup:0.2"))  # what takes no time first
    start = time.perf_counter()
    if name == "prepare":
        prepared = DataPaths(paths.data_dir, paths.cache_dir, manifest=manifest)
        prepare_corpus(config.data, config.features, prepared)
    else:
        corpus, _ = read_manifest(manifest, paths.data_dir, "folder")
        start = start if name == "start" else time.perf_counter()
        split = make_split(corpus)
        if name == "shuffle":
            start = time.perf_counter()
            np.random.default_rng(0).permutation(len(split.train))
        if name == "start":
            run_data = load_run_data(config, DataPaths(paths.data_dir, paths.cache_dir, manifest=manifest))
            data = training_data(run_data.corpus, run_data.features, run_data.split, config)
            batches = training_batches(data, config.features, config.augment, config.train.batch_size, 0, 0)
            list(itertools.islice(batches, 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - start, "peak_mb": peak}))


def grow(count: int, work_dir: str) -> None:
    """A line of figures for a generated corpus of `count` clips."""
    directory = os.path.join(work_dir, str(count))
    try:
        generate(os.path.join(directory, "corpus"), count)
        cells = []
        for name in STEPS:
            arguments = [sys.executable, "-m", "benchmarks.corpora", f"--step={name}", f"--work_dir={directory}"]
            output = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout
            figures = json.loads(output.splitlines()[-1])
            cells.append(f"{name} {figures['seconds']:.2f} s, {figures['peak_mb']:.0f} MB")
        print(f"{count} clips: " + "; ".join(cells), flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main(_) -> None:
    if FLAGS.step:
        step(FLAGS.step, FLAGS.work_dir)
        return
    if FLAGS.data_dir:
        compare(FLAGS.data_dir)
    for count in FLAGS.counts:
        grow(int(count), FLAGS.work_dir or sys.exit("--counts needs --work_dir."))


if __name__ == "__main__":
    app.run(main)
