"""Folds HRF into plain Dense layers, quantizes, converts to TensorFlow Lite, and scores the model after every step."""

from __future__ import annotations

from absl import flags

from kser.boards.catalog import BOARDS
from kser.cli import command, corpus_flags, evaluate, settings
from kser.config import INT8, QuantizationConfig, SmoothingConfig
from kser.errors import ConfigError, KserError

FLAGS = flags.FLAGS


def define_flags() -> None:
    corpus_flags.define("Run directory written by bin/train; the models are written there too.")
    settings.define(QuantizationConfig)
    settings.define(SmoothingConfig, default="the run's")
    flags.DEFINE_list(
        "deploy_passes",
        None,
        "Exact graph rewrites that make the folded network cheaper, comma-separated: batch_norm, constants, norm_affine, "
        "centre, fuse, flatten. Default: all; empty: none.",
    )
    flags.DEFINE_enum("board", None, list(BOARDS), "Board to check the model for, as bin/doctor does.")
    flags.DEFINE_string(
        "deploy_dir",
        "",
        "Directory to write a complete firmware project for --board to (Arduino IDE, arduino-cli and PlatformIO, or idf.py "
        "and PlatformIO); it must be empty or not exist.",
    )
    flags.DEFINE_bool("force", False, "Write C++ sources even if the model does not run on --board.")


def main(_) -> None:
    from kser import workflow
    from kser.cli.threads import use_threads

    use_threads(FLAGS.threads)
    splits = workflow.splits_of(FLAGS.run_dir)
    if splits:
        return _convert_all_splits(splits)
    _convert(FLAGS.run_dir)


def _convert_all_splits(splits: list[str]) -> None:
    """Converts the run of every split, then scores all of them on the boards' interpreter."""
    if FLAGS.deploy_dir:
        raise ConfigError(f"A project holds one model; choose a split, such as --run_dir={splits[0]}, for --deploy_dir.")
    for path in splits:
        print(f"{path}:")
        _convert(path)
    if QuantizationConfig(**settings.given(QuantizationConfig)).quantize in INT8:
        evaluate.print_all_splits(FLAGS.run_dir, "tflm")


def _convert(run_dir: str) -> None:
    from kser import workflow
    from kser.boards.doctor import diagnosis_of
    from kser.cli.doctor import diagnosis_text
    from kser.cli.progress import Progress
    from kser.cli.tables import export_text
    from kser.export.rewrites import DEPLOY_PASSES

    passes = DEPLOY_PASSES if FLAGS.deploy_passes is None else FLAGS.deploy_passes
    quantization = QuantizationConfig(**settings.given(QuantizationConfig))
    with Progress() as progress:
        run, result = workflow.fold_and_convert(
            *(run_dir, corpus_flags.paths(), quantization, tuple(passes), progress),
            workflow.Deployment(FLAGS.board or "", FLAGS.deploy_dir, FLAGS.force, settings.given(SmoothingConfig)),
        )
    print(export_text(run, result.report, result.certificate, result.parity))
    print(
        f"written to {run.file(workflow.MODEL_FILE)}, the proof of the fold to {run.file(workflow.CERTIFICATE_FILE)}, "
        f"the comparison to {run.file(workflow.PARITY_FILE)}"
    )
    if FLAGS.board:
        print(diagnosis_text(run.file(workflow.MODEL_FILE), diagnosis_of(result.report["board"])))
        _require_fit(result)
    if FLAGS.deploy_dir:
        print(f"project for {FLAGS.board} written to {FLAGS.deploy_dir}; its README.md says how to build it")


def _require_fit(result) -> None:
    from kser import workflow

    if not workflow.runs_on_board(result) and not FLAGS.force:
        raise KserError(
            f"The model does not run on {FLAGS.board}, so no C++ sources were written; fix the problems above, choose "
            "another --board, or write them anyway with --force."
        )


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
