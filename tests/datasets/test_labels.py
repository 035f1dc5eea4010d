"""Label sets over corpora, labels dealt out at random, and training on one corpus to test on another."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kser.datasets.corpus import Corpus, Utterance, label_counts, speakers_held_out
from kser.datasets.labels import LABEL_SETS, map_labels, shuffle_labels, train_here_test_there
from kser.datasets.protocols import check_leaks, find_protocol, make_split
from kser.errors import DatasetError

ALL = ("angry", "bored", "calm", "disgust", "excited", "fearful", "frustrated", "happy", "neutral", "sad", "surprised")
SPEAKERS = ("a", "b", "c", "d", "e", "f", "g", "h")


def corpus_of(labels=ALL, name: str = "toy", **values) -> Corpus:
    """Each of eight speakers says every label, the n-th label n times."""
    utterances = [
        Utterance(f"{speaker}-{label}-{take}", f"/{name}/{speaker}-{label}-{take}.wav", label, speaker, f"dialogue {take}")
        for speaker in SPEAKERS
        for number, label in enumerate(labels, 1)
        for take in range(number)
    ]
    return Corpus(name, tuple(labels), tuple(utterances), **values)


CORPUS = corpus_of(protocols={"first": speakers_held_out([("a",)])}, warnings=("One clip is missing.",), decision="speaker")
BY_UTTERANCE = dataclasses.replace(CORPUS, decision="utterance")


# Label sets. Of the labels in the order of ALL there are 8, 16, 24 ... clips.


@pytest.mark.parametrize(
    ("label_set", "counts"),
    [
        ("4class", {"angry": 8, "happy": 40 + 64, "neutral": 72, "sad": 80}),
        ("5class", {"angry": 8, "happy": 40 + 64, "neutral": 72, "sad": 80, "surprised": 88}),
        ("6class", {"angry": 8, "disgust": 32, "fearful": 48, "happy": 40 + 64, "neutral": 72, "sad": 80}),
        ("arousal", {"high": 8 + 64 + 40 + 48 + 88, "low": 72 + 24 + 80 + 16}),
    ],
)
def test_each_set_maps_what_it_knows_and_leaves_out_the_rest(label_set, counts):
    found = map_labels(CORPUS, label_set)
    assert label_counts(found) == counts and found.labels == tuple(counts)
    assert len(found.utterances) == sum(counts.values())


def test_these_are_all_sets():
    assert set(LABEL_SETS) == {"4class", "5class", "6class", "arousal"}


def test_clips_keep_all_but_their_label_and_the_corpus_all_but_its_clips():
    found = map_labels(CORPUS, "4class")
    before = {u.utterance_id: u for u in CORPUS.utterances}
    for utterance in found.utterances:
        original = before[utterance.utterance_id]
        assert utterance.label == LABEL_SETS["4class"][original.label]
        assert dataclasses.replace(utterance, label=original.label) == original
    assert [u.utterance_id for u in found.utterances] == [n for n, u in before.items() if u.label in LABEL_SETS["4class"]]
    assert (found.name, found.protocols, found.decision) == ("toy", CORPUS.protocols, "speaker")


def test_what_is_left_out_is_said_with_its_count():
    assert map_labels(CORPUS, "5class").warnings == (
        "One clip is missing.",
        "176 clips of 'toy' are left out: '5class' has no bored, calm, disgust, fearful, frustrated.",
    )


def test_nothing_is_said_where_nothing_is_left_out():
    assert map_labels(corpus_of(("neutral", "sad", "angry", "excited")), "4class").warnings == ()


def test_excited_alone_stands_for_happy():
    found = map_labels(corpus_of(("neutral", "sad", "angry", "excited")), "4class")
    assert label_counts(found)["happy"] == 32


def test_a_set_with_a_label_the_corpus_has_not_is_refused():
    told = r"^Corpus .toy. has no clip for angry, sad of the label set .4class.; its labels are happy, neutral, bored\.$"
    with pytest.raises(DatasetError, match=told):
        map_labels(corpus_of(("happy", "neutral", "bored")), "4class")


def test_an_unknown_set_is_told_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"^There is no label set '7class'; known: 4class, 5class, 6class, arousal\.$"):
        map_labels(CORPUS, "7class")


# Labels at random.


def labels(corpus: Corpus) -> list[str]:
    return [u.label for u in corpus.utterances]


def test_shuffled_labels_are_the_same_labels_on_other_clips():
    found = shuffle_labels(BY_UTTERANCE, 3)
    assert label_counts(found) == label_counts(BY_UTTERANCE)
    share = np.mean([a == b for a, b in zip(labels(found), labels(BY_UTTERANCE), strict=True)])
    counts = np.array(list(label_counts(BY_UTTERANCE).values()))
    chance = np.sum((counts / counts.sum()) ** 2)
    assert abs(share - chance) < 4 * np.sqrt(chance * (1 - chance) / len(BY_UTTERANCE.utterances))


def test_only_labels_are_shuffled():
    found = shuffle_labels(BY_UTTERANCE, 3)
    assert [dataclasses.replace(u, label="") for u in found.utterances] == [
        dataclasses.replace(u, label="") for u in BY_UTTERANCE.utterances
    ]


def test_the_seed_decides_how_labels_are_shuffled():
    assert shuffle_labels(BY_UTTERANCE, 3) == shuffle_labels(BY_UTTERANCE, 3)
    assert len({tuple(labels(shuffle_labels(BY_UTTERANCE, seed))) for seed in range(4)}) == 4


def test_shuffled_labels_are_told():
    first, told = shuffle_labels(CORPUS, 0).warnings
    assert first == "One clip is missing."
    assert told == "The labels of 'toy' were shuffled: a score above chance means an error in the protocol."


# One corpus to train on, another to test on.

HERE = corpus_of(
    ("sad", "angry"), "here", protocols={"own": speakers_held_out([("a",)])}, warnings=("Here one is missing.",)
)
THERE = corpus_of(("sad", "angry"), "there", warnings=("There are two.",))


def test_all_of_the_other_corpus_is_tested_and_all_of_the_first_is_trained_on():
    both = train_here_test_there(HERE, THERE)
    name, protocol = find_protocol(both)
    assert (name, len(protocol.splits), protocol.shared) == ("cross_corpus", 1, ())
    split = make_split(both)
    half = len(HERE.utterances)
    assert split.test == tuple(range(half, half + len(THERE.utterances)))
    assert sorted((*split.train, *split.validation)) == list(range(half)) and len(split.validation_speakers) == 1
    assert split.test_speakers == tuple(f"there/{speaker}" for speaker in SPEAKERS)
    check_leaks(both, split, protocol, [u.path for u in both.utterances])


def test_names_speakers_and_sessions_say_which_corpus_they_are_of():
    both = train_here_test_there(HERE, THERE)
    for before, after in zip(HERE.utterances + THERE.utterances, both.utterances, strict=True):
        name = before.path.split("/")[1]
        assert after.utterance_id == f"{name}/{before.utterance_id}"
        assert (after.speaker, after.session) == (f"{name}/{before.speaker}", f"{name}/{before.session}")
        assert (after.path, after.label) == (before.path, before.label)
    assert len({u.utterance_id for u in both.utterances}) == len(both.utterances)


def test_no_session_stays_no_session():
    alone = dataclasses.replace(THERE, utterances=tuple(dataclasses.replace(u, session="") for u in THERE.utterances))
    assert {u.session for u in train_here_test_there(HERE, alone).utterances[len(HERE.utterances) :]} == {""}


def test_the_two_corpora_are_one_by_both_names_with_the_warnings_of_both():
    both = train_here_test_there(HERE, THERE)
    assert (both.name, both.labels, both.decision) == ("here+there", ("sad", "angry"), "utterance")
    assert both.warnings == ("Here one is missing.", "There are two.")


def test_identical_audio_in_both_corpora_is_a_leak():
    both = train_here_test_there(HERE, THERE)
    digests = [u.utterance_id.split("/")[1] for u in both.utterances]
    with pytest.raises(DatasetError, match="the audio of 24 of its clips occurs in training"):
        check_leaks(both, make_split(both), find_protocol(both)[1], digests)


def test_the_order_of_the_labels_is_that_of_the_corpus_trained_on():
    both = train_here_test_there(HERE, corpus_of(("angry", "sad"), "there"))
    assert both.labels == ("sad", "angry")


def test_a_corpus_tested_on_itself_leaks():
    """By its speakers even where the copy's audio has other digests, because it was resampled."""
    both = train_here_test_there(HERE, HERE)
    with pytest.raises(DatasetError, match="the speaker of 24 of its clips occurs in training"):
        check_leaks(both, make_split(both), find_protocol(both)[1], [str(i) for i in range(len(both.utterances))])


