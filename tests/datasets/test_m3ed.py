"""M3ED: annotations with their traps, speakers, times, the official parts, and what is missing, damaged or foreign."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser.datasets import m3ed
from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.protocols import check_leaks, find_protocol, make_split
from kser.errors import DatasetError

SERIES = {"shaonianpai": "train", "jimaoxin": "val", "rucikeaidewomen": "test"}
EMOTIONS = ("Happy", "Neutral", "Sad", "Disgust", "Anger", "Fear", "Surprise", "Neutral")
PEOPLE = {
    "A": {"Name": "Li", "Age": "mid", "Gender": "female", "OtherName": []},
    "B": {"Name": "Wang", "Age": "young", "Gender": "male", "OtherName": []},
}
SWAPPED = {"A": PEOPLE["B"], "B": PEOPLE["A"]}


def turn(letter: str, emotion: str) -> dict:
    emotions = {"EmoAnnotator1": emotion, "final_mul_emo": f"{emotion},Sad", "final_main_emo": emotion}
    return {
        "StartTime": "00:00:00:01",
        "EndTime": "00:00:01:03",
        "Text": "...",
        "Speaker": letter,
        "EmoAnnotation": emotions,
    }


def dialogue(name: str, emotions, people: dict) -> dict:
    turns = {f"{name}_{i}": turn("AB"[i % 2], emotion) for i, emotion in enumerate(emotions, 1)}
    return {"SpeakerInfo": dict(people), "Dialog": turns}


@pytest.fixture
def annotation() -> dict:
    """In the second dialogue of each series the letters of the two people are swapped."""
    return {
        series: {
            f"{series}_1": dialogue(f"{series}_1", EMOTIONS[:4], PEOPLE),
            f"{series}_2": dialogue(f"{series}_2", EMOTIONS[4:], SWAPPED),
        }
        for series in SERIES
    }


def write_annotation(root: Path, annotation) -> None:
    (root / "annotation.json").write_text(json.dumps(annotation, ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def root(tmp_path, annotation) -> Path:
    """Three series, one for each part, with noise for every utterance but one; the lists end without a newline."""
    rng = np.random.default_rng(1)
    write_annotation(tmp_path, annotation)
    (tmp_path / "splitInfo").mkdir()
    (tmp_path / "modality_speech").mkdir()
    for series, part in SERIES.items():
        (tmp_path / "splitInfo" / f"movie_list_{part}.txt").write_text(series)
        for entry in annotation[series].values():
            for name, said in entry["Dialog"].items():
                samples = rng.uniform(-0.5, 0.5, 9600)
                soundfile.write(tmp_path / "modality_speech" / f"{said['Speaker']}_{name}.wav", samples, 16000)
    (tmp_path / "splitInfo" / "movie_list_total.txt").write_text("\n".join(SERIES))
    (tmp_path / "modality_speech" / "._B_shaonianpai_1_1.wav").touch()
    (tmp_path / "modality_speech" / "A_shaonianpai_1_2.wav").unlink()
    return tmp_path


def load(root: Path) -> Corpus:
    return m3ed.load(str(root))


def by_name(corpus: Corpus) -> dict[str, Utterance]:
    return {u.utterance_id: u for u in corpus.utterances}


# What is read.


def test_labels_are_those_of_final_main_emo_in_the_common_vocabulary(root):
    corpus = load(root)
    assert corpus.labels == ("happy", "neutral", "sad", "disgust", "angry", "fearful", "surprised")
    labels = [u.label for u in corpus.utterances if u.attributes["series"] == "jimaoxin"]
    assert labels == ["happy", "neutral", "sad", "disgust", "angry", "fearful", "surprised", "neutral"]
    assert len(corpus.utterances) == 3 * 8 - 1 and corpus.decision == "utterance"


def test_letters_of_a_dialogue_are_made_people_of_a_series(root):
    found = by_name(load(root))
    assert found["jimaoxin_1_1"].speaker == "jimaoxin/Wang"  # B in the first dialogue
    assert found["jimaoxin_2_1"].speaker == "jimaoxin/Li"  # B in the second
    assert len(load(root).speakers) == 6


def test_an_utterance_has_its_dialogue_audio_and_attributes(root):
    found = by_name(load(root))["rucikeaidewomen_1_2"]
    assert found.session == "rucikeaidewomen_1" and found.span is None
    assert Path(found.path) == root / "modality_speech" / "A_rucikeaidewomen_1_2.wav"
    assert found.attributes == {
        "series": "rucikeaidewomen",
        "part": "test",
        "gender": "female",
        "age": "mid",
        "emotions": "Neutral,Sad",
        "start_s": "0.04",
        "stop_s": "1.12",
    }


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("00:00:00:01", 0.04), ("00:00:01:03", 1.12), ("01:02:03:24", 3723.96), ("00:10:00:00", 600.0)],
)
def test_the_last_field_of_a_time_counts_frames(time, seconds):
    assert m3ed.seconds(time) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "time", ["", "00:00:00:25", "00:00:61:00", "00:00:01.03", "1.5", "00:00:01", "aa:00:00:00", "-1:00:00:00"]
)
def test_other_times_are_none(time):
    assert m3ed.seconds(time) is None


# The official parts.


def test_the_official_split_is_by_series(root):
    corpus = load(root)
    name, protocol = find_protocol(corpus)
    assert name == "official" and len(protocol.splits) == 1
    split = make_split(corpus)
    for part, series in zip((split.train, split.validation, split.test), SERIES, strict=True):
        assert {corpus.utterances[i].attributes["series"] for i in part} == {series}
    assert [len(part) for part in (split.train, split.validation, split.test)] == [7, 8, 8]
    assert not {corpus.utterances[i].speaker for i in split.train} & set(split.test_speakers)
    digests = [hashlib.sha256(Path(u.path).read_bytes()).hexdigest() for u in corpus.utterances]
    check_leaks(corpus, split, protocol, digests)
    digests[split.test[0]] = digests[split.train[0]]
    with pytest.raises(DatasetError, match="leaks: the audio of"):
        check_leaks(corpus, split, protocol, digests)


def test_a_series_in_no_list_is_left_out_and_never_trained_on(root, annotation):
    annotation["new"] = {"new_1": dialogue("new_1", EMOTIONS[:2], PEOPLE)}
    for name in ("B_new_1_1", "A_new_1_2"):
        (root / "modality_speech" / f"{name}.wav").touch()
    write_annotation(root, annotation)
    corpus = load(root)
    assert "new" not in {u.attributes["series"] for u in corpus.utterances}
    assert (
        "1 series of 'm3ed' are in no list of splitInfo, so they belong to no part and are left out (new)."
        in corpus.warnings
    )


def test_a_series_listed_but_not_annotated_is_told(root):
    (root / "splitInfo" / "movie_list_val.txt").write_text("jimaoxin\nother")
    assert "1 series listed in splitInfo are not in annotation.json (other)." in load(root).warnings


def test_a_series_in_two_lists_is_refused(root):
    (root / "splitInfo" / "movie_list_test.txt").write_text("rucikeaidewomen\nshaonianpai")
    with pytest.raises(DatasetError, match=r"movie_list_test\.txt lists shaonianpai, which is also in the train part; get"):
        load(root)


# What is missing or damaged.


def test_counts_and_missing_audio_are_told(root):
    assert load(root).warnings == (
        "'m3ed' has 24449 annotated utterances and 38 train, 7 val, 11 test series; found: 24 and 1 train, 1 val, 1 test.",
        "1 annotated utterances of 'm3ed' have no audio in modality_speech and are left out (A_shaonianpai_1_2).",
    )


def test_of_a_corpus_of_the_published_size_only_missing_audio_is_told(tmp_path):
    (tmp_path / "splitInfo").mkdir()
    (tmp_path / "modality_speech").mkdir()
    annotation, series = {}, 0
    for part, number in m3ed.NUM_SERIES.items():
        names = [f"s{series + i:02d}" for i in range(number)]
        series += number
        (tmp_path / "splitInfo" / f"movie_list_{part}.txt").write_text("\n".join(names))
        for name in names:
            annotation[name] = {f"{name}_1": dialogue(f"{name}_1", ["Happy"] * 2, PEOPLE)}
            for i in (1, 2):
                (tmp_path / "modality_speech" / f"{'AB'[i % 2]}_{name}_1_{i}.wav").touch()
    write_annotation(tmp_path, annotation)
    assert "found: 112 and 38 train, 7 val, 11 test" in load(tmp_path).warnings[0]
    # The rest of the 24449 is generated without files: as many dialogues hold turns without audio.
    annotation["s00"]["s00_2"] = dialogue("s00_2", ["Sad"] * (24449 - 112), PEOPLE)
    write_annotation(tmp_path, annotation)
    assert len(load(tmp_path).warnings) == 1
    assert load(tmp_path).warnings[0].startswith("24337 annotated utterances of 'm3ed' have no audio")


def test_a_person_without_a_name_is_one_of_the_dialogue_and_told(root, annotation):
    del annotation["jimaoxin"]["jimaoxin_1"]["SpeakerInfo"]["B"]
    annotation["jimaoxin"]["jimaoxin_2"]["SpeakerInfo"] = {"A": {"Name": " "}, "B": {"Name": "Li"}}
    write_annotation(root, annotation)
    corpus = load(root)
    found = by_name(corpus)
    assert found["jimaoxin_1_1"].speaker == found["jimaoxin_1_3"].speaker == "jimaoxin/jimaoxin_1/B"
    assert found["jimaoxin_2_2"].speaker == "jimaoxin/jimaoxin_2/A"
    assert (
        "2 speakers in annotation.json have no name and count as a different speaker in every dialogue "
        "(jimaoxin/jimaoxin_1/B, jimaoxin/jimaoxin_2/A)." in corpus.warnings
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry.pop("Speaker"),
        lambda entry: entry.pop("EmoAnnotation"),
        lambda entry: entry.update(EmoAnnotation=None),
        lambda entry: entry.update(EmoAnnotation=["Happy"]),
        lambda entry: entry["EmoAnnotation"].pop("final_main_emo"),
        lambda entry: entry["EmoAnnotation"].update(final_main_emo="Glad"),
        lambda entry: entry["EmoAnnotation"].update(final_main_emo="Happy,Sad"),
        lambda entry: entry["EmoAnnotation"].update(final_main_emo=3),
    ],
)
def test_an_utterance_that_is_not_understood_is_left_out_and_told(root, annotation, damage):
    damage(annotation["jimaoxin"]["jimaoxin_1"]["Dialog"]["jimaoxin_1_3"])
    write_annotation(root, annotation)
    corpus = load(root)
    assert "jimaoxin_1_3" not in by_name(corpus) and len(corpus.utterances) == 22
    assert (
        "1 utterances in annotation.json have no speaker or none of the seven emotions and are left out (jimaoxin_1_3)."
        in corpus.warnings
    )


@pytest.mark.parametrize("times", [{"StartTime": "1.5"}, {"EndTime": None}, {"EndTime": "00:00:00:01"}])
def test_an_utterance_with_unreadable_times_stays_without_them(root, annotation, times):
    annotation["jimaoxin"]["jimaoxin_1"]["Dialog"]["jimaoxin_1_3"].update(times)
    write_annotation(root, annotation)
    corpus = load(root)
    assert "start_s" not in by_name(corpus)["jimaoxin_1_3"].attributes
    assert "1 utterances in annotation.json have unreadable times, which are ignored (jimaoxin_1_3)." in corpus.warnings


@pytest.mark.parametrize("level", ["series", "dialogue", "turns", "turn", "people"])
@pytest.mark.parametrize("value", [None, 3, "text", []])
def test_damage_at_any_level_is_no_traceback(root, annotation, level, value):
    series = annotation["jimaoxin"]
    if level == "series":
        annotation["jimaoxin"] = value
    elif level == "dialogue":
        series["jimaoxin_1"] = value
    elif level == "turn":
        series["jimaoxin_1"]["Dialog"]["jimaoxin_1_1"] = value
    else:
        series["jimaoxin_1"]["Dialog" if level == "turns" else "SpeakerInfo"] = value
    write_annotation(root, annotation)
    assert len(load(root).warnings) >= 2


@pytest.mark.parametrize("text", ["", "{", '{"shaonianpai": {', "[" * 100000])
def test_a_damaged_annotation_file_is_refused(root, text):
    (root / "annotation.json").write_text(text)
    with pytest.raises(DatasetError, match=r"annotation\.json is not a complete JSON file \(.*\); get it again\.$"):
        load(root)


@pytest.mark.parametrize("value", [[], {}, 3, {"jimaoxin": 1}])
def test_json_of_something_else_is_refused(root, value):
    write_annotation(root, value)
    with pytest.raises(DatasetError, match="does not contain series of dialogues like the annotations of 'm3ed'; get"):
        load(root)


def test_annotations_that_are_no_text_are_refused(root):
    (root / "annotation.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DatasetError, match=r"annotation\.json, the annotations of 'm3ed', cannot be read \(.*\); get it"):
        load(root)


# Wrong directories.


def test_another_directory_is_refused(tmp_path):
    (tmp_path / "Session1").mkdir()
    with pytest.raises(DatasetError, match=r"^There is no .*annotation\.json, the annotations of 'm3ed'; point --data_dir"):
        load(tmp_path)


def test_a_missing_list_is_named(root):
    (root / "splitInfo" / "movie_list_val.txt").unlink()
    with pytest.raises(
        DatasetError, match=r"^There is no .*movie_list_val\.txt, the list of series of the val part of 'm3ed'"
    ):
        load(root)


def test_no_audio_folder_and_no_audio_in_it(root):
    for path in (root / "modality_speech").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"^No utterance in .*annotation\.json has an emotion and audio in"):
        load(root)
    (root / "modality_speech").rmdir()
    with pytest.raises(DatasetError, match="^There is no .*modality_speech, the audio of 'm3ed'; ask"):
        load(root)


def test_no_directory(tmp_path):
    with pytest.raises(DatasetError, match="^There is no directory .*none, from which corpus 'm3ed'"):
        load(tmp_path / "none")
