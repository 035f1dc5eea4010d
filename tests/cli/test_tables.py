"""Printed blocks hold the numbers."""

from __future__ import annotations

import dataclasses

import numpy as np

from kser.audio.log_mel import Normalization
from kser.cli import tables
from kser.config import DataConfig, DataPaths, FeatureConfig, RunConfig
from kser.models.presets import PRESETS
from kser.training.evaluation import DECIDED_BY, Evaluation
from kser.training.metrics import METRICS, score
from kser.training.run_directory import Run

LABELS = ("calm", "happy", "sad")
SCORES = score([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2], 3)
RUN = Run(
    "run",
    RunConfig(DataConfig("ravdess", split=4)),
    DataPaths("data"),
    "fingerprint",
    LABELS,
    ("02",),
    ("03", "05", "07", "24"),
    Normalization(np.zeros(40, np.float32), np.ones(40, np.float32)),
)
FIGURES = {
    "fold": {
        "parameters_before": 70001,
        "parameters_after": 50002,
        "clips": 237,
        "max_logit_difference": 3.2e-7,
        "argmax_agreement": 1.0,
    },
    "bytes": 101234,
    "multiply_accumulates": 7654321,
    "nodes": 98,
    "arena_bytes": {"total": 45678, "head": 40000, "tail": 5678},
    "ops": {"CONV_2D": 5, "FULLY_CONNECTED": 12},
}


def evaluation(scores=SCORES, num_speakers: int = 4, by_speaker=()) -> Evaluation:
    ends = {metric: (0.125 * i, 0.875) for i, metric in enumerate(METRICS)}
    return Evaluation(scores, ends, num_speakers, dict(by_speaker))


def test_scores_text_holds_the_numbers():
    text = tables.scores_text(RUN, evaluation())
    assert text.splitlines() == [
        "ravdess, split 4, held-out speakers 03, 05, 07, 24: 6 clips",
        "WA 0.667   UA 0.722   macro-F1 0.656   weighted F1 0.678",
        "95 % over speakers (jackknife, Student's t): "
        "WA 0.000 to 0.875   UA 0.125 to 0.875   macro-F1 0.250 to 0.875   weighted F1 0.375 to 0.875",
        "recall: calm 0.67  happy 0.50  sad 1.00",
    ]


def test_a_label_without_clips_has_recall_0():
    assert "sad 0.00" in tables.scores_text(RUN, evaluation(score([0, 1], [0, 1], 3)))


def test_one_speaker_has_no_interval():
    assert "95 %" not in tables.scores_text(RUN, dataclasses.replace(evaluation(), intervals={}))


def test_a_comparison_has_paired_intervals_or_says_why_not():
    differences = {metric: (0.021, (-0.034, 0.076)) for metric in METRICS} | {"UA": (-0.5, None)}
    head, *lines = tables.comparison_text(RUN, RUN, differences).splitlines()
    assert head.endswith("held-out speakers 03, 05, 07, 24:") and len(lines) == len(METRICS)
    assert lines[0] == "WA          +0.021   95 % over speakers, paired: -0.034 to +0.076"
    assert lines[1] == "UA          -0.500   one speaker gives no interval"


def test_decisions_for_speakers_have_lines_of_their_own():
    by_speaker = zip(DECIDED_BY, (score([0, 1], [0, 1], 2), score([0, 1], [0, 0], 2)), strict=True)
    lines = tables.scores_text(RUN, evaluation(by_speaker=by_speaker)).splitlines()
    assert lines[3:5] == [
        "per speaker, mean of probabilities: 2 speakers, WA 1.000   UA 1.000   macro-F1 1.000   weighted F1 1.000",
        "per speaker, majority vote: 2 speakers, WA 0.500   UA 0.500   macro-F1 0.333   weighted F1 0.333",
    ]


def test_of_many_speakers_the_first_are_named():
    crowd = dataclasses.replace(RUN, test_speakers=tuple(f"s{i}" for i in range(15)))
    head = tables.scores_text(crowd, evaluation()).splitlines()[0]
    assert head == f"ravdess, split 4, held-out speakers {', '.join(f's{i}' for i in range(12))} and 3 more: 6 clips"


def test_a_run_tested_on_another_corpus_says_so():
    config = RunConfig(DataConfig("ravdess", eval_dataset="emodb"))
    run = dataclasses.replace(RUN, config=config)
    assert tables.scores_text(run, evaluation()).startswith("ravdess, tested on emodb, held-out speakers ")


