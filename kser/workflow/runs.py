"""Existing runs: opened with their corpus, and scored before and after conversion."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Sequence

import numpy as np

from kser import api
from kser.config import DataPaths
from kser.datasets.corpus import Utterance
from kser.errors import ConfigError, ModelFileError, RunError
from kser.models.inference import predict_logits, softmax
from kser.tflite.sandbox import Sandbox, SandboxedRunner
from kser.training import run_directory, split_record
from kser.training.evaluation import Evaluation, Predictions, evaluate_predictions, pool, read_predictions
from kser.training.input_pipeline import Part
from kser.training.metrics import paired_intervals
from kser.training.run_data import RunData, load_run_data
from kser.training.run_directory import Run
from kser.training.windows import windows_of

MODEL_FILE = "model.tflite"
MODELS = ("keras", "folded", "tflite", "tflm")


def open_run(run_dir: str, paths: DataPaths) -> tuple[Run, RunData]:
    """A run and the corpus it was trained on; empty `paths`: those of the training.

    Raises:
      RunError: not a usable run, or its corpus is not the one it was trained on.
    """
    run = run_directory.load(run_dir)
    paths = where(run, paths)
    run_data = load_run_data(run.config, paths)
    if run_data.corpus.fingerprint() != run.corpus:
        raise RunError(
            f"{run_dir} was trained on other clips of '{run.config.data.dataset}' than those in {paths.data_dir}; "
            "point --data_dir at the same files."
        )
    split_record.require_same(run_dir, run_data.corpus, run_data.split)
    return run, run_data


def where(run: Run, paths: DataPaths) -> DataPaths:
    """The given paths; for those not given, the run's own."""
    return DataPaths(**{name: place or getattr(run.paths, name) for name, place in dataclasses.asdict(paths).items()})


def splits_of(run_dir: str) -> list[str]:
    """The runs of all splits that `bin/train --split=all` wrote into a directory, in order; empty if it is a run itself."""
    if os.path.isfile(os.path.join(run_dir, run_directory.CONFIG)):
        return []
    paths = (os.path.join(run_dir, f"split_{number}") for number in itertools.count(1))
    return list(itertools.takewhile(os.path.isdir, paths))


def evaluate(run_dir: str, kind: str, paths: DataPaths) -> tuple[Run, Evaluation, LongClips | None]:
    """Scores a run's model in one form (one of MODELS) on the held-out speakers: a clip by the window in its middle, and
    where clips are longer than a window also by several."""
    held_out = _held_out(run_dir, kind, paths)
    return held_out.run, evaluate_predictions(held_out.found, held_out.decision), _long_clips([held_out])


def evaluate_all_splits(
    run_dir: str, kind: str, paths: DataPaths
) -> tuple[list[Run], list[Evaluation], Evaluation, LongClips | None]:
    """The runs of all splits, the scores of each on its own held-out speakers, and those of all predictions together, also
    with longer clips seen through several windows."""
    parts = [_held_out(path, kind, paths) for path in splits_of(run_dir)]
    evaluations = [evaluate_predictions(part.found, part.decision) for part in parts]
    pooled = evaluate_predictions(pool([part.found for part in parts]), parts[0].decision)
    return [part.run for part in parts], evaluations, pooled, _long_clips(parts)


@dataclasses.dataclass(frozen=True)
class LongClips:
    """How many clips are longer than the window, and the scores over all clips if these are decided on by the mean of the
    probabilities of several windows, as far apart as a board's decisions."""

    count: int
    evaluation: Evaluation


@dataclasses.dataclass(frozen=True)
class _HeldOut:
    """Predictions for a run's held-out speakers, by the window in the middle and by several, which `num_long` clips have."""

    run: Run
    found: Predictions
    several: Predictions
    num_long: int
    decision: str


def _long_clips(parts: Sequence[_HeldOut]) -> LongClips | None:
    count = sum(part.num_long for part in parts)
    several = pool([part.several for part in parts]) if count else None
    return several and LongClips(count, evaluate_predictions(several, parts[0].decision))


def _held_out(run_dir: str, kind: str, paths: DataPaths) -> _HeldOut:
    if kind not in MODELS:
        raise ConfigError(f"--model must be one of {', '.join(MODELS)}, not '{kind}'.")
    run, run_data = open_run(run_dir, paths)
    part, config = run_data.part(run, "test"), run.config
    step_ms = config.smoothing.decision_ms
    test = run_data.split.test
    windows = windows_of(run_data.corpus, run_data.features, test, run.normalization, config.features, step_ms)
    logits = _logits(run, kind, part, np.concatenate([part.features, windows.features]))
    found = Predictions.from_logits(part, logits[: len(part.features)])
    probabilities = windows.mean(found.probabilities, softmax(logits[len(part.features) :]))
    several = dataclasses.replace(found, probabilities=probabilities)
    return _HeldOut(run, found, several, len(np.unique(windows.clips)), part.decision)


def _logits(run: Run, kind: str, part: Part, features: np.ndarray) -> np.ndarray:
    if kind in ("tflite", "tflm"):
        with Sandbox() as sandbox:
            return SandboxedRunner(kind, _converted(run, part), sandbox).logits(features)
    model = run_directory.load_model(run)
    return predict_logits(api.fold(model) if kind == "folded" else model, features)


def compare(run_dir: str, other_dir: str) -> tuple[Run, Run, dict[str, tuple[float, tuple[float, float] | None]]]:
    """How much better a run scored after its training than another on the same clips, with intervals over speakers.

    Raises:
      RunError: one is no finished run, or they were tested on other clips.
    """
    runs = tuple(run_directory.load(path) for path in (run_dir, other_dir))
    found, other = (read_predictions(run.file(run_directory.PREDICTIONS)) for run in runs)
    order = {name: i for i, name in enumerate(other.utterance_ids)}
    if set(order) != set(found.utterance_ids) or runs[0].labels != runs[1].labels:
        raise RunError(f"{run_dir} and {other_dir} were tested on other clips or labels; compare runs of one test part.")
    place = [order[name] for name in found.utterance_ids]
    predicted = (found.probabilities.argmax(1), other.probabilities[place].argmax(1))
    return *runs, paired_intervals(found.labels, *predicted, found.speakers, len(runs[0].labels))


def _converted(run: Run, part: Part) -> str:
    """The path of a run's .tflite.

    Raises:
      RunError: there is none yet.
      ModelFileError: it belongs to another run.
    """
    path = run.file(MODEL_FILE)
    if not os.path.isfile(path):
        raise RunError(f"{run.path} has no {MODEL_FILE} yet; make it with bin/fold_and_convert --run_dir={run.path}.")
    with Sandbox() as sandbox:
        shapes = tuple(tensor.shape for tensor in SandboxedRunner("tflm", path, sandbox).tensors())
    if shapes != ((1, *part.features.shape[1:]), (1, len(run.labels))):
        raise ModelFileError(f"{path} does not belong to its run; write it again with bin/fold_and_convert.")
    return path


def test_clips(run_dir: str, paths: DataPaths) -> list[Utterance]:
    """The utterances of a run's held-out speakers."""
    _, run_data = open_run(run_dir, paths)
    return [run_data.corpus.utterances[i] for i in run_data.split.test]
