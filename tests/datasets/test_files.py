"""Finding files below a directory, and clips by their names."""

from __future__ import annotations

import hashlib
import os
import re

import pytest

from kser.datasets import checksums
from kser.datasets.corpus import Utterance
from kser.datasets.files import Grammar, few, find_audio, find_files, parse_names, require_directory
from kser.errors import DatasetError


def test_wav_and_flac_at_any_depth_in_sorted_order(tmp_path):
    for name in ("b/2.wav", "b/10.flac", "a/x/1.WAV", "a/x/0.Flac", "top.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [os.path.relpath(path, tmp_path) for path in find_audio(str(tmp_path))]
    assert found == ["top.wav", "a/x/0.Flac", "a/x/1.WAV", "b/10.flac", "b/2.wav"]


def test_hidden_and_other_files_are_left_out(tmp_path):
    hidden = ("._1.wav", ".1.flac", ".ipynb_checkpoints/3.wav", "__MACOSX/4.wav")
    for name in (*hidden, "1.txt", "wav", "1.wav.part", "1.mp4", "2.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [os.path.basename(path) for path in find_audio(str(tmp_path))] == ["2.wav"]


def test_a_corpus_in_a_hidden_folder_is_read(tmp_path):
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "1.wav").touch()
    assert len(list(find_audio(str(tmp_path / ".data")))) == 1


def test_other_endings_can_be_looked_for(tmp_path):
    for name in ("a.TXT", "b.csv", "c.wav", ".d.txt", "deep/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [os.path.relpath(path, tmp_path) for path in find_files(str(tmp_path), (".txt", ".csv"))]
    assert found == ["a.TXT", "b.csv", "deep/e.txt"]


def test_links_are_followed_and_each_directory_is_entered_once(tmp_path):
    (tmp_path / "corpus" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("corpus/a/1.wav", "elsewhere/2.wav"):
        (tmp_path / name).touch()
    (tmp_path / "corpus" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "a" / "round").symlink_to(tmp_path / "corpus")
    found = [os.path.relpath(path, tmp_path / "corpus") for path in find_audio(str(tmp_path / "corpus"))]
    assert found == ["a/1.wav", "b/2.wav"]


def test_a_directory_below_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    with pytest.raises(
        DatasetError, match=rf"^The directory {tmp_path}/a cannot be read \(Permission denied\); check .*\.$"
    ):
        list(find_audio(str(tmp_path)))


def test_an_empty_directory_has_none(tmp_path):
    assert list(find_audio(str(tmp_path))) == []


def test_a_readable_directory_is_accepted(tmp_path):
    require_directory(str(tmp_path), "ravdess")


def test_no_directory_given():
    with pytest.raises(DatasetError, match=r"^Corpus 'ravdess' needs --data_dir.*\.$"):
        require_directory("", "ravdess")


def test_a_missing_directory_and_a_file_in_its_place(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(DatasetError, match=rf"^There is no directory {path}, from which corpus 'ravdess'"):
            require_directory(str(path), "ravdess")


def test_a_directory_that_may_not_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(DatasetError, match=rf"^The directory {tmp_path} cannot be read"):
        require_directory(str(tmp_path), "ravdess")


# Clips by their names.

LETTERS = Grammar(
    "letters",
    re.compile(r"(?:^|/)(([ab])\d)$"),
    lambda path, match: Utterance(match[1], path, "calm", match[2]),
    example="a1.wav",
    num_clips=3,
    num_speakers=2,
)


def letters(root, *names: str):
    """What `parse_names` finds, its warnings as one text."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    utterances, warnings = parse_names(str(root), LETTERS)
    assert all(warning.endswith(".") for warning in warnings)
    return utterances, "\n".join(warnings)


def test_clips_are_in_the_order_of_their_ids_whatever_folder_they_lie_in(tmp_path):
    utterances, warnings = letters(tmp_path, "z/a1.wav", "b1.FLAC", "x/y/a2.wav")
    assert [(u.utterance_id, u.speaker) for u in utterances] == [("a1", "a"), ("a2", "a"), ("b1", "b")]
    assert [u.path for u in utterances] == [str(tmp_path / name) for name in ("z/a1.wav", "x/y/a2.wav", "b1.FLAC")]
    assert warnings == ""


def test_of_clips_of_one_name_the_first_is_taken_and_it_is_told(tmp_path):
    utterances, warnings = letters(tmp_path, "x/a1.wav", "y/a1.wav", "y/a1.flac", "a2.wav", "b1.wav")
    assert [u.path for u in utterances] == [str(tmp_path / name) for name in ("x/a1.wav", "a2.wav", "b1.wav")]
    assert warnings.startswith("2 files of 'letters' have the same name as another and ") and "(y/a1, y/a1)" in warnings


def test_of_files_of_one_name_the_original_is_taken_wherever_it_lies(tmp_path, monkeypatch):
    original = hashlib.sha256(b"as distributed").hexdigest()
    monkeypatch.setattr(checksums, "known", lambda corpus: {"a1.wav": original[:16]})
    monkeypatch.setattr(checksums, "sizes", lambda corpus: {"a1.wav": len(b"as distributed")})
    monkeypatch.setattr(checksums, "name_of", lambda corpus, path: os.path.basename(path))
    letters(tmp_path, "denoised/a1.wav", "other/a1.wav", "wav/a1.wav", "b1.wav")
    (tmp_path / "other" / "a1.wav").write_bytes(b"of equal size!")
    (tmp_path / "wav" / "a1.wav").write_bytes(b"as distributed")
    utterances, warnings = letters(tmp_path)
    assert [os.path.relpath(u.path, tmp_path) for u in utterances] == ["wav/a1.wav", "b1.wav"]
    assert "2 files of 'letters'" in warnings and "the original was taken" in warnings


def test_other_names_and_other_numbers_are_told(tmp_path):
    utterances, warnings = letters(tmp_path, "a1.wav", "c1.wav", "ca1.wav", "a1b.wav", "d.wav", "notes.txt")
    assert [u.utterance_id for u in utterances] == ["a1"]
    assert warnings.splitlines() == [
        "4 audio files below the directory are not named like those of 'letters' and are left out (a1b, c1, ca1 ...).",
        "'letters' has 3 clips of 2 speakers; found: 1 of 1.",
    ]


def test_clips_of_kinds_that_are_not_read_are_told(tmp_path):
    utterances, warnings = letters(tmp_path, "a1.wav", "a2.mp3", "b1.mp4", "intro.mp4")
    assert [u.utterance_id for u in utterances] == ["a1", "a2"]
    assert f"1 files below {tmp_path} are sound of kinds that are not read and are left out (b1.mp4)" in warnings


def test_of_a_clip_in_two_formats_the_lossless_one_is_taken(tmp_path):
    utterances, warnings = letters(tmp_path, "a1.mp3", "a1.wav")
    assert [u.path for u in utterances] == [str(tmp_path / "a1.wav")] and warnings.startswith("1 files of 'letters' have")


def test_no_clip_at_all(tmp_path):
    sentence = rf"^There is no clip of 'letters' \(such as a1.wav\) below {tmp_path}"
    with pytest.raises(DatasetError, match=sentence + "; point --data_dir at the corpus as distributed.$"):
        letters(tmp_path)
    with pytest.raises(DatasetError, match=sentence + r" \(found: c/c1\); point --data_dir"):
        letters(tmp_path, "c/c1.wav")
    with pytest.raises(DatasetError, match="^There is no directory .*, from which corpus 'letters'"):
        parse_names(str(tmp_path / "none"), LETTERS)


def test_few_names_and_many():
    assert few(iter("abc")) == "a, b, c" and few("abcd") == "a, b, c ..." and few([]) == ""
