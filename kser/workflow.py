"""The jobs the commands run, from files to files: train a run, evaluate it, fold and convert it, predict with the result."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Iterable, Sequence

import numpy as np

from kser import api
from kser.boards import doctor
from kser.boards.catalog import find_board
from kser.cli import tables
from kser.config import INT8, QAT, DataPaths, QuantizationConfig, RunConfig
from kser.datasets.corpus import Utterance
from kser.datasets.protocols import find_protocol
from kser.errors import ConfigError, DatasetError, ModelFileError, RunError
from kser.export import convert, exporter
from kser.export.rewrites import DEPLOY_PASSES, require_passes
from kser.export.weight_compression import compress_and_measure
from kser.files import replacing, require_empty, write_text, write_tree
from kser.firmware import project
from kser.models.inference import predict_logits
from kser.models.presets import build_model
from kser.tflite.guarded import GuardedRunner
from kser.tflite.sandbox import Examiner
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
from kser.training.input_pipeline import Part, evaluation_part, training_data
from kser.training.material import Material, load_material, read_corpus
from kser.training.resumable import fit
from kser.training.run_directory import Run
from kser.training.trainer import Tuner, best_row

MODEL_FILE, FLOAT_MODEL_FILE, CC_NAME = "model.tflite", "model_float.tflite", "kser_model"
CONVERSION_FILE, CERTIFICATE_FILE, PARITY_FILE = "conversion.json", "fold.json", "parity.json"
COMPRESSED = "_compressed"  # what the names of the files of that model end with
SUMMARY_FILE = "summary.json"
MODELS = ("keras", "folded", "tflite", "tflm")


def open_run(run_dir: str, paths: DataPaths) -> tuple[Run, Material]:
    """A run and the corpus it was trained on; `paths` name where things lie now, empty: where they were.

    Raises:
      RunError: no usable run, or the corpus there is another than the run was trained on.
    """
    run = run_directory.load(run_dir)
    paths = _where(run, paths)
    material = load_material(run.config, paths)
    if material.corpus.fingerprint() != run.corpus:
        raise RunError(
            f"{run_dir} was trained on other clips of '{run.config.data.dataset}' than lie in {paths.data_dir}; "
            "point --data_dir at the same files."
        )
    return run, material


def _where(run: Run, paths: DataPaths) -> DataPaths:
    """The places given, and for those not given the run's own."""
    return DataPaths(**{name: place or getattr(run.paths, name) for name, place in dataclasses.asdict(paths).items()})


def train_new(
    run_dir: str, config: RunConfig, paths: DataPaths, progress, teacher_dirs: Sequence[str] = ()
) -> tuple[Run, Evaluation]:
    """Trains a new run, taught by those in `teacher_dirs` where there are any, and scores it on the held-out speakers."""
    run_directory.require_free(run_dir)
    _require_network(config)
    material = load_material(config, paths)
    teachers = open_teachers(teacher_dirs, config, material.corpus, material.split)
    data = training_data(material.corpus, material.features, material.split, config, paths.cache_dir)
    run = run_directory.create(run_dir, config, paths, material.corpus, material.split, data.normalization, teachers)
    return _train(run, material, data, progress)


def _require_network(config: RunConfig) -> None:
    """Settings that make no network are refused before anything is read or written; its weights are not used."""
    build_model(config.model, config.features, num_classes=2)


def resume(run_dir: str, paths: DataPaths, progress) -> tuple[Run, Evaluation]:
    """Continues a run where it was killed; a finished one is only scored again."""
    run, material = open_run(run_dir, paths)
    data = training_data(material.corpus, material.features, material.split, run.config, paths.cache_dir)
    return _train(run, material, data, progress)


def _train(run: Run, material: Material, data, progress) -> tuple[Run, Evaluation]:
    teacher = mean_answer(run.teachers, run.normalization) if run.teachers else None
    rows = fit(run, data, material.validation(run), progress, teacher)
    test = material.part(run, "test")
    found = Predictions.from_logits(test, predict_logits(run_directory.load_model(run), test.features))
    evaluation = evaluate_predictions(found, material.corpus.decision)
    write_predictions(run.file(run_directory.PREDICTIONS), found, run.labels)
    tables.save_confusion(run.file(run_directory.CONFUSION), evaluation.scores, run.labels, title=tables.run_title(run))
    best = best_row(rows)
    metrics = {"best_epoch": best["epoch"], "val_UA": best.get("val_UA"), "test": evaluation.to_dict()}
    write_text(run.file(run_directory.METRICS), json.dumps(metrics, indent=1) + "\n")
    return run, evaluation


