"""Files appear whole or not at all: failures, full disks, kills and writers at the same time."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kser.errors import ConfigError, KserError
from kser.files import replacing, require_empty, write_bytes, write_text, write_tree
from tests.limits import files_at_most

REPOSITORY = Path(__file__).resolve().parent.parent
KILLED_HALF_WAY = """
import os, signal, sys
from kser.files import replacing
with replacing(sys.argv[1]) as temporary:
    with open(temporary, "w") as file:
        file.write("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def target(tmp_path) -> Path:
    """A file that holds "old", alone in its directory."""
    path = tmp_path / "folder" / "file.txt"
    path.parent.mkdir()
    path.write_text("old")
    return path


def assert_untouched(target: Path) -> None:
    assert os.listdir(target.parent) == [target.name]
    assert target.read_text() == "old"


def test_writes_and_replaces(target):
    write_text(str(target), "nüw")
    assert target.read_bytes() == "nüw".encode()
    write_bytes(str(target), b"\x00\xff")
    assert target.read_bytes() == b"\x00\xff"
    assert os.listdir(target.parent) == [target.name]


def test_makes_the_directories_above(tmp_path):
    write_text(str(tmp_path / "a" / "b" / "c.txt"), "new")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "new"


def test_a_name_without_directory_is_in_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text("bare.txt", "new")
    assert (tmp_path / "bare.txt").read_text() == "new"


def test_nothing_shows_before_the_block_ends(target):
    with replacing(str(target)) as temporary:
        Path(temporary).write_text("new")
        assert target.read_text() == "old"
        # Same directory: a rename across file systems is not atomic. Same ending: writers go by it.
        assert Path(temporary).parent == target.parent and temporary.endswith(".txt")
    assert target.read_text() == "new"


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_text(str(tmp_path / "file"), "new")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("failure", [ValueError("mine"), KeyboardInterrupt()])
def test_a_failure_inside_leaves_the_old_file_and_passes_through(target, failure):
    with pytest.raises(type(failure)) as raised, replacing(str(target)) as temporary:
        Path(temporary).write_text("half")
        raise failure
    assert raised.value is failure
    assert_untouched(target)


def test_a_full_device_is_told(target):
    with (
        pytest.raises(KserError, match=r"^Cannot write .*file\.txt: No space left on device\.$"),
        replacing(str(target)),
        open("/dev/full", "wb") as file,
    ):
        file.write(b"new")
    assert_untouched(target)


def test_a_file_that_cannot_grow_is_told(target):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(KserError, match=r"^Cannot write .*file\.txt: File too large\.$"):
            write_bytes(str(target), bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_untouched(target)


def test_a_failing_rename_is_told(target, monkeypatch):
    def replace(source, destination):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KserError, match="No space left"):
        write_text(str(target), "new")
    assert_untouched(target)


def test_an_error_without_number_keeps_its_words(target):
    with pytest.raises(KserError, match="the library's own words"), replacing(str(target)):
        raise OSError("the library's own words")
    assert_untouched(target)


def test_a_directory_that_cannot_be_made_is_told(target):
    with pytest.raises(KserError, match=r"^Cannot write .*/file\.txt/deeper/x: Not a directory\.$"):
        write_text(str(target / "deeper" / "x"), "new")
    assert_untouched(target)


def test_a_directory_that_may_not_be_written_is_told(target, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)  # root may write everywhere, so permissions alone would not show it
    with pytest.raises(KserError, match="Permission denied"):
        write_text(str(target), "new")
    monkeypatch.undo()
    assert_untouched(target)


def test_a_killed_writer_leaves_the_old_file(target):
    done = subprocess.run([sys.executable, "-c", KILLED_HALF_WAY, str(target)], cwd=REPOSITORY)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    write_text(str(target), "new")  # what the killed one left does not stand in the way
    assert target.read_text() == "new"


def test_the_umask_of_the_process_is_left_alone(target, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "umask", calls.append)  # even setting it back is a race against other threads' files
    write_text(str(target), "new")
    assert calls == []


def test_writers_at_once_leave_one_whole_file(tmp_path):
    path, texts = tmp_path / "file", [letter * 200_000 for letter in "abcd"]
    threads = [threading.Thread(target=lambda t=t: [write_text(str(path), t) for _ in range(20)]) for t in texts]
    for thread in threads:
        thread.start()
    seen = {path.read_text() for _ in range(50) if path.exists()}
    for thread in threads:
        thread.join()
    assert seen | {path.read_text()} <= set(texts)
    assert os.listdir(tmp_path) == ["file"]


# --- Directories ------------------------------------------------------------------------------------------------------

TREE = {"a.txt": b"a", "deep/er/b.bin": bytes(range(256))}


def tree(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.mark.parametrize("place", ["new", "one/two", "empty"])
def test_a_directory_is_written(tmp_path, place):
    (tmp_path / "empty").mkdir()
    write_tree(str(tmp_path / place), TREE)
    assert tree(tmp_path / place) == TREE
    assert {p.name for p in tmp_path.iterdir()} == {"empty", place.split("/")[0]}


@pytest.mark.parametrize("place", ["full", "file", "link"])
def test_a_directory_overwrites_nothing(tmp_path, place):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "keepsake").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    for attempt in (lambda path: write_tree(path, TREE), require_empty):
        with pytest.raises(ConfigError, match=rf"^.*/{place} is not an empty directory; choose one that does not exist\.$"):
            attempt(str(tmp_path / place))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_directory_that_does_not_fit_leaves_nothing(tmp_path):
    files = {"first": b"fits", "second": bytes(200_000)}
    with files_at_most(100_000), pytest.raises(KserError, match=r"^Cannot write .*/new: File too large\.$"):
        write_tree(str(tmp_path / "new"), files)
    assert list(tmp_path.iterdir()) == []
