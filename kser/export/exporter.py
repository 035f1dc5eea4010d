"""A trained network to what a board runs: fold, proof, integers, and each form measured on the held-out speakers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata as packages

import numpy as np
import tf_keras as keras

from kser import __version__
from kser.config import QuantizationConfig, SmoothingConfig, to_dict
from kser.errors import ModelFileError
from kser.export import convert, parity
from kser.export.device_ops import dense_as_convolution, one_operation_each, token_dense_axes, written_out_norms
from kser.export.fake_quant import fake_quantized, rounded_kernels
from kser.export.fold import MAX_LOGIT_DIFFERENCE as MAX_FOLD_DIFFERENCE
from kser.export.fold import FoldProof, fold_model, prove, weights_hash
from kser.export.graph import Graph, build_graph, read_graph
from kser.export.parity import Bound, Stage
from kser.export.qat import folded, quantize_aware, require_same
from kser.export.ranges import Ranges, measure_ranges, symmetric
from kser.export.rewrites import BOUNDS, DEPLOY_PASSES, MAX_LOGIT_DIFFERENCE, Deployed, deploy_model
from kser.models.inference import predict_logits
from kser.models.presets import build_model, plain
from kser.tflite import interpreter, model_file, op_graph
from kser.training import run_directory
from kser.training.input_pipeline import Part
from kser.training.metrics import METRICS
from kser.training.run_directory import Run

CHECKED_CLIPS = 4
INT16_STEPS = 2 * 32767
# LiteRT multiplies a Dense layer's scales in float32, TFLM in double: now and then a result is rounded otherwise.
SAME_KERNELS_SHARE = 0.1
# Trains a network that feels its rounding, the float one beside it; returns a row per epoch.
Tune = Callable[[keras.Model, keras.Model], list[dict]]


@dataclass(frozen=True)
class Export:
    """The converted model and the float one, all figures (`report`), the proof of fold and rewrites (`certificate`), and the
    comparison of all forms (`parity`), all three as JSON values."""

    model_bytes: bytes
    float_model: bytes
    report: dict
    certificate: dict
    parity: dict


@dataclass(frozen=True)
class _Integers:
    """A converted model, the float graph it was made of, the stages before its own, what it may differ by from them and, in
    TFLM, from itself, and what is to be told of it."""

    model_bytes: bytes
    graph: Graph | None
    stages: tuple[Stage, ...]
    bound: Bound
    tflm_bound: Bound
    notes: dict


def export(
    run: Run,
    representative: np.ndarray,
    test: Part,
    passes: Sequence[str] = tuple(DEPLOY_PASSES),
    settings: QuantizationConfig = QuantizationConfig(),  # noqa: B008 (frozen)
    tune: Tune | None = None,
) -> Export:
    """Folds, rewrites, quantizes and converts the run's network.

    Args:
      representative: (n, num_frames, num_mels) normalized clips of the training part, for the ranges of activations.
      passes: names of the rewrites (`DEPLOY_PASSES`) to make.
      tune: trains the network on; for quantization-aware training only.

    Raises:
      ConfigError: there is no such pass.
      FoldError: the fold or a rewrite is not exact.
      KserError: the network does not convert, or the result does not run in TFLM.
    """
    model = run_directory.load_model(run)
    folded = fold_model(model)
    proof = prove(model, folded, build_model(plain(run.config.model), run.config.features, len(run.labels)), test.features)
    deployed = deploy_model(folded, test.features, passes)
    source = deploy_model(model, test.features, passes) if settings.quantize == "qat_hrf" else deployed
    integers = _FORMS[settings.quantize](source.model, representative, test.features, settings, tune)
    certificate = _certificate(proof, deployed, integers)
    tflm = interpreter.TFLMRunner(integers.model_bytes)
    stages = [
        Stage("keras", predict_logits(model, test.features)),
        Stage("folded", predict_logits(folded, test.features), _exact(MAX_FOLD_DIFFERENCE)),
        Stage("deployed", predict_logits(deployed.model, test.features), _exact(_passes_bound(deployed))),
        *integers.stages,
        Stage("tflite", interpreter.LiteRTRunner(integers.model_bytes).logits(test.features), integers.bound),
        Stage("tflm", tflm.logits(test.features), integers.tflm_bound),
    ]
    found = parity.compare(stages, test.labels)
    worst = parity.worst_layers(integers.graph, integers.model_bytes, test.features) if integers.graph else []
    found["worst_layers"] = [dataclasses.asdict(error) for error in worst]
    arena = {
        **dataclasses.asdict(tflm.arena()),
        "smallest_that_loads": interpreter.smallest_arena_bytes(integers.model_bytes),
    }
    metadata = model_metadata(run, settings, found["stages"][-1]["UA"], arena["total"], certificate)
    model_bytes = model_file.add_metadata(integers.model_bytes, metadata)
    _check_unchanged(model_bytes, test.features[:CHECKED_CLIPS], stages[-1].logits[:CHECKED_CLIPS])
    report = _report(model_bytes, proof, found, arena, settings, len(representative), integers.notes)
    return Export(model_bytes, convert.to_float_tflite(deployed.model), report, certificate, found)


def _exact(difference: float) -> Bound:
    return Bound("max", difference, "float32 rounding")


def _passes_bound(deployed: Deployed) -> float:
    return sum(BOUNDS.get(proof.name, MAX_LOGIT_DIFFERENCE) for proof in deployed.proofs)


# --- Forms ------------------------------------------------------------------------------------------------------------


def _float(model: keras.Model, representative, clips, settings, tune) -> _Integers:
    return _Integers(convert.to_float_tflite(model), None, (), *[_exact(MAX_LOGIT_DIFFERENCE)] * 2, {})


def _int16x8(model: keras.Model, representative, clips, settings, tune) -> _Integers:
    graph = written_out_norms(one_operation_each(read_graph(model)))
    model_bytes = convert.to_int16x8_tflite(build_graph(graph), representative)
    ranges = measure_ranges(graph, representative)
    bound = parity.rounding_bound(graph, rounded_kernels(graph, {}), symmetric(ranges), clips, INT16_STEPS)
    # The tables of the two libraries for sigmoid and softmax are not the same in 16 bits.
    return _Integers(model_bytes, graph, (), bound, bound, {})


def _ptq(model: keras.Model, representative, clips, settings: QuantizationConfig, tune) -> _Integers:
    graph = one_operation_each(read_graph(model))
    ranges = measure_ranges(graph, representative, settings.ranges)
    return _int8(graph, ranges, _scale_axes(graph, settings), representative, clips, True, {})


def _qat(model: keras.Model, representative, clips, settings: QuantizationConfig, tune: Tune) -> _Integers:
    graph = one_operation_each(read_graph(model))
    axes = _scale_axes(graph, settings)
    network = quantize_aware(graph, measure_ranges(graph, representative, settings.ranges), axes)
    rows = tune(network.model, build_graph(graph))
    trained = network.trained()
    before, after = build_graph(trained), folded(trained)
    proof = prove(before, build_graph(after), build_graph(folded(graph)), clips)
    notes = {"qat": rows, "fold_after_qat": dataclasses.asdict(proof)}
    rounded = fake_quantized(rounded_kernels(after, axes), network.ranges())
    require_same(network.model, rounded, clips)
    return _int8(after, network.ranges(), axes, representative, clips, False, notes)


def _int8(graph: Graph, ranges: Ranges, axes: dict, representative, clips, untrained: bool, notes: dict) -> _Integers:
    rounded = rounded_kernels(graph, axes)
    simulated = fake_quantized(dense_as_convolution(rounded, axes), ranges)
    model_bytes = convert.to_int8_tflite(simulated, representative)
    bound = parity.rounding_bound(graph, rounded, ranges, clips)
    tflm_bound = Bound("mean", SAME_KERNELS_SHARE * bound.value, "the same kernels, but for how scales are multiplied")
    # What training has changed lies between the stages too, and no scale bounds that.
    stage = Stage("fake_quant", predict_logits(simulated, clips), bound if untrained else None)
    return _Integers(model_bytes, graph, (stage,), bound, tflm_bound, notes)


def _scale_axes(graph: Graph, settings: QuantizationConfig) -> dict[str, int]:
    return token_dense_axes(graph) if settings.dense_scales == "channel" else {}


_FORMS = {"ptq": _ptq, "qat": _qat, "qat_hrf": _qat, "int16x8": _int16x8, "float": _float}


# --- What is told of a model ------------------------------------------------------------------------------------------


def _certificate(proof: FoldProof, deployed: Deployed, integers: _Integers) -> dict:
    after = integers.notes.get("fold_after_qat")
    return {
        "fold": dataclasses.asdict(proof),
        "deploy": [dataclasses.asdict(p) for p in deployed.proofs],
        "sha256_deployed": weights_hash(deployed.model),
        **({"fold_after_qat": after} if after else {}),
    }


def model_metadata(run: Run, settings: QuantizationConfig, test_ua: float, arena_bytes: int, certificate: dict) -> dict:
    """What travels inside the .tflite: all that bin/predict or a board needs to know of it, and where it came from."""
    return {
        "kser": __version__,
        "labels": list(run.labels),
        "features": to_dict(run.config.features),
        "normalization": run.normalization.to_dict(),
        "smoothing": to_dict(SmoothingConfig()),
        "model": to_dict(run.config.model),
        "quantization": to_dict(settings),
        "corpus": run.config.data.dataset,
        "protocol": run.config.data.protocol,
        "split": run.config.data.split,
        "test_speakers": list(run.test_speakers),
        "test_UA": test_ua,
        "fold_certificate_sha256": hashlib.sha256(certificate_json(certificate).encode()).hexdigest(),
        "arena_bytes": arena_bytes,
        "arena_tflm": packages.version("tflite-micro"),
    }


def certificate_json(certificate: dict) -> str:
    """The text of the certificate's file, whose hash the model carries."""
    return json.dumps(certificate, indent=1) + "\n"