def train_all_splits(
    run_dir: str,
    config: RunConfig,
    paths: DataPaths,
    progress,
    resumed: bool = False,
    teacher_dirs: Sequence[str] = (),
) -> tuple[list[Run], list[Evaluation], Evaluation]:
    """Trains on every split of the protocol, each a run in `run_dir`/split_K, and pools their predictions.

    With `resumed` the settings of the first split hold, finished splits are left as they are, a killed one is continued.
    Each of `teacher_dirs` is such a directory too, its split_K teaching split K.

    Returns:
      The runs, their evaluations, and that of all predictions together.
    """
    if resumed:
        first = run_directory.load(_split_dir(run_dir, 1))
        config, paths = first.config, _where(first, paths)
        teacher_dirs = [os.path.dirname(teacher.run_dir) for teacher in first.teachers]
    elif os.path.exists(_split_dir(run_dir, 1)):
        raise RunError(f"{run_dir} already holds runs of splits; continue them with --resume or choose another --run_dir.")
    else:
        run_directory.require_free(run_dir)
    corpus, _ = read_corpus(config.data.dataset, config.data.corpus_options, paths.data_dir, paths.manifest)
    numbers = range(1, 2 if config.data.eval_dataset else 1 + len(find_protocol(corpus, config.data.protocol)[1].splits))
    for teacher, number in itertools.product(teacher_dirs, numbers):
        run_directory.load(_split_dir(teacher, number))  # One that is missing is told now, not after the splits before it.
    results = [_train_split(run_dir, config, number, paths, progress, teacher_dirs) for number in numbers]
    runs, evaluations = map(list, zip(*results, strict=True))
    found = pool([read_predictions(run.file(run_directory.PREDICTIONS)) for run in runs])
    pooled = evaluate_predictions(found, corpus.decision)
    summary = {"pooled": pooled.to_dict(), "over_splits": over_splits(evaluations)}
    write_text(os.path.join(run_dir, SUMMARY_FILE), json.dumps(summary, indent=1) + "\n")
    write_predictions(os.path.join(run_dir, run_directory.PREDICTIONS), found, runs[0].labels)
    title = f"{config.data.dataset}, all splits pooled"
    tables.save_confusion(os.path.join(run_dir, run_directory.CONFUSION), pooled.scores, runs[0].labels, title)
    return runs, evaluations, pooled


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


def evaluate(run_dir: str, kind: str, paths: DataPaths) -> tuple[Run, Evaluation]:
    """Scores one form of a run's model (one of MODELS) on the held-out speakers."""
    if kind not in MODELS:
        raise ConfigError(f"--model must be one of {', '.join(MODELS)}, not '{kind}'.")
    run, material = open_run(run_dir, paths)
    part = material.part(run, "test")
    if kind in ("tflite", "tflm"):
        return run, api.evaluate(_converted(run, part), part, kind)
    model = run_directory.load_model(run)
    return run, api.evaluate(api.fold(model) if kind == "folded" else model, part)


def _converted(run: Run, part: Part) -> str:
    """The path of a run's .tflite.

    Raises:
      RunError: there is none yet.
      ModelFileError: it is another run's.
    """
    path = run.file(MODEL_FILE)
    if not os.path.isfile(path):
        raise RunError(f"{run.path} has no {MODEL_FILE} yet; make it with bin/fold_and_convert --run_dir={run.path}.")
    with Examiner() as examiner:
        if GuardedRunner("tflm", path, examiner).shapes() != ((1, *part.features.shape[1:]), (1, len(run.labels))):
            raise ModelFileError(f"{path} is no model of its run; write it again with bin/fold_and_convert.")
    return path


