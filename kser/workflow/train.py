"""Starts and resumes runs: on one split, or on all splits of a protocol."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Sequence

from kser.config import DataPaths, RunConfig
from kser.datasets.protocols import find_protocol
from kser.errors import RunError
from kser.files import write_text
from kser.models.inference import predict_logits
from kser.models.presets import build_model
from kser.training import run_directory
from kser.training.distillation import mean_answer, open_teachers
from kser.training.evaluation import (
    Evaluation,
    Predictions,
    evaluate_predictions,
    over_splits,
    pool,
    read_predictions,
    write_predictions,
)
from kser.training.input_pipeline import training_data
from kser.training.resumable import fit
from kser.training.run_data import RunData, load_run_data, read_corpus
from kser.training.run_directory import Run
from kser.training.trainer import best_row
from kser.workflow.runs import open_run, where

SUMMARY_FILE = "summary.json"


def train_new(
    run_dir: str, config: RunConfig, paths: DataPaths, progress, teacher_dirs: Sequence[str] = ()
) -> tuple[Run, Evaluation]:
    """Trains a new run, with those in `teacher_dirs` as teachers, and scores it on the held-out speakers."""
    run_directory.require_free(run_dir)
    _require_network(config)
    run_data = load_run_data(config, paths)
    config = run_data.config
    teachers = open_teachers(teacher_dirs, config, run_data.corpus, run_data.split)
    data = training_data(run_data.corpus, run_data.features, run_data.split, config, paths.cache_dir)
    run = run_directory.create(run_dir, config, paths, run_data.corpus, run_data.split, data.normalization, teachers)
    return _train(run, run_data, data, progress)


def _require_network(config: RunConfig) -> None:
    """Refuses settings that make no network, before anything is read or written."""
    build_model(config.model, config.features, num_classes=2)


def resume(run_dir: str, paths: DataPaths, progress) -> tuple[Run, Evaluation]:
    """Resumes an interrupted run; a finished one is only scored again."""
    run, run_data = open_run(run_dir, paths)
    data = training_data(run_data.corpus, run_data.features, run_data.split, run.config, paths.cache_dir)
    return _train(run, run_data, data, progress)


def _train(run: Run, run_data: RunData, data, progress) -> tuple[Run, Evaluation]:
    teacher = mean_answer(run.teachers, run.normalization) if run.teachers else None
    model, rows = fit(run, data, run_data.validation(run), progress, teacher)
    test = run_data.part(run, "test")
    found = Predictions.from_logits(test, predict_logits(model, test.features))
    evaluation = evaluate_predictions(found, run_data.corpus.decision)
    write_predictions(run.file(run_directory.PREDICTIONS), found, run.labels)
    best = best_row(rows)
    metrics = {"best_epoch": best["epoch"], "val_UA": best.get("val_UA"), "test": evaluation.to_dict()}
    write_text(run.file(run_directory.METRICS), json.dumps(metrics, indent=1) + "\n")
    _draw_confusion(run.file(run_directory.CONFUSION), evaluation, run.labels, run.title)
    return run, evaluation


def train_all_splits(
    run_dir: str, config: RunConfig, paths: DataPaths, progress, teacher_dirs: Sequence[str] = ()
) -> tuple[list[Run], list[Evaluation], Evaluation]:
    """Trains a run on every split of the protocol, in `run_dir`/split_K, and pools their predictions.

    Each of `teacher_dirs` is such a directory too; its split_K is a teacher of split K.

    Returns:
      The runs, their evaluations, and that of all predictions together.
    """
    if os.path.exists(_split_dir(run_dir, 1)):
        raise RunError(f"{run_dir} already holds runs of splits; continue them with --resume or choose another --run_dir.")
    run_directory.require_free(run_dir)
    return _train_splits(run_dir, config, paths, progress, teacher_dirs)


def resume_all_splits(run_dir: str, paths: DataPaths, progress) -> tuple[list[Run], list[Evaluation], Evaluation]:
    """Resumes `train_all_splits` with the settings of its first split; finished splits are not changed."""
    first = run_directory.load(_split_dir(run_dir, 1))
    teacher_dirs = [os.path.dirname(teacher.run_dir) for teacher in first.teachers]
    return _train_splits(run_dir, first.config, where(first, paths), progress, teacher_dirs)


def _train_splits(
    run_dir: str, config: RunConfig, paths: DataPaths, progress, teacher_dirs: Sequence[str]
) -> tuple[list[Run], list[Evaluation], Evaluation]:
    data = config.data
    columns = data.columns if data.dataset == "folder" else ""
    corpus, _ = read_corpus(data.dataset, data.corpus_options, paths.data_dir, paths.manifest, columns)
    numbers = range(1, 2 if data.eval_dataset else 1 + len(find_protocol(corpus, data.protocol)[1].splits))
    for teacher, number in itertools.product(teacher_dirs, numbers):
        run_directory.load(_split_dir(teacher, number))  # A missing one is reported now, not after the splits before it.
    results = [_train_split(run_dir, config, number, paths, progress, teacher_dirs) for number in numbers]
    runs, evaluations = map(list, zip(*results, strict=True))
    return runs, evaluations, _pool_splits(run_dir, runs, evaluations, corpus.decision)


def _pool_splits(run_dir: str, runs: list[Run], evaluations: list[Evaluation], decision: str) -> Evaluation:
    """Scores the predictions of all splits together, and writes the same files as `_train` does per split."""
    found = pool([read_predictions(run.file(run_directory.PREDICTIONS)) for run in runs])
    pooled = evaluate_predictions(found, decision)
    summary = {"pooled": pooled.to_dict(), "over_splits": over_splits(evaluations)}
    write_text(os.path.join(run_dir, SUMMARY_FILE), json.dumps(summary, indent=1) + "\n")
    write_predictions(os.path.join(run_dir, run_directory.PREDICTIONS), found, runs[0].labels)
    title = f"{runs[0].config.data.dataset}, all splits pooled"
    _draw_confusion(os.path.join(run_dir, run_directory.CONFUSION), pooled, runs[0].labels, title)
    return pooled


def _draw_confusion(path: str, found: Evaluation, labels: tuple[str, ...], title: str) -> None:
    from kser import plots  # loads matplotlib only when something is plotted

    plots.save_confusion(path, found.scores, labels, title)


def _train_split(
    run_dir: str, config: RunConfig, number: int, paths: DataPaths, progress, teacher_dirs: Sequence[str]
) -> tuple[Run, Evaluation]:
    path = _split_dir(run_dir, number)
    if not os.path.exists(os.path.join(path, run_directory.CONFIG)):
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, split=number))
        return train_new(path, config, paths, progress, [_split_dir(teacher, number) for teacher in teacher_dirs])
    return resume(path, paths, progress)


def _split_dir(run_dir: str, number: int) -> str:
    return os.path.join(run_dir, f"split_{number}")
