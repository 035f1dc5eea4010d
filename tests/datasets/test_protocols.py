"""Splits: who is in which part by every protocol, what makes no split, and test clips that training knows."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter

import numpy as np
import pytest

from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance, label_counts, speakers_held_out
from kser.datasets.protocols import (
    Split,
    check_leaks,
    find_protocol,
    make_split,
    tell_repeated_audio,
    without_validation,
)
from kser.errors import DatasetError, KserWarning

LABELS = ("calm", "angry", "sad")
SPEAKERS = ("a", "b", "c", "d", "e", "f")
PAIRS = speakers_held_out([("a", "b"), ("c", "d"), ("e", "f")])


def corpus_of(takes: dict[str, int], **values) -> Corpus:
    """A corpus with so many clips of every label by each speaker."""
    utterances = [
        Utterance(f"{speaker}-{label}-{take}", f"{speaker}-{label}-{take}.wav", label, speaker)
        for speaker, count in takes.items()
        for label in LABELS
        for take in range(count)
    ]
    return Corpus("small", LABELS, tuple(utterances), **values)


CORPUS = corpus_of(dict.fromkeys(SPEAKERS, 4), protocols={"pairs": PAIRS})
TEN_TAKES = corpus_of(dict.fromkeys(SPEAKERS, 10))


def uneven_corpus(seed: int) -> Corpus:
    """Five to nine speakers, two to a dozen clips of every label, in no order."""
    rng = np.random.default_rng(seed)
    corpus = corpus_of({f"s{i}": int(rng.integers(2, 13)) for i in range(rng.integers(5, 10))})
    # Labels are not equally frequent either, but every speaker keeps two of each.
    kept = [u for u in corpus.utterances if int(u.utterance_id[-1]) < 2 or rng.random() < 0.7]
    return shuffled(dataclasses.replace(corpus, utterances=tuple(kept)), seed)


def shuffled(corpus: Corpus, seed: int) -> Corpus:
    order = np.random.default_rng(seed).permutation(len(corpus.utterances))
    return dataclasses.replace(corpus, utterances=tuple(corpus.utterances[i] for i in order))


def splits_of(corpus: Corpus, protocol: str, seed: int = 0) -> list[Split]:
    count = len(find_protocol(corpus, protocol)[1].splits)
    return [make_split(corpus, protocol, number, seed=seed) for number in range(1, count + 1)]


def speakers(corpus: Corpus, *parts) -> set[str]:
    return {corpus.utterances[i].speaker for part in parts for i in part}


def names(corpus: Corpus, indices) -> set[str]:
    return {corpus.utterances[i].utterance_id for i in indices}


def refusal(function, *arguments, **values) -> str:
    """What the call is refused with: one line."""
    with pytest.raises(DatasetError) as error:
        function(*arguments, **values)
    message = str(error.value)
    assert "\n" not in message and message[-1] in ".?", message
    return message


# Which protocol.


def test_the_first_published_protocol_is_the_default():
    corpus = dataclasses.replace(CORPUS, protocols={"later": speakers_held_out([("a",)]), "pairs": PAIRS})
    assert find_protocol(corpus) == ("later", corpus.protocols["later"])
    assert find_protocol(corpus, "pairs") == ("pairs", PAIRS)
    assert make_split(corpus).test_speakers == ("a",)


@pytest.mark.parametrize(("count", "name", "splits"), [(2, "leave_one_speaker_out", 2), (12, "leave_one_speaker_out", 12)])
def test_without_a_published_protocol_few_speakers_are_left_out_one_by_one(count, name, splits):
    found, protocol = find_protocol(corpus_of({f"s{i:02d}": 2 for i in range(count)}))
    assert (found, len(protocol.splits)) == (name, splits)


def test_without_a_published_protocol_many_speakers_are_left_out_in_groups():
    found, protocol = find_protocol(corpus_of({f"s{i:02d}": 2 for i in range(13)}))
    assert (found, len(protocol.splits)) == ("speaker_groups_5", 5)


def test_a_published_protocol_goes_before_a_computed_one_of_its_name():
    own = speakers_held_out([("f",)])
    corpus = dataclasses.replace(CORPUS, protocols={"leave_one_speaker_out": own})
    assert find_protocol(corpus, "leave_one_speaker_out")[1] is own


@pytest.mark.parametrize(
    "name", ["pears", "speaker_groups_", "speaker_groups_-1", "speaker_groups_2.0", "speakers_shared_x"]
)
def test_an_unknown_protocol_is_told_with_the_known_ones(name):
    message = refusal(find_protocol, CORPUS, name)
    assert message.startswith(
        f"Corpus 'small' has no protocol '{name}'; known: pairs, leave_one_speaker_out, speaker_groups_K"
    )


@pytest.mark.parametrize("count", [0, 1, 7, 9999])
def test_groups_of_speakers_must_be_two_at_least_and_no_more_than_speakers(count):
    assert f"has 6 speakers: they make no {count} groups" in refusal(find_protocol, CORPUS, f"speaker_groups_{count}")


def test_one_speaker_cannot_be_held_out():
    message = refusal(make_split, corpus_of({"only": 9}))
    assert "speakers_shared_5" in message


@pytest.mark.parametrize("count", [0, 1, 73, 9999])
def test_parts_with_shared_speakers_must_be_two_at_least_and_no_more_than_clips(count):
    assert f"speakers_shared_{count}" in refusal(find_protocol, CORPUS, f"speakers_shared_{count}")


def test_as_many_parts_as_clips_are_left_out_clip_by_clip():
    found = [split.test for split in splits_of(CORPUS, "speakers_shared_72")]
    assert sorted(found) == [(i,) for i in range(72)]


@pytest.mark.parametrize("number", [0, -1, 4])
def test_a_split_that_is_not_there(number):
    assert refusal(make_split, CORPUS, "", number) == f"Protocol 'pairs' of 'small' has splits 1 to 3, not {number}."


# What holds for the splits of every protocol.

COMPUTED = ["leave_one_speaker_out", "speaker_groups_2", "speaker_groups_5", "speakers_shared_2", "speakers_shared_7"]


@pytest.mark.parametrize("protocol", COMPUTED)
@pytest.mark.parametrize("seed", range(6))
def test_every_clip_is_in_one_part_of_a_split_and_in_the_test_part_of_one(protocol, seed):
    corpus = uneven_corpus(seed)
    everything = list(range(len(corpus.utterances)))
    splits = splits_of(corpus, protocol, seed)
    assert sorted(i for split in splits for i in split.test) == everything
    for split in splits:
        assert sorted([*split.train, *split.validation, *split.test]) == everything
        assert split.validation_speakers == tuple(sorted(speakers(corpus, split.validation)))
        assert split.test_speakers == tuple(sorted(speakers(corpus, split.test)))


@pytest.mark.parametrize("protocol", COMPUTED)
@pytest.mark.parametrize("seed", range(6))
def test_no_split_leaks_and_speakers_are_shared_only_by_name(protocol, seed):
    corpus = uneven_corpus(seed)
    found = find_protocol(corpus, protocol)[1]
    digests = [u.utterance_id for u in corpus.utterances]
    for split in splits_of(corpus, protocol, seed):
        check_leaks(corpus, split, found, digests)
        common = speakers(corpus, split.test) & speakers(corpus, split.train, split.validation)
        assert bool(common) == protocol.startswith("speakers_shared")


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("seed", range(6))
def test_groups_of_speakers_differ_by_the_largest_speaker_at_most(count, seed):
    corpus = uneven_corpus(seed)
    clips = [len(split.test) for split in splits_of(corpus, f"speaker_groups_{count}")]
    assert max(clips) - min(clips) <= max(Counter(u.speaker for u in corpus.utterances).values())


def test_groups_have_all_labels_where_speakers_allow_it():
    # Whoever is angry has many clips of nothing else, so that sizes alone put both into groups of their own.
    utterances = [Utterance(f"{s}-sad-{i}", f"{s}{i}.wav", "sad", s) for s in "abcdef" for i in range(4)]
    utterances += [Utterance(f"{s}-calm-{i}", f"{s}{i}.wav", "calm", s) for s in "abcd" for i in range(3)]
    utterances += [Utterance(f"{s}-angry-{i}", f"{s}{i}.wav", "angry", s) for s in "ef" for i in range(3)]
    corpus = Corpus("small", LABELS, tuple(utterances))
    for seed in range(3):
        _, protocol = find_protocol(shuffled(corpus, seed), "speaker_groups_2")
        for group in protocol.splits:
            assert {u.label for u in corpus.utterances if u.speaker in group.test} == set(LABELS)


def test_a_speaker_of_many_clips_is_alone():
    corpus = corpus_of({"a": 1, "b": 30, "c": 2, "d": 3, "e": 1})
    held_out = {split.test for split in find_protocol(corpus, "speaker_groups_2")[1].splits}
    assert held_out == {("b",), ("a", "c", "d", "e")}


@pytest.mark.parametrize("count", [2, 5, 7])
@pytest.mark.parametrize("seed", range(6))
def test_parts_with_shared_speakers_are_of_one_size_in_every_label(count, seed):
    corpus = uneven_corpus(seed)
    tests = [split.test for split in splits_of(corpus, f"speakers_shared_{count}")]
    sizes = [len(test) for test in tests]
    assert max(sizes) - min(sizes) <= 1
    for label in LABELS:
        found = [label_counts(corpus, test)[label] for test in tests]
        assert max(found) - min(found) <= 1


def test_parts_with_shared_speakers_take_other_takes_of_every_label():
    """Were they dealt out alike, all labels of one sentence would be tested together."""
    takes = Counter()
    for split in splits_of(TEN_TAKES, "speakers_shared_2"):
        test = names(TEN_TAKES, split.test)
        takes.update(frozenset(label for label in LABELS if f"{s}-{label}-{t}" in test) for s in SPEAKERS for t in range(10))
    assert len(takes) == 2 ** len(LABELS)


@pytest.mark.parametrize("corpus", [uneven_corpus(1), CORPUS], ids=["uneven", "even"])
@pytest.mark.parametrize("protocol", COMPUTED)
def test_splits_do_not_depend_on_the_order_of_the_files(protocol, corpus):
    for seed in range(3):
        other = shuffled(corpus, seed)
        for one, another in zip(splits_of(corpus, protocol), splits_of(other, protocol), strict=True):
            for part in ("train", "validation", "test"):
                assert names(corpus, getattr(one, part)) == names(other, getattr(another, part))


def test_parts_with_shared_speakers_share_sessions_too():
    corpus = dataclasses.replace(
        TEN_TAKES, utterances=tuple(dataclasses.replace(u, session="1") for u in TEN_TAKES.utterances)
    )
    name, found = find_protocol(corpus, "speakers_shared_2")
    check_leaks(corpus, make_split(corpus, name), found, [u.utterance_id for u in corpus.utterances])


# Validation.


@pytest.mark.parametrize(("count", "expected"), [(3, 1), (7, 1), (12, 2), (21, 3), (41, 6)])
def test_15_percent_of_the_training_speakers_validate(count, expected):
    split = make_split(corpus_of({f"s{i:02d}": 2 for i in range(count)}), "leave_one_speaker_out", 2)
    assert len(split.validation_speakers) == expected and len(split.test_speakers) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_validation_speakers_are_whole_and_of_the_training_part(number, seed):
    split = make_split(CORPUS, "", number, 2, seed)
    assert set(split.test_speakers) == set(PAIRS.splits[number - 1].test)
    train, validation, test = (speakers(CORPUS, part) for part in (split.train, split.validation, split.test))
    assert [len(train), len(validation), len(test)] == [2, 2, 2] and len(train | validation | test) == 6
    assert [len(part) for part in (split.train, split.validation, split.test)] == [24, 24, 24]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_without_validation_its_clips_are_trained_on_and_the_test_part_stays(number):
    split = make_split(CORPUS, "", number, 2, 0)
    all_trained = without_validation(split)
    assert all_trained.train == tuple(sorted((*split.train, *split.validation)))
    assert all_trained.validation == () and all_trained.validation_speakers == ()
    assert (all_trained.test, all_trained.test_speakers) == (split.test, split.test_speakers)


def test_the_seed_draws_validation_speakers_and_nothing_else():
    splits = [make_split(CORPUS, "", 1, 1, seed) for seed in range(20)]
    assert len({split.test for split in splits}) == 1
    assert {split.validation_speakers for split in splits} == {("c",), ("d",), ("e",), ("f",)}
    assert make_split(CORPUS, "", 1, 1, 7) == make_split(CORPUS, "", 1, 1, 7)


@pytest.mark.parametrize("count", [4, 5])
def test_too_many_validation_speakers(count):
    message = refusal(make_split, CORPUS, "", 1, count)
    assert message == f"Split 1 of 'small' by pairs has 4 training speakers: {count} for validation are too many."


@pytest.mark.parametrize("seed", range(3))
def test_a_single_training_speaker_validates_on_a_share_of_his_clips(seed):
    """TESS has two speakers: one is tested on."""
    corpus = shuffled(corpus_of({"OAF": 40, "YAF": 40}), seed)
    for number, (test, other) in enumerate([("OAF", "YAF"), ("YAF", "OAF")], 1):
        split = make_split(corpus, "leave_one_speaker_out", number, seed=seed)
        assert (split.test_speakers, split.validation_speakers) == ((test,), (other,))
        assert speakers(corpus, split.train) == {other}
        assert label_counts(corpus, split.validation) == dict.fromkeys(LABELS, 6)
        assert label_counts(corpus, split.train) == dict.fromkeys(LABELS, 34)
        assert label_counts(corpus, split.test) == dict.fromkeys(LABELS, 40)


def test_the_seed_draws_the_validation_clips_of_a_single_speaker():
    corpus = corpus_of({"OAF": 40, "YAF": 40})
    assert len({make_split(corpus, "", 1, seed=seed).validation for seed in range(5)}) == 5


def test_where_speakers_are_shared_every_label_gives_15_percent_to_validation():
    split = make_split(TEN_TAKES, "speakers_shared_3")
    counts = [label_counts(TEN_TAKES, part) for part in (split.train, split.validation, split.test)]
    assert counts == [dict.fromkeys(LABELS, count) for count in (34, 6, 20)]


def official(*, validation: tuple[str, ...], shared: tuple[str, ...] = ()) -> Corpus:
    """a and b are its part dev, c is test, d to f train but for one clip that has no part."""
    part_of = {"a": "dev", "b": "dev", "c": "test"}
    utterances = [dataclasses.replace(u, attributes={"part": part_of.get(u.speaker, "train")}) for u in CORPUS.utterances]
    utterances[-1] = dataclasses.replace(utterances[-1], attributes={})
    protocols = {"official": Protocol("part", (HeldOut(("test",), validation),), shared)}
    return dataclasses.replace(CORPUS, utterances=tuple(utterances), protocols=protocols)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("shared", [(), ("speaker",)])
def test_named_validation_groups_are_taken_as_they_are(seed, count, shared):
    corpus = official(validation=("dev",), shared=shared)
    split = make_split(corpus, "official", 1, count, seed)
    assert (split.validation_speakers, split.test_speakers) == (("a", "b"), ("c",))
    assert speakers(corpus, split.train) == {"d", "e", "f"} and len(split.train) == 36


def test_without_named_validation_groups_speakers_are_drawn_from_training():
    split = make_split(official(validation=()), "official", 1, 2)
    assert split.test_speakers == ("c",) and len(split.validation_speakers) == 2


# What makes no split.


def test_held_out_groups_without_clips():
    corpus = dataclasses.replace(CORPUS, protocols={"absent": speakers_held_out([("x", "y")])})
    assert refusal(make_split, corpus).startswith("Split 1 of 'small' by absent has no clip in its test part")


def test_named_validation_groups_without_clips():
    corpus = official(validation=("valid",))
    assert "has no clip in its validation part" in refusal(make_split, corpus)


def test_nobody_left_to_train_on():
    corpus = dataclasses.replace(CORPUS, protocols={"all": speakers_held_out([SPEAKERS])})
    assert "by all has 0 training speakers" in refusal(make_split, corpus)


def test_a_label_no_training_clip_has():
    kept = tuple(u for u in CORPUS.utterances if u.label != "sad" or u.speaker in ("a", "b"))
    corpus = dataclasses.replace(CORPUS, utterances=kept)
    assert "Split 1 of 'small' by pairs has no training clip of the label sad" in refusal(make_split, corpus)
    make_split(corpus, "", 2, 1)  # a and b are in training there, of whom one may validate


# Leaks. Speakers a and b are tested on, c validates, d to f train.


def parts() -> Split:
    by_speaker = [[i for i, u in enumerate(CORPUS.utterances) if u.speaker in group] for group in ("def", "c", "ab")]
    return Split(*map(tuple, by_speaker), ("c",), ("a", "b"))


def changed(values: dict[str, dict]) -> Corpus:
    """The corpus with other fields of these utterances."""
    utterances = (dataclasses.replace(u, **values.get(u.utterance_id, {})) for u in CORPUS.utterances)
    return dataclasses.replace(CORPUS, utterances=tuple(utterances))


def digests(same: dict[str, str] | None = None) -> list[str]:
    """A digest for each clip, of these pairs the same."""
    return [(same or {}).get(u.utterance_id, u.utterance_id) for u in CORPUS.utterances]


def protocol(*shared: str) -> Protocol:
    return dataclasses.replace(PAIRS, shared=shared)


def test_parts_with_nothing_in_common_are_accepted():
    check_leaks(CORPUS, parts(), protocol(), digests())


@pytest.mark.parametrize("other", ["c", "f"])  # in the validation and in the training part
@pytest.mark.parametrize("shared", [(), ("speaker",), ("speaker", "session")])
def test_identical_audio_under_two_names_is_always_refused(other, shared):
    same = digests({"a-calm-0": f"{other}-sad-3"})
    message = refusal(check_leaks, CORPUS, parts(), protocol(*shared), same)
    assert "'small' leaks: the audio of 1 of its clips" in message and f"(a-calm-0 = {other}-sad-3)" in message


def test_identical_audio_within_a_part_is_no_leak():
    check_leaks(CORPUS, parts(), protocol(), digests({"a-calm-0": "b-sad-3", "c-calm-0": "c-sad-0", "d-calm-0": "f-sad-0"}))


def test_identical_audio_in_training_and_validation_is_no_leak_of_the_test_part():
    same = digests({"c-calm-0": "d-sad-3"})
    check_leaks(CORPUS, parts(), protocol(), same)
    pair = r"\((c-calm-0 = d-sad-3|d-sad-3 = c-calm-0)\)"
    with pytest.warns(KserWarning, match=f"1 clips of the validation part of 'small' .*{pair}"):
        tell_repeated_audio(CORPUS, parts(), same)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_repeated_audio(CORPUS, parts(), digests())


@pytest.mark.parametrize("other", ["c", "f"])
def test_a_speaker_of_test_and_training_is_refused_unless_shared(other):
    corpus = changed({f"{other}-calm-2": {"speaker": "b"}})
    message = refusal(check_leaks, corpus, parts(), protocol(), digests())
    assert "the speaker of 12 of its clips" in message
    assert f"(b-calm-0 = {other}-calm-2, b-calm-1 = {other}-calm-2, b-calm-2 = {other}-calm-2)" in message
    refusal(check_leaks, corpus, parts(), protocol("session"), digests())
    check_leaks(corpus, parts(), protocol("speaker"), digests())


def test_a_session_of_test_and_training_is_refused_unless_shared():
    corpus = changed({name: {"session": "dialogue 1"} for name in ("a-calm-0", "b-sad-1", "e-angry-2")})
    message = refusal(check_leaks, corpus, parts(), protocol(), digests())
    assert "the session of 2 of its clips" in message and "(a-calm-0 = e-angry-2, b-sad-1 = e-angry-2)" in message
    refusal(check_leaks, corpus, parts(), protocol("speaker"), digests())
    check_leaks(corpus, parts(), protocol("session"), digests())


def test_a_session_of_test_and_validation_is_no_leak():
    """In IEMOCAP the partner in the dialogues of the one who is tested validates."""
    check_leaks(changed({name: {"session": "1"} for name in ("a-calm-0", "c-sad-1")}), parts(), protocol(), digests())


def test_no_session_is_no_session():
    assert {u.session for u in CORPUS.utterances} == {""}
    check_leaks(changed({"a-calm-0": {"session": "1"}}), parts(), protocol(), digests())


def test_of_many_leaks_the_first_three_are_named():
    same = {f"a-{label}-{take}": f"d-{label}-{take}" for label in LABELS for take in range(3)}
    message = refusal(check_leaks, CORPUS, parts(), protocol(), digests(same))
    assert "the audio of 9 of its clips" in message and message.count(" = ") == 3


@pytest.mark.parametrize("seed", range(5))
def test_one_leak_anywhere_is_found(seed):
    rng = np.random.default_rng(seed)
    split = parts()
    for _ in range(10):
        tested, known = rng.choice(split.test), rng.choice([*split.train, *split.validation])
        found = digests()
        found[tested] = found[known]
        assert f"{CORPUS.utterances[tested].utterance_id} = " in refusal(check_leaks, CORPUS, split, protocol(), found)


# Speakers who meet.


def in_dialogues(*dialogues: str) -> Corpus:
    """Six speakers with two clips of every label each; those named in a dialogue say one of theirs in it."""
    of = {speaker: f"d{number}" for number, dialogue in enumerate(dialogues) for speaker in dialogue}
    corpus = corpus_of(dict.fromkeys(SPEAKERS, 2))
    utterances = [
        dataclasses.replace(u, session=of.get(u.speaker, "")) if u.utterance_id.endswith("calm-0") else u
        for u in corpus.utterances
    ]
    return dataclasses.replace(corpus, utterances=tuple(utterances))


def test_speakers_who_meet_are_held_out_together():
    corpus = in_dialogues("af", "bd")
    _, protocol = find_protocol(corpus, "speaker_groups_3")
    assert {held_out.test for held_out in protocol.splits} == {("a", "f"), ("b", "d"), ("c", "e")}
    for split in splits_of(corpus, "speaker_groups_3"):
        check_leaks(corpus, split, protocol, [u.utterance_id for u in corpus.utterances])


def test_acquaintance_goes_on_from_dialogue_to_dialogue():
    corpus = corpus_of(dict.fromkeys(SPEAKERS, 2))
    met = {"a-calm-0": "1", "c-calm-0": "1", "c-calm-1": "2", "e-calm-0": "2", "e-calm-1": "3", "b-sad-0": "3"}
    utterances = [dataclasses.replace(u, session=met.get(u.utterance_id, "")) for u in corpus.utterances]
    corpus = dataclasses.replace(corpus, utterances=tuple(utterances))
    _, protocol = find_protocol(corpus, "speaker_groups_3")
    assert {held_out.test for held_out in protocol.splits} == {("a", "b", "c", "e"), ("d",), ("f",)}
    with pytest.raises(DatasetError, match="6 speakers, 3 if those who share a session are kept together.* no 4 groups"):
        find_protocol(corpus, "speaker_groups_4")


def test_leaving_one_of_two_who_meet_out_is_a_leak():
    corpus = in_dialogues("af", "bd")
    split, (_, protocol) = make_split(corpus, "leave_one_speaker_out"), find_protocol(corpus, "leave_one_speaker_out")
    with pytest.raises(DatasetError, match="the session of 1 of its clips"):
        check_leaks(corpus, split, protocol, [u.utterance_id for u in corpus.utterances])
