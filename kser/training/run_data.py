"""The data of a run: corpus, features of all clips, and split, according to the settings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

from kser.config import DataPaths, RunConfig
from kser.datasets import load_corpus
from kser.datasets.corpus import Corpus
from kser.datasets.feature_cache import Features, load_features
from kser.datasets.labels import map_labels, shuffle_labels, train_here_test_there
from kser.datasets.manifest import read_manifest, require_content
from kser.datasets.protocols import Split, check_leaks, find_protocol, make_split, tell_repeated_audio, without_validation
from kser.errors import ConfigError, DatasetError, KserWarning
from kser.training.input_pipeline import Part, evaluation_part
from kser.training.run_directory import Run


@dataclass(frozen=True)
class RunData:
    """The settings of a run, its corpus, the features of all clips, and the split."""

    config: RunConfig
    corpus: Corpus
    features: Features
    split: Split

    def part(self, run: Run, name: str) -> Part:
        """The part train, validation or test of the split, normalized for the run's network."""
        return evaluation_part(self.corpus, self.features, getattr(self.split, name), run.normalization)

    def validation(self, run: Run) -> Part | None:
        """The validation part, which chooses an epoch; None if the run trains on it."""
        return self.part(run, "validation") if self.split.validation else None


def load_run_data(config: RunConfig, paths: DataPaths) -> RunData:
    """Corpus, split and features for the settings of a run; in the result `select` is no longer "auto".

    Raises:
      DatasetError: the corpus or one of its files cannot be used, or the test part leaks into training.
    Warns:
      KserWarning: the corpus differs from the published one, or its validation part cannot be used for training.
    """
    data = config.data
    corpus, features = _load(data.dataset, data.corpus_options, paths.data_dir, paths.manifest, config, paths.cache_dir)
    if data.eval_dataset:
        if data.protocol or data.split != 1:
            raise ConfigError("--eval_dataset tests on the whole corpus, in one split; leave out --protocol and --split.")
        there, there_features = _load(data.eval_dataset, "", paths.eval_data_dir, "", config, paths.cache_dir)
        corpus, features = train_here_test_there(corpus, there), features + there_features
    if data.shuffle_labels:
        corpus = shuffle_labels(corpus, config.train.seed)
    for sentence in corpus.warnings:
        warnings.warn(sentence, KserWarning, stacklevel=2)
    return divide(corpus, features, config)


def divide(corpus: Corpus, features: Features, config: RunConfig) -> RunData:
    """Which epoch is kept, and the resulting split: the validation part is trained on if it does not choose the epoch.

    Raises:
      DatasetError: there is no such split, or its test part leaks into training.
    Warns:
      KserWarning: its validation part cannot be used for training.
    """
    select, split = _split(corpus, features, config)
    return RunData(replace(config, train=replace(config.train, select=select)), corpus, features, split)


def _split(corpus: Corpus, features: Features, config: RunConfig) -> tuple[str, Split]:
    data, train = config.data, config.train
    split = make_split(corpus, data.protocol, data.split, data.validation_speakers, train.seed)
    protocol = find_protocol(corpus, data.protocol)[1]
    check_leaks(corpus, split, protocol, features.digests)
    if train.select == "validation" or train.select == "auto" and data.validation_speakers:
        tell_repeated_audio(corpus, split, features.digests)
        return "validation", split
    whole = without_validation(split)
    try:
        check_leaks(corpus, whole, protocol, features.digests)
    except DatasetError as error:
        if train.select == "last":
            raise DatasetError(
                f"{error} This comes from training on the validation part: leave out --select=last."
            ) from error
        warnings.warn(
            f"The validation part of '{corpus.name}' shares sessions with the test part: so it is not used for training but "
            "to choose the epoch (--select=validation).",
            KserWarning,
            stacklevel=3,
        )
        return "validation", split
    return "last", whole


def read_corpus(name: str, options: str, data_dir: str, manifest: str, columns: str = "") -> tuple[Corpus, list[str] | None]:
    """A corpus from `data_dir`, or from a manifest and then with the digests of its clips.

    Raises:
      DatasetError: there is nothing usable.
    """
    if manifest:
        return read_manifest(manifest, data_dir, name)
    return load_corpus(name, data_dir, options, columns), None


def _load(
    name: str, options: str, data_dir: str, manifest: str, config: RunConfig, cache_dir: str
) -> tuple[Corpus, Features]:
    """A corpus mapped to the label set, and its features; the cache has those of the whole corpus."""
    columns = config.data.columns if name == "folder" else ""
    whole, digests = read_corpus(name, options, data_dir, manifest, columns)
    features = load_features(whole, config.features, cache_dir)
    if digests:
        require_content(manifest, whole, digests, features.digests)
    if not config.data.label_set:
        return whole, features
    corpus = map_labels(whole, config.data.label_set)
    kept = {u.utterance_id for u in corpus.utterances}
    return corpus, features.rows([i for i, u in enumerate(whole.utterances) if u.utterance_id in kept])
