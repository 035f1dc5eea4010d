"""Results as printed text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kser.cli.columns import table_text
from kser.config import DataConfig, FeatureConfig
from kser.datasets.corpus import Corpus, label_counts
from kser.datasets.prepare import Preparation
from kser.datasets.protocols import find_protocol, make_split
from kser.models.presets import PRESETS, build_model
from kser.models.size import multiply_accumulates, num_tokens
from kser.training.evaluation import Evaluation, over_splits
from kser.training.metrics import Scores
from kser.training.run_directory import Run
from kser.workflow import LongClips

METRIC_NAMES = {"WA": "WA", "UA": "UA", "macro_f1": "macro-F1", "weighted_f1": "weighted F1"}
MAX_SPEAKERS = 12
MAX_SPLITS = 12


def scores_text(run: Run, found: Evaluation, long_clips: LongClips | None = None) -> str:
    """The scores on the held-out speakers, with intervals, and the recall of each label; also by several windows, where
    clips are longer than one."""
    head = f"{run.title}, held-out speakers {_few(run.test_speakers)}: {found.scores.confusion.sum()} clips"
    scores = [*_score_lines(found), _recalls(found.scores, run.labels)]
    return "\n".join([head, *scores, *_window_lines(run, long_clips)])


def _window_lines(run: Run, long_clips: LongClips | None) -> list[str]:
    if not long_clips:
        return []
    config = run.config
    length, step = f"{config.features.clip_seconds:g} s", f"{config.smoothing.decision_ms:g} ms"
    head = (
        f"above by the {length} in the middle of a clip; {long_clips.count} clips are longer, and by windows of that length "
        f"every {step}, as a board hears them (mean of probabilities):"
    )
    return [head, *_score_lines(long_clips.evaluation)]


def _few(names: Sequence[str]) -> str:
    shown = names[:MAX_SPEAKERS]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _score_lines(found: Evaluation) -> list[str]:
    lines = [_figures(found.scores)]
    if found.intervals:
        shown = "   ".join(f"{METRIC_NAMES[m]} {low:.3f} to {high:.3f}" for m, (low, high) in found.intervals.items())
        lines.append(f"95 % over speakers (jackknife, Student's t): {shown}")
    for way, scores in found.by_speaker.items():
        lines.append(f"per speaker, {way}: {scores.confusion.sum()} speakers, {_figures(scores)}")
    return lines


def _figures(scores: Scores) -> str:
    return "   ".join(f"{name} {getattr(scores, metric):.3f}" for metric, name in METRIC_NAMES.items())


def comparison_text(run: Run, other: Run, differences: Mapping) -> str:
    """By how much a run is better than another on the same speakers, with paired intervals."""
    lines = [f"{run.path} less {other.path}, held-out speakers {_few(run.test_speakers)}:"]
    for metric, name in METRIC_NAMES.items():
        difference, ends = differences[metric]
        paired = f"95 % over speakers, paired: {ends[0]:+.3f} to {ends[1]:+.3f}" if ends else "one speaker gives no interval"
        lines.append(f"{name:<12}{difference:+.3f}   {paired}")
    return "\n".join(lines)


def _recalls(scores: Scores, labels: Sequence[str]) -> str:
    recall = np.nan_to_num(scores.recall)
    return "recall: " + "  ".join(f"{label} {value:.2f}" for label, value in zip(labels, recall, strict=True))


def splits_text(
    runs: Sequence[Run], evaluations: Sequence[Evaluation], pooled: Evaluation, long_clips: LongClips | None = None
) -> str:
    """A line per split, mean and standard deviation over splits, and the scores of all predictions pooled."""
    rows = [
        (f"split {run.config.data.split}", *(f"{getattr(found.scores, metric):.3f}" for metric in METRIC_NAMES))
        for run, found in zip(runs, evaluations, strict=True)
    ]
    rows.append(("mean over splits", *(f"{m['mean']:.3f}±{m['std']:.3f}" for m in over_splits(evaluations).values())))
    table = table_text(("", *METRIC_NAMES.values()), rows, left=("",))
    head = f"pooled: {pooled.scores.confusion.sum()} clips"
    scores = [*_score_lines(pooled), _recalls(pooled.scores, runs[0].labels)]
    return "\n".join([table, head, *scores, *_window_lines(runs[0], long_clips)])


def preparation_text(prepared: Preparation, data: DataConfig, seed: int) -> str:
    """A corpus' contents, its split, remarks, and the path of the manifest."""
    corpus, reports = prepared.labelled, prepared.reports
    hours = sum(r.seconds for r in reports) / 3600
    name, protocol = find_protocol(corpus, data.protocol)
    lines = [
        f"{corpus.name}: {len(reports)} clips, {hours:.2f} h, {len(prepared.corpus.speakers)} speakers"
        + (f"; left out: {len(prepared.excluded)}" if prepared.excluded else ""),
        _counts_text("all", corpus, range(len(corpus.utterances))),
        f"protocol {name}, {len(protocol.splits)} splits:",
    ]
    for number in range(1, min(len(protocol.splits), MAX_SPLITS) + 1):
        split = make_split(corpus, name, number, data.validation_speakers, seed)
        speakers = f"test speakers {_few(split.test_speakers)}; validation speakers {_few(split.validation_speakers)}"
        lines.append(f"split {number}: {speakers}")
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
    """All presets: deployed parameters, multiply-accumulates per clip, tokens of the residual stream."""
    clips = f"clips of {features.clip_seconds:g} s: {features.num_frames} frames of {features.num_mels} mels"
    models = {names: build_model(config, features, num_classes) for names, config in PRESETS.items()}
    rows = [
        (*names, model.count_params(), multiply_accumulates(model), ", ".join(map(str, num_tokens(model))))
        for names, model in models.items()
    ]
    columns = ("backbone", "preset", "parameters", "MACs", "tokens")
    return f"{clips}; {num_classes} classes\n" + table_text(columns, rows, left=("backbone", "preset", "tokens"))