def test_splits_are_listed_with_their_mean_and_deviation_and_pooled():
    runs = [dataclasses.replace(RUN, config=RunConfig(DataConfig(split=split))) for split in (1, 2)]
    found = [evaluation(score([0, 1, 2, 2], predicted, 3)) for predicted in ([0, 1, 2, 2], [0, 1, 0, 0])]
    lines = tables.splits_text(runs, found, evaluation()).splitlines()
    cells = [line.split("  ") for line in lines[:4]]
    assert [[cell.strip() for cell in row if cell.strip()] for row in cells] == [
        ["WA", "UA", "macro-F1", "weighted F1"],
        ["split 1", "1.000", "1.000", "1.000", "1.000"],
        ["split 2", "0.500", "0.667", "0.500", "0.375"],
        ["mean over splits", "0.750±0.354", "0.833±0.236", "0.750±0.354", "0.688±0.442"],
    ]
    assert len({line.rindex(line.split()[-1]) + len(line.split()[-1]) for line in lines[:4]}) == 1  # columns end together
    assert lines[4] == "pooled: 6 clips" and lines[5:] == tables.scores_text(RUN, evaluation()).splitlines()[1:]


def test_export_text_holds_the_figures():
    certificate = {
        "deploy": [{"name": "centre", "layers_before": 91, "layers_after": 82, "max_logit_difference": 4.3e-5}],
    }
    row = {"WA": 0.601, "UA": 0.612, "macro_f1": 0.623, "calibration_error": 0.134, "same_decision_as_first": 1.0}
    against = {"against": "keras", "max_difference": 0.31, "mean_difference": 0.042}
    bound = {"of": "mean", "at_most": 0.05, "because": "rounding"}
    parity = {
        "stages": [{"stage": "keras", **row}, {"stage": "fake_quant", **row, **against, "bound": bound, "within": True}],
        "first_beyond_bound": None,
        "worst_layers": [{"layer": "block_0_add", "op": "ADD", "snr_db": 21.92}],
    }
    text = tables.export_text(RUN, FIGURES, certificate, parity)
    assert "centre       91 -> 82 layers; max |logit difference| 4.3e-05" in text.splitlines()
    for figure in ("70001 -> 50002", "237 clips", "3.2e-07", "100%", "101234 bytes", "7654321", "98 nodes", "45678 bytes"):
        assert figure in text, figure
    for figure in ("40000 head", "5678 tail", "CONV_2D 5", "FULLY_CONNECTED 12", "03, 05, 07, 24"):
        assert figure in text, figure
    keras, fake_quant, verdict, worst = text.splitlines()[-4:]
    assert keras.split() == ["keras", "0.601", "0.612", "0.623", "0.134", "1.0000"]
    assert fake_quant.split()[:6] == ["fake_quant", *keras.split()[1:]]
    assert fake_quant.endswith("3.1e-01, 4.2e-02 (mean at most 5.0e-02)")
    assert verdict == "every stage is within its bound"
    assert worst == "layers with the lowest signal-to-noise ratio in dB: block_0_add 21.9"
    layers = {"compared": 46, "largest_steps": 0.714, "beyond_bound": []}
    sound = tables.export_text(RUN, FIGURES, certificate, {**parity, "layers": layers})
    assert "46 layers" in sound and "0.71 steps" in sound
    layers["beyond_bound"] = [{"layer": "block_0_ffn", "op": "ADD", "largest": 3.0, "wrong": "a value is 3 steps off"}]
    spoilt = tables.export_text(RUN, FIGURES, certificate, {**parity, "layers": layers})
    assert "wrong in int8: block_0_ffn (ADD): a value is 3 steps off" in spoilt.splitlines()
    beyond = tables.export_text(RUN, FIGURES, certificate, {**parity, "first_beyond_bound": "fake_quant"})
    assert "first stage beyond its bound: fake_quant" in beyond.splitlines()


def test_export_text_shows_a_compressed_model_beside_the_other():
    before = {"bytes": 101234, "arena_bytes": 45678, "kernels": 0, "UA": 0.645}
    after = {"bytes": 65432, "arena_bytes": 56789, "kernels": 12, "UA": 0.641}
    figures = {**FIGURES, "compression": {"bits": 4, "before": before, "after": after}}
    parity = {"stages": [], "first_beyond_bound": None, "worst_layers": []}
    assert tables.export_text(RUN, figures, {"deploy": []}, parity).splitlines()[-3:] == [
        "compression  4 bits a weight in 12 kernels",
        "  without    101234 bytes, TFLM arena 45678 bytes, UA 0.645",
        "  with       65432 bytes, TFLM arena 56789 bytes, UA 0.641",
    ]
    after["kernels"] = 0
    last = tables.export_text(RUN, figures, {"deploy": []}, parity).splitlines()[-1]
    assert last == "compression  saves nothing with 4 bits: no kernel is long enough"


def test_presets_are_listed_with_their_sizes(monkeypatch):
    small = {key: PRESETS[key] for key in (("conformer", "micro"), ("speechformer", "micro"))}
    monkeypatch.setattr(tables, "PRESETS", small)
    lines = tables.presets_text(FeatureConfig()).splitlines()
    assert lines[0] == "clips of 2.5 s: 247 frames of 40 mels; 8 classes"
    assert [line.split() for line in lines[2:]] == [
        ["conformer", "micro", "56561", "4686464", "62"],
        ["speechformer", "micro", "50612", "1872432", "247,", "50,", "10,", "3"],
    ]
