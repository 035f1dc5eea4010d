"""The run directory, which training writes and every later command reads."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import platform
from dataclasses import dataclass
from importlib import metadata

import h5py
import tf_keras as keras
from tf_keras.src.saving.legacy import hdf5_format

from kser import __version__
from kser.audio.log_mel import Normalization
from kser.config import DataPaths, RunConfig, from_dict, to_dict
from kser.datasets.corpus import Corpus
from kser.datasets.protocols import Split
from kser.errors import KserError, RunError
from kser.files import replacing, write_bytes, write_text
from kser.models.presets import build_model
from kser.training import split_record

# Incremented when older run directories can no longer be read.
FORMAT = 3
CONFIG, WEIGHTS, HISTORY, METRICS, CONFUSION = "config.json", "weights.h5", "history.csv", "metrics.json", "confusion.png"
PREDICTIONS = "predictions.csv"
RECORDED_PACKAGES = (
    "tensorflow",
    "tf_keras",
    "tensorflow-model-optimization",
    "tensorflow-io",
    "tflite-micro",
    "numpy",
    "soxr",
    "soundfile",
)


@dataclass(frozen=True)
class Teacher:
    """A teacher run, and the sha256 of its weights when training began."""

    run_dir: str
    weights_sha256: str


@dataclass(frozen=True)
class Run:
    """A run directory with the content of its config.json. `corpus` is the fingerprint of the corpus trained on."""

    path: str
    config: RunConfig
    paths: DataPaths
    corpus: str
    labels: tuple[str, ...]
    validation_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    normalization: Normalization
    teachers: tuple[Teacher, ...] = ()

    @property
    def title(self) -> str:
        """Corpus and split as text."""
        data = self.config.data
        if data.eval_dataset:
            return f"{data.dataset}, tested on {data.eval_dataset}"
        return f"{data.dataset}, split {data.split}"

    def file(self, name: str) -> str:
        return os.path.join(self.path, name)


def create(
    path: str,
    config: RunConfig,
    paths: DataPaths,
    corpus: Corpus,
    split: Split,
    normalization: Normalization,
    teachers: tuple[Teacher, ...] = (),
) -> Run:
    """Makes the directory and writes config.json, and the part of every clip.

    Raises:
      RunError: `path` exists already.
    """
    require_free(path)
    places = {name: os.path.abspath(place) if place else "" for name, place in dataclasses.asdict(paths).items()}
    speakers = split.validation_speakers, split.test_speakers
    places["cache_dir"] = ""  # A machine's setting, not a run's.
    run = Run(path, config, DataPaths(**places), corpus.fingerprint(), corpus.labels, *speakers, normalization, teachers)
    split_record.write(path, corpus, split)
    write_text(run.file(CONFIG), json.dumps(_to_json(run), indent=1) + "\n")
    return run


def require_free(path: str) -> None:
    """Raises RunError unless a new run can be made at `path` without changing existing files."""
    if not path:
        raise RunError("A run needs --run_dir, the directory to write to.")
    if os.path.exists(os.path.join(path, CONFIG)):
        raise RunError(f"{path} already holds a run; continue it with --resume or choose another --run_dir.")
    if os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise RunError(f"{path} exists and is not an empty directory; choose another --run_dir.")


def _to_json(run: Run) -> dict:
    return {
        "format": FORMAT,
        "kser": __version__,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in RECORDED_PACKAGES}},
        "paths": dataclasses.asdict(run.paths),
        "corpus": run.corpus,
        "labels": list(run.labels),
        "validation_speakers": list(run.validation_speakers),
        "test_speakers": list(run.test_speakers),
        "normalization": run.normalization.to_dict(),
        "teachers": [dataclasses.asdict(teacher) for teacher in run.teachers],
        "config": to_dict(run.config),
    }


def load(path: str) -> Run:
    """Reads a run directory's config.json.

    Raises:
      RunError: there is no run at `path`, it has another format, or config.json is damaged.
    """
    file = os.path.join(path, CONFIG)
    if not os.path.isfile(file):
        raise RunError(
            f"{path or 'The empty path'} is not a run directory (no {CONFIG}); point --run_dir at what bin/train wrote."
        )
    try:
        with open(file, encoding="utf-8") as stream:
            values = json.load(stream)
        version = values.get("format")
    except (ValueError, AttributeError, OSError) as error:
        raise RunError(f"{file} is damaged ({error}); train again into another directory.") from error
    if version != FORMAT:
        raise RunError(
            f"{path} is a run of format {version!r} (kser {values.get('kser', 'unknown')}); this kser {__version__} reads "
            f"format {FORMAT}: train again, or use that version."
        )
    try:
        return _from_json(path, values)
    except (KeyError, TypeError, ValueError, KserError) as error:
        raise RunError(
            f"{file} is damaged ({type(error).__name__}: {error}); train again into another directory."
        ) from error


def _from_json(path: str, values: dict) -> Run:
    config = from_dict(RunConfig, values["config"])
    return Run(
        path,
        config,
        from_dict(DataPaths, values["paths"]),
        values["corpus"],
        *(tuple(values[key]) for key in ("labels", "validation_speakers", "test_speakers")),
        Normalization.from_dict(values["normalization"], config.features),
        tuple(Teacher(**teacher) for teacher in values.get("teachers", ())),  # old runs have no teachers
    )


def new_model(run: Run) -> keras.Model:
    """The run's network with its initial weights."""
    return build_model(run.config.model, run.config.features, len(run.labels), run.config.train.seed)


def save_weights(run: Run, model: keras.Model) -> None:
    """Writes the model's weights into the run; the old file stays until the new one is complete."""
    # Via memory: on a full disk HDF5 crashes instead of raising an error.
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        hdf5_format.save_weights_to_hdf5_group(file, model)
    write_bytes(run.file(WEIGHTS), image.getvalue())


def load_model(run: Run) -> keras.Model:
    """The run's network with the best weights; raises RunError as `with_weights` does."""
    return with_weights(run, new_model(run))


def with_weights(run: Run, model: keras.Model) -> keras.Model:
    """A network of the run, which takes the best weights.

    Raises:
      RunError: the weights are missing, damaged, or of another network.
    """
    path = _weights_file(run)
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise RunError(f"{path} is damaged or belongs to another network; train again into another directory.") from error
    return model


def weights_digest(run: Run) -> str:
    """sha256 of the weights file; raises RunError if there is none."""
    with open(_weights_file(run), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _weights_file(run: Run) -> str:
    path = run.file(WEIGHTS)
    if not os.path.isfile(path):
        raise RunError(f"{run.path} has no {WEIGHTS} yet; finish it with bin/train --resume --run_dir={run.path}.")
    return path


def write_history(run: Run, rows: list[dict]) -> None:
    """Writes one row per epoch as CSV."""
    with replacing(run.file(HISTORY)) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_history(run: Run, num_epochs: int) -> list[dict]:
    """The first `num_epochs` rows written by `write_history`, with exactly the same numbers.

    Raises:
      RunError: the file is missing, damaged or too short.
    """
    if num_epochs == 0:
        return []
    try:
        with open(run.file(HISTORY), newline="", encoding="utf-8") as stream:
            rows = [{k: int(v) if k == "epoch" else float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{run.file(HISTORY)} is missing or damaged; train again into another directory.") from error
    if len(rows) < num_epochs:
        raise RunError(
            f"{run.file(HISTORY)} has {len(rows)} epochs where the checkpoint has {num_epochs}; "
            "train again into another directory."
        )
    return rows[:num_epochs]
