"""What each deploy pass is worth: a trained run's folded network, rewritten by one pass more in each row of the table.

.venv/bin/python -m benchmarks.deploy_passes --run_dir=DIR
"""

from __future__ import annotations

import numpy as np
from absl import app, flags

from kser import workflow
from kser.config import DataPaths
from kser.export import convert
from kser.export.fold import fold_model
from kser.export.rewrites import DEPLOY_PASSES, deploy_model
from kser.models.inference import predict_logits
from kser.tflite import interpreter, op_graph
from kser.training import run_directory

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "A run written by bin/train.", required=True)
flags.DEFINE_string("data_dir", "", "Directory of its corpus; default: where it was.")
flags.DEFINE_integer("representative_clips", 200, "Training clips the ranges of activations are taken from.", lower_bound=1)


def row(label: str, model, difference: float, representative: np.ndarray, clips: np.ndarray, logits: np.ndarray) -> str:
    """The costs of a network in int8, and how its decisions and logits agree with the float network's."""
    model_bytes = convert.to_int8_tflite(model, representative)
    runner = interpreter.TFLMRunner(model_bytes)
    int8_logits = runner.logits(clips)
    agreement = np.mean(int8_logits.argmax(1) == logits.argmax(1))
    costs = [op_graph.describe(model_bytes).num_nodes, runner.arena().total, len(model_bytes)]
    costs.append(op_graph.describe(model_bytes).multiply_accumulates)
    cells = [label, f"{difference:.1e}", *costs, f"{agreement:.4f}", f"{np.abs(int8_logits - logits).mean():.3f}"]
    return f"| {' | '.join(map(str, cells))} |"


def main(_) -> None:
    run, run_data = workflow.open_run(FLAGS.run_dir, DataPaths(FLAGS.data_dir))
    clips = run_data.part(run, "test").features
    training = run_data.part(run, "train").features
    representative = training[:: max(1, len(training) // FLAGS.representative_clips)]
    folded = fold_model(run_directory.load_model(run))
    logits = predict_logits(folded, clips)
    print(f"{len(clips)} clips of the held-out speakers {', '.join(run.test_speakers)}")
    print("| passes | float difference | nodes | arena | .tflite | MACs | int8 agreement | int8 logit error |")
    print("|---|---|---|---|---|---|---|---|")
    names = list(DEPLOY_PASSES)
    for count in range(len(names) + 1):
        model = deploy_model(folded, clips, names[:count]).model
        difference = float(np.abs(predict_logits(model, clips) - logits).max())
        label = f"+ {names[count - 1]}" if count else "none"
        print(row(label, model, difference, representative, clips, logits), flush=True)


if __name__ == "__main__":
    app.run(main)
