"""configs/*.flags: every file is flags that bin/train takes, and says how it is run and what to expect of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver

from kser import datasets
from kser.cli import settings, train
from kser.config import RECOMMENDED_HRF, AugmentConfig, HRFConfig
from kser.datasets.ravdess import LABELS
from kser.models.presets import build_model, preset

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "configs").glob("*.flags"))
FLAGS = flags.FLAGS


@pytest.fixture(scope="module", autouse=True)
def _defined():
    before = set(FLAGS)
    train.define_flags()
    yield
    for name in set(FLAGS) - before:
        delattr(FLAGS, name)


def config_of(path: Path):
    with flagsaver.flagsaver():
        assert FLAGS(["train", f"--flagfile={path}"]) == ["train"]  # nothing is left over
        train.require_use()
        assert FLAGS.run_dir == f"runs/{path.stem}"
        return settings.run_config(preset(FLAGS.backbone, FLAGS.preset))


def test_there_is_one_for_every_row_of_the_table():
    assert {"demo", "ravdess_micro", "ravdess_micro_plain", "ravdess_light", "ravdess_light_plain"} < {p.stem for p in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_a_run(path):
    config = config_of(path)
    assert config.data.dataset in datasets.SOURCES
    assert config.model.hrf == (HRFConfig() if path.stem.endswith("_plain") else RECOMMENDED_HRF)
    assert config.augment == AugmentConfig() and config.train.select == "auto"
    assert build_model(config.model, config.features, len(LABELS)).output_shape == (None, len(LABELS))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_how_to_run_it_and_what_to_expect(path):
    text = path.read_text(encoding="utf-8")
    assert f"bin/train --flagfile=configs/{path.name}\n" in text
    assert re.search("minutes", text, re.IGNORECASE)
    assert re.search(r"UA .*\n?.*\d\.\d{3} \+- \d\.\d{3}", text) or "not measured here" in text or "no result" in text


@pytest.mark.parametrize("path", [p for p in FILES if p.stem.startswith("ravdess")], ids=lambda path: path.stem)
def test_the_figures_are_those_of_the_documents(path):
    """A row of the table that benchmarks/ravdess.py printed."""
    config, size = config_of(path), path.stem.split("_")[1]
    text = path.read_text(encoding="utf-8").replace("+-", "±")
    keras, tflm = re.search(r"^# (\S+ ± \S+) in Keras, (\S+ ± \S+) as int8", text, re.MULTILINE).groups()
    row = f"| conformer {size} | {config.model.hrf.expansion} | {keras} | {keras} | "
    lines = [line for name in ("README.md", "benchmarks/README.md") for line in (ROOT / name).read_text().splitlines()]
    assert any(line.startswith(row) and f" | {tflm} | " in line for line in lines)
