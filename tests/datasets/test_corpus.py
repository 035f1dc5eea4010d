"""What a corpus tells of itself, and how corpora are found by name."""

from __future__ import annotations

import dataclasses

import pytest

from kser.datasets import SOURCES, Source, load_corpus
from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance, label_counts, speakers_held_out
from kser.errors import DatasetError

SPEAKERS = ("a", "b", "c", "d", "e", "f")
LABELS = ("calm", "angry")


def utterance(speaker: str, label: str, take: int) -> Utterance:
    return Utterance(f"{speaker}-{label}-{take}", f"/audio/{speaker}{label}{take}.wav", label, speaker)


CORPUS = Corpus(
    "small",
    LABELS,
    tuple(utterance(s, label, take) for take in range(2) for s in reversed(SPEAKERS) for label in LABELS),
    protocols={"pairs": speakers_held_out([("a", "b"), ("c", "d"), ("e", "f")])},
)


def with_first(**values) -> Corpus:
    first, *others = CORPUS.utterances
    return dataclasses.replace(CORPUS, utterances=(dataclasses.replace(first, **values), *others))


def without_label(label: str) -> Corpus:
    return dataclasses.replace(CORPUS, utterances=tuple(u for u in CORPUS.utterances if u.label != label))


def test_label_counts_are_in_label_order_and_count_absent_labels():
    assert label_counts(CORPUS) == {"calm": 12, "angry": 12}
    assert list(label_counts(CORPUS)) == list(LABELS)
    assert label_counts(CORPUS, [0, 1, 2]) == {"calm": 2, "angry": 1}
    assert label_counts(CORPUS, []) == {"calm": 0, "angry": 0}
    assert label_counts(without_label("angry")) == {"calm": 12, "angry": 0}


def test_speakers_are_sorted_and_named_once():
    assert CORPUS.speakers == SPEAKERS


def test_a_decision_is_made_for_each_utterance_unless_told_otherwise():
    assert CORPUS.decision == "utterance" and CORPUS.warnings == ()


def test_groups_are_speakers_sessions_names_and_attributes():
    u = Utterance("u1", "u1.wav", "calm", "a", "dialogue 3", attributes={"part": "dev", "speaker": "not this"})
    groups = {kind: u.group(kind) for kind in ("speaker", "session", "utterance_id", "part", "absent")}
    assert groups == {"speaker": "a", "session": "dialogue 3", "utterance_id": "u1", "part": "dev", "absent": ""}


def test_held_out_speakers_make_one_split_each():
    assert CORPUS.protocols["pairs"] == Protocol(
        "speaker", (HeldOut(("a", "b")), HeldOut(("c", "d")), HeldOut(("e", "f"))), shared=()
    )


@pytest.mark.parametrize("change", [{"label": "angry"}, {"speaker": "b"}, {"utterance_id": "other"}])
def test_the_fingerprint_is_of_names_labels_and_speakers(change):
    assert with_first(**change).fingerprint() != CORPUS.fingerprint()


def test_the_fingerprint_is_of_the_order_too():
    assert dataclasses.replace(CORPUS, utterances=CORPUS.utterances[::-1]).fingerprint() != CORPUS.fingerprint()


def test_the_same_corpus_in_another_folder_has_the_same_fingerprint():
    assert with_first(path="/elsewhere.flac").fingerprint() == CORPUS.fingerprint()


def test_names_that_are_no_unicode_have_a_fingerprint():
    assert len(with_first(utterance_id="caf\udce9").fingerprint()) == 20


# Corpora by name.


@pytest.fixture
def asked(monkeypatch) -> list:
    """The corpus 'small' is known by name; what it is loaded with is noted here."""
    calls = []
    options = {"scripted": "only what was read", "improvised": "only what was not"}
    monkeypatch.setitem(SOURCES, "small", Source(lambda *arguments: calls.append(arguments) or CORPUS, options))
    return calls


def test_corpora_are_loaded_by_name(asked):
    assert load_corpus("small", "/data") is CORPUS
    assert asked == [("/data", frozenset())]


@pytest.mark.parametrize("text", ["improvised,scripted", "scripted,improvised,", ",scripted,,improvised,scripted"])
def test_options_are_names_between_commas(asked, text):
    load_corpus("small", "/data", text)
    assert asked == [("/data", {"scripted", "improvised"})]


def test_an_unknown_option_is_told_with_the_known_ones(asked):
    with pytest.raises(DatasetError, match="^Corpus 'small' has no option 'sung'; it has scripted: only what was re"):
        load_corpus("small", "/data", "scripted,sung")
    assert asked == []


def test_options_of_a_corpus_that_has_none(monkeypatch):
    monkeypatch.setitem(SOURCES, "plain", Source(lambda data_dir, options: CORPUS))
    with pytest.raises(DatasetError, match=r"^Corpus 'plain' has no option 'scripted'; it has none\.$"):
        load_corpus("plain", "/data", "scripted")


def test_an_unknown_corpus_is_told_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"^There is no corpus 'iemocop'; known: .*ravdess, .*synthetic.*\.$"):
        load_corpus("iemocop", "")


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_known_corpus_loads_from_a_directory_and_explains_its_options(name):
    source = SOURCES[name]
    assert callable(source.load) and all(meaning for meaning in source.options.values())
    if name != "synthetic":  # which makes its own files
        with pytest.raises(DatasetError, match="data_dir"):
            load_corpus(name, "")
