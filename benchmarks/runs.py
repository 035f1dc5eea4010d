"""Trainings of a benchmark: each a run directory of its own, done once, continued when killed, several at a time.

Runs that are done are not done again, so a benchmark may be stopped and started at will.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from absl import flags

from kser.training.run_directory import CONFIG, METRICS
from kser.workflow import CONVERSION_FILE

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Directory of RAVDESS.", required=True)
flags.DEFINE_string("out_dir", None, "Directory the runs are written to.", required=True)
flags.DEFINE_list("train_flags", "", "Further flags of bin/train, for every run.")
flags.DEFINE_integer("jobs", 2, "Runs at a time, each of one thread.", lower_bound=1)


@dataclass(frozen=True)
class Job:
    """A run by name, and the flags of bin/train that make it."""

    name: str
    flags: tuple[str, ...]

    @property
    def run_dir(self) -> str:
        return os.path.join(FLAGS.out_dir, self.name)

    def read(self, name: str) -> dict:
        """One of the run's JSON files."""
        with open(os.path.join(self.run_dir, name), encoding="utf-8") as file:
            return json.load(file)


def work(jobs: Sequence[Job], convert: bool = True) -> None:
    """Trains on RAVDESS and, unless told otherwise, converts whatever of the jobs is left to do."""
    os.makedirs(FLAGS.out_dir, exist_ok=True)
    with ThreadPoolExecutor(FLAGS.jobs) as pool:
        list(pool.map(lambda job: _work(job, convert), jobs))


def _work(job: Job, convert: bool) -> None:
    if not os.path.exists(os.path.join(job.run_dir, METRICS)):
        resumed = os.path.exists(os.path.join(job.run_dir, CONFIG))
        _call("train", job, ("--resume",) if resumed else ("--dataset=ravdess", *FLAGS.train_flags, *job.flags))
    if convert and not os.path.exists(os.path.join(job.run_dir, CONVERSION_FILE)):
        _call("fold_and_convert", job, ())
    print(f"{job.run_dir}: UA {job.read(METRICS)['test']['UA']:.3f}", flush=True)


def _call(command: str, job: Job, arguments: Sequence[str]) -> None:
    """Runs one of kser's commands, its output going to a file beside the run."""
    where = [f"--data_dir={FLAGS.data_dir}", f"--run_dir={job.run_dir}", "--threads=1"]
    with open(f"{job.run_dir}.{command}.log", "a", encoding="utf-8") as log:
        status = subprocess.run([sys.executable, "-m", f"kser.cli.{command}", *where, *arguments], stdout=log, stderr=log)
    if status.returncode:
        raise RuntimeError(f"{command} failed; {log.name} tells why.")


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"
