"""bin/preview as a user meets it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser.config import SAMPLE_RATE_HZ
from tests.cli.command_server import REPOSITORY, assert_told


@pytest.fixture
def clips(tmp_path) -> Path:
    """A folder of two tones."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, pitch_hz in (("a", 300), ("b", 500)):
        tone = np.sin(2 * np.pi * pitch_hz * np.arange(SAMPLE_RATE_HZ // 2) / SAMPLE_RATE_HZ)
        soundfile.write(folder / f"{name}.wav", 0.1 * tone, SAMPLE_RATE_HZ)
    return folder


@pytest.fixture
def preview(server, tmp_path):
    """Runs bin/preview, writing to `tmp_path`/out."""
    return lambda *arguments, **options: server.run("preview", f"--out_dir={tmp_path}/out", *arguments, **options)


def test_one_line_per_file_written(preview, clips, tmp_path):
    outcome = preview("--augment=room:0.5,babble:10,spec:1,mixup:0.2", "--clip_seconds=0.6", "--count=2", clips)
    assert (outcome.status, outcome.stderr) == (0, "")
    note, *paths = outcome.stdout.splitlines()
    assert note == "mixup needs a batch of clips and is left out."
    endings = [".before.wav", ".after-1.wav", ".after-2.wav", ".png"]
    assert paths == [f"{tmp_path}/out/{name}{ending}" for name in "ab" for ending in endings]
    assert sorted(paths) == sorted(map(str, (tmp_path / "out").iterdir()))


def test_steps_of_features_alone_leave_the_sound(preview, clips, tmp_path):
    outcome = preview("--augment=gain:6", clips / "a.wav")
    assert outcome.status == 0 and outcome.stdout.startswith("No augmentation acts on the waveform")
    assert outcome.stdout.count("\n") == 1 + 3


def test_a_second_preview_overwrites_nothing(preview, clips, tmp_path):
    assert preview("--augment=codec:1", clips / "a.wav").status == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert_told(preview("--augment=codec:1", clips), "a.before.wav exists already", "choose another --out_dir")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_a_name_that_is_no_text(preview, clips):
    path = os.fsdecode(bytes(clips) + b"/caf\xe9.wav")
    shutil.copy(clips / "a.wav", path)
    outcome = preview("--augment=codec:1", path)
    assert (outcome.status, outcome.stderr) == (0, "") and "caf\udce9.png" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs one or more audio files or folders"),
        (["--augment=echo:1", "a.wav"], "augment has no 'echo'"),
        (["--augment=room", "a.wav"], "a strength as in room:1"),
        (["--augment=room:9", "a.wav"], "strength of augment's room must be a number from 0.05 to 3, not 9"),
        (["--augment=spec:1,room:1", "a.wav"], "order of the stages"),
        (["--count=0", "a.wav"], "[1, 16]"),
        (["--seed=-1", "a.wav"], "--seed"),
        (["--num_mels=1", "a.wav"], "num_mels must be"),
        (["--out_dir=", "a.wav"], "needs --out_dir"),
        (["--out_dir=/dev/null", "--augment=codec:1", "{clips}/a.wav"], "Cannot write /dev/null/a.before.wav"),
        (["missing.wav"], "no audio file missing.wav"),
        (["{clips}/a.wav", "missing.wav"], "no audio file missing.wav"),
        (["{clips}/notes.txt"], "notes.txt is not a readable audio file"),
        (["{clips}/empty"], "No audio file (WAV, FLAC"),
        (["--augment=babble:5", "{clips}/a.wav"], "babble mixes in other clips"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence_and_nothing_is_written(preview, clips, tmp_path, arguments, words):
    (clips / "notes.txt").write_text("This is a text.")
    (clips / "empty").mkdir()
    assert_told(preview(*(argument.format(clips=clips) for argument in arguments)), words)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_in_a_sentence(preview, clips, tmp_path):
    outcome = preview("--augment=codec:1", clips / "a.wav", max_file_bytes=1000)
    assert_told(outcome, "Cannot write", "a.before.wav")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_launcher_starts_the_command():
    launcher = REPOSITORY / "bin" / "preview"
    assert os.access(launcher, os.X_OK) and '/_run" preview "$@"' in launcher.read_text(encoding="utf-8")
