"""The jobs the commands run, from files to files: train a run, evaluate it, fold and convert it, predict with the result."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kser import convert, export, report, rundir, tflite
from kser.atomic import replacing, write_text
from kser.backbones import build_model
from kser.config import RunConfig
from kser.datasets import load_corpus
from kser.datasets.corpus import Corpus, Split, Utterance, make_split
from kser.deploy import DEPLOY_PASSES, require_passes
from kser.errors import ConfigError, RunError
from kser.fold import fold_model
from kser.inference import predict_logits
from kser.metrics import Scores, score
from kser.pipeline import Part, evaluation_part, load_features, training_data
from kser.rundir import Run
from kser.train import best_row, fit

MODEL_FILE, FLOAT_MODEL_FILE, CC_NAME = "model.tflite", "model_float.tflite", "kser_model"
CONVERSION_FILE, CERTIFICATE_FILE = "conversion.json", "fold.json"
MODELS = ("keras", "folded", "tflite", "tflm")


@dataclass(frozen=True)
class Material:
    """A run's corpus, its raw log-mel (num_utterances, num_frames, num_mels), and the split it was trained on."""

    corpus: Corpus
    features: np.ndarray
    split: Split

    def part(self, run: Run, name: str) -> Part:
        return evaluation_part(self.corpus, self.features, getattr(self.split, name), run.normalization)


def load_material(config: RunConfig, data_dir: str, cache_dir: str) -> Material:
    """Corpus, split and features for the settings of a run; says on stderr how the corpus differs from the published one.

    Raises:
      DatasetError: the corpus or one of its files cannot be used.
    """
    train = config.train
    corpus = load_corpus(train.dataset, data_dir)
    for sentence in corpus.warnings:
        report.warn(sentence)
    split = make_split(corpus, train.split, train.validation_speakers, train.seed)
    return Material(corpus, load_features(corpus, config.features, cache_dir), split)


def open_run(run_dir: str, data_dir: str, cache_dir: str) -> tuple[Run, Material]:
    """A run and the corpus it was trained on; `data_dir` names where that lies now, empty: where it was.

    Raises:
      RunError: no usable run, or the corpus there is another than the run was trained on.
    """
    run = rundir.load(run_dir)
    material = load_material(run.config, data_dir or run.data_dir, cache_dir)
    if material.corpus.fingerprint() != run.corpus:
        raise RunError(
            f"{run_dir} was trained on other clips of '{run.config.train.dataset}' than lie in {data_dir or run.data_dir}; "
            "point --data_dir at the same files."
        )
    return run, material


def train_new(run_dir: str, config: RunConfig, data_dir: str, cache_dir: str, progress) -> tuple[Run, Scores]:
    """Trains a new run and scores it on the held-out speakers."""
    rundir.require_free(run_dir)
    # Settings that make no network are refused before anything is read or written; its weights are not used.
    build_model(config.model, config.features, num_classes=2)
    material = load_material(config, data_dir, cache_dir)
    data = training_data(material.corpus, material.features, material.split, config)
    run = rundir.create(run_dir, config, data_dir, material.corpus, material.split, data.normalization)
    return _train(run, material, data, progress)


def resume(run_dir: str, data_dir: str, cache_dir: str, progress) -> tuple[Run, Scores]:
    """Continues a run where it was killed; a finished one is only scored again."""
    run, material = open_run(run_dir, data_dir, cache_dir)
    data = training_data(material.corpus, material.features, material.split, run.config)
    return _train(run, material, data, progress)


def _train(run: Run, material: Material, data, progress) -> tuple[Run, Scores]:
    rows = fit(run, data, material.part(run, "validation"), progress)
    scores = score_part(rundir.load_model(run), material.part(run, "test"), len(run.labels))
    best = best_row(rows)
    write_text(
        run.file(rundir.METRICS),
        json.dumps({"best_epoch": best["epoch"], "val_UA": best["val_UA"], "test": scores.to_dict()}, indent=1) + "\n",
    )
    report.save_confusion(
        run.file(rundir.CONFUSION), scores, run.labels, title=f"{run.config.train.dataset}, split {run.config.train.split}"
    )
    return run, scores


def score_part(model, part: Part, num_classes: int) -> Scores:
    """Scores of a Keras model on a part."""
    return score(part.labels, predict_logits(model, part.features).argmax(1), num_classes)


def evaluate(run_dir: str, kind: str, data_dir: str, cache_dir: str) -> tuple[Run, Scores]:
    """Scores one form of a run's model (one of MODELS) on the held-out speakers."""
    if kind not in MODELS:
        raise ConfigError(f"--model must be one of {', '.join(MODELS)}, not '{kind}'.")
    run, material = open_run(run_dir, data_dir, cache_dir)
    part = material.part(run, "test")
    logits = _logits_function(run, kind)(part.features)
    return run, score(part.labels, logits.argmax(1), len(run.labels))


def _logits_function(run: Run, kind: str):
    if kind in ("tflite", "tflm"):
        path = run.file(MODEL_FILE)
        if not os.path.isfile(path):
            raise RunError(f"{run.path} has no {MODEL_FILE} yet; make it with bin/fold_and_convert --run_dir={run.path}.")
        return tflite.open_runner(kind, tflite.read_model_file(path), path).logits
    model = rundir.load_model(run)
    model = fold_model(model) if kind == "folded" else model
    return lambda features: predict_logits(model, features)


def fold_and_convert(
    run_dir: str, data_dir: str, cache_dir: str, num_representative: int, passes: Sequence[str] = tuple(DEPLOY_PASSES)
) -> tuple[Run, export.Export]:
    """Folds, rewrites, proves, converts and measures a run's model, and writes the results into the run directory."""
    require_passes(passes)
    run, material = open_run(run_dir, data_dir, cache_dir)
    training = material.part(run, "train")
    order = np.random.default_rng(run.config.train.seed).permutation(len(training.labels))
    representative = training.features[np.sort(order[:num_representative])]
    result = export.export(run, representative, material.part(run, "test"), passes)
    header, source = convert.cc_sources(result.int8_model, CC_NAME)
    files = {
        MODEL_FILE: result.int8_model,
        FLOAT_MODEL_FILE: result.float_model,
        f"{CC_NAME}.h": header.encode(),
        f"{CC_NAME}.cc": source.encode(),
        CONVERSION_FILE: (json.dumps(result.report, indent=1) + "\n").encode(),
        CERTIFICATE_FILE: (json.dumps(result.certificate, indent=1) + "\n").encode(),
    }
    _write_together(run, files)
    return run, result


def _write_together(run: Run, files: dict[str, bytes]) -> None:
    """Replaces the files by name once all of them are on the disk: they describe each other."""
    with contextlib.ExitStack() as stack:
        for name, data in files.items():
            temporary = stack.enter_context(replacing(run.file(name)))
            with open(temporary, "wb") as file:
                file.write(data)


def test_clips(run_dir: str) -> list[Utterance]:
    """The utterances of a run's held-out speakers."""
    run = rundir.load(run_dir)
    corpus = load_corpus(run.config.train.dataset, run.data_dir)
    return [u for u in corpus.utterances if u.speaker in run.test_speakers]
