"""What each augmentation is worth on RAVDESS: the same network trained without any, with each alone, and with all.

    .venv/bin/python -m benchmarks.augmentation --data_dir=DIR --out_dir=DIR

A line each: UA on the validation speakers (which choose) and on the held-out speakers with its 95 % interval over speakers.
See `runs.py` for how it is stopped and continued.
"""

from __future__ import annotations

from absl import app, flags

from benchmarks.runs import Job, work
from kser.config import AugmentConfig
from kser.training.run_directory import METRICS

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "single",
    "speed:0.1,pitch:2,room:0.5,codec:0.3,tempo:0.1,shift:200,warp:0.1,filter:6,gain:6,noise:10,babble:10,spec:1,mixup:0.2",
    "Augmentations tried alone and, in this order, all together.",
)
flags.DEFINE_integer("epochs", 40, "Passes of each training.", lower_bound=1)
flags.DEFINE_string("split", "2", "Split of RAVDESS.")


def steps_tried() -> list[str]:
    """Values of --augment: none, each alone, the default ones together, and all."""
    return ["none", *FLAGS.single, AugmentConfig().augment, ",".join(FLAGS.single)]


def main(_) -> None:
    common = (
        f"--epochs={FLAGS.epochs}",
        f"--split={FLAGS.split}",
        "--preset=micro",
        "--hrf_expansion=4",
        "--select=validation",
    )
    tried = steps_tried()
    jobs = [Job(f"augment-{i:02d}", (*common, f"--augment={steps}")) for i, steps in enumerate(tried)]
    work(jobs, convert=False)
    print("| augment | validation UA | test UA | 95 % interval |")
    print("|---|---|---|---|")
    for steps, job in zip(tried, jobs, strict=True):
        metrics = job.read(METRICS)
        low, high = metrics["test"]["intervals"]["UA"]
        validation = "" if metrics["val_UA"] is None else f"{metrics['val_UA']:.3f}"
        print(f"| {steps} | {validation} | {metrics['test']['UA']:.3f} | {low:.3f} to {high:.3f} |")


if __name__ == "__main__":
    app.run(main)
