"""Models with something changed, and what the doctor says of them."""

from __future__ import annotations

from dataclasses import replace

from kser.boards import doctor
from kser.boards.doctor import Diagnosis
from kser.config import FeatureConfig
from kser.tflite import model_file
from kser.tflite.op_graph import Node, Tensor

FEATURES = FeatureConfig(num_mels=16, clip_seconds=0.6, hop_ms=24.0)


def changed(model_bytes: bytes, change) -> bytes:
    model = model_file.parse(model_bytes)
    change(model)
    return model_file.pack(model)


def fatal(diagnosis: Diagnosis) -> list[str]:
    return [problem.what for problem in diagnosis.problems if problem.severity == "fatal"]


def on(board: str, content: bytes) -> Diagnosis:
    (diagnosis,) = doctor.examine(content, [board])
    return diagnosis


def with_node(findings, *nodes: Node):
    return replace(findings, nodes=(*findings.nodes, *nodes))


def computed(op: str, dtype: str, *inputs: Tensor, **options) -> Node:
    return Node(op, (Tensor((1, 4), dtype), *inputs), (Tensor((1, 4), dtype, name="y"),), **options)
