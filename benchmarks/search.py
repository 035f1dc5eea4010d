"""How far bin/search's predictions are from networks that were really converted and loaded into TensorFlow Lite Micro.

.venv/bin/python -m benchmarks.search --configurations=30

The settings are random (tests/random_networks.py), and so are the weights: none of these figures depends on them, but for
some bytes of the file. Arena: the smallest that the network loads in on this 64-bit computer. Every network goes to stderr
with its figures, predicted and measured.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
from absl import app, flags

from kser.boards.memory_planner import buffers
from kser.boards.search.candidates import predict
from kser.models.presets import BACKBONES
from kser.tflite.interpreter import smallest_arena_bytes
from kser.tflite.model_file import parse
from kser.tflite.op_graph import Node, graph_nodes
from tests.random_networks import converted, random_network

FLAGS = flags.FLAGS
flags.DEFINE_integer("configurations", 30, "Random networks of each backbone.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the settings and the weights.")

NUM_CLASSES = 8


def errors(backbone: str, seed: int) -> tuple[bool, float, float]:
    """Whether the predicted ops are those of the file, and the relative errors of arena and file."""
    rng = np.random.default_rng(seed)
    model, features = random_network(rng, backbone)
    findings, _ = predict(model, features, NUM_CLASSES)
    model_bytes = converted(model, features, NUM_CLASSES, rng)
    same_ops = ops(findings.nodes) == ops(graph_nodes(parse(model_bytes)))
    told = findings.measurement.arena_bytes, findings.num_bytes
    measured = smallest_arena_bytes(model_bytes), len(model_bytes)
    found = same_ops, *(a / b - 1 for a, b in zip(told, measured, strict=True))
    print(model, features, told, measured, found, file=sys.stderr, flush=True)
    return found


def ops(nodes: tuple[Node, ...]) -> tuple:
    """Every op with the shapes of all it reads and writes, and from when to when its results are needed."""
    return [(n.op, [t.shape for t in n.inputs if t], [t.shape for t in n.outputs]) for n in nodes], buffers(nodes)


def row(backbone: str) -> str:
    """How many op lists agree; largest and mean error of each figure."""
    found = np.array([errors(backbone, FLAGS.seed + i) for i in range(FLAGS.configurations)])
    cells = [f"{np.abs(column).max():.2%} | {np.abs(column).mean():.2%}" for column in found[:, 1:].T]
    return f"| {backbone} | {len(found)} | {found[:, 0].sum():.0f} | {' | '.join(cells)} |"


def main(_) -> None:
    figures = [f"{name}, {kind}" for name, kind in itertools.product(("arena", ".tflite"), ("max", "mean"))]
    print(f"| backbone | networks | same ops | {' | '.join(figures)} |")
    print(f"|{'---|' * (3 + len(figures))}")
    for backbone in BACKBONES:
        print(row(backbone), flush=True)


if __name__ == "__main__":
    app.run(main)
