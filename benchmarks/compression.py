"""What compressing a run's int8 weights saves and costs, on the held-out speakers, for several numbers of bits.

.venv/bin/python -m benchmarks.compression --run_dir=DIR
"""

from __future__ import annotations

from absl import app, flags

from kser import workflow
from kser.config import DataPaths
from kser.export.weight_compression import compress_and_measure
from kser.tflite import model_file

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "A run converted by bin/fold_and_convert.", required=True)
flags.DEFINE_string("data_dir", "", "Directory of its corpus; default: where it was.")
flags.DEFINE_multi_integer("bits", [6, 5, 4, 3], "Bits a weight.")


def row(label: str, figures: dict) -> str:
    """A model's bytes, arena and UA."""
    return f"| {label} | {figures['kernels']} | {figures['bytes']} | {figures['arena_bytes']} | {figures['UA']:.3f} |"


def main(_) -> None:
    run, run_data = workflow.open_run(FLAGS.run_dir, DataPaths(FLAGS.data_dir))
    part = run_data.part(run, "test")
    model_bytes = model_file.read_model_file(run.file(workflow.MODEL_FILE))
    print(f"{len(part.labels)} clips of the held-out speakers {', '.join(run.test_speakers)}")
    print("| bits | kernels compressed | .tflite | arena | UA |")
    print("|---|---|---|---|---|")
    reports = [compress_and_measure(model_bytes, bits, part.features, part.labels).report for bits in FLAGS.bits]
    print(row("8", reports[0]["before"]))
    for report in reports:
        print(row(report["bits"], report["after"]))


if __name__ == "__main__":
    app.run(main)