@pytest.mark.parametrize("other", [("sad", "angry", "calm"), ("sad",), ("sad", "happy")])
def test_different_labels_are_refused_with_a_way_out(other):
    with pytest.raises(DatasetError) as error:
        train_here_test_there(HERE, corpus_of(other, "there"))
    assert str(error.value) == (
        f"'here' has the labels sad, angry, 'there' has {', '.join(other)}; map both to a common --label_set "
        "(4class, 5class, 6class, arousal)."
    )


def test_corpora_that_decide_for_different_units_are_refused():
    with pytest.raises(DatasetError, match="'here' decides per utterance, 'there' per speaker"):
        train_here_test_there(HERE, dataclasses.replace(THERE, decision="speaker"))


def test_corpora_with_a_common_label_set_go_together():
    both = train_here_test_there(
        map_labels(CORPUS, "4class"), map_labels(corpus_of(ALL[::-1], decision="speaker"), "4class")
    )
    assert label_counts(both) == {"angry": 8 + 88, "happy": 104 + 56 + 32, "neutral": 72 + 24, "sad": 80 + 16}
    assert len(both.warnings) == 3


def test_where_speakers_are_decided_for_they_keep_one_label_each():
    utterances = [dataclasses.replace(u, label=ALL[ord(u.speaker[-1]) % 2]) for u in CORPUS.utterances]
    corpus = dataclasses.replace(CORPUS, labels=ALL[:2], utterances=tuple(utterances))
    dealt = {seed: {(u.speaker, u.label) for u in shuffle_labels(corpus, seed).utterances} for seed in range(4)}
    assert all(len(pairs) == len(SPEAKERS) for pairs in dealt.values())
    assert len({frozenset(pairs) for pairs in dealt.values()}) > 1


def test_two_corpora_of_one_name_keep_their_clips_apart():
    corpus = Corpus("folder", ("calm", "sad"), tuple(Utterance(f"{s}{i}", "", "calm", s) for s in "ab" for i in range(2)))
    both = train_here_test_there(corpus, corpus)
    assert both.name == "folder-train+folder-test"
    assert len({u.utterance_id for u in both.utterances}) == 8 and len(both.speakers) == 4


def test_usual_synonyms_are_known_in_any_case():
    corpus = corpus_of(("Anger", "HAPPINESS", "joy", "Neutral", "sadness", "doubt"))
    found = map_labels(corpus, "4class")
    assert label_counts(found) == {"angry": 8, "happy": 16 + 24, "neutral": 32, "sad": 40}
    assert found.warnings == ("48 clips of 'toy' are left out: '4class' has no doubt.",)


def test_a_set_without_clips_is_told_with_the_labels_there_are():
    with pytest.raises(DatasetError, match="has no clip for angry, happy, neutral of .*; its labels are doubt, sadness"):
        map_labels(corpus_of(("doubt", "sadness")), "4class")
