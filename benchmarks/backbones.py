"""What every deployed backbone costs: parameters, multiply-accumulates, nodes, bytes and arena of its presets in int8.

.venv/bin/python -m benchmarks.backbones

The weights are the untrained ones of seed 0: none of these figures depends on them, but for some bytes.
"""

from __future__ import annotations

import itertools

import numpy as np
from absl import app, flags

from kser.config import FeatureConfig
from kser.export.convert import to_int8_tflite
from kser.export.rewrites import deploy_model
from kser.models.presets import BACKBONES, build_model, preset
from kser.tflite.interpreter import TFLMRunner
from kser.tflite.op_graph import describe

FLAGS = flags.FLAGS
flags.DEFINE_list("presets", "micro,light", "Presets to convert.")

NUM_CLASSES = 8
NUM_CLIPS = 8


def row(backbone: str, name: str) -> str:
    """The figures of one preset on clips of the default length."""
    features = FeatureConfig()
    model = build_model(preset(backbone, name), features, NUM_CLASSES)
    rng = np.random.default_rng(0)
    clips = rng.standard_normal((NUM_CLIPS, features.num_frames, features.num_mels)).astype(np.float32)
    model_bytes = to_int8_tflite(deploy_model(model, clips).model, clips)
    found = describe(model_bytes)
    figures = [model.count_params(), found.multiply_accumulates, found.num_nodes, found.num_bytes]
    return f"| {' | '.join(map(str, [backbone, name, *figures, TFLMRunner(model_bytes).arena().total]))} |"


def main(_) -> None:
    print("| backbone | preset | parameters | MACs | nodes | .tflite | arena |")
    print("|---|---|---|---|---|---|---|")
    for backbone, name in itertools.product(BACKBONES, FLAGS.presets):
        print(row(backbone, name), flush=True)


if __name__ == "__main__":
    app.run(main)
