"""DAIC-WOZ: tables and transcripts with their traps, turns, parts, every option, and what is missing, damaged or foreign."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser.datasets import daic_woz
from kser.datasets.corpus import Corpus
from kser.datasets.protocols import check_leaks, find_protocol, make_split
from kser.errors import DatasetError

TRAIN, DEV, TEST = daic_woz.TABLES.values()
TRAIN_HEADER = "Participant_ID,PHQ8_Binary,PHQ8_Score,Gender,PHQ8_NoInterest,PHQ8_Sleep"
TABLES = {
    TRAIN: (TRAIN_HEADER, "303,0,0,0,0,0", "319,1,13,1,2,", "373,0,9,1,1,1", "409,0,10,0,1,2"),
    DEV: (TRAIN_HEADER, "382,0,0,0,0,0", "451,1,11,1,1,1"),
    TEST: ("Participant_ID,PHQ_Binary,PHQ_Score,Gender", "300,0,2,1", "308,1,22,0"),
    daic_woz.TEST_NAMES: ("participant_ID,Gender", "300,1", "308,0"),
}
HEADER = "start_time\tstop_time\tspeaker\tvalue"
# Of these the rows 3, 5, 6 and 9 are turns of the participant.
ROWS = (
    "0.100\t0.500\tParticipant\t<synch>",
    "0.500\t1.900\tEllie\thi i'm ellie",
    "2.000\t3.500\tParticipant\tokay",
    "3.500\t4.000\tParticipant\t",
    "4.000\t4.700\t participant \txxx",
    "5.000\t7.250\tPARTICIPANT\t<laughter> yes",
    "7.300\t8.000\t\t",
    "",
    "8.000\t9.500\tParticipant\t[sigh]",
    "9.600\t9.900\tParticipant\t[syncing]",
)
SPANS = {3: (2.0, 3.5), 5: (4.0, 4.7), 6: (5.0, 7.25), 9: (8.0, 9.5)}


def write_table(root: Path, name: str, *lines: str) -> None:
    (root / name).write_text("\r\n".join(lines) + "\r\n")


def write_session(root: Path, name: str, rows=ROWS) -> Path:
    """Twelve seconds of a low and a high voice, of another pitch in every session, and a transcript."""
    folder = root / f"{name}_P"
    folder.mkdir(exist_ok=True)
    times = np.arange(12 * 16000) / 16000
    ellie = np.sin(2 * np.pi * (300 + int(name)) * times) * (times < 2)
    participant = np.sin(2 * np.pi * (int(name) - 200) * times * (1 + times / 50)) * (times >= 2)
    soundfile.write(folder / f"{name}_AUDIO.wav", 0.4 * (ellie + participant), 16000, subtype="PCM_16")
    transcript = folder / f"{name}_TRANSCRIPT.csv"
    transcript.write_text("\n".join((HEADER, *rows)) + "\n")
    return transcript


@pytest.fixture
def root(tmp_path) -> Path:
    """Eight sessions: 451 without Ellie, 373 with turns in its interruption, 409 labelled against its score."""
    for name, lines in TABLES.items():
        write_table(tmp_path, name, *lines)
    for name in ("300", "303", "308", "319", "382", "409"):
        write_session(tmp_path, name)
    write_session(tmp_path, "451", [row for row in ROWS if "Ellie" not in row])
    interrupted = ("390.0\t396.0\tParticipant\thello", "400.0\t401.0\tParticipant\tyes", "428.0\t429.5\tParticipant\tno")
    write_session(tmp_path, "373", (*ROWS, *interrupted))
    return tmp_path


def load(root: Path, *options: str) -> Corpus:
    return daic_woz.load(str(root), frozenset(options))


def turns(corpus: Corpus, speaker: str) -> dict[str, tuple[float, float]]:
    return {u.utterance_id: u.span for u in corpus.utterances if u.speaker == speaker}


def labels(corpus: Corpus) -> dict[str, str]:
    return {u.speaker: u.label for u in corpus.utterances}


def warnings_with(corpus: Corpus, words: str) -> list[str]:
    return [warning for warning in corpus.warnings if words in warning]


# What is read.


def test_turns_of_the_participant_are_spans_of_the_session(root):
    corpus = load(root)
    assert turns(corpus, "303") == {f"303_s{row}": span for row, span in SPANS.items()}
    first = corpus.utterances[0]
    assert (first.utterance_id, first.speaker, first.session, first.label) == ("303_s3", "303", "303", "not_depressed")
    assert Path(first.path) == root / "303_P" / "303_AUDIO.wav"
    assert first.attributes == {"part": "train", "gender": "male", "phq8_score": "0"}
    assert corpus.labels == ("not_depressed", "depressed") and corpus.decision == "speaker"


def test_labels_are_those_of_the_tables_with_409_corrected(root):
    corpus = load(root)
    assert labels(corpus) == {
        "303": "not_depressed",
        "319": "depressed",
        "373": "not_depressed",
        "382": "not_depressed",
        "409": "depressed",
        "451": "depressed",
    }
    assert warnings_with(corpus, "409") == [
        "The label 0 of participant 409 of 'daic_woz' was corrected to 1, for the PHQ-8 score is 10; the option "
        "original_label_409 keeps it."
    ]


def test_original_label_409_keeps_it(root):
    corpus = load(root, "original_label_409")
    assert labels(corpus)["409"] == "not_depressed" and not warnings_with(corpus, "409")


def test_a_table_where_409_is_already_correct_needs_no_correction(root):
    write_table(root, TRAIN, *TABLES[TRAIN][:-1], "409,1,10,0,1,2")
    for options in ((), ("original_label_409",)):
        corpus = load(root, *options)
        assert labels(corpus)["409"] == "depressed" and not warnings_with(corpus, "409")


def test_an_empty_item_cell_is_no_matter(root):
    assert next(u for u in load(root).utterances if u.speaker == "319").attributes["phq8_score"] == "13"


def test_a_transcript_without_ellie_is_read_like_any_other(root):
    spans = list(turns(load(root), "451").values())
    assert spans == list(SPANS.values())


def test_turns_that_overlap_an_interruption_are_dropped(root):
    spans = list(turns(load(root), "373").values())
    assert spans == [*SPANS.values(), (428.0, 429.5)]


@pytest.mark.parametrize("marker", ["<sync>", "<synch>", "[sync]", "[synch]", "[syncing]", "[synching]", "<sync.", "[SYNC]"])
def test_sync_markers_are_no_turns(root, marker):
    write_session(root, "303", (*ROWS, f"10.0\t11.9\tParticipant\t{marker}"))
    assert list(turns(load(root), "303").values()) == list(SPANS.values())


def test_what_only_resembles_a_sync_marker_is_a_turn(root):
    write_session(root, "303", (*ROWS, "10.0\t10.5\tParticipant\t[sync] okay", "11.0\t11.5\tParticipant\tsync"))
    assert list(turns(load(root), "303").values())[4:] == [(10.0, 10.5), (11.0, 11.5)]


def test_line_ends_a_mark_of_order_and_the_case_of_columns_are_no_matter(root):
    transcript = root / "303_P" / "303_TRANSCRIPT.csv"
    text = transcript.read_text().replace(HEADER, "Start_Time\tStop_Time\tSpeaker\tValue")
    transcript.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    table = root / TRAIN
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"Participant_ID", b"PARTICIPANT_id"))
    corpus = load(root)
    assert turns(corpus, "303") == {f"303_s{row}": span for row, span in SPANS.items()}
    assert not warnings_with(corpus, "transcripts")


def test_columns_are_found_by_name_and_a_row_cut_short_has_no_times(root):
    rows = ("Participant\tyes\t2.0\t3.5", "Participant\tno\t4.0", "Participant\tno")
    transcript = root / "303_P" / "303_TRANSCRIPT.csv"
    transcript.write_text("\n".join(("speaker\tvalue\tstart_time\tstop_time", *rows)))
    corpus = load(root)
    assert turns(corpus, "303") == {"303_s1": (2.0, 3.5)}
    assert "(303 row 2, 303 row 3)" in warnings_with(corpus, "unusable times")[0]


# Which turns are kept.


def many_turns(count: int) -> list[str]:
    """Each 0.01 s longer than the one before."""
    return [f"{2 * i}.0\t{2 * i}.{500 + 10 * i:03d}\tParticipant\tword" for i in range(count)]


def test_the_longest_turns_of_everybody_are_kept_in_the_order_of_time(root):
    for name in ("303", "319"):
        write_session(root, name, many_turns(45))
    corpus = load(root)
    kept = [f"s{row}" for row in range(45 - daic_woz.SEGMENTS + 1, 46)]
    assert daic_woz.SEGMENTS == 32
    assert list(turns(corpus, "303")) == [f"303_{row}" for row in kept]
    assert list(turns(corpus, "319")) == [f"319_{row}" for row in kept]


def test_label_dependent_segments_are_those_of_speechformer_and_warned_about(root):
    for name in ("303", "319", "409"):
        write_session(root, name, many_turns(49))
    corpus = load(root, "label_dependent_segments")
    assert [len(turns(corpus, name)) for name in ("303", "319", "409")] == [18, 46, 46]
    assert list(turns(corpus, "303"))[0] == "303_s32"
    assert warnings_with(corpus, "depends on the label, in the test part too")
    assert not warnings_with(load(root), "depends on the label")
    assert len(turns(load(root, "label_dependent_segments", "original_label_409"), "409")) == 18


def test_of_equally_long_turns_the_earlier_is_kept():
    # 0.3 - 0.1 and 0.2 differ in floating point: by it the later turn would be the longer one.
    same = [daic_woz.Turn(1, (0.1, 0.3)), daic_woz.Turn(2, (7.0, 7.2)), daic_woz.Turn(3, (1.0, 1.2))]
    assert [turn.row for turn in daic_woz.longest(same, 2)] == [1, 3]
    assert [turn.row for turn in daic_woz.longest(same, 5)] == [1, 3, 2]


# Offsets.


@pytest.fixture
def with_offset(root) -> Path:
    write_table(root, TRAIN, *TABLES[TRAIN], "321,1,20,1,3,3")
    write_session(root, "321")
    return root


def test_reported_offsets_are_not_applied_but_told(with_offset):
    corpus = load(with_offset)
    assert list(turns(corpus, "321").values()) == list(SPANS.values())
    assert warnings_with(corpus, "out of step") == [
        "The transcripts of 1 sessions of 'daic_woz' are reported to be out of step with the audio and were not corrected "
        "(321: 3.83792 s); the option transcript_offsets adds the seconds reported."
    ]


def test_transcript_offsets_applies_them(with_offset):
    corpus = load(with_offset, "transcript_offsets")
    shifted = [tuple(pytest.approx(time + 3.8379167) for time in span) for span in SPANS.values()]
    assert list(turns(corpus, "321").values()) == shifted
    assert list(turns(corpus, "303").values()) == list(SPANS.values())
    assert not warnings_with(corpus, "out of step")


# The parts.


def parts(corpus: Corpus, split) -> list[set[str]]:
    return [{corpus.utterances[i].speaker for i in part} for part in (split.train, split.validation, split.test)]


def digests(corpus: Corpus) -> list[str]:
    found = []
    for utterance in corpus.utterances:
        begin, end = (int(16000 * second) for second in utterance.span)
        samples, _ = soundfile.read(utterance.path, dtype="int16", start=min(begin, 190000), stop=min(end, 192000))
        found.append(hashlib.sha256(samples.tobytes()).hexdigest())
    return found


def test_dev_is_tested_by_default_and_the_test_part_is_in_no_part(root):
    corpus = load(root)
    name, protocol = find_protocol(corpus)
    assert name == "dev_as_test" and list(corpus.protocols) == ["dev_as_test"] and len(protocol.splits) == 1
    for seed in range(4):
        split = make_split(corpus, seed=seed)
        train, validation, test = parts(corpus, split)
        assert test == {"382", "451"} and train | validation == {"303", "319", "373", "409"}
        assert len(validation) == 1 and not train & validation
        check_leaks(corpus, split, protocol, digests(corpus))
    assert not {"300", "308"} & set(corpus.speakers)


def test_with_test_validates_on_dev_and_tests_on_test(root):
    corpus = load(root, "with_test")
    name, protocol = find_protocol(corpus)
    assert name == "official" and list(corpus.protocols) == ["official"]
    split = make_split(corpus)
    assert parts(corpus, split) == [{"303", "319", "373", "409"}, {"382", "451"}, {"300", "308"}]
    assert labels(corpus)["300"] == "not_depressed" and labels(corpus)["308"] == "depressed"
    assert next(u for u in corpus.utterances if u.speaker == "308").attributes["phq8_score"] == "22"
    check_leaks(corpus, split, protocol, digests(corpus))


def test_a_tested_session_that_is_a_copy_of_a_trained_one_leaks(root):
    (root / "382_P" / "382_AUDIO.wav").write_bytes((root / "303_P" / "303_AUDIO.wav").read_bytes())
    corpus = load(root)
    split = make_split(corpus)
    with pytest.raises(DatasetError, match="leaks: the audio of 4 of its clips"):
        check_leaks(corpus, split, corpus.protocols["dev_as_test"], digests(corpus))


def test_with_test_needs_the_labels_of_the_test_part(root):
    write_table(root, TEST, *TABLES[daic_woz.TEST_NAMES])
    with pytest.raises(
        DatasetError, match=r"^Line 2 of .*full_test_split\.csv has no label 0 or 1 in its column PHQ8_Binary"
    ):
        load(root, "with_test")
    (root / TEST).unlink()
    with pytest.raises(DatasetError, match=r"^There is no .*full_test_split\.csv, a table of 'daic_woz'"):
        load(root, "with_test")
    load(root)


# Counts.


def published_tables(root: Path) -> dict[str, list[str]]:
    """Tables of the published size, whose sessions are those of the fixture: 409 is labelled 0."""
    names = [str(number) for number in range(300, 493) if number not in (342, 394, 398, 460)]
    test = [name for name in names if name in ("300", "308")] + [n for n in names if n not in ("300", "308")][-45:]
    rest = [name for name in names if name not in test]
    dev = ["382", *[name for name in rest if name not in ("303", "319", "373", "382", "409")][:34]]
    train = [name for name in rest if name not in dev]
    depressed = {*[name for name in train if name not in ("303", "373", "409")][:30], *dev[1:13]}
    for table, part in ((TRAIN, train), (DEV, dev)):
        write_table(root, table, TRAIN_HEADER, *(f"{name},{int(name in depressed)},9,1,1,1" for name in part))
    write_table(root, daic_woz.TEST_NAMES, "participant_ID,Gender", *(f"{name},1" for name in test))
    write_table(root, TEST, "Participant_ID,PHQ_Binary,PHQ_Score,Gender", *(f"{name},0,1,1" for name in test))
    return {"train": train, "dev": dev, "test": test}


def test_a_complete_corpus_is_told_of_409_and_offsets_only(root):
    for part in published_tables(root).values():
        for name in part:
            (root / f"{name}_P").mkdir(exist_ok=True)
            (root / f"{name}_P" / f"{name}_AUDIO.wav").touch()
            (root / f"{name}_P" / f"{name}_TRANSCRIPT.csv").write_text("\n".join((HEADER, *ROWS)))
    told = [warning.split(" of ")[0] for warning in load(root).warnings]
    assert told == ["The label 0", "The transcripts"]
    assert load(root, "with_test", "transcript_offsets", "original_label_409").warnings == ()
    assert len(load(root).speakers) == 142 and len(load(root, "with_test").speakers) == 189


def test_tables_of_another_size_or_other_labels_are_told(root):
    published_tables(root)
    lines = (root / DEV).read_text().splitlines()
    write_table(root, DEV, *lines[:-1])
    assert warnings_with(load(root), "The dev part") == [
        "The dev part of 'daic_woz' has 35 participants, 12 of them depressed; in dev_split_Depression_AVEC2017.csv are 34, "
        "12 of them depressed."
    ]
    write_table(root, DEV, lines[0], "382,1,10,0,0,0", *lines[2:])
    assert "are 35, 13 of them depressed" in warnings_with(load(root), "The dev part")[0]
    write_table(root, TEST, *TABLES[TEST])
    assert warnings_with(load(root, "with_test"), "The test part") == [
        "The test part of 'daic_woz' has 47 participants; in full_test_split.csv are 2, 1 of them depressed."
    ]


# What is missing or damaged.


def test_sessions_that_are_missing_or_not_extracted_are_told(root):
    for path in (root / "319_P").iterdir():
        path.unlink()
    (root / "319_P").rmdir()
    (root / "319_P.zip").touch()
    (root / "409_P" / "409_TRANSCRIPT.csv").unlink()
    (root / "451_P" / "451_AUDIO.wav").unlink()
    corpus = load(root)
    assert corpus.speakers == ("303", "373", "382")
    assert warnings_with(corpus, "lack audio") == [
        "3 sessions of 'daic_woz' lack audio or transcript and are left out (319_P/319_AUDIO.wav, 409_P/409_TRANSCRIPT.csv, "
        "451_P/451_AUDIO.wav); extract every NNN_P.zip."
    ]


def test_numbers_that_do_not_exist_are_not_missed(root):
    assert not warnings_with(load(root), "lack audio")


def test_a_session_in_no_table_is_told(root):
    write_session(root, "492")
    assert warnings_with(load(root), "not listed in any table") == [
        "1 session folders of 'daic_woz' are not listed in any table and are left out (492)."
    ]


def test_a_transcript_replaced_by_apple_double_garbage_is_told(root):
    (root / "319_P" / "319_TRANSCRIPT.csv").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        \0\2\xb0")
    (root / "303_P" / "303_TRANSCRIPT.csv").write_text("")
    corpus = load(root)
    assert corpus.speakers == ("373", "382", "409", "451")
    assert warnings_with(corpus, "transcripts of") == [
        "2 transcripts of 'daic_woz' hold no table of turns and their sessions are left out (303, 319); get them again."
    ]


def test_a_transcript_in_windows_1252_is_read_and_told(root):
    transcript = root / "303_P" / "303_TRANSCRIPT.csv"
    transcript.write_bytes(transcript.read_bytes().replace(b"okay", b"caf\xe9 \x85"))
    corpus = load(root)
    assert len(turns(corpus, "303")) == 4
    assert warnings_with(corpus, "UTF-8") == [
        "1 transcripts of 'daic_woz' are not in UTF-8 and were read as Windows-1252 (303_TRANSCRIPT.csv)."
    ]


@pytest.mark.parametrize("times", ["x\t3.0", "1.0\t", "3.0\t2.0", "2.0\t2.0", "nan\t3.0", "1.0\tinf", "-1.0\t3.0"])
def test_turns_with_unusable_times_are_told(root, times):
    write_session(root, "303", (f"{times}\tParticipant\tyes", *ROWS))
    corpus = load(root)
    assert list(turns(corpus, "303").values()) == list(SPANS.values())
    assert warnings_with(corpus, "unusable times") == [
        "1 turns of participants of 'daic_woz' have unusable times and are left out (303 row 1)."
    ]


def test_a_session_without_a_turn_is_told(root):
    write_session(root, "319", ("0.5\t1.9\tEllie\thi",))
    corpus = load(root)
    assert "319" not in corpus.speakers
    assert warnings_with(corpus, "no turn") == [
        "1 sessions of 'daic_woz' have no turn of the participant and are left out (319)."
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "is not a comma-separated table with a column Participant_ID"),
        (("a\tb",), "is not a comma-separated table with a column Participant_ID"),
        ((TRAIN_HEADER, "303,,0,0,0,0"), r"^Line 2 of .*train_split\w*\.csv has no label 0 or 1"),
        ((TRAIN_HEADER, "303,0,0,0,0,0", "", "319"), "^Line 4 of .* has no label 0 or 1"),
        ((TRAIN_HEADER, "x,0,0,0,0,0"), "^Line 2 of .* has no participant such as 303; get it again"),
        ((TRAIN_HEADER, "303,0,0,0,0,0", "303,0,0,0,0,0"), "has participant 303, who was listed before"),
        ((TRAIN_HEADER, "303,0,0,0,0,0", "382,0,0,0,0,0"), "has participant 382, who was listed before"),
        ((TRAIN_HEADER, f"303,0,{'x' * 200000}"), "is not a table"),
    ],
)
def test_a_damaged_table_is_refused(root, lines, message):
    write_table(root, TRAIN, *lines)
    with pytest.raises(DatasetError, match=message):
        load(root)


def test_a_table_that_is_no_text_is_refused(root):
    (root / DEV).write_bytes(b"PK\3\4\0\0\xff")
    with pytest.raises(DatasetError, match="is not a comma-separated table with a column Participant_ID; get it again"):
        load(root)


def test_tables_that_list_nobody_are_refused(root):
    for table in (TRAIN, DEV):
        write_table(root, table, TRAIN_HEADER)
    with pytest.raises(DatasetError, match="^The tables of 'daic_woz' in .* list no participant"):
        load(root)


def test_a_file_that_may_not_be_read_is_named(root, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", refuse)  # root may read everything
    with pytest.raises(DatasetError, match=r"train_split\w*\.csv cannot be read \(Permission denied\); check"):
        load(root)


# Wrong directories.


def test_e_daic_is_refused_by_name(root):
    transcript = root / "319_P" / "319_TRANSCRIPT.csv"
    transcript.write_text("Start_Time,End_Time,Text,Confidence\n1.0,2.0,yes,0.9\n")
    with pytest.raises(DatasetError, match=r"319_TRANSCRIPT\.csv is separated by commas, not by tabs: that is E-DAIC"):
        load(root)


def test_another_directory_is_refused(tmp_path):
    (tmp_path / "Session1").mkdir()
    with pytest.raises(
        DatasetError, match=r"^There is no .*train_split\w*\.csv, a table of 'daic_woz'; .*E-DAIC.* is not read"
    ):
        load(tmp_path)


def test_tables_without_any_session_are_refused(tmp_path):
    for name, lines in TABLES.items():
        write_table(tmp_path, name, *lines)
    (tmp_path / "303_P.zip").touch()
    with pytest.raises(DatasetError, match=r"^No session of 'daic_woz' in .* has audio and usable turns .*; extract every"):
        load(tmp_path)


def test_no_directory(tmp_path):
    with pytest.raises(DatasetError, match="^There is no directory .*none, from which corpus 'daic_woz'"):
        load(tmp_path / "none")
