"""Folds a trained run exactly, converts it to int8 TensorFlow Lite, and measures every form on the held-out speakers."""

from __future__ import annotations

from absl import flags

from kser.cli import command, corpus_flags

FLAGS = flags.FLAGS


def define_flags() -> None:
    corpus_flags.define("Directory bin/train wrote; the models are written there.")
    flags.DEFINE_integer(
        "representative_clips", 200, "Training clips the ranges of activations are taken from.", lower_bound=1
    )
    flags.DEFINE_list(
        "deploy_passes",
        None,
        "Exact rewrites of the folded network, of batch_norm, constants, norm_affine, centre, fuse, flatten; default: all; "
        "empty: none.",
    )
    flags.DEFINE_integer(
        "compress",
        0,
        "Bits to compress each weight to in a second model, for recent TFLM alone: it saves flash; try 4. 0: no such model.",
        lower_bound=0,
        upper_bound=7,
    )


def main(_) -> None:
    from kser import workflow
    from kser.deploy import DEPLOY_PASSES
    from kser.report import export_text
    from kser.threads import use_threads

    use_threads(FLAGS.threads)
    passes = DEPLOY_PASSES if FLAGS.deploy_passes is None else FLAGS.deploy_passes
    run, result = workflow.fold_and_convert(
        FLAGS.run_dir, corpus_flags.paths(), FLAGS.representative_clips, tuple(passes), FLAGS.compress
    )
    print(export_text(run, result.report, result.certificate))
    print(f"written to {run.file(workflow.MODEL_FILE)}, its proof to {run.file(workflow.CERTIFICATE_FILE)}")


def run() -> None:
    define_flags()
    command.run(main)


if __name__ == "__main__":
    run()