def fold_and_convert(
    run_dir: str,
    paths: DataPaths,
    settings: QuantizationConfig = QuantizationConfig(),  # noqa: B008 (frozen)
    passes: Sequence[str] = tuple(DEPLOY_PASSES),
    progress=None,
    board: str = "",
    force: bool = False,
    deploy_dir: str = "",
) -> tuple[Run, exporter.Export]:
    """Folds, rewrites, proves, converts and measures a run's model, and writes the results into the run directory.

    With bits to compress to so is a second model, where that pays. With a `board` the report says whether the model runs
    there, and if it does not, no C++ sources are written, unless by `force`. With a `deploy_dir` these include a whole
    project for the board.

    Args:
      progress: as in `train.fit`; for quantization-aware training, which takes a while.
    """
    require_passes(passes)
    if board:
        find_board(board)
    if deploy_dir:
        _require_deployable(deploy_dir, board, settings)
    run, material = _open_to_convert(run_dir, paths, settings)
    chosen = _representative(run, material, settings)
    representative = evaluation_part(material.corpus, material.features, chosen, run.normalization).features
    test = material.part(run, "test")
    tune = functools.partial(_tune, run, material, paths, settings, progress)
    result = exporter.export(run, representative, test, passes, settings, tune)
    models = {"": result.model_bytes}
    if settings.compress:
        compressed = compress_and_measure(result.model_bytes, settings.compress, test.features, test.labels)
        result = _reported(result, compression=compressed.report)
        models |= {COMPRESSED: compressed.model} if compressed.pays else {}
    if board:
        result = _reported(result, board=dataclasses.asdict(api.check_board(result.model_bytes, board)))
    files = {
        FLOAT_MODEL_FILE: result.float_model,
        **{f"model{suffix}.tflite": model for suffix, model in models.items()},
        CONVERSION_FILE: (json.dumps(result.report, indent=1) + "\n").encode(),
        PARITY_FILE: (json.dumps(result.parity, indent=1) + "\n").encode(),
        CERTIFICATE_FILE: exporter.certificate_json(result.certificate).encode(),
    }
    wanted = force or not board or runs_on_board(result)
    if wanted:
        files |= {name: text for suffix, model in models.items() for name, text in _sources(model, suffix).items()}
    _write_together(run, files)
    _remove(run, _OWN_FILES - set(files))  # those of an earlier conversion
    if deploy_dir and wanted:
        figures = doctor.diagnosis_of(result.report["board"]).figures
        write_tree(deploy_dir, project.project_files(result.model_bytes, board, figures))
    return run, result


def _open_to_convert(run_dir: str, paths: DataPaths, settings: QuantizationConfig) -> tuple[Run, Material]:
    try:
        return open_run(run_dir, paths)
    except DatasetError as error:
        use = "trains on" if settings.quantize in QAT else "takes ranges and scores from"
        raise DatasetError(f"{error} --quantize={settings.quantize} {use} the run's own corpus.") from error


def _require_deployable(deploy_dir: str, board: str, settings: QuantizationConfig) -> None:
    """A project that cannot be is refused before any work."""
    if not board:
        raise ConfigError("--deploy_dir needs the --board that the project is for.")
    project.require_shell(board)
    if settings.quantize not in INT8:
        raise ConfigError(
            f"A board's project takes an int8 model, not --quantize={settings.quantize}; choose {' or '.join(INT8)}."
        )
    require_empty(deploy_dir)


def runs_on_board(result: exporter.Export) -> bool:
    """Whether the model runs on the board that it was converted for."""
    return result.report["board"]["verdict"] != doctor.DOES_NOT_RUN


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


def _representative(run: Run, material: Material, settings: QuantizationConfig) -> np.ndarray:
    """Some clips of the training part, drawn by the run's seed."""
    order = np.random.default_rng(run.config.train.seed).permutation(len(material.split.train))
    return np.array(material.split.train)[np.sort(order[: settings.representative_clips])]


def _tune(
    run: Run, material: Material, paths: DataPaths, settings: QuantizationConfig, progress, model, teacher
) -> list[dict]:
    """Quantization-aware training on the run's own training part; its validation speakers, if any, choose the epoch."""
    data = training_data(material.corpus, material.features, material.split, run.config, paths.cache_dir)
    return Tuner(model, teacher, run.config, data, material.validation(run), settings).run(progress)


def _write_together(run: Run, files: dict[str, bytes]) -> None:
    """Replaces the files by name once all of them are on the disk: they describe each other."""
    with contextlib.ExitStack() as stack:
        for name, data in files.items():
            temporary = stack.enter_context(replacing(run.file(name)))
            with open(temporary, "wb") as file:
                file.write(data)


def test_clips(run_dir: str, paths: DataPaths) -> list[Utterance]:
    """The utterances of a run's held-out speakers."""
    _, material = open_run(run_dir, paths)
    return [material.corpus.utterances[i] for i in material.split.test]
