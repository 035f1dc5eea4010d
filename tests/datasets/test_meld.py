"""MELD: its tables in several encodings, the audio extracted from its videos, and copies that are not complete."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import pytest

from kser.datasets import meld
from kser.datasets.corpus import label_counts
from kser.datasets.files import AUDIO_EXTENSIONS
from kser.datasets.protocols import check_leaks, find_protocol, make_split
from kser.errors import DatasetError

COLUMNS = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
FOLDERS = {"train": "train/train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
SPEAKERS = ("Joey", "Monica", "Chandler", "Phoebe Buffay")


def row(dialogue: int, utterance: int, emotion: str = "", speaker: str = "") -> tuple:
    emotion = emotion or EMOTIONS[utterance % len(EMOTIONS)]
    speaker = speaker or SPEAKERS[utterance % len(SPEAKERS)]
    return (1, 'Oh, "really",\nnow?', speaker, emotion, "neutral", dialogue, utterance)


def write_table(root: Path, part: str, rows, encoding: str = "utf-8", columns=COLUMNS) -> Path:
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    path = root / f"{part}_sent_emo.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def clip(part: str, dialogue: int, utterance: int, extension: str = ".wav") -> str:
    return f"{FOLDERS[part]}/dia{dialogue}_utt{utterance}{extension}"


@pytest.fixture
def small(tmp_path) -> Path:
    """Two dialogues of seven utterances in each part, all with audio, numbered alike."""
    for part in FOLDERS:
        write_table(tmp_path, part, [row(d, u) for d in (0, 1) for u in range(7)])
        touch(tmp_path, *(clip(part, d, u) for d in (0, 1) for u in range(7)))
    return tmp_path


def told(data_dir: Path) -> list[str]:
    """The warnings, without those that a small table causes."""
    return [w for w in meld.load(str(data_dir)).warnings if "utterances in" not in w]


# A complete corpus.


def test_a_complete_corpus_leaves_out_only_the_broken_clips(tmp_path, monkeypatch):
    tables, clips = [], []
    for part, count in (("train", 9989), ("dev", 1109), ("test", 2610)):
        tables.append(str(write_table(tmp_path, part, [row(i // 8, i % 8) for i in range(count)])))
        clips += [str(tmp_path / clip(part, i // 8, i % 8)) for i in range(count)]
    # So many files are named without being made.
    listed = {(".csv",): tables, AUDIO_EXTENSIONS: clips, (".mp4",): []}
    monkeypatch.setattr(meld, "find_files", lambda directory, extensions: listed[extensions])
    found = meld.load(str(tmp_path))
    assert Counter(u.attributes["part"] for u in found.utterances) == {"train": 9988, "dev": 1108, "test": 2610}
    assert found.warnings == (
        "2 clips of 'meld' are damaged as distributed and left out (train_dia125_utt3, dev_dia110_utt7).",
    )


def test_clips_have_label_speaker_session_and_part(small):
    found = {u.utterance_id: u for u in meld.load(str(small)).utterances}
    assert len(found) == 42
    one = found["dev_dia1_utt3"]
    assert (one.label, one.speaker, one.session) == ("angry", "Phoebe Buffay", "dev_dia1")
    assert one.path == str(small / "dev_splits_complete/dia1_utt3.wav") and one.attributes == {"part": "dev"}
    labels = ["neutral", "happy", "surprised", "angry", "sad", "disgust", "fearful"]
    assert [found[f"test_dia0_utt{i}"].label for i in range(7)] == labels
    assert label_counts(meld.load(str(small))) == dict.fromkeys(meld.LABELS, 6)


def test_dialogues_of_equal_number_in_other_parts_are_others(small):
    found = meld.load(str(small)).utterances
    assert {u.session for u in found} == {f"{part}_dia{i}" for part in FOLDERS for i in (0, 1)}
    assert len({u.path for u in found}) == 42


def test_the_official_split_shares_speakers_and_no_dialogue(small):
    corpus = meld.load(str(small))
    name, protocol = find_protocol(corpus)
    assert (name, protocol.shared) == ("official_speakers_shared", ("speaker",)) and len(protocol.splits) == 1
    split = make_split(corpus)
    parts = {"train": split.train, "dev": split.validation, "test": split.test}
    for part, indices in parts.items():
        assert {corpus.utterances[i].attributes["part"] for i in indices} == {part} and len(indices) == 14
    check_leaks(corpus, split, protocol, [str(i) for i in range(42)])
    assert split.test_speakers == split.validation_speakers == corpus.speakers


def test_the_order_is_train_dev_test_as_in_the_tables(small):
    names = [u.utterance_id for u in meld.load(str(small)).utterances]
    assert names == [f"{part}_dia{d}_utt{u}" for part in FOLDERS for d in (0, 1) for u in range(7)]


# Tables.


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_with_and_without_a_byte_order_mark(small, encoding):
    # Without the first columns, so that the mark stands before one that matters.
    write_table(small, "dev", [row(0, 0, speaker="Zoë")[2:]], encoding, COLUMNS[2:])
    (one,) = [u for u in meld.load(str(small)).utterances if u.attributes["part"] == "dev"]
    assert one.speaker == "Zoë" and not any("UTF-8" in warning for warning in told(small))


def test_windows_1252_is_read_with_a_warning(small):
    # 0x81 means nothing in Windows-1252: it spoils one letter, not the table.
    path = write_table(small, "dev", [row(0, 0, speaker="Zoë’s"), row(0, 1)], "cp1252")
    path.write_bytes(path.read_bytes().replace(b"Monica", b"Monica\x81"))
    speakers = [u.speaker for u in meld.load(str(small)).utterances if u.attributes["part"] == "dev"]
    assert speakers == ["Zoë’s", "Monica\ufffd"]
    assert "dev_sent_emo.csv is not in UTF-8 and was read as Windows-1252; speakers' names may be off." in told(small)


def test_tables_may_lie_anywhere_in_any_case(small):
    (small / "data" / "MELD").mkdir(parents=True)
    for part in FOLDERS:
        (small / f"{part}_sent_emo.csv").rename(small / "data" / "MELD" / f"{part.upper()}_sent_emo.CSV")
    assert len(meld.load(str(small)).utterances) == 42


def test_headers_are_read_in_any_case(small):
    write_table(small, "dev", [row(0, 0)], columns=[f" {name.lower()} " for name in COLUMNS])
    assert len(meld.load(str(small)).utterances) == 29


def test_other_tables_are_not_read(small):
    for name in ("train_sent_emo_dya.csv", "train.csv", "other/sent_emo.csv"):
        touch(small, name)
    assert told(small) == []


def test_a_second_table_of_a_part_is_told(small):
    write_table(small / "train", "train", [row(5, 5)])
    assert told(small) == [f"There are 2 tables train_sent_emo.csv; {small}/train_sent_emo.csv is read."]


def test_a_missing_table_is_told_and_its_audio_too(small):
    (small / "dev_sent_emo.csv").unlink()
    assert told(small) == [
        "'meld' lacks the table dev_sent_emo.csv: that part is left out.",
        "14 clips have no row in the tables and are left out (dev_dia0_utt0, dev_dia0_utt1, dev_dia0_utt2 ...).",
    ]
    with pytest.raises(DatasetError, match="no clip in its validation part"):
        make_split(meld.load(str(small)))


def test_a_table_of_another_size_is_told(small):
    warnings = meld.load(str(small)).warnings
    assert warnings[0] == "'meld' has 9989 utterances in train_sent_emo.csv; found: 14."


@pytest.mark.parametrize(
    "bad",
    [
        (1, "text", "Joey", "boredom", "positive", 0, 3),
        (1, "text", " ", "joy", "positive", 0, 3),
        (1, "text", "Joey", "joy", "positive", "x", 3),
        (1, "text", "Joey", "joy", "positive", 0, "-3"),
        (1, "text", "Joey", "joy", "positive", 0, "9" * 5000),
        (1, "text", "Joey"),
    ],
)
def test_unusable_rows_are_counted_and_their_line_named(small, bad):
    write_table(small, "dev", [(1, "a", "Joey", "joy", "positive", 0, 0), bad, (1, "a", "Joey", "Fear ", "x", "1", " 6")])
    assert told(small)[0] == "1 rows of dev_sent_emo.csv are unusable and left out (line 3)."
    labels = [u.label for u in meld.load(str(small)).utterances if u.attributes["part"] == "dev"]
    assert labels == ["happy", "fearful"]


def test_a_clip_with_two_rows_counts_once(small):
    write_table(small, "dev", [row(0, 0), row(0, 0, emotion="fear")])
    (one,) = [u for u in meld.load(str(small)).utterances if u.attributes["part"] == "dev"]
    assert one.label == "neutral"
    assert told(small)[0] == "1 rows of dev_sent_emo.csv repeat a clip; the first of each is used (dev_dia0_utt0)."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column speaker, emotion, dialogue_id, utterance_id; is it the published one"),
        (b"Speaker,Emotion,Dialogue_ID\nJoey,joy,1\n", "has no column utterance_id;"),
        ("Speaker,Emotion".encode("utf-16"), "(has no column|is damaged near line 1)"),
        (b"Speaker,Emotion,Dialogue_ID,Utterance_ID\nJoey,joy,1," + 200_000 * b"1", "is damaged near line 2"),
    ],
)
def test_a_table_of_another_form_is_refused(small, content, message):
    path = small / "test_sent_emo.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"^The table {path} of 'meld' {message}"):
        meld.load(str(small))


def test_a_table_that_cannot_be_opened_is_refused(small):
    path = small / "test_sent_emo.csv"
    path.unlink()
    path.symlink_to(small / "nowhere")
    with pytest.raises(DatasetError, match=f"^The table {path} of 'meld' cannot be read"):
        meld.load(str(small))


# Audio.


@pytest.mark.parametrize("folder", ["audio/{}", "MELD.Raw/{}_splits/wav", "{}", "raw/wav-{}-16k", "{}/a/b", "Test/{}_16k"])
def test_a_part_is_told_by_the_innermost_folder_named_after_it(tmp_path, folder):
    for part in FOLDERS:
        write_table(tmp_path / "tables", part, [row(0, 0)])
        touch(tmp_path, f"{folder.format(part)}/dia0_utt0.wav")
    found = meld.load(str(tmp_path))
    assert {u.attributes["part"]: u.path for u in found.utterances} == {
        part: str(tmp_path / folder.format(part) / "dia0_utt0.wav") for part in FOLDERS
    }


def test_folders_that_only_contain_the_name_of_a_part_are_no_part(small):
    touch(small, "training/dia0_utt0.wav", "latest/dia0_utt0.wav", "dia0_utt0.wav")
    assert told(small) == ["3 audio files are not in a folder named after train, dev or test; they are left out."]


def test_missing_audio_is_counted_and_named(small):
    (small / clip("test", 1, 6)).unlink()
    assert told(small) == ["1 annotated clips of 'meld' have no audio and are left out (test_dia1_utt6)."]
    assert len(meld.load(str(small)).utterances) == 41


def test_missing_audio_whose_video_is_there_is_to_be_extracted(small):
    (small / clip("test", 1, 5)).unlink()
    (small / clip("test", 1, 6)).unlink()
    touch(small, clip("test", 1, 6, ".mp4"), clip("test", 1, 4, ".mp4"))
    (warning,) = told(small)
    assert warning.startswith("2 annotated clips of 'meld' have no audio and are left out (test_dia1_utt5, test_dia1_utt6)")
    assert "; 1 of them are there as video: extract it first as mono at 16 kHz, for example by ffmpeg -i" in warning


def test_audio_without_a_row_is_counted_and_named(small):
    touch(small, clip("train", 7, 7))
    assert told(small) == ["1 clips have no row in the tables and are left out (train_dia7_utt7)."]


def test_prefixed_copies_of_test_clips_are_left_out_and_told(small):
    touch(small, f"{FOLDERS['test']}/final_videos_testdia0_utt0.wav", f"{FOLDERS['test']}/final_videos_testdia0_utt1.wav")
    (warning,) = told(small)
    assert warning.startswith("2 audio files are called final_videos_test* and are probably copies")
    assert all("final_videos" not in u.path for u in meld.load(str(small)).utterances)


def test_other_audio_and_repeated_names_are_told(small):
    touch(small, "train/dia0_utt0_16k.wav", "train/theme.flac", "train/again/dia0_utt0.wav", "train/._dia0_utt1.wav")
    assert sorted(told(small)) == [
        "1 audio files have the same name as another in the same part; they are left out.",
        "2 audio files are not named like clips of 'meld' (dia0_utt0); they are left out.",
    ]


def test_broken_clips_are_left_out_even_where_there_is_audio(small):
    write_table(small, "dev", [row(110, 7), row(0, 0)])
    touch(small, clip("dev", 110, 7))
    assert "1 clips of 'meld' are damaged as distributed and left out (dev_dia110_utt7)." in told(small)
    dev = [u.utterance_id for u in meld.load(str(small)).utterances if u.attributes["part"] == "dev"]
    assert dev == ["dev_dia0_utt0"]


def test_clips_of_the_broken_ones_numbers_in_other_parts_stay(small):
    write_table(small, "test", [row(110, 7), row(125, 3)])
    touch(small, clip("test", 110, 7), clip("test", 125, 3))
    assert len([u for u in meld.load(str(small)).utterances if u.attributes["part"] == "test"]) == 2


# What is refused.


def test_video_alone_is_refused_with_how_to_extract_its_audio(tmp_path):
    for part in FOLDERS:
        write_table(tmp_path, part, [row(0, 0)])
        touch(tmp_path, clip(part, 0, 0, ".mp4"))
    message = rf"^'meld' below {tmp_path} is video \(3 \.mp4\) without audio; extract it first as mono at 16 kHz, .* ffmpeg"
    with pytest.raises(DatasetError, match=message):
        meld.load(str(tmp_path))


def test_tables_alone_are_refused(tmp_path):
    write_table(tmp_path, "train", [row(0, 0)])
    with pytest.raises(DatasetError, match="^There is no audio of annotated clips of 'meld' below .* train/dia0_utt0.wav.$"):
        meld.load(str(tmp_path))


def test_audio_of_other_clips_alone_is_refused(tmp_path):
    write_table(tmp_path, "train", [row(0, 0)])
    touch(tmp_path, "train/dia9_utt9.wav", "dia0_utt0.wav")
    with pytest.raises(DatasetError, match="^There is no audio of annotated clips of 'meld'"):
        meld.load(str(tmp_path))


def test_broken_clips_alone_are_refused(tmp_path):
    write_table(tmp_path, "dev", [row(110, 7)])
    touch(tmp_path, clip("dev", 110, 7))
    with pytest.raises(DatasetError, match="^All clips of 'meld' below .* are known to be damaged"):
        meld.load(str(tmp_path))


def test_another_corpus_is_refused(tmp_path):
    touch(tmp_path, "wav/03a01Fa.wav", "labels.csv")
    with pytest.raises(DatasetError, match=r"^There is no table of 'meld' \(train_sent_emo.csv, .* below .* its audio\.$"):
        meld.load(str(tmp_path))


def test_no_directory(tmp_path):
    with pytest.raises(DatasetError, match="^There is no directory .*none, from which corpus 'meld'"):
        meld.load(str(tmp_path / "none"))
    with pytest.raises(DatasetError, match="^Corpus 'meld' needs --data_dir"):
        meld.load("")
