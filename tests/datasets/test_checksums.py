"""The packaged table of checksums: it equals the lists it was made from, and files find their entry."""

from __future__ import annotations

import csv
import os

import pytest

from kser.datasets import checksums
from kser.errors import DatasetError

NUM_FILES = {"cremad": 7442, "emodb": 535, "emovo": 588, "ravdess": 1440, "savee": 480, "tess": 2800, "urdu": 400}
LISTS = {corpus: f"{corpus}.tsv" for corpus in NUM_FILES} | {"emodb": "emodb_original_16k.tsv"}
DIGEST = "0123456789abcdef"


def write_list(path, *rows) -> str:
    path.write_text("sha256\tbytes\tfile\n" + "".join(f"{digest * 4}\t{size}\t{name}\n" for digest, size, name in rows))
    return str(path)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Points the module at another table, for one test."""
    monkeypatch.setattr(checksums, "PATH", str(tmp_path / "table.npz"))
    checksums._table.cache_clear()
    yield tmp_path / "table.npz"
    checksums._table.cache_clear()


# The packaged table.


@pytest.mark.parametrize(("corpus", "count"), NUM_FILES.items())
def test_the_package_has_every_file_of_a_corpus(corpus, count):
    known, sizes = checksums.known(corpus), checksums.sizes(corpus)
    assert len(known) == len(sizes) == count and list(known) == list(sizes)
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in known.values())
    assert all(size > 20_000 for size in sizes.values())


def test_the_packaged_table_is_small():
    assert os.path.getsize(checksums.PATH) < 200_000


@pytest.mark.parametrize(("corpus", "file_name"), LISTS.items())
def test_the_packaged_table_equals_the_lists(speech_data_dir, corpus, file_name):
    path = speech_data_dir / "checksums" / file_name
    if not path.is_file():
        pytest.skip(f"no {path}")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = [checksums.name_of(corpus, os.path.join("somewhere", row["file"])) for row in rows]
    assert len(set(names)) == len(names) == NUM_FILES[corpus]
    assert all(row["file"].endswith(name) for row, name in zip(rows, names, strict=True))
    known, sizes = checksums.known(corpus), checksums.sizes(corpus)
    assert [known[name] for name in names] == [row["sha256"][:16] for row in rows]
    assert [sizes[name] for name in names] == [int(row["bytes"]) for row in rows]


def test_packing_the_lists_again_makes_the_packaged_file(speech_data_dir, tmp_path):
    lists = sorted((speech_data_dir / "checksums").glob("*.tsv"))
    if len(lists) != len(NUM_FILES):
        pytest.skip("not all lists are there")
    checksums.pack(lists, tmp_path / "again.npz")
    with open(checksums.PATH, "rb") as packaged:
        assert (tmp_path / "again.npz").read_bytes() == packaged.read()


def test_a_corpus_without_a_list_has_no_checksums():
    assert checksums.known("meld") is None and checksums.sizes("meld") is None
    assert checksums.name_of("meld", "train/dia0_utt0.wav") is None


# Files find their entry.


@pytest.mark.parametrize(
    ("corpus", "path", "name"),
    [
        ("ravdess", "audio_speech_actors_01-24/Actor_01/03-01-01-01-01-01-01.wav", "03-01-01-01-01-01-01.wav"),
        ("cremad", "1001_DFA_ANG_XX.wav", "1001_DFA_ANG_XX.wav"),
        ("emodb", "emodb/wav/03a01Fa.wav", "03a01Fa.wav"),
        ("emovo", "EMOVO/f1/dis-f1-b1.wav", "dis-f1-b1.wav"),
        ("tess", "data/OAF_neutral/OA_bite_neutral.wav", "OA_bite_neutral.wav"),
        ("urdu", "Angry/SM1_F10_A010.wav", "SM1_F10_A010.wav"),
        ("savee", "AudioData/DC/a01.wav", "DC/a01.wav"),
        ("savee", "DC/a01.wav", "DC/a01.wav"),
        ("savee", "ALL/DC_a01.wav", "DC/a01.wav"),
        ("savee", "KL_su15.wav", "KL/su15.wav"),
    ],
)
def test_a_file_finds_its_entry_wherever_it_lies(corpus, path, name):
    assert checksums.name_of(corpus, path) == name
    assert name in checksums.known(corpus)


@pytest.mark.parametrize(
    ("corpus", "path"),
    [
        ("emodb", "wav/03a01Fb.wav"),
        ("emodb", "wav/03a01Fa.flac"),  # converted: another digest
        ("savee", "a01.wav"),
        ("savee", "XX/a01.wav"),
        ("savee", "DC/a16.wav"),
        ("cremad", "03a01Fa.wav"),
        ("cremad", ""),
    ],
)
def test_other_files_have_no_entry(corpus, path):
    assert checksums.name_of(corpus, path) is None


# Packing.


def test_pack_keeps_names_digests_and_sizes(table, tmp_path):
    lists = [
        write_list(tmp_path / "one_original.tsv", (DIGEST, 7, "b/2.wav"), (DIGEST[::-1], 8, "a/1.wav")),
        write_list(tmp_path / "two.tsv", ("0" * 16, 9, "x/f/1.wav"), ("f" * 16, 2**32 - 1, "x/m/1.wav")),
    ]
    checksums.pack(lists, table)
    assert checksums.known("one") == {"1.wav": DIGEST[::-1], "2.wav": DIGEST}
    assert checksums.sizes("one") == {"1.wav": 8, "2.wav": 7}
    assert checksums.known("two") == {"f/1.wav": "0" * 16, "m/1.wav": "f" * 16}
    assert checksums.sizes("two") == {"f/1.wav": 9, "m/1.wav": 2**32 - 1}
    assert checksums.known("emodb") is None


def test_the_table_is_read_once(table, tmp_path):
    checksums.pack([write_list(tmp_path / "one.tsv", (DIGEST, 7, "1.wav"))], table)
    first = checksums.known("one")
    table.unlink()
    first["1.wav"] = "changed by a caller"
    assert checksums.known("one") == {"1.wav": DIGEST}


def test_a_missing_table_is_told(table):
    with pytest.raises(DatasetError, match=rf"^The table of checksums {table} cannot be read \(.*\); install kser again\.$"):
        checksums.known("emodb")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_damaged_table_is_told(table, content):
    table.write_bytes(content)
    with pytest.raises(DatasetError, match="^The table of checksums .* cannot be read"):
        checksums.known("emodb")


@pytest.mark.parametrize("damage", [lambda c: c[:500], lambda c: c[:-50], lambda c: c[:200] + b"damage" + c[206:]])
def test_a_cut_or_changed_table_is_told(table, tmp_path, damage):
    checksums.pack([write_list(tmp_path / "one.tsv", *((DIGEST, i, f"{i}.wav") for i in range(500)))], table)
    table.write_bytes(damage(table.read_bytes()))
    with pytest.raises(DatasetError, match="^The table of checksums .* cannot be read"):
        checksums.known("one")
