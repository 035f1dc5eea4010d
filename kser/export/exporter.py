"""From a Keras network to a .tflite: fold, rewrites, proofs, quantization, and scores of every stage on held-out data."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata as packages

import numpy as np
import tf_keras as keras

from kser import __version__
from kser.config import QuantizationConfig, to_dict
from kser.errors import ModelFileError
from kser.export import convert, parity
from kser.export.fold import FoldProof, fold_model, prove, weights_hash
from kser.export.layer_steps import layer_steps
from kser.export.parity import LAYER_CLIPS, Stage
from kser.export.rewrites import BOUNDS, DEPLOY_PASSES, MAX_REWRITE_DIFFERENCE, Deployed, deploy_model
from kser.export.schemes import Converted, Tune, convert_by, exact_bound
from kser.models.inference import predict_logits
from kser.tflite import interpreter, model_file, op_graph
from kser.training.metrics import METRICS

CHECKED_CLIPS = 4


@dataclass(frozen=True)
class Export:
    """The converted model and the float one; as JSON values all figures (`report`), the proof of fold and rewrites
    (`certificate`), and the comparison of all stages (`parity`)."""

    model_bytes: bytes
    float_model: bytes
    report: dict
    certificate: dict
    parity: dict


@dataclass(frozen=True)
class _Exact:
    """The float stages of a network (before quantization), and the proof that they compute the same function."""

    model: keras.Model
    folded: keras.Model
    deployed: Deployed
    proof: FoldProof


def export(
    model: keras.Model,
    representative: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    settings: QuantizationConfig = QuantizationConfig(),  # noqa: B008 (frozen)
    passes: Sequence[str] = tuple(DEPLOY_PASSES),
    metadata: Mapping | None = None,
    plain: keras.Model | None = None,
    tune: Tune | None = None,
) -> Export:
    """Folds, rewrites, quantizes and converts a network, and scores every stage.

    Args:
      model: a flat Functional or Sequential model from (batch, ...) to (batch, num_classes) logits, with or without HRF.
      representative: float32 (n, ...) training data, for the activation ranges.
      features: float32 (n, ...) held-out data, and `labels` (n,) its classes, to compare and score the stages on.
      passes: names of the rewrites (`DEPLOY_PASSES`) to apply.
      metadata: JSON values to store inside the .tflite, such as its labels; the results measured here are added.
      plain: the same network built without HRF; the folded one must have as many parameters.
      tune: quantization-aware training, if the settings ask for it.

    Raises:
      ConfigError: there is no such pass, or the data does not fit the model.
      FoldError: the fold or a rewrite is not exact.
      KserError: the network does not convert, or the result does not run in TFLM.
    """
    convert.require_inputs(model, features, "Held-out data")
    exact = _exact_forms(model, plain, features, passes)
    source = deploy_model(model, features, passes) if settings.quantize == "qat_hrf" else exact.deployed
    converted = convert_by(settings, source.model, representative, features, tune)
    stages = _stages(exact, converted, features)
    found, arena = _compared(stages, converted, features, labels), _arena(converted.model_bytes)
    certificate = _certificate(exact, converted)
    figures = _figures(settings, found["stages"][-1]["UA"], arena["total"], certificate)
    model_bytes = model_file.add_metadata(converted.model_bytes, {"kser": __version__, **(metadata or {}), **figures})
    _check_unchanged(model_bytes, features, stages[-1].logits)
    quantization = {**to_dict(settings), "representative_clips": len(representative)}
    report = _report(exact, model_bytes, found, arena, quantization, converted.notes)
    return Export(model_bytes, convert.to_float_tflite(exact.deployed.model), report, certificate, found)


def _exact_forms(model: keras.Model, plain: keras.Model | None, features: np.ndarray, passes: Sequence[str]) -> _Exact:
    folded = fold_model(model)
    proof = prove(model, folded, plain, features)
    return _Exact(model, folded, deploy_model(folded, features, passes), proof)


def _stages(exact: _Exact, converted: Converted, features: np.ndarray) -> list[Stage]:
    """The logits of every stage, in order."""
    passes_bound = sum(BOUNDS.get(proof.name, MAX_REWRITE_DIFFERENCE) for proof in exact.deployed.proofs)
    lite, micro = (make(converted.model_bytes) for make in (interpreter.LiteRTRunner, interpreter.TFLMRunner))
    return [
        Stage("keras", predict_logits(exact.model, features)),
        Stage("folded", predict_logits(exact.folded, features), exact_bound(exact.proof.bound)),
        Stage("deployed", predict_logits(exact.deployed.model, features), exact_bound(passes_bound)),
        *converted.stages,
        Stage("tflite", lite.logits(features), converted.bound),
        Stage("tflm", micro.logits(features), converted.tflm_bound),
    ]


def _compared(stages: Sequence[Stage], converted: Converted, features: np.ndarray, labels: np.ndarray) -> dict:
    found = parity.compare(stages, labels)
    worst = parity.worst_layers(converted.graph, converted.model_bytes, features) if converted.graph else []
    rows = layer_steps(*converted.simulated, converted.model_bytes, features[:LAYER_CLIPS]) if converted.simulated else []
    beyond = [dataclasses.asdict(row) for row in rows if row.wrong]
    largest = max((row.largest for row in rows), default=0.0)
    layers = {"compared": len(rows), "largest_steps": largest, "beyond_bound": beyond}
    return {**found, "worst_layers": [dataclasses.asdict(error) for error in worst], "layers": layers}


def _arena(model_bytes: bytes) -> dict[str, int]:
    used = dataclasses.asdict(interpreter.TFLMRunner(model_bytes).arena())
    return {**used, "smallest_that_loads": interpreter.smallest_arena_bytes(model_bytes)}


# --- Reports and metadata ------------------------------------------------------------------------------------------


def _certificate(exact: _Exact, converted: Converted) -> dict:
    after = converted.notes.get("fold_after_qat")
    return {
        "fold": dataclasses.asdict(exact.proof),
        "deploy": [dataclasses.asdict(proof) for proof in exact.deployed.proofs],
        "sha256_deployed": weights_hash(exact.deployed.model),
        **({"fold_after_qat": after} if after else {}),
    }


def _figures(settings: QuantizationConfig, test_ua: float, arena_bytes: int, certificate: dict) -> dict:
    """The part of the model's metadata that describes its conversion."""
    return {
        "quantization": to_dict(settings),
        "test_UA": test_ua,
        "fold_certificate_sha256": hashlib.sha256(certificate_json(certificate).encode()).hexdigest(),
        "arena_bytes": arena_bytes,
        "arena_tflm": packages.version("tflite-micro"),
    }


