"""Results as a person reads them: printed blocks and plots."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kser.boards.search.candidates import Candidate
from kser.boards.search.search import Fit
from kser.config import DataConfig, FeatureConfig
from kser.datasets.corpus import Corpus, label_counts
from kser.datasets.prepare import Preparation
from kser.datasets.protocols import find_protocol, make_split
from kser.files import replacing
from kser.models.presets import PRESETS, build_model
from kser.models.size import multiply_accumulates, num_tokens
from kser.training.evaluation import Evaluation, over_splits
from kser.training.metrics import Scores
from kser.training.run_directory import Run

METRIC_NAMES = {"WA": "WA", "UA": "UA", "macro_f1": "macro-F1", "weighted_f1": "weighted F1"}
MAX_SPEAKERS = 12
MAX_SPLITS = 12


@functools.cache
def warn(sentence: str) -> None:
    """Prints it on stderr, once in a process."""
    print(f"Warning: {sentence}", file=sys.stderr)


def run_title(run: Run) -> str:
    """Corpus and split of a run."""
    data = run.config.data
    if data.eval_dataset:
        return f"{data.dataset}, tested on {data.eval_dataset}"
    return f"{data.dataset}, split {data.split}"


def scores_text(run: Run, found: Evaluation) -> str:
    """The scores on the held-out speakers, with intervals, and the recall of each label."""
    head = f"{run_title(run)}, held-out speakers {_few(run.test_speakers)}: {found.scores.confusion.sum()} clips"
    return "\n".join([head, *_score_lines(found), _recalls(found.scores, run.labels)])


def _few(names: Sequence[str]) -> str:
    shown = names[:MAX_SPEAKERS]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _score_lines(found: Evaluation) -> list[str]:
    lines = [_figures(found.scores)]
    if found.num_speakers > 1:
        shown = "   ".join(f"{METRIC_NAMES[m]} {low:.3f} to {high:.3f}" for m, (low, high) in found.intervals.items())
        lines.append(f"95 % over speakers: {shown}")
    for way, scores in found.by_speaker.items():
        lines.append(f"per speaker, {way}: {scores.confusion.sum()} speakers, {_figures(scores)}")
    return lines


def _figures(scores: Scores) -> str:
    return "   ".join(f"{name} {getattr(scores, metric):.3f}" for metric, name in METRIC_NAMES.items())


def _recalls(scores: Scores, labels: Sequence[str]) -> str:
    recall = np.nan_to_num(scores.recall)
    return "recall: " + "  ".join(f"{label} {value:.2f}" for label, value in zip(labels, recall, strict=True))


def splits_text(runs: Sequence[Run], evaluations: Sequence[Evaluation], pooled: Evaluation) -> str:
    """A line for every split, their mean and deviation, and the scores of all predictions pooled."""
    lines = [f"{'':<22}" + "  ".join(f"{name:>11}" for name in METRIC_NAMES.values())]
    for run, found in zip(runs, evaluations, strict=True):
        values = "  ".join(f"{getattr(found.scores, metric):11.3f}" for metric in METRIC_NAMES)
        lines.append(f"{'split ' + str(run.config.data.split):<22}{values}")
    means = over_splits(evaluations).values()
    spreads = "  ".join(f"{m['mean']:.3f}±{m['std']:.3f}" for m in means)
    lines += [f"{'mean over splits':<22}{spreads}", f"pooled: {pooled.scores.confusion.sum()} clips"]
    return "\n".join([*lines, *_score_lines(pooled), _recalls(pooled.scores, runs[0].labels)])


def preparation_text(prepared: Preparation, data: DataConfig, seed: int) -> str:
    """What a corpus holds, how its protocol splits it, what to remark, and where the manifest is."""
    corpus, reports = prepared.corpus, prepared.reports
    hours = sum(r.seconds for r in reports) / 3600
    name, protocol = find_protocol(corpus, data.protocol)
    lines = [
        f"{corpus.name}: {len(reports)} clips, {hours:.2f} h, {len(corpus.speakers)} speakers"
        + (f"; left out: {len(prepared.excluded)}" if prepared.excluded else ""),
        _counts_text("all", corpus, range(len(reports))),
        f"protocol {name}, {len(protocol.splits)} splits:",
    ]
    for number in range(1, min(len(protocol.splits), MAX_SPLITS) + 1):
        split = make_split(corpus, name, number, data.validation_speakers, seed)
        lines.append(f"split {number}: tests {_few(split.test_speakers)}; validates {_few(split.validation_speakers)}")
        lines += [_counts_text(f"  {part}", corpus, getattr(split, part)) for part in ("train", "validation", "test")]
    if len(protocol.splits) > MAX_SPLITS:
        lines.append(f"... and {len(protocol.splits) - MAX_SPLITS} more splits")
    lines += [f"Note: {sentence}" for sentence in prepared.notes]
    lines += [f"Remark: {sentence}" for sentence in prepared.remarks]
    lines.append("complete" if prepared.complete else "usable, with the remarks above")
    return "\n".join([*lines, f"manifest     {prepared.manifest}"])


def _counts_text(name: str, corpus: Corpus, indices: Sequence[int]) -> str:
    counts = "  ".join(f"{label} {count}" for label, count in label_counts(corpus, indices).items())
    speakers = len({corpus.utterances[i].speaker for i in indices})
    return f"{name:<12} {len(indices):>6} clips of {speakers} speakers: {counts}"


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


def export_text(run: Run, figures: dict, certificate: dict, parity: dict) -> str:
    """The figures of a conversion (`Export.report`, its certificate and parity) as a block of text."""
    fold, arena = figures["fold"], figures["arena_bytes"]
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
            f"held-out speakers {_few(run.test_speakers)}:",
            *_parity_lines(parity),
            *_compression_lines(figures),
        ]
    )


def _parity_lines(parity: dict) -> list[str]:
    """A line for every stage, whether one differs from the one before by more than it may, and the worst layers."""
    lines = ["form        WA     UA     macro-F1  ECE    same decision as keras  difference from the form before: max, mean"]
    for row in parity["stages"]:
        figures = f"{row['WA']:.3f}  {row['UA']:.3f}  {row['macro_f1']:.3f}     {row['calibration_error']:.3f}"
        lines.append(f"{row['stage']:<11} {figures}  {row['same_decision_as_first']:<22.4f} {_difference(row)}".rstrip())
    beyond = parity["first_beyond_bound"]
    lines.append(f"numbers part at: {beyond}" if beyond else "every form is within the bound of its rounding")
    worst = ", ".join(f"{error['layer']} {error['snr_db']:.1f}" for error in parity["worst_layers"])
    return [*lines, f"least signal-to-noise in dB: {worst}"] if worst else lines


def _difference(row: dict) -> str:
    if "against" not in row:
        return ""
    shown = f"{row['max_difference']:.1e}, {row['mean_difference']:.1e}"
    return f"{shown} ({row['bound']['of']} at most {row['bound']['at_most']:.1e})" if "bound" in row else shown


def _compression_lines(figures: dict) -> list[str]:
    """The compressed model beside the one it was made from, where there is one."""
    if "compression" not in figures:
        return []
    before, after = (figures["compression"][form] for form in ("before", "after"))
    if not after["kernels"]:
        return [f"compression  saves nothing with {figures['compression']['bits']} bits: no kernel is long enough"]
    return [
        f"compression  {figures['compression']['bits']} bits a weight in {after['kernels']} kernels",
        *(
            f"  {name:<11}{form['bytes']} bytes, TFLM arena {form['arena_bytes']} bytes, UA {form['UA']:.3f}"
            for name, form in (("without", before), ("with", after))
        ),
    ]


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


def save_frontier(path: str, found: Fit) -> None:
    """The frontier of a search as a PNG: parameters over milliseconds, the size of a mark its RAM, the choice ringed."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(c.model.backbone for c in found.frontier):
        points = [(*_place(c), 3e-3 * c.figures.ram_bytes) for c in found.frontier if c.model.backbone == name]
        x, y, sizes = zip(*points, strict=True)
        axes.scatter(x, y, sizes, alpha=0.5, label=name)
    axes.scatter(*_place(found.best), 400, facecolors="none", edgecolors="black", label="chosen")
    axes.axvline(found.budget.latency_ms, color="grey", linestyle=":", label="budget")
    axes.set(xlabel="inference ms", ylabel="parameters", yscale="log", title=f"networks for {found.budget.board.title}")
    axes.legend(markerscale=0.6)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _place(candidate: Candidate) -> tuple[float, int]:
    return candidate.figures.inference_ms.middle, candidate.parameters
