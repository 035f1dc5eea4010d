"""A corpus of one's own: tables of clips, folders named after labels, and what is refused of both."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser.config import SAMPLE_RATE_HZ
from kser.datasets import folder
from kser.datasets.corpus import Corpus, label_counts
from kser.datasets.folder_layout import PARTS
from kser.datasets.protocols import check_leaks, find_protocol, make_split
from kser.datasets.scan import examine
from kser.errors import DatasetError
from tests import tiny


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write_csv(root: Path, text: str, encoding: str = "utf-8") -> None:
    (root / "manifest.csv").write_bytes(text.encode(encoding))


def write_jsonl(root: Path, *rows) -> None:
    (root / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def load(root: Path) -> Corpus:
    return folder.load(str(root), frozenset())


def row(corpus: Corpus, index: int = 0) -> tuple:
    u = corpus.utterances[index]
    return u.utterance_id, u.label, u.speaker, u.session, u.span, dict(u.attributes)


def refusal(root: Path) -> str:
    """What the directory is refused with: one line that names it."""
    with pytest.raises(DatasetError) as error:
        load(root)
    message = str(error.value)
    assert "\n" not in message and message.endswith(".") and str(root) in message, message
    return message.replace(str(root), "DIR")


# Tables.

FULL = """path,label,speaker,session,split,start,stop
a/1.wav,calm,ann,talk 1,train,0.5,2
a/1.wav,angry,ann,talk 1,train,2,3.25
b 2.wav,calm,ben,,validation,,
"c, 3.wav",angry,cyd,talk 2,test,,
"""


def test_a_csv_table_gives_names_labels_speakers_sessions_parts_and_times(tmp_path):
    write_csv(tmp_path, FULL)
    corpus = load(tmp_path)
    assert [row(corpus, i) for i in range(4)] == [
        ("a/1.wav#0.5-2", "calm", "ann", "talk 1", (0.5, 2.0), {"split": "train"}),
        ("a/1.wav#2-3.25", "angry", "ann", "talk 1", (2.0, 3.25), {"split": "train"}),
        ("b 2.wav", "calm", "ben", "", None, {"split": "validation"}),
        ("c, 3.wav", "angry", "cyd", "talk 2", None, {"split": "test"}),
    ]
    assert [u.path for u in corpus.utterances[1:]] == [str(tmp_path / n) for n in ("a/1.wav", "b 2.wav", "c, 3.wav")]
    assert (corpus.name, corpus.labels, corpus.warnings) == ("folder", ("angry", "calm"), ())


def test_a_jsonl_table_says_the_same(tmp_path):
    write_csv(tmp_path, FULL)
    expected = load(tmp_path)
    (tmp_path / "manifest.csv").unlink()
    write_jsonl(
        tmp_path,
        {
            "path": "a/1.wav",
            "label": "calm",
            "speaker": "ann",
            "session": "talk 1",
            "split": "train",
            "start": 0.5,
            "stop": 2,
        },
        {
            "path": "a/1.wav",
            "label": "angry",
            "speaker": "ann",
            "session": "talk 1",
            "split": "train",
            "start": 2,
            "stop": "3.25",
        },
        {"path": "b 2.wav", "label": "calm", "speaker": "ben", "split": "validation", "start": None},
        {"path": "c, 3.wav", "label": "angry", "speaker": "cyd", "session": "talk 2", "split": "test", "comment": [1]},
    )
    assert load(tmp_path) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tables_of_spreadsheets_begin_with_a_mark_and_end_lines_in_two_characters(tmp_path, encoding, newline):
    write_csv(
        tmp_path,
        newline.join(["path,label,speaker", "Grüße/größer 你好.wav,froh,Jürgen", "2.wav,traurig,Ann", ""]),
        encoding,
    )
    assert row(load(tmp_path)) == ("Grüße/größer 你好.wav", "froh", "Jürgen", "", None, {})


def test_a_jsonl_table_may_begin_with_a_mark_and_have_empty_lines(tmp_path):
    lines = [
        json.dumps({"path": f"{i}.wav", "label": label}, ensure_ascii=False) for i, label in enumerate(["froh", "müde"])
    ]
    (tmp_path / "manifest.jsonl").write_text("\n\n".join(lines) + "\n\n", encoding="utf-8-sig")
    assert label_counts(load(tmp_path)) == {"froh": 1, "müde": 1}


def test_columns_may_come_in_any_order_and_others_are_passed_over(tmp_path):
    write_csv(tmp_path, "speaker,age,label,path\nann,30,calm,1.wav\nben,40,angry,2.wav\n")
    assert row(load(tmp_path), 1) == ("2.wav", "angry", "ben", "", None, {})


def test_numbers_name_speakers_and_sessions_of_a_jsonl_table(tmp_path):
    write_jsonl(
        tmp_path,
        {"path": "1.wav", "label": "calm", "speaker": 0, "session": 0},
        {"path": "2.wav", "label": "angry", "speaker": 1, "session": 12},
    )
    corpus = load(tmp_path)
    assert [(u.speaker, u.session) for u in corpus.utterances] == [("0", "0"), ("1", "12")] and corpus.warnings == ()


def test_clips_of_one_long_recording_are_told_apart_to_the_millisecond(tmp_path):
    spans = [(f"{5400 + i / 1000:.3f}", f"{5402 + i / 1000:.3f}") for i in range(10)]
    write_csv(
        tmp_path, "path,label,start,stop\n" + "".join(f"a.wav,{'xy'[i % 2]},{a},{b}\n" for i, (a, b) in enumerate(spans))
    )
    corpus = load(tmp_path)
    assert [u.span for u in corpus.utterances] == [(float(a), float(b)) for a, b in spans]
    assert corpus.utterances[1].utterance_id == "a.wav#5400.001-5402.001"


def test_a_time_is_read_right_to_the_sample(tmp_path):
    """One file of a low and a high tone: each clip has its own."""
    tones = [tiny.tone(pitch, 0, 0)[: int(0.4 * SAMPLE_RATE_HZ)] for pitch in (0, 2)]
    soundfile.write(tmp_path / "both.wav", np.concatenate(tones), SAMPLE_RATE_HZ)
    for name, tone in zip(("low", "high"), tones, strict=True):
        soundfile.write(tmp_path / f"{name}.wav", tone, SAMPLE_RATE_HZ)
    write_csv(tmp_path, "path,label,start,stop\nboth.wav,low,0,0.4\nboth.wav,high,0.4,0.8\nlow.wav,low,,\nhigh.wav,high,,\n")
    found = [examine(u, tiny.FEATURES) for u in load(tmp_path).utterances]
    assert [(report.problem, report.seconds) for report, _ in found] == [("", 0.4)] * 4
    for part, whole in ((0, 2), (1, 3)):
        np.testing.assert_array_equal(found[part][1], found[whole][1])
    assert found[0][0].digest != found[1][0].digest


# The given split.


def test_a_split_column_is_the_protocol(tmp_path):
    rows = [f"{part}{i}.wav,{label},s{part}{i},{part}\n" for i, label in enumerate("xyxy") for part in PARTS]
    write_csv(tmp_path, "path,label,speaker,split\n" + "".join(rows))
    corpus = load(tmp_path)
    name, protocol = find_protocol(corpus)
    split = make_split(corpus)
    assert (name, protocol.shared) == ("given", ())
    found = [[corpus.utterances[i].attributes["split"] for i in p] for p in (split.train, split.validation, split.test)]
    assert found == [["train"] * 4, ["validation"] * 4, ["test"] * 4]


def test_without_validation_rows_training_speakers_validate_and_rows_without_a_part_train(tmp_path):
    rows = [f"{i}.wav,{label},s{i % 4},{'test' if i % 4 == 0 else ''}\n" for i, label in enumerate("xxxxyyyy")]
    write_csv(tmp_path, "path,label,speaker,split\n" + "".join(rows))
    split = make_split(load(tmp_path))
    assert split.test_speakers == ("s0",) and len(split.validation_speakers) == 1 and len(split.train) == 4


def test_a_given_split_with_a_speaker_on_both_sides_leaks(tmp_path):
    write_csv(tmp_path, "path,label,speaker,split\n1.wav,x,a,train\n2.wav,y,a,train\n3.wav,x,b,validation\n4.wav,y,a,test\n")
    corpus = load(tmp_path)
    with pytest.raises(DatasetError, match="leaks: the speaker of 1 of its clips"):
        check_leaks(corpus, make_split(corpus), find_protocol(corpus)[1], list("1234"))


def test_a_given_split_whose_speakers_nobody_knows_is_taken_as_it_is(tmp_path):
    write_csv(tmp_path, "path,label,split\n1.wav,x,train\n2.wav,y,train\n3.wav,x,validation\n4.wav,y,test\n")
    corpus = load(tmp_path)
    check_leaks(corpus, make_split(corpus), find_protocol(corpus)[1], list("1234"))


def test_without_a_split_column_the_protocol_is_computed_by_speakers(tmp_path):
    write_csv(tmp_path, "path,label,speaker\n1.wav,x,a\n2.wav,y,a\n3.wav,x,b\n4.wav,y,b\n")
    assert load(tmp_path).protocols == {} and find_protocol(load(tmp_path))[0] == "leave_one_speaker_out"


def test_a_split_column_that_tests_on_nothing_is_told(tmp_path):
    write_csv(tmp_path, "path,label,speaker,split\n1.wav,x,a,train\n2.wav,y,b,validation\n")
    corpus = load(tmp_path)
    assert corpus.protocols == {}
    assert corpus.warnings == ("No clip has the split 'test', so the parts are not used.",)


# Speakers that are not known.


def test_clips_without_a_speaker_are_told_with_their_count(tmp_path):
    write_csv(tmp_path, "path,label,speaker\n1.wav,calm,\n2.wav,angry,ann\n3.wav,angry,\n")
    corpus = load(tmp_path)
    assert [u.speaker for u in corpus.utterances] == ["unknown", "ann", "unknown"]
    assert len(corpus.warnings) == 1 and corpus.warnings[0].startswith("2 of 3 clips have no speaker;")
    assert all(words in corpus.warnings[0] for words in ("LABEL/SPEAKER", "manifest.csv", "--protocol=speakers_shared_5"))


def test_labels_that_are_no_words_for_emotions_are_asked_about(tmp_path):
    for name in ("ann/x/1.wav", "bob/y/2.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (note,) = load(tmp_path).notes
    assert note.startswith("The folders are read as LABEL/SPEAKER, though no label (ann, bob) is") and "manifest.csv" in note


def test_without_any_speaker_nobody_can_be_held_out(tmp_path):
    write_csv(tmp_path, "path,label\n" + "".join(f"{i}.wav,{'xy'[i % 2]}\n" for i in range(40)))
    corpus = load(tmp_path)
    with pytest.raises(DatasetError, match="--protocol=speakers_shared_5"):
        make_split(corpus)
    assert len(make_split(corpus, "speakers_shared_5").test) == 8


# Tables that are refused.


@pytest.mark.parametrize(
    "text",
    [
        "path,label\n,calm\n",
        "path,label\n1.wav\n",
        "path,label\n1.wav,\n",
    ],
)
def test_a_row_of_a_csv_table_without_path_or_label(tmp_path, text):
    write_csv(tmp_path, text)
    assert refusal(tmp_path) == "DIR/manifest.csv, row 1 must give path and label."


@pytest.mark.parametrize("value", [["1.wav", "calm"], "1.wav", 5, None, {}, {"path": "1.wav"}, {"path": 1, "label": "calm"}])
def test_a_row_of_a_jsonl_table_that_is_no_object_with_path_and_label(tmp_path, value):
    write_jsonl(tmp_path, {"path": "0.wav", "label": "calm"}, value)
    assert refusal(tmp_path) == "DIR/manifest.jsonl, row 2 must give path and label."


@pytest.mark.parametrize("word", ["fold", "tests", "1"])
def test_a_split_is_one_of_three_words(tmp_path, word):
    write_csv(tmp_path, f"path,label,split\n1.wav,calm,train\n2.wav,angry,{word}\n")
    assert refusal(tmp_path) == f"DIR/manifest.csv, row 2: split must be one of train, validation, test, not '{word}'."


@pytest.mark.parametrize(("start", "stop"), [("1", ""), ("", "1"), ("a", "2"), ("1", "0:02")])
def test_times_are_two_numbers(tmp_path, start, stop):
    write_csv(tmp_path, f"path,label,start,stop\n1.wav,calm,{start},{stop}\n")
    assert refusal(tmp_path) == "DIR/manifest.csv, row 1: start and stop must both be seconds."


@pytest.mark.parametrize(("start", "stop"), [("2", "1"), ("1", "1"), ("-1", "1"), ("nan", "1"), ("0", "nan"), ("0", "inf")])
def test_times_follow_each_other(tmp_path, start, stop):
    write_csv(tmp_path, f"path,label,start,stop\n1.wav,calm,{start},{stop}\n")
    assert "row 1: start must come before stop" in refusal(tmp_path)


def test_a_start_at_zero_alone(tmp_path):
    write_jsonl(tmp_path, {"path": "1.wav", "label": "calm", "start": 0})
    assert refusal(tmp_path) == "DIR/manifest.jsonl, row 1: start and stop must both be seconds."


@pytest.mark.parametrize("column", ["start", "stop"])
def test_one_time_column_alone(tmp_path, column):
    write_csv(tmp_path, f"path,label,{column}\n1.wav,calm,1\n")
    assert refusal(tmp_path) == "DIR/manifest.csv, row 1: start and stop must both be seconds."


@pytest.mark.parametrize("text", ["path,label,speaker\n1.wav,calm,Jürgen\n", "path,label\n"])
@pytest.mark.parametrize("encoding", ["latin-1"])
def test_a_table_that_is_not_utf_8_or_has_no_row(tmp_path, text, encoding):
    write_csv(tmp_path, text, encoding)
    message = refusal(tmp_path)
    assert "manifest.csv cannot be read" in message and "UTF-8" in message or "lists no clip" in message
    assert ("lists no clip" in message) == (text.endswith("label\n") and encoding == "latin-1")


@pytest.mark.parametrize("text", ["", "\n\n"])
@pytest.mark.parametrize("name", folder.TABLES)
def test_an_empty_table(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert refusal(tmp_path) == f"DIR/{name} lists no clip."


def test_lines_that_are_no_json(tmp_path):
    (tmp_path / "manifest.jsonl").write_text('{"path": "1.wav", "label": "calm"}\n{"path": "2.wav", \n')
    assert "manifest.jsonl cannot be read" in refusal(tmp_path)


def test_two_tables(tmp_path):
    write_csv(tmp_path, "path,label\n1.wav,calm\n2.wav,angry\n")
    write_jsonl(tmp_path, {"path": "1.wav", "label": "calm"}, {"path": "2.wav", "label": "angry"})
    assert refusal(tmp_path) == "DIR contains both manifest.csv and manifest.jsonl; keep one of them."


@pytest.mark.parametrize("times", [",,", ",0.5,1"])
def test_a_clip_listed_twice(tmp_path, times):
    write_csv(tmp_path, f"path,label,start,stop\n1.wav,calm{times}\n2.wav,calm,,\n1.wav,angry{times}\n")
    assert refusal(tmp_path).startswith("1 clips are listed twice in DIR (1.wav")


def test_a_single_label(tmp_path):
    write_csv(tmp_path, "path,label\n1.wav,calm\n2.wav,calm\n")
    assert refusal(tmp_path) == "The clips in DIR have 1 label (calm); at least two are needed."


# Folders named after labels.


def test_folders_are_labels_and_folders_in_them_speakers(tmp_path):
    touch(tmp_path, "calm/ann/1.wav", "calm/ben/1.flac", "angry/ann/take 2/1.WAV", "angry/3.wav", "angry/notes.txt")
    corpus = load(tmp_path)
    assert [(u.utterance_id, u.label, u.speaker) for u in corpus.utterances] == [
        ("angry/3.wav", "angry", "unknown"),
        ("angry/ann/take 2/1.WAV", "angry", "ann"),
        ("calm/ann/1.wav", "calm", "ann"),
        ("calm/ben/1.flac", "calm", "ben"),
    ]
    assert [u.path for u in corpus.utterances] == [str(tmp_path / u.utterance_id) for u in corpus.utterances]
    assert corpus.labels == ("angry", "calm") and corpus.protocols == {}
    assert len(corpus.warnings) == 1 and corpus.warnings[0].startswith("1 of 4 clips have no speaker;")


def test_folders_without_speakers(tmp_path):
    touch(tmp_path, "calm/1.wav", "angry/1.wav")
    corpus = load(tmp_path)
    assert {u.speaker for u in corpus.utterances} == {"unknown"} and corpus.warnings[0].startswith("2 of 2 clips")


def test_names_with_spaces_and_of_any_script(tmp_path):
    touch(tmp_path, "sehr froh/Jürgen Ö/größe 1.wav", "愤怒/小明/你好.wav")
    assert [(u.label, u.speaker) for u in load(tmp_path).utterances] == [("sehr froh", "Jürgen Ö"), ("愤怒", "小明")]


def test_audio_outside_any_folder_is_refused(tmp_path):
    touch(tmp_path, "calm/1.wav", "angry/1.wav", "5.wav", "6.wav", "7.flac", "8.wav")
    message = refusal(tmp_path)
    assert message.startswith("4 audio files in DIR are not in a folder") and "(5.wav, 6.wav, 7.flac ...)" in message


def test_a_table_of_another_name_is_told(tmp_path):
    touch(tmp_path, "wav/1.wav", "2.wav", "Labels.CSV")
    assert refusal(tmp_path).endswith(" If Labels.CSV lists them, call it manifest.csv.")


def test_one_folder_alone(tmp_path):
    touch(tmp_path, "calm/1.wav")
    assert refusal(tmp_path) == "The clips in DIR have 1 label (calm); at least two are needed."


def test_a_directory_without_clips(tmp_path):
    touch(tmp_path, "calm/1.txt", "readme.txt")
    message = refusal(tmp_path)
    assert message.startswith("DIR contains neither a table of clips (manifest.csv, .tsv or .jsonl) nor folders")
    touch(tmp_path, "calm/1.mp4", "angry/1.AU")
    assert "2 files below DIR are sound of kinds that are not read and are left out (angry/1.AU, calm/1.mp4)" in refusal(
        tmp_path
    )


def test_no_directory(tmp_path):
    with pytest.raises(DatasetError, match="^There is no directory .*none, from which corpus 'folder'"):
        load(tmp_path / "none")
    with pytest.raises(DatasetError, match="^Corpus 'folder' needs --data_dir"):
        folder.load("", frozenset())


def test_any_format_is_read_and_what_is_left_out_is_told(tmp_path):
    """A label whose clips are of another format does not vanish without a word."""
    touch(tmp_path, "calm/1.wav", "angry/1.mp3", "happy/1.opus", "sad/1.M4A", "bored/1.mp4", "tired/1.txt", "calm/1.txt")
    corpus = load(tmp_path)
    assert corpus.labels == ("angry", "calm", "happy", "sad")
    assert [w.replace(str(tmp_path), "DIR") for w in corpus.warnings[1:]] == [
        "1 files below DIR are sound of kinds that are not read and are left out (bored/1.mp4); convert them to WAV.",
        "2 folders have no audio file that can be read, and give no label: bored, tired.",
    ]
    assert corpus.notes == ("2 files in the folders are not audio and are left out (calm/1.txt, tired/1.txt).",)


def test_of_a_clip_in_two_formats_one_is_taken(tmp_path):
    touch(tmp_path, "calm/1.mp3", "calm/1.wav", "calm/2.ogg", "angry/1.mp3", "angry/1.opus")
    corpus = load(tmp_path)
    assert [u.utterance_id for u in corpus.utterances] == ["angry/1.mp3", "calm/1.wav", "calm/2.ogg"]
    assert "2 clips are there in two formats; these were left out: angry/1.opus, calm/1.mp3." in corpus.warnings


# Folders around labels.


def kinds(corpus: Corpus) -> list[tuple]:
    return [(u.label, u.speaker, u.attributes.get("split")) for u in corpus.utterances]


def test_folders_of_parts_are_the_given_split(tmp_path):
    touch(tmp_path, "Train/calm/1.wav", "Train/angry/1.wav", "val/calm/2.wav", "TEST/calm/3.wav", "TEST/angry/3.wav")
    corpus = load(tmp_path)
    assert kinds(corpus) == [
        ("angry", "unknown", "test"),
        ("calm", "unknown", "test"),
        ("angry", "unknown", "train"),
        ("calm", "unknown", "train"),
        ("calm", "unknown", "validation"),
    ]
    assert corpus.notes == ("The folders are read as PART/LABEL.",)
    split = make_split(corpus)
    assert (len(split.train), len(split.validation), len(split.test)) == (2, 1, 2)


def test_folders_of_speakers_around_labels(tmp_path):
    touch(tmp_path, "ann/calm/1.wav", "ann/Angry/1.wav", "ben/calm/1.wav", "ben/angry/2.wav")
    corpus = load(tmp_path)
    assert kinds(corpus) == [
        ("Angry", "ann", None),
        ("calm", "ann", None),
        ("Angry", "ben", None),
        ("calm", "ben", None),
    ]
    assert corpus.notes == ("The folders are read as SPEAKER/LABEL.",)


@pytest.mark.parametrize("label_first", [True, False])
@pytest.mark.parametrize(
    ("labels", "speakers"), [(("froh", "müde"), ("0001", "0002")), (("w", "x"), ("Actor_01", "Actor 2"))]
)
def test_numbered_speakers_are_told_from_labels_in_any_language(tmp_path, labels, speakers, label_first):
    pairs = [(label, speaker) for label in labels for speaker in speakers]
    touch(tmp_path, *("/".join(pair if label_first else pair[::-1]) + "/1.wav" for pair in pairs))
    corpus = load(tmp_path)
    assert (corpus.labels, corpus.speakers) == (labels, tuple(sorted(speakers)))


def test_parts_speakers_and_labels(tmp_path):
    touch(tmp_path, *(f"{p}/{s}/{e}/1.wav" for p, s in (("train", "s1"), ("test", "s2")) for e in ("happy", "sad")))
    corpus = load(tmp_path)
    assert set(kinds(corpus)) == {(e, s, p) for p, s in (("train", "s1"), ("test", "s2")) for e in ("happy", "sad")}
    assert corpus.warnings == () and find_protocol(corpus)[0] == "given"


def test_parts_beside_labels_and_clips_without_a_label_in_a_part(tmp_path):
    touch(tmp_path, "train/calm/1.wav", "test/2.wav")
    assert refusal(tmp_path).startswith("1 audio files in DIR are not in a folder that names their label (test/2.wav);")
    touch(tmp_path, "angry/1.wav")
    assert refusal(tmp_path).startswith("DIR has folders named after parts (test, train) beside others (angry);")


@pytest.mark.parametrize("system", [".ipynb_checkpoints", "__MACOSX", "@eaDir", ".Trash-1000", "$RECYCLE.BIN"])
def test_folders_of_systems_are_no_labels(tmp_path, system):
    touch(tmp_path, "calm/1.wav", "angry/1.wav", f"{system}/1.wav", f"calm/{system}/2.wav", f"{system}/calm/2.wav")
    corpus = load(tmp_path)
    assert [u.utterance_id for u in corpus.utterances] == ["angry/1.wav", "calm/1.wav"]
    assert corpus.labels == ("angry", "calm") and len(corpus.warnings) == 1  # of the speakers


def test_labels_that_differ_in_case_or_spaces_are_one(tmp_path):
    rows = ("1.wav,Angry,a", "2.wav,angry ,a", "3.wav,angry,b", "4.wav,very  calm,b", "5.wav,Very Calm,b")
    write_csv(tmp_path, "\n".join(["path,label,speaker", *rows]))
    corpus = load(tmp_path)
    assert label_counts(corpus) == {"Very Calm": 2, "angry": 3}
    assert corpus.warnings == (
        "2 labels are spelled in several ways and taken as one each: Angry = angry, Very Calm = very  calm.",
    )


# Tables as people have them.


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_tables_of_any_separator_and_encoding(tmp_path, separator, encoding):
    rows = ["File Name,EMOTION,Speaker_ID,Begin,End", "a b.wav,froh,Jürgen,0.5,2", "2.wav,müde,Ann,,"]
    write_csv(tmp_path, "\r\n".join(rows).replace(",", separator) + "\r\n", encoding)
    assert row(load(tmp_path)) == ("a b.wav#0.5-2", "froh", "Jürgen", "", (0.5, 2.0), {})


def test_a_table_of_a_spreadsheet_with_its_line_of_the_separator_and_decimal_commas(tmp_path):
    write_csv(tmp_path, "sep=;\r\nfile;emotion;start;end\r\n1.wav;calm;0,5;1,25\r\n2.wav;angry;;\r\n", "utf-8-sig")
    assert row(load(tmp_path)) == ("1.wav#0.5-1.25", "calm", "unknown", "", (0.5, 1.25), {})


def test_files_that_a_table_does_not_list_are_told(tmp_path):
    touch(tmp_path, "wav/1.wav", "wav/2.mp3", "wav/3.ogg")
    write_csv(tmp_path, "path,label\n./wav/1.wav,calm\nwav/2.mp3,angry\n")
    assert load(tmp_path).notes == ("1 audio files are not in manifest.csv and are left out (wav/3.ogg).",)


def test_a_tsv_table_and_paths_of_windows(tmp_path):
    touch(tmp_path, "wav/1.wav")
    (tmp_path / "manifest.tsv").write_text("filename\temotion\nwav\\1.wav\tcalm\nwav/2.wav\tangry\n")
    assert [u.path for u in load(tmp_path).utterances] == [str(tmp_path / f"wav/{i}.wav") for i in (1, 2)]


@pytest.mark.parametrize("word", ["dev", "VAL", "Validation", "valid"])
def test_parts_have_several_names(tmp_path, word):
    write_csv(tmp_path, f"path,label,set\n1.wav,calm,Training\n2.wav,angry,{word}\n3.wav,angry,TEST\n")
    assert [u.attributes["split"] for u in load(tmp_path).utterances] == ["train", "validation", "test"]


def test_columns_can_be_named(tmp_path):
    write_csv(tmp_path, "id,utt,path,Gefühl,who\n1,1.wav,x,froh,ann\n2,2.wav,x,müde,ben\n")
    corpus = folder.load(str(tmp_path), columns="path:utt, label:gefühl,speaker:who")
    assert row(corpus) == ("1.wav", "froh", "ann", "", None, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,speaker\n1.wav,ann\n", "has the columns path, speaker, none of which is known as label; name"),
        ("1.wav,calm\n2.wav,angry\n", "has the columns 1.wav, calm, none of which is known as path or label; name"),
        ("path:label\n1.wav:calm\n", "has the columns path:label, none of which"),
    ],
)
def test_a_table_that_is_not_understood_is_told_with_its_columns(tmp_path, text, words):
    write_csv(tmp_path, text)
    message = refusal(tmp_path)
    assert words in message and "--columns=" in message


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("label:mood", "has no column 'mood'; it has path, label."),
        ("mood:label", "columns must be such as path:file,label:emotion"),
        ("label", "columns must be such as"),
    ],
)
def test_columns_that_are_not_there(tmp_path, columns, words):
    write_csv(tmp_path, "path,label\n1.wav,calm\n2.wav,angry\n")
    with pytest.raises(DatasetError, match=words):
        folder.load(str(tmp_path), columns=columns)


def test_columns_of_no_table(tmp_path):
    touch(tmp_path, "calm/1.wav", "angry/1.wav")
    with pytest.raises(DatasetError, match="contains none of manifest.csv"):
        folder.load(str(tmp_path), columns="label:mood")


def test_a_label_that_is_no_unicode(tmp_path):
    touch(tmp_path, "calm/1.wav")
    folder_path = os.fsencode(tmp_path) + b"/f\xe2ch\xe9"
    os.mkdir(folder_path)
    open(folder_path + b"/1.wav", "wb").close()
    corpus = load(tmp_path)
    assert corpus.labels == ("calm", "fâché") and os.path.isfile(corpus.utterances[1].path)
