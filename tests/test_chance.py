"""The whole protocol on generated speech: with true labels above chance, with labels dealt out at random at chance."""

from __future__ import annotations

import dataclasses

import pytest

from kser import workflow
from kser.config import DataConfig, DataPaths, TrainConfig
from kser.datasets import SOURCES, Source, synthetic
from tests import tiny
from tests.tiny_run import Quiet

CHANCE = 1 / 4
TAKES = 8


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("synthetic"))


def held_out_ua(data_dir: str, run_dir: str, monkeypatch, shuffle_labels: bool, epochs: int):
    """UA and its interval over four held-out speakers, some takes of each speaker and emotion."""
    monkeypatch.setattr(synthetic, "TAKES", TAKES)
    monkeypatch.setitem(SOURCES, "synthetic", Source(synthetic.load))
    config = dataclasses.replace(
        tiny.run_config(),
        data=DataConfig("synthetic", protocol="speaker_groups_2", shuffle_labels=shuffle_labels),
        features=dataclasses.replace(tiny.FEATURES, clip_seconds=1.5),
        train=TrainConfig(epochs=epochs, batch_size=16, learning_rate=1e-2),
    )
    paths = DataPaths(data_dir, data_dir + "-cache")
    _, found = workflow.train_new(run_dir, config, paths, Quiet())
    assert found.scores.confusion.sum() == 4 * 4 * TAKES and found.num_speakers == 4
    return found.scores.UA, found.intervals["UA"]


def test_shuffled_labels_score_at_chance_inside_the_interval(data_dir, tmp_path, monkeypatch):
    ua, (low, high) = held_out_ua(data_dir, str(tmp_path / "run"), monkeypatch, shuffle_labels=True, epochs=8)
    assert low <= CHANCE <= high, (ua, low, high)


def test_true_labels_score_above_chance_and_its_interval(data_dir, tmp_path, monkeypatch):
    ua, (low, _) = held_out_ua(data_dir, str(tmp_path / "run"), monkeypatch, shuffle_labels=False, epochs=16)
    assert low > CHANCE, (ua, low)
