"""Splits of a corpus: who is in which part, and which requests are refused."""

from __future__ import annotations

import dataclasses

import pytest

from kser.datasets import SOURCES, load_corpus
from kser.datasets.corpus import Corpus, Utterance, label_counts, make_split
from kser.errors import DatasetError

SPEAKERS = ("a", "b", "c", "d", "e", "f")
LABELS = ("calm", "angry")


def utterance(speaker: str, label: str, take: int) -> Utterance:
    return Utterance(f"{speaker}-{label}-{take}", f"/audio/{speaker}{label}{take}.wav", label, speaker)


CORPUS = Corpus(
    "small",
    LABELS,
    tuple(utterance(s, label, take) for take in range(2) for s in SPEAKERS for label in LABELS),
    (("a", "b"), ("c", "d"), ("e", "f")),
)


def speakers(indices) -> set[str]:
    return {CORPUS.utterances[i].speaker for i in indices}


def without(**values) -> Corpus:
    """The corpus without the utterances that have one of these attributes."""
    kept = [u for u in CORPUS.utterances if any(getattr(u, name) != value for name, value in values.items())]
    return dataclasses.replace(CORPUS, utterances=tuple(kept))


@pytest.mark.parametrize("split", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_clip_is_in_one_part_and_no_speaker_in_two(split, seed):
    parts = make_split(CORPUS, split, 2, seed)
    assert sorted([*parts.train, *parts.validation, *parts.test]) == list(range(len(CORPUS.utterances)))
    assert speakers(parts.test) == set(parts.test_speakers) == set(CORPUS.held_out_speakers[split - 1])
    assert speakers(parts.validation) == set(parts.validation_speakers) and len(parts.validation_speakers) == 2
    assert len(speakers(parts.train)) == 2
    assert not speakers(parts.train) & speakers(parts.validation)
    assert not speakers(parts.test) & (speakers(parts.train) | speakers(parts.validation))


def test_the_seed_draws_validation_speakers_and_nothing_else():
    splits = [make_split(CORPUS, 1, 1, seed) for seed in range(20)]
    assert len({s.test for s in splits}) == 1
    assert {s.validation_speakers for s in splits} == {("c",), ("d",), ("e",), ("f",)}
    assert make_split(CORPUS, 1, 1, 7) == make_split(CORPUS, 1, 1, 7)


def test_validation_speakers_do_not_depend_on_the_order_of_the_files():
    turned = dataclasses.replace(CORPUS, utterances=CORPUS.utterances[::-1])
    assert make_split(turned, 2, 2, 3).validation_speakers == make_split(CORPUS, 2, 2, 3).validation_speakers


@pytest.mark.parametrize("split", [0, -1, 4])
def test_a_split_that_is_not_there(split):
    with pytest.raises(DatasetError, match=rf"^Corpus 'small' has splits 1 to 3, not {split}\.$"):
        make_split(CORPUS, split, 1, 0)


@pytest.mark.parametrize("count", [4, 5])
def test_too_many_validation_speakers(count):
    with pytest.raises(DatasetError, match=rf"^Split 1 of 'small' leaves 4 speakers .*{count} for validation are too many"):
        make_split(CORPUS, 1, count, 0)


def test_held_out_speakers_without_clips():
    corpus = dataclasses.replace(CORPUS, held_out_speakers=(("x", "y"),))
    with pytest.raises(DatasetError, match="^Split 1 of 'small' has no clip in its test part"):
        make_split(corpus, 1, 1, 0)


def test_a_label_no_training_clip_has():
    validation = make_split(CORPUS, 1, 1, 0).validation_speakers[0]
    kept = [u for u in CORPUS.utterances if u.label == "calm" or u.speaker in ("a", "b", validation)]
    corpus = dataclasses.replace(CORPUS, utterances=tuple(kept))
    with pytest.raises(DatasetError, match="^No training clip of 'small' split 1 has the label angry"):
        make_split(corpus, 1, 1, 0)


def test_label_counts_are_in_label_order_and_count_absent_labels():
    assert label_counts(CORPUS) == {"calm": 12, "angry": 12}
    assert list(label_counts(CORPUS)) == list(LABELS)
    assert label_counts(CORPUS, [0, 1, 2]) == {"calm": 2, "angry": 1}
    assert label_counts(without(label="angry")) == {"calm": 12, "angry": 0}


def test_speakers_are_sorted_and_named_once():
    assert CORPUS.speakers == SPEAKERS


@pytest.mark.parametrize("change", [{"label": "calm"}, {"speaker": "b"}, {"utterance_id": "other"}])
def test_the_fingerprint_is_of_names_labels_and_speakers(change):
    first, *others = CORPUS.utterances[::-1]
    before = dataclasses.replace(CORPUS, utterances=(first, *others))
    changed = dataclasses.replace(CORPUS, utterances=(dataclasses.replace(first, **change), *others))
    moved = dataclasses.replace(CORPUS, utterances=(dataclasses.replace(first, path="/elsewhere.flac"), *others))
    assert changed.fingerprint() != before.fingerprint()
    assert moved.fingerprint() == before.fingerprint()  # the same corpus in another folder


def test_corpora_are_loaded_by_name(monkeypatch):
    monkeypatch.setitem(SOURCES, "small", lambda data_dir: dataclasses.replace(CORPUS, warnings=(data_dir,)))
    assert load_corpus("small", "/data").warnings == ("/data",)


def test_an_unknown_corpus_is_told_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"^There is no corpus 'iemocop'; known: .*ravdess, synthetic\.$"):
        load_corpus("iemocop", "")
