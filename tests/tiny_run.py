"""The tiny run trained for two epochs and converted, for tests of what comes after training."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kser import datasets, workflow
from kser.config import DataPaths, QuantizationConfig
from kser.datasets.corpus import Corpus
from kser.export.exporter import Export
from kser.training import run_directory
from kser.training.run_data import RunData
from tests import tiny

NUM_REPRESENTATIVE = 5


class Quiet:
    """Progress nobody looks at."""

    def start(self, done, total, steps):
        pass

    def step(self):
        pass

    def epoch(self, row):
        pass


@dataclass(frozen=True)
class TinyRun:
    """A run directory, the corpus it was trained on, and what its conversion returned."""

    run: run_directory.Run
    corpus: Corpus
    cache_dir: str
    result: Export

    @property
    def path(self) -> str:
        return self.run.path

    def model_file(self) -> Path:
        return Path(self.run.file(workflow.MODEL_FILE))

    def copy(self, directory) -> TinyRun:
        """The same run in another directory, to do harm to."""
        path = str(Path(directory) / "run")
        shutil.copytree(self.path, path)
        return replace(self, run=run_directory.load(path))

    @property
    def paths(self) -> DataPaths:
        """Those of the run, and the cache, which it does not remember."""
        return DataPaths(cache_dir=self.cache_dir)

    def run_data(self) -> RunData:
        return workflow.open_run(self.path, self.paths)[1]


def use_corpus(patch: pytest.MonkeyPatch, corpus: Corpus) -> None:
    """Lets `corpus` be found under its name."""
    patch.setitem(datasets.SOURCES, corpus.name, datasets.Source(lambda data_dir, options: corpus))


def make(directory: Path) -> TinyRun:
    """Trains and converts below `directory`; the corpus is known by its name for that long only."""
    audio, run_dir, cache_dir = directory / "audio", str(directory / "run"), str(directory / "cache")
    audio.mkdir()
    corpus = tiny.make_corpus(str(audio))
    with pytest.MonkeyPatch.context() as patch:
        use_corpus(patch, corpus)
        paths = DataPaths(str(audio), cache_dir)
        workflow.train_new(run_dir, tiny.run_config(epochs=2), paths, Quiet())
        run, result = workflow.fold_and_convert(run_dir, paths, QuantizationConfig(representative_clips=NUM_REPRESENTATIVE))
    return TinyRun(run, corpus, cache_dir, result)
