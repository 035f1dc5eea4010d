"""Results as a person reads them: printed blocks and plots."""

from __future__ import annotations

import functools
import sys

import numpy as np
from matplotlib.figure import Figure

from kser.atomic import replacing
from kser.backbones import PRESETS, build_model
from kser.backbones.size import multiply_accumulates, num_tokens
from kser.config import FeatureConfig
from kser.metrics import Scores
from kser.rundir import Run


@functools.cache
def warn(sentence: str) -> None:
    """Prints it on stderr, once in a process."""
    print(f"Warning: {sentence}", file=sys.stderr)


def scores_text(run: Run, scores: Scores) -> str:
    """WA, UA and macro-F1 on the held-out speakers, and the recall of each label."""
    train = run.config.train
    recall = np.diag(scores.confusion) / np.maximum(1, scores.confusion.sum(1))
    lines = [
        f"{train.dataset}, split {train.split}, held-out speakers {', '.join(run.test_speakers)}: "
        f"{scores.confusion.sum()} clips",
        f"WA {scores.WA:.3f}   UA {scores.UA:.3f}   macro-F1 {scores.macro_f1:.3f}",
        "recall: " + "  ".join(f"{label} {value:.2f}" for label, value in zip(run.labels, recall, strict=True)),
    ]
    return "\n".join(lines)


def presets_text(features: FeatureConfig, num_classes: int = 8) -> str:
    """All presets: deployed parameters, multiply-accumulates of a clip, tokens of the residual stream."""
    lines = [
        f"clips of {features.clip_seconds:g} s: {features.num_frames} frames of {features.num_mels} mels; "
        f"{num_classes} classes",
        f"{'backbone':<16} {'preset':<7} {'parameters':>10} {'MACs':>12}  tokens",
    ]
    for (backbone, name), config in PRESETS.items():
        model = build_model(config, features, num_classes)
        tokens = ", ".join(map(str, num_tokens(model)))
        lines.append(f"{backbone:<16} {name:<7} {model.count_params():>10} {multiply_accumulates(model):>12}  {tokens}")
    return "\n".join(lines)


def export_text(run: Run, figures: dict, certificate: dict) -> str:
    """The figures of a conversion (`Export.report` and its certificate) as a block of text."""
    fold, arena, scores = figures["fold"], figures["arena_bytes"], figures["scores"]
    rows = [
        f"{name:<8} {s['WA']:.3f}  {s['UA']:.3f}  {s['macro_f1']:.3f}     {figures['agreement_with_keras'][name]:.4f}"
        for name, s in scores.items()
    ]
    return "\n".join(
        [
            f"fold         {fold['parameters_before']} -> {fold['parameters_after']} parameters; on {fold['clips']} clips "
            f"max |logit difference| {fold['max_logit_difference']:.1e}, decisions {fold['argmax_agreement']:.0%} the same",
            *(
                f"{step['name']:<12} {step['layers_before']} -> {step['layers_after']} layers; "
                f"max |logit difference| {step['max_logit_difference']:.1e}"
                for step in certificate["deploy"]
            ),
            f"model        {figures['bytes']} bytes, {figures['multiply_accumulates']} multiply-accumulates, "
            f"{figures['nodes']} nodes",
            f"TFLM arena   {arena['total']} bytes ({arena['head']} head, {arena['tail']} tail; on this 64-bit computer)",
            "ops          " + ", ".join(f"{name} {count}" for name, count in figures["ops"].items()),
            f"held-out speakers {', '.join(run.test_speakers)}:",
            "form     WA     UA     macro-F1  same decision as keras",
            *rows,
        ]
    )


def save_confusion(path: str, scores: Scores, labels: tuple[str, ...], title: str) -> None:
    """The confusion matrix as a PNG: rows are true labels, colours the share of a row, numbers its clips."""
    confusion = scores.confusion
    size = 2.2 + 0.6 * len(labels)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(confusion / np.maximum(1, confusion.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="recognized", ylabel="spoken", title=f"{title}: UA {scores.UA:.3f}, WA {scores.WA:.3f}")
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    for (row, column), count in np.ndenumerate(confusion):
        dark = count > confusion[row].sum() / 2
        axes.text(column, row, count, ha="center", va="center", color="white" if dark else "black")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
