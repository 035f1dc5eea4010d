"""RAVDESS: the complete corpus, its names, its splits, copies that hold it twice, and what is missing or foreign."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kser.datasets import ravdess
from kser.datasets.corpus import Corpus, label_counts
from kser.datasets.protocols import find_protocol, make_split
from kser.errors import DatasetError

# The test actors of EmoBox's six splits, four in each.
EMOBOX_SPLITS = {
    1: "01 11 20 21",
    2: "04 10 12 14",
    3: "08 09 19 23",
    4: "03 05 07 24",
    5: "02 15 16 18",
    6: "06 13 17 22",
}


@pytest.fixture(scope="module")
def corpus(speech_data_dir) -> Corpus:
    """The genuine one."""
    return ravdess.load(str(speech_data_dir / "ravdess_16k_flac"))


def touch(root: Path, stems, folder: str = "", extension: str = ".wav") -> None:
    """Empty files where RAVDESS has clips: names are all that is looked at."""
    for stem in stems:
        path = root / folder / f"Actor_{stem[-2:]}" / f"{stem}{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def complete(tmp_path) -> Path:
    """A directory with all 1440 names."""
    touch(tmp_path, ravdess.expected_stems())
    return tmp_path


# The complete corpus.


def test_the_genuine_corpus_is_complete(corpus):
    assert corpus.warnings == ()
    assert len(corpus.utterances) == 1440 and len(corpus.speakers) == 24 and len(corpus.labels) == 8
    assert label_counts(corpus) == {label: 96 if label == "neutral" else 192 for label in corpus.labels}
    assert corpus.speakers == tuple(f"{actor:02d}" for actor in range(1, 25))
    assert set(Counter(u.speaker for u in corpus.utterances).values()) == {60}


def test_names_tell_statement_intensity_repetition_and_gender(corpus):
    counts = {name: Counter(u.attributes[name] for u in corpus.utterances) for name in corpus.utterances[0].attributes}
    assert counts == {
        "intensity": {"normal": 768, "strong": 672},  # no strong neutral
        "statement": {"01": 720, "02": 720},
        "repetition": {"01": 720, "02": 720},
        "gender": {"male": 720, "female": 720},
    }


@pytest.mark.parametrize(
    ("stem", "label", "speaker", "intensity", "statement", "gender"),
    [
        ("03-01-01-01-02-01-09", "neutral", "09", "normal", "02", "male"),
        ("03-01-02-02-01-02-10", "calm", "10", "strong", "01", "female"),
        ("03-01-03-01-01-01-01", "happy", "01", "normal", "01", "male"),
        ("03-01-04-02-02-01-24", "sad", "24", "strong", "02", "female"),
        ("03-01-05-02-01-02-12", "angry", "12", "strong", "01", "female"),
        ("03-01-06-01-02-02-13", "fearful", "13", "normal", "02", "male"),
        ("03-01-07-01-01-01-07", "disgust", "07", "normal", "01", "male"),
        ("03-01-08-02-02-02-20", "surprised", "20", "strong", "02", "female"),
    ],
)
def test_a_name_is_parsed(complete, stem, label, speaker, intensity, statement, gender):
    found = {u.utterance_id: u for u in ravdess.load(str(complete)).utterances}[stem]
    assert (found.label, found.speaker) == (label, speaker)
    assert found.attributes == {"intensity": intensity, "statement": statement, "repetition": stem[15:17], "gender": gender}
    assert Path(found.path) == complete / f"Actor_{speaker}" / f"{stem}.wav"


def test_all_names_without_sound_make_the_same_corpus(complete, corpus):
    named = ravdess.load(str(complete))
    assert named.warnings == () and named.fingerprint() == corpus.fingerprint()


# The splits.


def test_the_splits_are_those_of_emobox_and_disjoint(corpus):
    name, protocol = find_protocol(corpus)
    assert (name, protocol.kind, protocol.shared) == ("emobox", "speaker", ())
    assert {i + 1: " ".join(split.test) for i, split in enumerate(protocol.splits)} == EMOBOX_SPLITS
    held_out = [speaker for split in protocol.splits for speaker in split.test]
    assert sorted(held_out) == list(corpus.speakers)


@pytest.mark.parametrize("split", EMOBOX_SPLITS)
@pytest.mark.parametrize("seed", [0, 1])
def test_parts_share_no_speaker(corpus, split, seed):
    parts = make_split(corpus, "emobox", split, 3, seed)
    speakers = [{corpus.utterances[i].speaker for i in part} for part in (parts.train, parts.validation, parts.test)]
    assert speakers[2] == set(EMOBOX_SPLITS[split].split())
    assert [len(s) for s in speakers] == [17, 3, 4] and len(set.union(*speakers)) == 24
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [17 * 60, 3 * 60, 4 * 60]
    assert make_split(corpus, number=split, seed=seed) == parts  # by default 15 % of 20


def test_the_seed_changes_the_validation_speakers_only(corpus):
    splits = [make_split(corpus, "emobox", 2, 3, seed) for seed in range(5)]
    assert len({s.test for s in splits}) == 1
    assert len({s.validation_speakers for s in splits}) > 1


# Copies and what is missing.


def test_a_copy_that_holds_every_folder_twice(complete, corpus):
    touch(complete, ravdess.expected_stems(), folder="audio_speech_actors_01-24")
    twice = ravdess.load(str(complete))
    assert twice.fingerprint() == corpus.fingerprint()
    assert len({u.path for u in twice.utterances}) == 1440
    first, second, third = (f"audio_speech_actors_01-24/Actor_0{i}/03-01-01-01-01-01-0{i}" for i in (1, 2, 3))
    assert twice.warnings == (
        "1440 files of 'ravdess' have the same name as another and are left out, as in copies that contain every folder "
        f"twice: of each the original was taken, or else the first ({first}, {second}, {third} ...).",
    )


def test_wav_and_flac_of_one_name_are_one_clip(complete):
    touch(complete, ["03-01-05-02-01-02-12"], extension=".flac")
    found = ravdess.load(str(complete))
    assert len(found.utterances) == 1440
    assert len(found.warnings) == 1 and found.warnings[0].startswith("1 files of 'ravdess' have the same name")


def test_one_missing_clip_is_named(complete):
    (complete / "Actor_12" / "03-01-05-02-01-02-12.wav").unlink()
    assert ravdess.load(str(complete)).warnings == (
        "'ravdess' has 1440 clips of 24 speakers; found: 1439 of 24.",
        "1 clips of 'ravdess' are missing (03-01-05-02-01-02-12).",
    )


def test_one_missing_actor_is_counted(tmp_path):
    touch(tmp_path, [stem for stem in ravdess.expected_stems() if not stem.endswith("-07")])
    assert ravdess.load(str(tmp_path)).warnings == (
        "'ravdess' has 1440 clips of 24 speakers; found: 1380 of 23.",
        "60 clips of 'ravdess' are missing (03-01-01-01-01-01-07, 03-01-01-01-01-02-07, 03-01-01-01-02-01-07 ...).",
    )


def test_a_split_whose_held_out_actors_are_missing_is_refused(tmp_path):
    touch(tmp_path, [stem for stem in ravdess.expected_stems() if stem[-2:] not in EMOBOX_SPLITS[3].split()])
    with pytest.raises(DatasetError, match="Split 3 of 'ravdess' by emobox has no clip in its test part"):
        make_split(ravdess.load(str(tmp_path)), "emobox", 3)


def test_strong_neutral_cannot_be(complete):
    touch(complete, ["03-01-01-02-01-01-05"])
    assert ravdess.load(str(complete)).warnings == (
        "'ravdess' has 1440 clips of 24 speakers; found: 1441 of 24.",
        "1 names cannot be of RAVDESS (neutral with strong intensity: 03-01-01-02-01-01-05).",
    )


def test_all_kinds_of_difference_are_told(complete):
    (complete / "Actor_01" / "03-01-03-01-01-01-01.wav").unlink()
    touch(complete, ["03-01-04-01-01-01-01"], folder="again")
    (complete / "Actor_01" / "noise.wav").touch()
    warnings = ravdess.load(str(complete)).warnings
    expected = ["1 files of", "1 audio files", "'ravdess' has 1440", "1 clips of"]
    assert len(warnings) == 4 and all(map(str.startswith, warnings, expected)), warnings


@pytest.mark.parametrize(
    "name",
    [
        "03-02-03-01-01-01-01.wav",  # song
        "01-01-03-01-01-01-01.wav",  # with picture
        "03-01-09-01-01-01-01.wav",  # no such emotion
        "03-01-03-03-01-01-01.wav",  # no such intensity
        "03-01-03-01-03-01-01.wav",  # no such statement
        "03-01-03-01-01-01-25.wav",  # no such actor
        "03-01-03-01-01-01-00.wav",
        "03-01-03-01-01-01-01 (1).wav",
        "copy of 03-01-03-01-01-01-01.wav",
    ],
)
def test_other_audio_files_are_no_clips_and_are_told(complete, corpus, name):
    (complete / "Actor_01" / name).touch()
    found = ravdess.load(str(complete))
    left_out = "1 audio files below the directory are not named like those of 'ravdess' and are left out"
    assert found.warnings == (f"{left_out} (Actor_01/{name[:-4]}).",) and found.fingerprint() == corpus.fingerprint()


@pytest.mark.parametrize("name", ["._03-01-03-01-01-01-01.wav", "03-01-03-01-01-01-01.mp4"])
def test_other_files_are_no_clips(complete, corpus, name):
    (complete / "Actor_01" / name).touch()
    found = ravdess.load(str(complete))
    assert found.warnings == () and found.fingerprint() == corpus.fingerprint()


# Wrong directories.


def test_a_directory_without_clips(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "other.wav").touch()
    sentence = rf"^There is no clip of 'ravdess' .* below {tmp_path} \(found: other\); point --data_dir .*\.$"
    with pytest.raises(DatasetError, match=sentence):
        ravdess.load(str(tmp_path))


def test_no_directory(tmp_path):
    with pytest.raises(DatasetError, match="^There is no directory .*none, from which corpus 'ravdess'"):
        ravdess.load(str(tmp_path / "none"))
    with pytest.raises(DatasetError, match="^Corpus 'ravdess' needs --data_dir"):
        ravdess.load("")
