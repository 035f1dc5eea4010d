"""Folds a trained run exactly, quantizes and converts it to TensorFlow Lite, and measures every form of it."""

from __future__ import annotations

from absl import flags

from kser.cli import command, corpus_flags, settings
from kser.config import QuantizationConfig

FLAGS = flags.FLAGS


def define_flags() -> None:
    corpus_flags.define("Directory bin/train wrote; the models are written there.")
    settings.define(QuantizationConfig)
    flags.DEFINE_list(
        "deploy_passes",
        None,
        "Exact rewrites of the folded network, of batch_norm, constants, norm_affine, centre, fuse, flatten; default: all; "
        "empty: none.",
    )


def main(_) -> None:
    from kser import workflow
    from kser.cli.progress import Progress
    from kser.deploy import DEPLOY_PASSES
    from kser.report import export_text
    from kser.threads import use_threads

    use_threads(FLAGS.threads)
    passes = DEPLOY_PASSES if FLAGS.deploy_passes is None else FLAGS.deploy_passes
    quantization = QuantizationConfig(**settings.given(QuantizationConfig))
    with Progress() as progress:
        run, result = workflow.fold_and_convert(FLAGS.run_dir, corpus_flags.paths(), quantization, tuple(passes), progress)
    print(export_text(run, result.report, result.certificate, result.parity))
    print(
        f"written to {run.file(workflow.MODEL_FILE)}, its proof to {run.file(workflow.CERTIFICATE_FILE)}, "
        f"the comparison to {run.file(workflow.PARITY_FILE)}"
    )


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
