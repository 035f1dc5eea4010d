"""From a trained run to the files for a board."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Iterable, Mapping

import numpy as np

from kser import api
from kser.audio.device_log_mel import loudest_dbfs
from kser.boards.catalog import find_board
from kser.config import INT8, QAT, DataPaths, QuantizationConfig
from kser.errors import ConfigError, DatasetError
from kser.export import convert, exporter
from kser.export.rewrites import DEPLOY_PASSES, require_passes
from kser.export.run_exporter import export_run
from kser.export.weight_compression import compress_and_measure
from kser.files import replacing, require_empty, write_tree
from kser.training.fine_tuning import Tuner
from kser.training.input_pipeline import evaluation_part, training_data
from kser.training.run_data import RunData
from kser.training.run_directory import Run
from kser.workflow.runs import open_run

FLOAT_MODEL_FILE, CC_NAME = "model_float.tflite", "kser_model"
CONVERSION_FILE, CERTIFICATE_FILE, PARITY_FILE = "conversion.json", "fold.json", "parity.json"
COMPRESSED = "_compressed"  # suffix of that model's file names


@dataclasses.dataclass(frozen=True)
class Deployment:
    """Deployment target: `board` (empty: none), and `project_dir` for a complete firmware project (empty: none).

    No C++ sources are written if the model does not run on the board, unless `force` is set.

    Attributes:
      smoothing: settings of the board's decisions that differ from the run's, by name.
    """

    board: str = ""
    project_dir: str = ""
    force: bool = False
    smoothing: Mapping[str, float] = dataclasses.field(default_factory=dict)


def fold_and_convert(
    run_dir: str,
    paths: DataPaths,
    settings: QuantizationConfig = QuantizationConfig(),  # noqa: B008 (frozen)
    passes: tuple[str, ...] = tuple(DEPLOY_PASSES),
    progress=None,
    deployment: Deployment = Deployment(),  # noqa: B008 (frozen)
) -> tuple[Run, exporter.Export]:
    """Folds, rewrites, checks, converts and scores a run's model, and writes the results into the run directory.

    With bits to compress to, a second, compressed model is written too, if it is smaller.

    Args:
      progress: as in `trainer.fit`; for quantization-aware training.
      deployment: with a board the report says whether the model runs there.
    """
    require_passes(passes)
    _require_possible(deployment, settings)
    run, run_data = _open_to_convert(run_dir, paths, settings)
    run = _with_smoothing(run, deployment.smoothing)
    test = run_data.part(run, "test")
    tune = functools.partial(_tune, run, run_data, paths, settings, progress)
    representative, levels = _representative(run, run_data, settings)
    result = export_run(run, representative, test, passes, settings, tune, levels)
    models = {"": result.model_bytes}
    if settings.compress:
        compressed = compress_and_measure(result.model_bytes, settings.compress, test.features, test.labels)
        result = _reported(result, compression=compressed.report)
        models |= {COMPRESSED: compressed.model} if compressed.pays else {}
    if deployment.board:
        result = _reported(result, board=_diagnosis(result.model_bytes, deployment.board))
    with_sources = deployment.force or not deployment.board or runs_on_board(result)
    _write_conversion(run, result, models, with_sources)
    if deployment.project_dir and with_sources:
        _write_project(deployment, result)
    return run, result


def _require_possible(deployment: Deployment, settings: QuantizationConfig) -> None:
    """Refuses impossible deployments before any work."""
    from kser.firmware import project

    if deployment.board:
        find_board(deployment.board)
    if not deployment.project_dir:
        return
    if not deployment.board:
        raise ConfigError("--deploy_dir needs --board, the board that the project is for.")
    project.require_shell(deployment.board)
    if settings.quantize not in INT8:
        raise ConfigError(
            f"A board's project takes an int8 model, not --quantize={settings.quantize}; choose {' or '.join(INT8)}."
        )
    require_empty(deployment.project_dir)


def _open_to_convert(run_dir: str, paths: DataPaths, settings: QuantizationConfig) -> tuple[Run, RunData]:
    try:
        return open_run(run_dir, paths)
    except DatasetError as error:
        use = "trains on" if settings.quantize in QAT else "takes ranges and scores from"
        raise DatasetError(f"{error} --quantize={settings.quantize} {use} the run's own corpus.") from error


def _with_smoothing(run: Run, smoothing: Mapping[str, float]) -> Run:
    config = dataclasses.replace(run.config, smoothing=run.config.smoothing.changed(**smoothing))
    return dataclasses.replace(run, config=config)


def _diagnosis(model_bytes: bytes, board: str) -> dict:
    return dataclasses.asdict(api.check_board(model_bytes, board))


def _write_conversion(run: Run, result: exporter.Export, models: dict[str, bytes], with_sources: bool) -> None:
    """Writes a conversion's files, and removes those of an earlier conversion that this one does not have.

    Args:
      models: the models by the suffix of their file names.
    """
    files = {
        FLOAT_MODEL_FILE: result.float_model,
        **{f"model{suffix}.tflite": model for suffix, model in models.items()},
        CONVERSION_FILE: (json.dumps(result.report, indent=1) + "\n").encode(),
        PARITY_FILE: (json.dumps(result.parity, indent=1) + "\n").encode(),
        CERTIFICATE_FILE: exporter.certificate_json(result.certificate).encode(),
    }
    if with_sources:
        files |= {name: text for suffix, model in models.items() for name, text in _sources(model, suffix).items()}
    _write_together(run, files)
    _remove(run, _OWN_FILES - set(files))


def _write_project(deployment: Deployment, result: exporter.Export) -> None:
    from kser.boards import doctor
    from kser.firmware import project

    figures = doctor.diagnosis_of(result.report["board"]).figures
    write_tree(deployment.project_dir, project.project_files(result.model_bytes, deployment.board, figures))


def runs_on_board(result: exporter.Export) -> bool:
    """Whether the model runs on the board it was converted for."""
    from kser.boards.doctor import DOES_NOT_RUN

    return result.report["board"]["verdict"] != DOES_NOT_RUN


def _reported(result: exporter.Export, **figures) -> exporter.Export:
    return dataclasses.replace(result, report={**result.report, **figures})


def _sources(model_bytes: bytes, suffix: str) -> dict[str, bytes]:
    """A model as C++, by file name."""
    header, source = convert.cc_sources(model_bytes, CC_NAME + suffix)
    return {f"{CC_NAME}{suffix}.h": header.encode(), f"{CC_NAME}{suffix}.cc": source.encode()}


_OWN_FILES = {f"model{COMPRESSED}.tflite", *_sources(b"", ""), *_sources(b"", COMPRESSED)}


def _remove(run: Run, names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.remove(run.file(name))


def _representative(run: Run, run_data: RunData, settings: QuantizationConfig) -> tuple[np.ndarray, np.ndarray]:
    """Random clips of the training part, by the run's seed: (n, num_frames, num_mels), normalized, and their (n,) levels."""
    order = np.random.default_rng(run.config.train.seed).permutation(len(run_data.split.train))
    chosen = np.array(run_data.split.train)[np.sort(order[: settings.representative_clips])]
    part = evaluation_part(run_data.corpus, run_data.features, chosen, run.normalization)
    return part.features, loudest_dbfs(run_data.features.values[chosen], run.config.features)


def _tune(
    run: Run, run_data: RunData, paths: DataPaths, settings: QuantizationConfig, progress, model, teacher
) -> list[dict]:
    """Quantization-aware training on the run's training part; its validation speakers, if any, choose the epoch."""
    data = training_data(run_data.corpus, run_data.features, run_data.split, run.config, paths.cache_dir)
    return Tuner(model, teacher, run.config, data, run_data.validation(run), settings).run(progress)


def _write_together(run: Run, files: dict[str, bytes]) -> None:
    """Replaces the files by name after all have been written, because they describe each other."""
    with contextlib.ExitStack() as stack:
        for name, data in files.items():
            temporary = stack.enter_context(replacing(run.file(name)))
            with open(temporary, "wb") as file:
                file.write(data)
