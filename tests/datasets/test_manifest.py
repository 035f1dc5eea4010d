"""The manifest: a corpus read back as it was written, wherever it lies, and manifests that cannot be used."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from kser.datasets.corpus import Corpus, HeldOut, Protocol, Utterance, speakers_held_out
from kser.datasets.manifest import FORMAT, manifest_text, read_manifest, require_content
from kser.datasets.scan import ClipReport
from kser.errors import DatasetError

DATA_DIR = "/audio/toy"


def utterance(name: str, label: str, speaker: str, **values) -> Utterance:
    return Utterance(name, os.path.join(DATA_DIR, f"{speaker}/{name}.wav"), label, speaker, **values)


CORPUS = Corpus(
    "toy",
    ("sad", "angry", "never said"),
    (
        utterance("1", "sad", "a", session="talk 1", span=(0.1, 1.7)),
        utterance("2", "angry", "a", session="talk 1", span=(1 / 3, 5400.001), attributes={"part": "train", "age": "30"}),
        utterance("größer, “3” 你", "sad", "Jürgen"),
        utterance("caf\udce9", "angry", "c", attributes={"part": "test"}),
    ),
    protocols={
        "official": Protocol("part", (HeldOut(("test",), ("dev", "extra")),), shared=("speaker", "session")),
        "two": speakers_held_out([("a",), ("Jürgen", "c")]),
    },
    warnings=("One clip is missing.",),
    decision="speaker",
)
REPORTS = tuple(ClipReport(f"{i:064x}", 1000 + i, 1 / 3 + i, 48000, 2) for i in range(len(CORPUS.utterances)))
EXCLUDED = {"5": "/audio/toy/c/5.wav is empty."}


def text_of(corpus: Corpus = CORPUS) -> str:
    return manifest_text(corpus, REPORTS, DATA_DIR, EXCLUDED)


def read(directory: Path, text: str, data_dir: str = DATA_DIR, name: str = "toy") -> tuple[Corpus, list[str]]:
    (directory / "m.jsonl").write_text(text, encoding="utf-8")
    return read_manifest(str(directory / "m.jsonl"), data_dir, name)


def refusal(function, *arguments) -> str:
    """What the call is refused with: one sentence."""
    with pytest.raises(DatasetError) as error:
        function(*arguments)
    message = str(error.value)
    assert message.endswith(".") and ". " not in message and "\n" not in message, message
    return message


def with_head(**changes) -> str:
    head, *rows = text_of().splitlines(keepends=True)
    values = {name: value for name, value in (json.loads(head) | changes).items() if value is not ...}
    return "".join([json.dumps(values) + "\n", *rows])


def with_row(number: int, **changes) -> str:
    """The manifest with other values in a row, or (...) without them."""
    lines = text_of().splitlines(keepends=True)
    values = {name: value for name, value in (json.loads(lines[number]) | changes).items() if value is not ...}
    lines[number] = json.dumps(values) + "\n"
    return "".join(lines)


# Written and read back.


def test_a_corpus_is_read_back_as_it_was_written(tmp_path):
    corpus, digests = read(tmp_path, text_of())
    assert corpus == CORPUS and corpus.fingerprint() == CORPUS.fingerprint()
    assert list(corpus.protocols) == ["official", "two"]  # the first is the default
    assert digests == [report.digest for report in REPORTS]


def test_a_corpus_without_protocols_is_read_back(tmp_path):
    plain = dataclasses.replace(CORPUS, protocols={}, warnings=(), decision="utterance")
    assert read(tmp_path, text_of(plain))[0] == plain


def test_what_is_read_back_makes_the_same_manifest(tmp_path):
    assert text_of(read(tmp_path, text_of())[0]) == text_of() == text_of()


def test_a_moved_corpus_is_found_below_its_new_directory(tmp_path):
    corpus, _ = read(tmp_path, text_of(), data_dir="/elsewhere")
    assert corpus.utterances[0].path == "/elsewhere/a/1.wav"
    assert corpus.fingerprint() == CORPUS.fingerprint()


def test_the_same_corpus_in_two_places_makes_the_same_manifest():
    moved = [dataclasses.replace(u, path=u.path.replace(DATA_DIR, "/elsewhere")) for u in CORPUS.utterances]
    text = manifest_text(dataclasses.replace(CORPUS, utterances=tuple(moved)), REPORTS, "/elsewhere", EXCLUDED)
    assert text == text_of() and DATA_DIR not in "".join(text.splitlines()[1:])


def test_paths_told_from_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir("/")
    assert manifest_text(CORPUS, REPORTS, "audio/toy/", EXCLUDED) == text_of()


def test_a_line_is_a_clip_with_what_is_in_its_file():
    head, first, *others = map(json.loads, text_of().splitlines())
    assert (head["kser_manifest"], head["clips"], len(others)) == (FORMAT, 4, 3) and head["excluded"] == EXCLUDED
    found = {
        name: first[name] for name in ("id", "path", "span", "sha256", "bytes", "seconds", "sample_rate_hz", "channels")
    }
    assert found == {
        "id": "1",
        "path": "a/1.wav",
        "span": [0.1, 1.7],
        "sha256": "0" * 64,
        "bytes": 1000,
        "seconds": 0.333333,
        "sample_rate_hz": 48000,
        "channels": 2,
    }


def test_every_clip_needs_a_report():
    with pytest.raises(ValueError):
        manifest_text(CORPUS, REPORTS[1:], DATA_DIR, {})


# Manifests that cannot be used.


def test_a_missing_file(tmp_path):
    message = refusal(read_manifest, str(tmp_path / "none"), DATA_DIR, "toy")
    assert message == f"The manifest {tmp_path}/none cannot be read (No such file or directory); make one with bin/prepare."
    assert "Is a directory" in refusal(read_manifest, str(tmp_path), DATA_DIR, "toy")


@pytest.mark.parametrize(
    "text",
    ["", "\n", "path,label\n1.wav,calm\n", '{"path": "1.wav", "label": "calm"}\n', "[1]\n", "5\n", "null\n", '"text"\n'],
)
def test_a_file_that_is_no_manifest(tmp_path, text):
    assert refusal(read, tmp_path, text) == f"{tmp_path}/m.jsonl is not a manifest of bin/prepare; make one with it."


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b"RIFF\xff\xfe\x00")
    assert "is not a manifest" in refusal(read_manifest, str(tmp_path / "m.jsonl"), DATA_DIR, "toy")


def test_a_manifest_of_another_corpus(tmp_path):
    message = refusal(read, tmp_path, text_of(), DATA_DIR, "iemocap")
    assert message == f"{tmp_path}/m.jsonl is a manifest of 'toy', not of 'iemocap'; use --dataset=toy."


@pytest.mark.parametrize("version", [FORMAT + 1, 0, "1", None])
def test_a_manifest_of_another_format(tmp_path, version):
    message = refusal(read, tmp_path, with_head(kser_manifest=version))
    assert f"is a manifest of format {version!r}, this kser reads {FORMAT}; make it again" in message


def test_a_newer_format_may_look_entirely_different(tmp_path):
    assert "format 2" in refusal(read, tmp_path, '{"kser_manifest": 2}\n[1, 2]\n')


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_a_manifest_cut_off_between_lines(tmp_path, kept):
    message = refusal(read, tmp_path, "".join(text_of().splitlines(keepends=True)[:kept]))
    assert message == f"{tmp_path}/m.jsonl has {kept - 1} of its 4 clips; make it again with bin/prepare."


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_manifest_cut_off_within_a_line(tmp_path, share):
    text = text_of()
    assert f"{tmp_path}/m.jsonl is" in refusal(read, tmp_path, text[: int(share * len(text))])


def test_a_manifest_with_a_line_too_many(tmp_path):
    text = text_of()
    assert "has 5 of its 4 clips" in refusal(read, tmp_path, text + text.splitlines(keepends=True)[-1])


@pytest.mark.parametrize("key", ["id", "path", "label", "speaker", "session", "span", "attributes", "sha256"])
@pytest.mark.parametrize("value", [..., 5, [1], None], ids=["missing", "number", "list", "null"])
def test_a_damaged_row(tmp_path, key, value):
    if (key, value) != ("span", None):
        assert f"{tmp_path}/m.jsonl is damaged" in refusal(read, tmp_path, with_row(3, **{key: value}))


@pytest.mark.parametrize("span", [[], [1], [1, 2, 3], ["0", "1"], [None, 1], "01", [2, 1]])
def test_a_row_with_times_that_are_none(tmp_path, span):
    assert "is damaged" in refusal(read, tmp_path, with_row(1, span=span))


def test_a_label_that_is_none_of_the_corpus(tmp_path):
    message = refusal(read, tmp_path, with_row(2, label="happy"))
    assert "is damaged" in message and "happy" in message


@pytest.mark.parametrize("line", ["[]", "5", "null", '"text"'])
def test_a_row_that_is_no_object(tmp_path, line):
    lines = text_of().splitlines(keepends=True)
    assert "is damaged" in refusal(read, tmp_path, "".join([*lines[:2], line + "\n", *lines[3:]]))


@pytest.mark.parametrize("key", ["corpus", "labels", "decision", "protocols", "warnings", "clips"])
def test_a_head_that_lacks_something(tmp_path, key):
    assert f"{tmp_path}/m.jsonl is damaged" in refusal(read, tmp_path, with_head(**{key: ...}))


@pytest.mark.parametrize(
    "protocols",
    [[], {"official": {}}, {"official": {"kind": "part", "splits": 3, "shared": []}}, {"official": None}],
)
def test_protocols_that_are_damaged(tmp_path, protocols):
    assert "is damaged" in refusal(read, tmp_path, with_head(protocols=protocols))


# The files are those of the manifest.


def test_files_that_are_the_same():
    require_content("m.jsonl", CORPUS, list("abcd"), list("abcd"))


@pytest.mark.parametrize(("found", "count", "first"), [("axcd", 1, 1), ("abyz", 2, 2), ("wxyz", 4, 0), ("bacd", 2, 0)])
def test_of_changed_files_the_first_is_named(found, count, first):
    message = refusal(require_content, "m.jsonl", CORPUS, list("abcd"), list(found))
    assert message == (
        f"{count} files are not those of the manifest m.jsonl (the first is {CORPUS.utterances[first].path}); restore them "
        "or make the manifest again with bin/prepare."
    )


def test_digests_must_be_as_many_as_clips():
    with pytest.raises(ValueError):
        require_content("m.jsonl", CORPUS, list("abcd"), list("abc"))
