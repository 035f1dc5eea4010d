"""RAVDESS with and without HRF: trains, folds and converts networks on every split, then prints the table.

    .venv/bin/python -m benchmarks.ravdess --data_dir=DIR --out_dir=DIR

See `runs.py` for how it is stopped and continued.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from absl import app, flags

from benchmarks.runs import Job, spread, work
from kser.workflow import CONVERSION_FILE

FLAGS = flags.FLAGS
flags.DEFINE_list("backbones", "conformer", "Backbones.")
flags.DEFINE_list("presets", "micro,light", "Presets of the backbones.")
flags.DEFINE_list("expansions", "0,4", "Expansions of HRF; 0 is the plain network.")
flags.DEFINE_list("splits", "1,2,3", "Splits of RAVDESS.")
flags.DEFINE_list("seeds", "0", "Seeds.")

FORMS = ("keras", "folded", "tflite", "tflm")


@dataclass(frozen=True)
class Network:
    """A row of the table."""

    backbone: str
    preset: str
    expansion: str

    def job(self, split: str, seed: str) -> Job:
        settings = {"backbone": self.backbone, "preset": self.preset, "hrf_expansion": self.expansion}
        settings |= {"split": split, "seed": seed}
        name = f"{self.backbone}-{self.preset}-hrf{self.expansion}-split{split}-seed{seed}"
        return Job(name, tuple(f"--{key}={value}" for key, value in settings.items()))

    def row(self) -> str:
        """Mean and standard deviation of UA over the runs for every form of the model, and the model's size."""
        figures = [job.read(CONVERSION_FILE) for job in self.jobs()]
        cells = [spread([f["scores"][form]["UA"] for f in figures]) for form in FORMS]
        cells.append(spread([f["scores"]["keras"]["WA"] for f in figures]))
        largest = [max(values) for values in zip(*((f["bytes"], f["arena_bytes"]["total"]) for f in figures), strict=True)]
        fold = max(f["fold"]["max_logit_difference"] for f in figures)
        size = f"{figures[0]['parameters']} | {largest[0]} | {largest[1]} | {fold:.1e}"
        return f"| {self.backbone} {self.preset} | {self.expansion} | {' | '.join(cells)} | {size} |"

    def jobs(self) -> list[Job]:
        return [self.job(split, seed) for split, seed in itertools.product(FLAGS.splits, FLAGS.seeds)]


def main(_) -> None:
    networks = [Network(*values) for values in itertools.product(FLAGS.backbones, FLAGS.presets, FLAGS.expansions)]
    # Split by split: a table of the first splits is whole when it is stopped early.
    work([n.job(split, seed) for split in FLAGS.splits for seed in FLAGS.seeds for n in networks])
    print("| network | HRF | UA keras | UA folded | UA LiteRT | UA TFLM | WA keras | parameters | .tflite | arena | fold |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for network in networks:
        print(network.row())


if __name__ == "__main__":
    app.run(main)
