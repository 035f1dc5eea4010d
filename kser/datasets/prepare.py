"""Prepares a corpus: checks every clip, compares it with digests of the original files, and writes a manifest."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kser.config import DataConfig, DataPaths, FeatureConfig
from kser.datasets import checksums, load_corpus
from kser.datasets.corpus import Corpus, Utterance, label_counts
from kser.datasets.feature_cache import Features, default_cache_dir, extract_to_cache, read_cache
from kser.datasets.files import few
from kser.datasets.labels import map_labels
from kser.datasets.manifest import manifest_text
from kser.datasets.protocols import Split, find_protocol, make_split
from kser.datasets.scan import CHUNK_CLIPS, ClipReport, first_problems, scan
from kser.errors import ConfigError, DatasetError
from kser.files import write_text

CHECKED_SPLITS = 12
# Fewer clips may well have one length by chance.
MANY_CLIPS = 10
# From the utterances and the front end's settings to the results of `scan.scan`.
Scanner = Callable[[Sequence[Utterance], FeatureConfig], Iterable]


@dataclass(frozen=True)
class Preparation:
    """The usable clips of a corpus with their reports, the reasons why others were left out, remarks and notes.

    `remarks` report defects, `notes` are of interest even for an unchanged copy. `manifest` is the path of the manifest
    that was written, of all labels. `labelled` is what training with the label set would see of the corpus.
    """

    corpus: Corpus
    labelled: Corpus
    reports: tuple[ClipReport, ...]
    excluded: dict[str, str]
    remarks: tuple[str, ...]
    notes: tuple[str, ...]
    manifest: str

    @property
    def complete(self) -> bool:
        """Whether the corpus is as published and every clip is usable."""
        return not self.remarks


def prepare_corpus(data: DataConfig, features: FeatureConfig, paths: DataPaths, scanner: Scanner = scan) -> Preparation:
    """Reads and prepares the corpus of the settings, which must be possible to split; see `prepare`."""

    def labelled(corpus: Corpus) -> Corpus:
        return map_labels(corpus, data.label_set) if data.label_set else corpus

    def require_splits(corpus: Corpus) -> None:
        _splits(labelled(corpus), data)

    corpus = load_corpus(data.dataset, paths.data_dir, data.corpus_options, data.columns)
    require_splits(corpus)  # before any work
    prepared = prepare(corpus, features, paths, scanner, require_splits)
    seen = labelled(prepared.corpus)
    mapped = seen.warnings[len(prepared.corpus.warnings) :]
    notes = (*prepared.notes, *mapped, *_note_missing_labels(seen, data))
    return dataclasses.replace(prepared, labelled=seen, notes=notes)


def _splits(corpus: Corpus, data: DataConfig) -> list[Split]:
    """The first splits of the protocol; raises DatasetError if one is impossible."""
    name, protocol = find_protocol(corpus, data.protocol)
    numbers = range(1, min(len(protocol.splits), CHECKED_SPLITS) + 1)
    return [make_split(corpus, name, number, data.validation_speakers) for number in numbers]


def _note_missing_labels(corpus: Corpus, data: DataConfig) -> list[str]:
    """Splits whose test part has no clip of some label, which a score over it then says nothing about."""
    missing = []
    for number, split in enumerate(_splits(corpus, data), start=1):
        labels = [label for label, count in label_counts(corpus, split.test).items() if not count]
        if labels:
            missing.append(f"split {number} tests no {', '.join(labels)}")
    return [f"Some labels are not tested in every split: {few(missing)}."] if missing else []


def beam_scanner(runner: str, runner_flags: Sequence[str], work_dir: str = "") -> Scanner:
    """A scan by Apache Beam, for `prepare`; without `work_dir` by workers on this machine.

    Raises:
      ConfigError: Apache Beam is not installed.
    """
    # Beam logs at every start which clouds it cannot reach.
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    try:
        from kser.datasets.beam_scan import beam_scan
    except ImportError as error:
        raise ConfigError("--runner needs Apache Beam; install it with pip install 'kser[beam]'.") from error

    def scanner(utterances, config):
        with tempfile.TemporaryDirectory() as temporary:
            yield from beam_scan(utterances, config, work_dir or temporary, runner, runner_flags)

    return scanner


def prepare(
    corpus: Corpus,
    config: FeatureConfig,
    paths: DataPaths,
    scanner: Scanner = scan,
    check: Callable[[Corpus], None] = lambda corpus: None,
) -> Preparation:
    """Scans a corpus, fills the feature cache with its usable clips and writes the manifest to `paths.manifest`.

    Without a path the manifest goes to the cache directory. Unusable clips, and clips with the same audio but different
    labels, are left out. `check` may refuse the rest before anything is written.

    Raises:
      DatasetError: no clip can be used, or the manifest's path is another kind of file.
    """
    reports, features = _scanned(corpus, config, paths.cache_dir, scanner)
    excluded = {u.utterance_id: r.problem for u, r in zip(corpus.utterances, reports, strict=True) if r.problem}
    remarks = [*corpus.warnings, *_remark_on_problems(reports), *_remark_on_corrections(reports)]
    usable = _without(corpus, excluded)
    contradictions = contradicting_duplicates(usable, features.digests)
    if contradictions:
        excluded |= contradictions
        usable, features = _subset(usable, features, contradictions, config, paths.cache_dir)
        remarks.append(
            f"{len(contradictions)} clips have the same audio as another with a different label: {few(contradictions)}."
        )
    check(usable)
    remarks += _remark_on_checksums(usable, features.reports)
    notes = (*corpus.notes, *_notes(usable, features))
    text = manifest_text(usable, features.reports, paths.data_dir or ".", excluded)
    path = paths.manifest or os.path.join(
        paths.cache_dir or default_cache_dir(), f"{corpus.name}-{usable.fingerprint()}.jsonl"
    )
    if paths.manifest:
        _require_free(path, text)
    write_text(path, text)
    return Preparation(usable, usable, features.reports, excluded, tuple(remarks), notes, path)


def _scanned(
    corpus: Corpus, config: FeatureConfig, cache_dir: str, scanner: Scanner
) -> tuple[Sequence[ClipReport], Features]:
    """Reports of all clips and features of the usable ones, from the cache if it was filled before."""
    features = read_cache(corpus, config, cache_dir)
    if features is not None:
        return features.reports, features
    return extract_to_cache(corpus, scanner(corpus.utterances, config), config, cache_dir)


def _without(corpus: Corpus, names: Iterable[str]) -> Corpus:
    return dataclasses.replace(corpus, utterances=tuple(u for u in corpus.utterances if u.utterance_id not in names))


def _subset(
    corpus: Corpus, features: Features, names: Iterable[str], config: FeatureConfig, cache_dir: str
) -> tuple[Corpus, Features]:
    """Corpus and cached features without the clips of these names."""
    kept = [i for i, u in enumerate(corpus.utterances) if u.utterance_id not in names]
    smaller = _without(corpus, names)
    rows = [kept[i : i + CHUNK_CLIPS] for i in range(0, len(kept), CHUNK_CLIPS)]
    found = (([features.reports[i] for i in chunk], features.values[chunk]) for chunk in rows)
    return smaller, extract_to_cache(smaller, found, config, cache_dir)[1]


def _require_free(path: str, text: str) -> None:
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8") as stream:
                same = stream.read() == text
        except (OSError, UnicodeDecodeError):
            same = False
        if not same:
            raise DatasetError(f"{path} exists and is not a manifest; choose another --manifest or remove it.")


def _by_digest(corpus: Corpus, digests: Sequence[str]) -> list[list[Utterance]]:
    """The groups of clips that have identical audio."""
    groups = defaultdict(list)
    for utterance, digest in zip(corpus.utterances, digests, strict=True):
        groups[digest].append(utterance)
    return [group for group in groups.values() if len(group) > 1]


def contradicting_duplicates(corpus: Corpus, digests: Sequence[str]) -> dict[str, str]:
    """Clips with the same audio but different labels, by name, with the reason to leave them out."""
    return {
        u.utterance_id: "the same audio has the labels " + ", ".join(sorted({other.label for other in group})) + "."
        for group in _by_digest(corpus, digests)
        for u in group
        if len({other.label for other in group}) > 1
    }


def _remark_on_problems(reports: Sequence[ClipReport]) -> list[str]:
    problems = [r.problem for r in reports if r.problem]
    if not problems:
        return []
    return [f"{len(problems)} of {len(reports)} clips cannot be used and are left out: {first_problems(problems)}"]


def _remark_on_corrections(reports: Sequence[ClipReport]) -> list[str]:
    told = [r.remark for r in reports if r.remark]
    return [f"{len(told)} of {len(reports)} clips were corrected: {' '.join(told[:3])}"] if told else []


def _notes(corpus: Corpus, features: Features) -> list[str]:
    reports = features.reports
    return [*_note_repeats(corpus, features.digests), *_note_rates(corpus, reports), *_note_lengths(reports)]


def _note_repeats(corpus: Corpus, digests: Sequence[str]) -> list[str]:
    groups = _by_digest(corpus, digests)
    if not groups:
        return []
    names = [" = ".join(u.utterance_id for u in group) for group in groups]
    return [f"Recordings that occur more than once: {few(names)}; training refuses splits that separate them."]


def _note_lengths(reports: Sequence[ClipReport]) -> list[str]:
    lengths = {r.seconds for r in reports}
    if len(reports) < MANY_CLIPS or len(lengths) > 1:
        return []
    return [f"All clips last {lengths.pop():g} s: they were cut or filled up, and may not be whole utterances."]


def _note_rates(corpus: Corpus, reports: Sequence[ClipReport]) -> list[str]:
    usual = Counter(r.sample_rate_hz for r in reports).most_common(1)[0][0]
    others = [u.utterance_id for u, r in zip(corpus.utterances, reports, strict=True) if r.sample_rate_hz != usual]
    return [f"Most clips are sampled at {usual} Hz, {len(others)} are not: {few(others)}."] if others else []


def _remark_on_checksums(corpus: Corpus, reports: Sequence[ClipReport]) -> list[str]:
    """Differences from the original files of the corpus; none if these are unknown or in another format."""
    known = checksums.known(corpus.name)
    if known is None:
        return []
    names = [checksums.name_of(corpus.name, u.path) for u in corpus.utterances]
    listed = [(name, report) for name, report in zip(names, reports, strict=True) if name]
    other = [name for name, report in listed if not report.digest.startswith(known[name])]
    if not other:
        return []
    return [
        f"{len(other)} of {len(listed)} files of '{corpus.name}' differ from the original ones ({few(other)}): they were "
        "converted or damaged."
    ]
