"""Finding audio files below a directory."""

from __future__ import annotations

import os

import pytest

from kser.datasets.files import find_audio, require_directory
from kser.errors import DatasetError


def test_wav_and_flac_at_any_depth_in_sorted_order(tmp_path):
    for name in ("b/2.wav", "b/10.flac", "a/x/1.WAV", "a/x/0.Flac", "top.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [os.path.relpath(path, tmp_path) for path in find_audio(str(tmp_path))]
    assert found == ["top.wav", "a/x/0.Flac", "a/x/1.WAV", "b/10.flac", "b/2.wav"]


def test_hidden_and_other_files_are_left_out(tmp_path):
    for name in ("._1.wav", ".1.flac", "1.txt", "wav", "1.wav.part", "1.mp3", "2.wav"):
        (tmp_path / name).touch()
    assert [os.path.basename(path) for path in find_audio(str(tmp_path))] == ["2.wav"]


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
        with pytest.raises(DatasetError, match=rf"^There is no directory {path} to read corpus 'ravdess' from\.$"):
            require_directory(str(path), "ravdess")


def test_a_directory_that_may_not_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(DatasetError, match=rf"^The directory {tmp_path} may not be read"):
        require_directory(str(tmp_path), "ravdess")
