"""RAVDESS with and without HRF: trains, folds and converts every preset on every split, then prints the table.

    .venv/bin/python benchmarks/ravdess.py --data_dir=DIR --out_dir=DIR

Runs that are done are not done again and killed ones are continued, so it may be stopped and started at will.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from absl import app, flags

from kser.rundir import CONFIG, METRICS
from kser.workflow import CONVERSION_FILE

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Directory of RAVDESS.", required=True)
flags.DEFINE_string("out_dir", None, "Directory the runs are written to.", required=True)
flags.DEFINE_list("presets", "micro,light", "Presets of the Conformer.")
flags.DEFINE_list("expansions", "0,4", "Expansions of HRF; 0 is the plain network.")
flags.DEFINE_list("splits", "1,2,3", "Splits of RAVDESS.")
flags.DEFINE_list("seeds", "0", "Seeds.")
flags.DEFINE_list("train_flags", "", "Further flags of bin/train, for every run.")
flags.DEFINE_integer("jobs", 2, "Runs at a time, each of one thread.", lower_bound=1)


@dataclass(frozen=True)
class Job:
    """One run of the table."""

    preset: str
    expansion: str
    split: str
    seed: str

    @property
    def run_dir(self) -> str:
        return os.path.join(FLAGS.out_dir, f"{self.preset}-hrf{self.expansion}-split{self.split}-seed{self.seed}")

    def read(self, name: str) -> dict:
        with open(os.path.join(self.run_dir, name), encoding="utf-8") as file:
            return json.load(file)


def work(job: Job) -> None:
    """Whatever of training and conversion is left to do."""
    if not os.path.exists(os.path.join(job.run_dir, METRICS)):
        call("train", job, train_flags(job))
    if not os.path.exists(os.path.join(job.run_dir, CONVERSION_FILE)):
        call("fold_and_convert", job, [])
    print(f"{job.run_dir}: UA {job.read(METRICS)['test']['UA']:.3f}", flush=True)


def train_flags(job: Job) -> list[str]:
    """The run's settings, or the request to continue it."""
    if os.path.exists(os.path.join(job.run_dir, CONFIG)):
        return ["--resume"]
    settings = {"preset": job.preset, "hrf_expansion": job.expansion, "split": job.split, "seed": job.seed}
    return ["--dataset=ravdess", *FLAGS.train_flags, *(f"--{name}={value}" for name, value in settings.items())]


def call(command: str, job: Job, arguments: list[str]) -> None:
    """Runs one of kser's commands, its output going to a file beside the run."""
    where = [f"--data_dir={FLAGS.data_dir}", f"--run_dir={job.run_dir}", "--threads=1"]
    with open(f"{job.run_dir}.{command}.log", "a", encoding="utf-8") as log:
        status = subprocess.run([sys.executable, "-m", f"kser.cli.{command}", *where, *arguments], stdout=log, stderr=log)
    if status.returncode:
        raise RuntimeError(f"{command} failed; {log.name} tells why.")


FORMS = ("keras", "folded", "tflite", "tflm")


def row(preset: str, expansion: str, jobs: list[Job]) -> str:
    """Mean and standard deviation of UA over the runs for every form of the model, and the model's size."""
    figures = [job.read(CONVERSION_FILE) for job in jobs]
    cells = [spread([f["scores"][form]["UA"] for f in figures]) for form in FORMS]
    cells.append(spread([f["scores"]["keras"]["WA"] for f in figures]))
    largest = [max(values) for values in zip(*((f["bytes"], f["arena_bytes"]["total"]) for f in figures), strict=True)]
    fold = max(f["fold"]["max_logit_difference"] for f in figures)
    size = f"{figures[0]['parameters']} | {largest[0]} | {largest[1]} | {fold:.1e}"
    return f"| {preset} | {expansion} | {' | '.join(cells)} | {size} |"


def spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def main(_) -> None:
    os.makedirs(FLAGS.out_dir, exist_ok=True)
    jobs = [Job(*values) for values in itertools.product(FLAGS.presets, FLAGS.expansions, FLAGS.splits, FLAGS.seeds)]
    jobs.sort(key=lambda job: int(job.split))  # a table of the first splits is whole when it is stopped early
    with ThreadPoolExecutor(FLAGS.jobs) as pool:
        list(pool.map(work, jobs))
    print("| preset | HRF | UA keras | UA folded | UA LiteRT | UA TFLM | WA keras | parameters | .tflite | arena | fold |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for preset, expansion in itertools.product(FLAGS.presets, FLAGS.expansions):
        print(row(preset, expansion, [job for job in jobs if (job.preset, job.expansion) == (preset, expansion)]))


if __name__ == "__main__":
    app.run(main)
