"""What each way to quantize costs or gains: UA of trained runs on their held-out speakers, in float and in TFLM.

    .venv/bin/python -m benchmarks.quantization --out_dir=DIR --data_dir=RAVDESS RUN_DIR ...

Every run is copied into DIR once for each way and converted there; what is done already is not done again.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from absl import app, flags

from kser.training.run_directory import CONFIG, WEIGHTS
from kser.workflow import CONVERSION_FILE, PARITY_FILE

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Directory of the corpus.", required=True)
flags.DEFINE_string("out_dir", None, "Directory the converted runs are written to.", required=True)
flags.DEFINE_integer("qat_epochs", 5, "Passes of quantization-aware training.", lower_bound=1)
flags.DEFINE_integer("jobs", 2, "Conversions at a time, each of one thread.", lower_bound=1)
WAYS = {
    "ptq": ("--quantize=ptq",),
    "percentile": ("--quantize=ptq", "--ranges=percentile"),
    "mse": ("--quantize=ptq", "--ranges=mse"),
    "channel": ("--quantize=ptq", "--dense_scales=channel"),
    "qat": ("--quantize=qat",),
    "qat_hrf": ("--quantize=qat_hrf",),
    "int16x8": ("--quantize=int16x8",),
}
flags.DEFINE_list("ways", list(WAYS), f"Ways to quantize, of {', '.join(WAYS)}; ptq among them.")


def convert(run_dir: str, way: str) -> dict:
    """The figures and the comparison of one run, converted in one way."""
    target = os.path.join(FLAGS.out_dir, f"{os.path.basename(os.path.normpath(run_dir))}-{way}")
    os.makedirs(target, exist_ok=True)
    for name in (CONFIG, WEIGHTS):
        shutil.copy(os.path.join(run_dir, name), target)
    if not os.path.exists(os.path.join(target, CONVERSION_FILE)):
        where = [f"--run_dir={target}", f"--data_dir={FLAGS.data_dir}", f"--qat_epochs={FLAGS.qat_epochs}", "--threads=1"]
        with open(f"{target}.log", "w", encoding="utf-8") as log:
            command = [sys.executable, "-m", "kser.cli.fold_and_convert", *where, *WAYS[way]]
            if subprocess.run(command, stdout=log, stderr=log).returncode:
                raise RuntimeError(f"The conversion failed; {log.name} tells why.")
    figures, parity = (_read(target, name) for name in (CONVERSION_FILE, PARITY_FILE))
    print(f"{target}: UA {figures['scores']['tflm']['UA']:.3f}", file=sys.stderr, flush=True)
    return {**figures, "parity": parity}


def _read(directory: str, name: str) -> dict:
    with open(os.path.join(directory, name), encoding="utf-8") as file:
        return json.load(file)


def main(argv: list[str]) -> None:
    run_dirs = argv[1:]
    os.makedirs(FLAGS.out_dir, exist_ok=True)
    tasks = [(run_dir, way) for run_dir in run_dirs for way in FLAGS.ways]
    with ThreadPoolExecutor(FLAGS.jobs) as pool:
        found = dict(zip(tasks, pool.map(lambda task: convert(*task), tasks), strict=True))
    print(f"| run | float | {' | '.join(FLAGS.ways)} | decisions LiteRT = TFLM, int8 |")
    print("|" + "---|" * (3 + len(FLAGS.ways)))
    gaps: dict[str, list[float]] = {way: [] for way in FLAGS.ways}
    for run_dir in run_dirs:
        exact = found[run_dir, "ptq"]["scores"]["keras"]["UA"]
        values = {way: found[run_dir, way]["scores"]["tflm"]["UA"] for way in FLAGS.ways}
        for way, value in values.items():
            gaps[way].append(value - exact)
        same = min(_same_in_tflm(found[run_dir, way]["parity"]) for way in FLAGS.ways if way != "int16x8")
        cells = " | ".join(f"{value:.3f}" for value in values.values())
        print(f"| {os.path.basename(os.path.normpath(run_dir))} | {exact:.3f} | {cells} | {same:.4f} |")
    print("| mean difference from float | | " + " | ".join(f"{statistics.mean(g):+.3f}" for g in gaps.values()) + " | |")


def _same_in_tflm(parity: dict) -> float:
    return parity["stages"][-1]["same_decision"]


if __name__ == "__main__":
    app.run(main)