def _check_unchanged(model_bytes: bytes, features: np.ndarray, logits: np.ndarray) -> None:
    if not np.array_equal(interpreter.TFLMRunner(model_bytes).logits(features), logits):
        raise ModelFileError("The model computes other logits with its metadata than without; nothing was written.")


def _tensor(info: op_graph.Tensor) -> dict:
    return {
        "name": info.name,
        "shape": list(info.shape),
        "dtype": info.dtype,
        "scale": info.scale,
        "zero_point": info.zero_point,
    }


def _report(
    model_bytes: bytes,
    proof: FoldProof,
    found: dict,
    arena: dict,
    settings: QuantizationConfig,
    num_representative: int,
    notes: dict,
) -> dict:
    description = op_graph.describe(model_bytes)
    return {
        "sha256": hashlib.sha256(model_bytes).hexdigest(),
        "bytes": description.num_bytes,
        "parameters": proof.parameters_after,
        "multiply_accumulates": description.multiply_accumulates,
        "nodes": description.num_nodes,
        "ops": description.ops,
        "input": _tensor(description.inputs[0]),
        "output": _tensor(description.outputs[0]),
        "arena_bytes": arena,
        "tflite_micro": packages.version("tflite-micro"),
        "quantization": {**to_dict(settings), "representative_clips": num_representative},
        "fold": {key: value for key, value in dataclasses.asdict(proof).items() if key != "layers"},
        "scores": {row["stage"]: {metric: row[metric] for metric in METRICS} for row in found["stages"]},
        "agreement_with_keras": {row["stage"]: row["same_decision_as_first"] for row in found["stages"]},
        "mean_logit_difference_from_keras": {row["stage"]: row["mean_difference_from_first"] for row in found["stages"]},
        **({"qat": notes["qat"]} if "qat" in notes else {}),
    }
