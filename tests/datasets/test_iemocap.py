"""IEMOCAP: label files with their traps, the complete corpus' counts, splits, and what is missing or foreign."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser.datasets import iemocap
from kser.datasets.corpus import Corpus, Utterance, label_counts
from kser.datasets.protocols import check_leaks, find_protocol, make_split
from kser.errors import DatasetError

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
# Both people speak in every dialogue; the number is the utterance's, the second F or M its speaker.
TURNS = (
    "F000 neu",
    "F001 hap",
    "M000 exc",
    "M001 ang",
    "F002 sad",
    "M002 neu",
    "F003 xxx",
    "M003 fru",
    "M004 sad",
    "F004 ang",
)
DIALOGUES = ("Ses01F_impro01", "Ses01M_script01_1b", "Ses02M_impro05a", "Ses02F_script02_1")


def label_block(name: str, emotion: str) -> str:
    return (
        f"[6.2901 - 8.2357]\t{name}\t{emotion}\t[2.5000, 3.0000, 1.5000]\n"
        "C-E2:\tNeutral;\t()\nC-F1:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
    )


def write_labels(root: Path, dialogue: str, turns) -> Path:
    folder = root / f"Session{dialogue[4]}" / "dialog" / "EmoEvaluation"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dialogue}.txt"
    path.write_text(HEADER + "".join(label_block(f"{dialogue}_{turn[:4]}", turn[5:]) for turn in turns))
    return path


def wav_path(root: Path, name: str) -> Path:
    path = root / f"Session{name[4]}" / "sentences" / "wav" / name[:-5] / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def release(tmp_path) -> Path:
    """Two sessions of two dialogues, with noise for every turn but one, and files beside that are no labels."""
    root = tmp_path / "IEMOCAP_full_release"
    rng = np.random.default_rng(1)
    for dialogue in DIALOGUES:
        labels = write_labels(root, dialogue, TURNS)
        (labels.parent / f"._{dialogue}.txt").write_bytes(b"\0\5\x16\7Mac OS X")
        for turn in TURNS:
            samples = rng.uniform(-0.5, 0.5, int(rng.integers(9600, 16000)))
            soundfile.write(wav_path(root, f"{dialogue}_{turn[:4]}"), samples, 16000, subtype="PCM_16")
    raters = labels.parent / "Categorical"
    raters.mkdir()
    (raters / "Ses02F_script02_1_e2_cat.txt").write_text(label_block("Ses02F_script02_1_F009", "ang"))
    (labels.parent / "Ses02F_script02_1.anvil").write_text(label_block("Ses02F_script02_1_F008", "ang"))
    wav_path(root, "Ses02M_impro05a_M001").unlink()
    return root


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> Path:
    """As many utterances of each session, gender and label as published, as many of them improvised; no sound."""
    root = tmp_path_factory.mktemp("complete") / "IEMOCAP_full_release"
    codes = {label: code for code, label in iemocap.EMOTIONS.items() if label}
    improvised = dict(zip(iemocap.LABELS, iemocap.PUBLISHED_IMPROVISED, strict=True))
    dialogues = {}
    for speaker, numbers in iemocap.PUBLISHED.items():
        labels = [label for label, number in zip(iemocap.LABELS, numbers, strict=True) for _ in range(number)]
        for i, label in enumerate(labels):
            improvised[label] -= 1
            kind = "impro01" if improvised[label] >= 0 else "script01_1"
            dialogue = f"Ses0{speaker[0]}{'FM'[i % 2]}_{kind}"
            dialogues.setdefault(dialogue, []).append(f"{speaker[1]}{i:03d} {codes[label]}")
    for dialogue, turns in dialogues.items():
        write_labels(root, dialogue, turns)
        for turn in turns:
            wav_path(root, f"{dialogue}_{turn[:4]}").touch()
    return root


def load(root: Path, *options: str) -> Corpus:
    return iemocap.load(str(root), frozenset(options))


def by_name(corpus: Corpus) -> dict[str, Utterance]:
    return {u.utterance_id: u for u in corpus.utterances}


# The complete corpus.


def test_the_complete_corpus_gives_no_warning(complete):
    corpus = load(complete)
    assert corpus.warnings == ()
    assert label_counts(corpus) == {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084}
    assert Counter(u.attributes["recording_session"] for u in corpus.utterances) == Counter(
        {"1": 1085, "2": 1023, "3": 1151, "4": 1031, "5": 1241}
    )
    assert corpus.speakers == ("1F", "1M", "2F", "2M", "3F", "3M", "4F", "4M", "5F", "5M")


def test_the_improvised_dialogues_of_the_complete_corpus_give_no_warning(complete):
    corpus = load(complete, "improvised")
    assert corpus.warnings == () and len(corpus.utterances) == 2943
    assert label_counts(corpus) == {"angry": 289, "happy": 284 + 663, "neutral": 1099, "sad": 608}
    assert all("_impro" in u.session for u in corpus.utterances)


def test_published_counts_are_consistent():
    assert [sum(column) for column in zip(*iemocap.PUBLISHED.values(), strict=True)] == [1103, 1636, 1708, 1084]
    assert [sum(counts) for counts in iemocap.PUBLISHED.values()] == [528, 557, 481, 542, 522, 629, 528, 503, 590, 651]
    assert sum(iemocap.PUBLISHED_IMPROVISED) == 2943


def test_one_utterance_more_and_one_of_another_label_are_told_exactly():
    utterances = [
        Utterance(f"{speaker}{label}{i}", "", label, speaker)
        for speaker, counts in iemocap.PUBLISHED.items()
        for label, count in zip(iemocap.LABELS, counts, strict=True)
        for i in range(count)
    ]
    assert iemocap.count_differences(utterances) == []
    more = [*utterances, Utterance("new", "", "sad", "3M")]
    assert iemocap.count_differences(more) == [
        "5532 utterances of 'iemocap' are labelled instead of the 5531 published; of their counts by session, gender and "
        "label 1 differ (Session 3 male sad: 134 instead of 133)."
    ]
    other = [*utterances[:-1], Utterance("new", "", "happy", "5M")]
    assert (
        "Session 5 male happy: 284 instead of 283, Session 5 male sad: 112 instead of 113"
        in (iemocap.count_differences(other)[0])
    )
    without = [u for u in utterances if u.speaker[0] != "4"]
    assert iemocap.count_differences(without) == ["No utterance of 'iemocap' is labelled in Session 4."]


# What is read of a label file.


def test_labels_outside_the_four_classes_are_not_part_of_the_corpus(release):
    corpus = load(release)
    assert len(corpus.utterances) == 4 * 8 - 1
    assert label_counts(corpus) == {"angry": 7, "happy": 8, "neutral": 8, "sad": 8}
    assert not any("3" == u.utterance_id[-1] for u in corpus.utterances)


def test_the_speaker_is_named_by_the_last_part_not_by_who_wore_the_markers(release):
    found = by_name(load(release))
    man, woman = found["Ses01F_impro01_M001"], found["Ses01M_script01_1b_F002"]
    assert (man.speaker, man.label, man.session) == ("1M", "angry", "Ses01F_impro01")
    assert (woman.speaker, woman.label, woman.session) == ("1F", "sad", "Ses01M_script01_1b")
    assert Path(woman.path) == wav_path(release, "Ses01M_script01_1b_F002")
    assert woman.attributes == {
        "gender": "female",
        "recording_session": "1",
        "motion_capture_half": "Ses01M",
        "dialogue": "scripted",
        "emotion": "sad",
        "valence": "2.5000",
        "activation": "3.0000",
        "dominance": "1.5000",
    }


def test_excited_counts_as_happy_and_is_still_told_apart(release):
    excited = by_name(load(release))["Ses02F_script02_1_M000"]
    assert (excited.label, excited.attributes["emotion"]) == ("happy", "exc")


def test_an_irregular_dialogue_name_is_read(release):
    assert by_name(load(release))["Ses02M_impro05a_F002"].session == "Ses02M_impro05a"


def test_files_of_single_raters_and_of_copies_are_not_read(release):
    corpus = load(release)
    assert not {"Ses02F_script02_1_F009", "Ses02F_script02_1_F008"} & set(by_name(corpus))
    assert not any("contain no utterance" in warning for warning in corpus.warnings)


def test_the_release_is_found_from_its_parent(release):
    assert load(release.parent).fingerprint() == load(release).fingerprint()


def test_improvised_only(release):
    corpus = load(release, "improvised")
    assert {u.session for u in corpus.utterances} == {"Ses01F_impro01", "Ses02M_impro05a"}
    assert corpus.warnings[-2] == (
        "The improvised utterances of 'iemocap' differ in number (angry: 4 instead of 289; happy: 4 instead of 947; "
        "neutral: 4 instead of 1099; sad: 4 instead of 608)."
    )


def test_spaces_instead_of_tabs_and_a_line_without_ratings_are_read(release):
    path = write_labels(release, "Ses01F_impro02", [])
    path.write_text("[1.0 - 2.0]  Ses01F_impro02_F000  ang\r\n")
    wav_path(release, "Ses01F_impro02_F000").touch()
    found = by_name(load(release))["Ses01F_impro02_F000"]
    assert found.label == "angry" and "valence" not in found.attributes


# What differs from the published corpus.


def test_what_is_missing_in_a_part_of_the_corpus_is_told(release):
    absent, counts, audio = load(release).warnings
    assert absent == "No utterance of 'iemocap' is labelled in Session 3, Session 4, Session 5."
    assert counts == (
        "32 utterances of 'iemocap' are labelled instead of the 5531 published; of their counts by session, gender and "
        "label 16 differ (Session 1 female angry: 2 instead of 147, Session 1 female happy: 2 instead of 132, "
        "Session 1 female neutral: 2 instead of 171 ...)."
    )
    assert audio == "1 labelled utterances of 'iemocap' have no wav and are left out (Ses02M_impro05a_M001)."


def test_a_session_without_audio_is_told_and_cannot_be_tested_on(complete, tmp_path):
    root = tmp_path / "copy"
    root.mkdir()
    for session in "1245":
        (root / f"Session{session}").symlink_to(complete / f"Session{session}")
    (root / "Session3").mkdir()
    (root / "Session3" / "dialog").symlink_to(complete / "Session3" / "dialog")
    corpus = load(root)
    assert len(corpus.warnings) == 1
    assert corpus.warnings[0].startswith(
        "1151 labelled utterances of 'iemocap' have no wav and are left out (Ses03F_impro01_F"
    )
    with pytest.raises(DatasetError, match="Split 3 of 'iemocap' .* has no clip in its test part"):
        make_split(corpus, number=3)


def test_lines_and_files_that_are_not_understood_are_told(release):
    path = write_labels(release, "Ses01F_impro03", ["F000 ang"])
    path.write_text(path.read_text() + "[1.0 - 2.0]\tSes01F_impro03_F001\tglad\t[1, 1, 1]\n[1.0 - \n")
    write_labels(release, "Ses01F_impro04", [])
    wav_path(release, "Ses01F_impro03_F000").touch()
    warnings = load(release).warnings
    assert warnings[0] == "1 label files of 'iemocap' contain no utterance (Ses01F_impro04.txt)."
    assert warnings[1] == (
        "2 lines of label files of 'iemocap' cannot be parsed and are left out (Ses01F_impro03.txt line 8, "
        "Ses01F_impro03.txt line 9)."
    )


def test_an_utterance_labelled_twice_is_taken_once(release):
    write_labels(release, "Ses01F_impro03", ["F000 ang", "F000 sad"])
    wav_path(release, "Ses01F_impro03_F000").touch()
    corpus = load(release)
    assert by_name(corpus)["Ses01F_impro03_F000"].label == "angry"
    assert corpus.warnings[0] == (
        "1 lines of label files of 'iemocap' repeat an utterance; the first was taken (Ses01F_impro03_F000)."
    )


# The splits.


def speakers_of(corpus: Corpus, indices) -> set[str]:
    return {corpus.utterances[i].speaker for i in indices}


@pytest.mark.parametrize("number", range(1, 6))
def test_leaving_a_session_out_tests_both_its_speakers_and_is_the_default(complete, number):
    corpus = load(complete)
    assert find_protocol(corpus)[0] == "leave_one_session_out"
    split = make_split(corpus, number=number)
    assert split.test_speakers == (f"{number}F", f"{number}M")
    assert {corpus.utterances[i].attributes["recording_session"] for i in split.test} == {str(number)}
    assert len(split.train) + len(split.validation) + len(split.test) == 5531
    assert not set(split.test_speakers) & speakers_of(corpus, split.train + split.validation)
    check_leaks(corpus, split, corpus.protocols["leave_one_session_out"], [u.path for u in corpus.utterances])


@pytest.mark.parametrize("number", range(1, 11))
def test_leaving_a_speaker_out_validates_on_the_partner(complete, number):
    corpus = load(complete)
    split = make_split(corpus, "leave_one_speaker_out", number)
    tested, partner = corpus.speakers[number - 1], corpus.speakers[(number - 1) ^ 1]
    assert (split.test_speakers, split.validation_speakers) == ((tested,), (partner,))
    assert len(speakers_of(corpus, split.train)) == 8
    dialogues = [{corpus.utterances[i].session for i in part} for part in (split.train, split.test)]
    assert not dialogues[0] & dialogues[1]
    check_leaks(corpus, split, corpus.protocols["leave_one_speaker_out"], [u.path for u in corpus.utterances])


def test_the_halves_share_speakers_but_no_dialogue(complete):
    corpus = load(complete)
    name = "motion_capture_halves_speakers_shared"
    protocol = corpus.protocols[name]
    tested = []
    for number in range(1, 11):
        split = make_split(corpus, name, number)
        tested += split.test
        assert {corpus.utterances[i].utterance_id[:6] for i in split.test} == {f"Ses0{number + 1 >> 1}{'MF'[number % 2]}"}
        assert split.test_speakers == (f"{number + 1 >> 1}F", f"{number + 1 >> 1}M")
        assert set(split.test_speakers) <= speakers_of(corpus, split.train)
        check_leaks(corpus, split, protocol, [u.path for u in corpus.utterances])
    assert sorted(tested) == list(range(5531))
    assert protocol.shared == ("speaker",)


def test_real_files_of_a_small_corpus_leak_nothing_unless_audio_is_repeated(release):
    corpus = load(release)
    digests = [hashlib.sha256(Path(u.path).read_bytes()).hexdigest() for u in corpus.utterances]
    protocol = corpus.protocols["leave_one_session_out"]
    split = make_split(corpus, number=2, num_validation_speakers=1)
    check_leaks(corpus, split, protocol, digests)
    digests[split.test[0]] = digests[split.train[0]]
    with pytest.raises(DatasetError, match="leaks: the audio of 1 of its clips"):
        check_leaks(corpus, split, protocol, digests)


# Wrong directories.


def test_another_directory_is_refused(tmp_path):
    (tmp_path / "annotation.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"^Neither .* contains the folders Session1 to Session5 of 'iemocap'; .*\.$"):
        load(tmp_path)


def test_sessions_without_label_files_are_refused(tmp_path):
    (tmp_path / "Session1").mkdir()
    with pytest.raises(DatasetError, match="^No file in .*EmoEvaluation labels an utterance of 'iemocap'; extract"):
        load(tmp_path)


def test_labels_without_any_audio_are_refused(tmp_path):
    write_labels(tmp_path, "Ses01F_impro01", TURNS)
    with pytest.raises(DatasetError, match="^None of the 8 utterances of 'iemocap' labelled in .* has its audio in"):
        load(tmp_path)


def test_a_label_file_that_may_not_be_read_is_named(release, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", refuse)  # root may read everything
    with pytest.raises(DatasetError, match=r"Ses01F_impro01\.txt cannot be read \(Permission denied\); check"):
        load(release)


def test_a_label_folder_that_may_not_be_listed_is_named(release, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(DatasetError, match=r"EmoEvaluation cannot be read \(Permission denied\); check"):
        load(release)


def test_no_directory(tmp_path):
    with pytest.raises(DatasetError, match="^There is no directory .*none, from which corpus 'iemocap'"):
        load(tmp_path / "none")
    with pytest.raises(DatasetError, match="^Corpus 'iemocap' needs --data_dir"):
        iemocap.load("")
