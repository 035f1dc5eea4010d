"""Properties of a .tflite that do not depend on a board: graph, metadata, and measurements in TFLM on this computer."""

from __future__ import annotations

from dataclasses import dataclass

from kser.config import FeatureConfig, Settings, SmoothingConfig, from_dict
from kser.errors import ConfigError, ModelFileError
from kser.tflite import interpreter, model_file
from kser.tflite.op_graph import Node, float_islands, graph_inputs, graph_nodes, multiply_accumulates


@dataclass(frozen=True)
class Measurement:
    """Measurements of a model in TFLM on this computer.

    Attributes:
      failure: why the model does not load or run; "" if it does. On failure the bytes are 0.
      arena_bytes: the smallest arena in which it loads; a small model needs more for loading than afterwards.
      eval_tensors: number of tensors for which TFLM keeps a TfLiteEvalTensor.
    """

    failure: str = ""
    arena_bytes: int = 0
    eval_tensors: int = 0


@dataclass(frozen=True)
class Findings:
    """Properties of a model that do not depend on a board; `features` and `smoothing` are None without kser's metadata."""

    num_bytes: int
    nodes: tuple[Node, ...]
    multiply_accumulates: int
    float_islands: tuple[str, ...]
    num_graphs: int
    features: FeatureConfig | None
    measurement: Measurement
    smoothing: SmoothingConfig | None = None


def inspect(model_bytes: bytes, measurement: Measurement, name: str = "The model") -> Findings:
    """Reads a model's graph and metadata. For an untrusted file, use `doctor.examine`.

    Raises:
      ModelFileError: not a TensorFlow Lite model.
    """
    model = model_file.parse(model_bytes, name)
    nodes = graph_nodes(model)
    return Findings(
        num_bytes=len(model_bytes),
        nodes=nodes,
        multiply_accumulates=multiply_accumulates(nodes),
        float_islands=float_islands(graph_inputs(model), nodes),
        num_graphs=len(model.subgraphs),
        features=_metadata_of(model_bytes, "features", FeatureConfig),
        measurement=measurement,
        smoothing=_metadata_of(model_bytes, "smoothing", SmoothingConfig),
    )


def _metadata_of(model_bytes: bytes, name: str, kind: type) -> Settings | None:
    try:
        return from_dict(kind, model_file.read_metadata(model_bytes)[name])
    except (ModelFileError, ConfigError, KeyError):
        return None


def measure(model_bytes: bytes, name: str = "The model") -> Measurement:
    """Loads and runs a model in TFLM on this computer. For an untrusted file, use `doctor.examine`.

    Raises:
      ModelFileError: not a TensorFlow Lite model.
    """
    try:
        eval_tensors = interpreter.trial_run(model_bytes, name).eval_tensors
        return Measurement("", interpreter.smallest_arena_bytes(model_bytes, name), eval_tensors)
    except interpreter.InterpreterError as error:
        return Measurement(failure=error.reason)