def certificate_json(certificate: dict) -> str:
    """The text of the certificate file; the model's metadata holds its hash."""
    return json.dumps(certificate, indent=1) + "\n"


def _check_unchanged(model_bytes: bytes, features: np.ndarray, logits: np.ndarray) -> None:
    clips = slice(CHECKED_CLIPS)
    if not np.array_equal(interpreter.TFLMRunner(model_bytes).logits(features[clips]), logits[clips]):
        raise ModelFileError("The model computes different logits with its metadata than without; nothing was written.")


def _tensor(info: op_graph.Tensor) -> dict:
    return {
        "name": info.name,
        "shape": list(info.shape),
        "dtype": info.dtype,
        "scale": info.scale,
        "zero_point": info.zero_point,
    }


def _report(exact: _Exact, model_bytes: bytes, found: dict, arena: dict, quantization: dict, notes: dict) -> dict:
    description = op_graph.describe(model_bytes)
    return {
        "sha256": hashlib.sha256(model_bytes).hexdigest(),
        "bytes": description.num_bytes,
        "parameters": exact.proof.parameters_after,
        "multiply_accumulates": description.multiply_accumulates,
        "nodes": description.num_nodes,
        "ops": description.ops,
        "input": _tensor(description.inputs[0]),
        "output": _tensor(description.outputs[0]),
        "arena_bytes": arena,
        "tflite_micro": packages.version("tflite-micro"),
        "quantization": quantization,
        "fold": {key: value for key, value in dataclasses.asdict(exact.proof).items() if key != "layers"},
        "scores": {row["stage"]: {metric: row[metric] for metric in METRICS} for row in found["stages"]},
        "agreement_with_keras": {row["stage"]: row["same_decision_as_first"] for row in found["stages"]},
        "mean_logit_difference_from_keras": {row["stage"]: row["mean_difference_from_first"] for row in found["stages"]},
        **({"qat": notes["qat"]} if "qat" in notes else {}),
    }
