"""What there is to know of a .tflite without a board: its graph and metadata, and what the host's TFLM tells of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kser.config import FeatureConfig, from_dict
from kser.errors import ConfigError, ModelFileError
from kser.tflite import interpreter, model_file
from kser.tflite.op_graph import Node, float_islands, graph_inputs, graph_nodes, multiply_accumulates, printable


@dataclass(frozen=True)
class Measurement:
    """What the host's TFLM told.

    Attributes:
      failure: why the model does not load or run there; "" where it does. The bytes are 0 then.
      arena_bytes: smallest arena it loads in; a small model needs more to load than it keeps.
      eval_tensors: tensors TFLM keeps a TfLiteEvalTensor of.
    """

    failure: str = ""
    arena_bytes: int = 0
    eval_tensors: int = 0


@dataclass(frozen=True)
class Findings:
    """What there is to know of a model without a board; `features` are None for models without kser's metadata."""

    num_bytes: int
    nodes: tuple[Node, ...]
    multiply_accumulates: int
    float_islands: tuple[str, ...]
    num_graphs: int
    features: FeatureConfig | None
    measurement: Measurement


def find(model_bytes: bytes, measurement: Measurement, name: str = "The model") -> Findings:
    """Reads a model's graph and metadata. For bytes nobody vouches for, use `doctor.examine`.

    Raises:
      ModelFileError: no TensorFlow Lite model.
    """
    model = model_file.parse(model_bytes, name)
    nodes = graph_nodes(model)
    return Findings(
        num_bytes=len(model_bytes),
        nodes=nodes,
        multiply_accumulates=multiply_accumulates(nodes),
        float_islands=float_islands(graph_inputs(model), nodes),
        num_graphs=len(model.subgraphs),
        features=_features(model_bytes),
        measurement=measurement,
    )


def _features(model_bytes: bytes) -> FeatureConfig | None:
    try:
        return from_dict(FeatureConfig, model_file.read_metadata(model_bytes)["features"])
    except (ModelFileError, ConfigError, KeyError):
        return None


def measure(model_bytes: bytes, name: str = "The model") -> Measurement:
    """Loads and runs a model in the host's TFLM. For bytes nobody vouches for, use `doctor.examine`.

    Raises:
      ModelFileError: no TensorFlow Lite model.
    """
    model = model_file.parse(model_bytes, name)
    with interpreter.captured_log() as log:
        try:
            used, eval_tensors = _load_and_run(model_bytes, model, log)
            return Measurement("", _smallest_arena(model_bytes, used), eval_tensors)
        except (RuntimeError, ValueError, TypeError) as error:
            return Measurement(failure=_reason(log() or str(error)))


def _load_and_run(model_bytes: bytes, model, log: Callable[[], str]) -> tuple[int, int]:
    """Bytes of arena in use, and the number of TfLiteEvalTensors, once it has run on zeros."""
    tflm = interpreter.open_tflm(model_bytes)
    for position, tensor in enumerate(graph_inputs(model)):
        tflm.set_input(np.zeros(tensor.shape, tensor.dtype), position)
    tflm.invoke()
    tflm.print_allocations()
    used = re.search(r"Arena allocation total (\d+) bytes", log())
    tensors = re.search(r"'TfLiteEvalTensor data' used .* for (\d+) ", log())
    if not (used and tensors):
        raise RuntimeError("it does not tell its allocations")
    return int(used[1]), int(tensors[1])


def _smallest_arena(model_bytes: bytes, used: int) -> int:
    def loads(arena_bytes: int) -> bool:
        try:
            interpreter.open_tflm(model_bytes, arena_bytes)
        except RuntimeError:
            return False
        return True

    return interpreter.smallest_that_loads(used, loads)


def _reason(log: str) -> str:
    """The first complaint in TFLM's log, as the end of a sentence."""
    if re.search(r"Failed to (allocate|resize) .*missing: \d+|Too many buffers", log):
        return f"it needs an arena of more than {interpreter.DEFAULT_ARENA_BYTES >> 20} MB"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"TFLM says '{printable(lines[0]).rstrip('.')}'" if lines else "TFLM does not say why"
