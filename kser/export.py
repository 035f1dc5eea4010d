"""A trained network to what a board runs: fold, proof, int8 conversion, and each form measured on the held-out speakers."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata as packages

import numpy as np

from kser import __version__, convert, rundir, tflite
from kser.backbones import build_model, plain
from kser.config import SmoothingConfig, to_dict
from kser.deploy import DEPLOY_PASSES, Deployed, deploy_model
from kser.errors import ModelFileError
from kser.fold import FoldProof, fold_model, prove, weights_hash
from kser.inference import predict_logits
from kser.metrics import METRICS, Scores, score
from kser.pipeline import Part
from kser.rundir import Run

CHECKED_CLIPS = 4


@dataclass(frozen=True)
class Export:
    """Both models, the scores of every form by its name, all figures (`report`) and the proof of fold and rewrites
    (`certificate`), both as JSON values."""

    int8_model: bytes
    float_model: bytes
    scores: dict[str, Scores]
    report: dict
    certificate: dict


def export(run: Run, representative: np.ndarray, test: Part, passes: Sequence[str] = tuple(DEPLOY_PASSES)) -> Export:
    """Folds, rewrites and converts the run's network.

    Args:
      representative: (n, num_frames, num_mels) normalized clips of the training part, for the ranges of activations.
      passes: names of the rewrites (`DEPLOY_PASSES`) to make.

    Raises:
      ConfigError: there is no such pass.
      FoldError: the fold or a rewrite is not exact.
      KserError: the network does not convert, or the result does not run in TFLM.
    """
    model = rundir.load_model(run)
    folded = fold_model(model)
    proof = prove(model, folded, build_model(plain(run.config.model), run.config.features, len(run.labels)), test.features)
    deployed = deploy_model(folded, test.features, passes)
    float_model = convert.to_float_tflite(deployed.model)
    int8_model = convert.to_int8_tflite(deployed.model, representative)
    tflm = tflite.TFLMRunner(int8_model)
    logits = {
        "keras": predict_logits(model, test.features),
        "folded": predict_logits(folded, test.features),
        "deployed": predict_logits(deployed.model, test.features),
        "tflite": tflite.LiteRTRunner(int8_model).logits(test.features),
        "tflm": tflm.logits(test.features),
    }
    scores = {name: score(test.labels, values.argmax(1), len(run.labels)) for name, values in logits.items()}
    arena = {**dataclasses.asdict(tflm.arena()), "smallest_that_loads": tflite.smallest_arena_bytes(int8_model)}
    int8_model = tflite.add_metadata(int8_model, model_metadata(run, scores["tflm"], arena["total"]))
    _check_unchanged(int8_model, test.features[:CHECKED_CLIPS], logits["tflm"][:CHECKED_CLIPS])
    report = _report(int8_model, proof, logits, scores, arena, len(representative))
    return Export(int8_model, float_model, scores, report, _certificate(proof, deployed))


def _certificate(proof: FoldProof, deployed: Deployed) -> dict:
    return {
        "fold": dataclasses.asdict(proof),
        "deploy": [dataclasses.asdict(p) for p in deployed.proofs],
        "sha256_deployed": weights_hash(deployed.model),
    }


def model_metadata(run: Run, scores: Scores, arena_bytes: int) -> dict:
    """What travels inside the .tflite: all that bin/predict or a board needs to know of it, and where it came from."""
    return {
        "kser": __version__,
        "labels": list(run.labels),
        "features": to_dict(run.config.features),
        "normalization": run.normalization.to_dict(),
        "smoothing": to_dict(SmoothingConfig()),
        "model": to_dict(run.config.model),
        "corpus": run.config.data.dataset,
        "protocol": run.config.data.protocol,
        "split": run.config.data.split,
        "test_speakers": list(run.test_speakers),
        "test_UA": scores.UA,
        "arena_bytes": arena_bytes,
        "arena_tflm": packages.version("tflite-micro"),
    }


def _check_unchanged(model_bytes: bytes, features: np.ndarray, logits: np.ndarray) -> None:
    if not np.array_equal(tflite.TFLMRunner(model_bytes).logits(features), logits):
        raise ModelFileError("The model computes other logits with its metadata than without; nothing was written.")


def _report(int8_model: bytes, proof: FoldProof, logits: dict, scores: dict, arena: dict, num_representative: int) -> dict:
    description = tflite.describe(int8_model)
    return {
        "sha256": hashlib.sha256(int8_model).hexdigest(),
        "bytes": description.num_bytes,
        "parameters": proof.parameters_after,
        "multiply_accumulates": tflite.multiply_accumulates(int8_model),
        "nodes": description.num_nodes,
        "ops": description.ops,
        "arena_bytes": arena,
        "tflite_micro": packages.version("tflite-micro"),
        "representative_clips": num_representative,
        "fold": {key: value for key, value in dataclasses.asdict(proof).items() if key != "layers"},
        "scores": {
            name: {metric: getattr(s, metric) for metric in METRICS} for name, s in scores.items()
        },
        "agreement_with_keras": {
            name: float(np.mean(values.argmax(1) == logits["keras"].argmax(1))) for name, values in logits.items()
        },
        "mean_logit_difference_from_keras": {
            name: float(np.abs(values - logits["keras"]).mean()) for name, values in logits.items()
        },
    }