def export_text(run: Run, figures: dict, certificate: dict, parity: dict) -> str:
    """The results of a conversion (`Export.report`, certificate and parity) as text."""
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
    """A line per stage, whether one differs from the one before beyond its bound, and the worst layers."""
    scores = ("WA", "UA", "macro_f1", "calibration_error")
    rows = [
        (row["stage"], *(f"{row[s]:.3f}" for s in scores), f"{row['same_decision_as_first']:.4f}", _difference(row))
        for row in parity["stages"]
    ]
    last = "difference from the stage before: max, mean"
    columns = ("form", "WA", "UA", "macro-F1", "ECE", "same decision as keras", last)
    beyond = parity["first_beyond_bound"]
    verdict = f"first stage beyond its bound: {beyond}" if beyond else "every stage is within its bound"
    lines = [*table_text(columns, rows, left=("form", last)).splitlines(), verdict, *_layer_lines(parity.get("layers"))]
    worst = ", ".join(f"{error['layer']} {error['snr_db']:.1f}" for error in parity["worst_layers"])
    return [*lines, f"layers with the lowest signal-to-noise ratio in dB: {worst}"] if worst else lines


def _layer_lines(layers: dict | None) -> list[str]:
    """Whether each layer computes in integers what it should, where there are integers of 8 bits."""
    if not layers or not layers["compared"]:
        return []
    if not layers["beyond_bound"]:
        largest = f"the largest difference is {layers['largest_steps']:.2f} steps of a layer's output"
        return [f"each of {layers['compared']} layers computes in int8 what it should from what it reads: {largest}"]
    return [f"wrong in int8: {row['layer']} ({row['op']}): {row['wrong']}" for row in layers["beyond_bound"]]


def _difference(row: dict) -> str:
    if "against" not in row:
        return ""
    shown = f"{row['max_difference']:.1e}, {row['mean_difference']:.1e}"
    return f"{shown} ({row['bound']['of']} at most {row['bound']['at_most']:.1e})" if "bound" in row else shown


def _compression_lines(figures: dict) -> list[str]:
    """The compressed model compared with the uncompressed one, if there is one."""
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
