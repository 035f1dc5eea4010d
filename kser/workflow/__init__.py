"""The jobs of the commands, from files to files: train a run, evaluate it, fold and convert it."""

from kser.workflow.convert import (
    CC_NAME,
    CERTIFICATE_FILE,
    CONVERSION_FILE,
    FLOAT_MODEL_FILE,
    PARITY_FILE,
    Deployment,
    fold_and_convert,
    runs_on_board,
)
from kser.workflow.deploy import write_project
from kser.workflow.runs import (
    MODEL_FILE,
    MODELS,
    LongClips,
    compare,
    evaluate,
    evaluate_all_splits,
    open_run,
    splits_of,
    test_clips,
)
from kser.workflow.train import SUMMARY_FILE, resume, resume_all_splits, train_all_splits, train_new

__all__ = [
    "CC_NAME",
    "CERTIFICATE_FILE",
    "CONVERSION_FILE",
    "FLOAT_MODEL_FILE",
    "MODELS",
    "MODEL_FILE",
    "PARITY_FILE",
    "SUMMARY_FILE",
    "Deployment",
    "LongClips",
    "compare",
    "evaluate",
    "evaluate_all_splits",
    "fold_and_convert",
    "open_run",
    "resume",
    "resume_all_splits",
    "runs_on_board",
    "splits_of",
    "test_clips",
    "train_all_splits",
    "train_new",
    "write_project",
]
