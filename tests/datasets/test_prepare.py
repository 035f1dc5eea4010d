"""Preparing a corpus: what is left out and said, the manifest, and the same by Apache Beam."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser.cli.tables import preparation_text
from kser.config import SAMPLE_RATE_HZ, DataConfig, DataPaths
from kser.datasets import SOURCES, Source, checksums, load_corpus
from kser.datasets.corpus import Corpus
from kser.datasets.feature_cache import load_features
from kser.datasets.manifest import read_manifest
from kser.datasets.prepare import Preparation, beam_scanner, prepare, prepare_corpus
from kser.errors import DatasetError
from kser.training.run_data import load_run_data
from tests import tiny


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    """36 files, which a test may damage."""
    (tmp_path / "audio").mkdir()
    return tiny.make_corpus(str(tmp_path / "audio"))


@pytest.fixture
def paths(tmp_path) -> DataPaths:
    return DataPaths(str(tmp_path / "audio"), str(tmp_path / "cache"), manifest=str(tmp_path / "manifest.jsonl"))


def path_of(corpus: Corpus, index: int) -> Path:
    return Path(corpus.utterances[index].path)


def run(corpus: Corpus, paths: DataPaths, **options) -> Preparation:
    return prepare(corpus, tiny.FEATURES, paths, **options)


def test_a_sound_corpus_is_complete_and_wholly_in_the_manifest(corpus, paths):
    prepared = run(corpus, paths)
    assert prepared.complete and prepared.excluded == {} and prepared.notes == ()
    assert prepared.corpus == corpus
    again, digests = read_manifest(paths.manifest, paths.data_dir, "tiny")
    assert again == corpus
    assert digests == [hashlib.sha256(path_of(corpus, i).read_bytes()).hexdigest() for i in range(36)]


def test_the_feature_cache_is_warm_afterwards(corpus, paths, monkeypatch):
    run(corpus, paths)
    monkeypatch.setattr("kser.audio.reading.read", None)  # whoever reads audio now fails
    assert load_features(corpus, tiny.FEATURES, paths.cache_dir).values.shape[0] == 36
    assert run(corpus, paths).complete


def test_unusable_clips_are_left_out_and_said(corpus, paths):
    path_of(corpus, 3).write_bytes(b"")
    path_of(corpus, 8).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    soundfile.write(path_of(corpus, 20), np.zeros(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    prepared = run(corpus, paths)
    names = [corpus.utterances[i].utterance_id for i in (3, 8, 20)]
    assert list(prepared.excluded) == names and not prepared.complete
    (remark,) = prepared.remarks
    assert remark.startswith("3 of 36 clips cannot be used and are left out: ")
    assert all(words in remark for words in ("is empty", "is a Git LFS pointer", "is silent"))
    assert [u.utterance_id for u in prepared.corpus.utterances] == [
        u.utterance_id for i, u in enumerate(corpus.utterances) if i not in (3, 8, 20)
    ]
    head = json.loads(Path(paths.manifest).read_text().splitlines()[0])
    assert head["excluded"] == prepared.excluded and head["clips"] == 33


def test_what_was_prepared_is_what_is_trained_on(corpus, paths, monkeypatch):
    path_of(corpus, 3).write_bytes(b"")
    prepared = run(corpus, paths)
    monkeypatch.setattr("kser.audio.reading.read", None)
    run_data = load_run_data(tiny.run_config(), paths)
    assert run_data.corpus == prepared.corpus and len(run_data.features.values) == 35


def test_a_file_changed_after_the_manifest_is_refused(corpus, paths):
    run(corpus, paths)
    soundfile.write(path_of(corpus, 5), tiny.tone(2, 1, 7), SAMPLE_RATE_HZ)
    with pytest.raises(DatasetError, match=rf"^1 files are not those of the manifest .*{path_of(corpus, 5).name}"):
        load_run_data(tiny.run_config(), paths)


def test_the_same_audio_under_two_labels_is_left_out(corpus, paths):
    labels = [u.label for u in corpus.utterances]
    other = next(i for i, label in enumerate(labels) if label != labels[0])
    shutil.copy(path_of(corpus, 0), path_of(corpus, other))
    prepared = run(corpus, paths)
    assert set(prepared.excluded) == {corpus.utterances[i].utterance_id for i in (0, other)}
    (remark,) = prepared.remarks
    assert remark.startswith("2 clips have the same audio as another with a different label: ")
    assert len(prepared.corpus.utterances) == len(prepared.reports) == 34
    features = load_features(prepared.corpus, tiny.FEATURES, paths.cache_dir)
    whole = load_features(corpus, tiny.FEATURES, paths.cache_dir)
    np.testing.assert_array_equal(features.values, np.delete(whole.values, [0, other], axis=0))


def test_the_same_audio_under_one_label_is_only_noted(corpus, paths):
    same = [i for i, u in enumerate(corpus.utterances) if u.label == corpus.utterances[0].label][:2]
    shutil.copy(path_of(corpus, same[0]), path_of(corpus, same[1]))
    prepared = run(corpus, paths)
    assert prepared.complete and len(prepared.corpus.utterances) == 36
    (note,) = prepared.notes
    assert " = ".join(corpus.utterances[i].utterance_id for i in same) in note


def test_files_of_another_rate_are_noted(corpus, paths):
    soundfile.write(path_of(corpus, 2), tiny.tone(0, 0, 5), 22050)
    (note,) = run(corpus, paths).notes
    assert note == f"Most clips are sampled at 16000 Hz, 1 are not: {corpus.utterances[2].utterance_id}."


def test_files_that_are_not_the_genuine_ones_are_remarked(corpus, paths, monkeypatch):
    names = [os.path.basename(u.path) for u in corpus.utterances]
    digests = {name: hashlib.sha256(path_of(corpus, i).read_bytes()).hexdigest()[:16] for i, name in enumerate(names)}
    monkeypatch.setattr(checksums, "known", lambda name: digests)
    monkeypatch.setattr(checksums, "name_of", lambda name, path: os.path.basename(path))
    assert run(corpus, paths).complete
    digests[names[4]] = "0" * 16
    prepared = run(corpus, dataclasses.replace(paths, manifest=""))
    assert prepared.remarks == (
        f"1 of 36 files of 'tiny' differ from the original ones ({names[4]}): they were converted or damaged.",
    )


def test_no_usable_clip_at_all(corpus, paths):
    for i in range(36):
        path_of(corpus, i).write_bytes(b"")
    with pytest.raises(DatasetError, match="^36 of 36 audio files cannot be used"):
        run(corpus, paths)
    assert not os.path.exists(paths.manifest) and os.listdir(paths.cache_dir) == []


def test_pointers_in_place_of_all_audio_are_told_once(corpus, paths):
    for i in range(36):
        path_of(corpus, i).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DatasetError) as error:
        run(corpus, paths)
    assert str(error.value).count("git lfs pull") == 1 and "all of them are Git LFS pointers" in str(error.value)


def test_clips_that_all_have_one_length_are_noted(corpus, paths):
    for i in range(36):
        soundfile.write(path_of(corpus, i), np.resize(tiny.tone(i % 3, i % 4, i), 12000), 16000)
    assert run(corpus, paths).notes == (
        "All clips last 0.75 s: they were cut or filled up, and may not be whole utterances.",
    )


@pytest.fixture
def folders(tmp_path) -> DataPaths:
    """Clips of four speakers, of which one is never angry, in the words of others."""
    labels = {"ann": ("Anger", "Happiness", "sadness", "neutral"), "bob": ("Happiness", "sadness", "neutral", "odd")}
    labels["cid"] = labels["dan"] = labels["ann"]
    for speaker, words in labels.items():
        for label in words:
            folder = tmp_path / "folders" / label / speaker
            folder.mkdir(parents=True)
            for take in range(2):
                noise = np.random.default_rng(list(f"{speaker}{label}{take}".encode())).normal(0, 0.1, 12000 + 100 * take)
                soundfile.write(folder / f"{speaker}{label}{take}.wav", noise, 16000)
    return DataPaths(str(tmp_path / "folders"), str(tmp_path / "cache"), manifest=str(tmp_path / "manifest.jsonl"))


def test_a_label_set_is_shown_with_what_it_leaves_out_and_not_written(folders):
    data = DataConfig("folder", label_set="4class")
    prepared = prepare_corpus(data, tiny.FEATURES, folders)
    text = preparation_text(prepared, data, seed=0)
    assert "angry 6  happy 8  neutral 8  sad 8" in text and "2 clips of 'folder' are left out: '4class' has no odd." in text
    assert {u.label for u in prepared.corpus.utterances} == {"Anger", "Happiness", "sadness", "neutral", "odd"}
    again, _ = read_manifest(folders.manifest, folders.data_dir, "folder")
    assert len(again.utterances) == len(prepared.corpus.utterances) == 32


def test_labels_that_a_split_does_not_test_are_told(folders):
    prepared = prepare_corpus(DataConfig("folder", label_set="4class"), tiny.FEATURES, folders)
    assert "Some labels are not tested in every split: split 2 tests no angry." in prepared.notes


def test_another_file_in_the_manifests_place_is_kept(corpus, paths):
    Path(paths.manifest).write_text("something of mine")
    with pytest.raises(DatasetError, match="exists and is not a manifest"):
        run(corpus, paths)
    assert Path(paths.manifest).read_text() == "something of mine"


def test_without_a_path_the_manifest_is_in_the_cache(corpus, paths):
    prepared = run(corpus, dataclasses.replace(paths, manifest=""))
    assert os.path.dirname(prepared.manifest) == paths.cache_dir and os.path.isfile(prepared.manifest)


def test_the_printed_account(corpus, paths):
    path_of(corpus, 3).write_bytes(b"")
    text = preparation_text(run(corpus, paths), DataConfig("tiny", validation_speakers=1), seed=0)
    assert text.startswith("tiny: 35 clips, 0.01 h, 4 speakers; left out: 1\n")
    assert f"protocol {next(iter(tiny.PROTOCOLS))}, 4 splits:" in text and "split 4: test speakers d" in text
    assert "Remark: 1 of 36 clips" in text and "usable, with the remarks above" in text


@pytest.mark.parametrize("damaged", [False, True])
def test_beam_gives_the_same_manifest_to_the_byte(corpus, paths, tmp_path, monkeypatch, damaged):
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed: pip install 'kser[beam]'")
    if damaged:
        path_of(corpus, 7).write_bytes(b"")
    monkeypatch.setitem(SOURCES, "tiny", Source(lambda data_dir, options: corpus))
    here = prepare_corpus(DataConfig("tiny"), tiny.FEATURES, paths)
    there = DataPaths(paths.data_dir, str(tmp_path / "cache2"), manifest=str(tmp_path / "beam.jsonl"))
    scanner = beam_scanner("DirectRunner", ["--direct_num_workers=1"])
    by_beam = prepare_corpus(DataConfig("tiny"), tiny.FEATURES, there, scanner)
    assert Path(there.manifest).read_bytes() == Path(paths.manifest).read_bytes()
    values = [
        load_features(p.corpus, tiny.FEATURES, cache).values
        for p, cache in ((here, paths.cache_dir), (by_beam, there.cache_dir))
    ]
    np.testing.assert_array_equal(*values)


# Real speech.


def test_genuine_files_of_ravdess_are_known_as_such(speech_data_dir, tmp_path):
    data_dir = speech_data_dir / "ravdess_original_sample"
    if not data_dir.is_dir():
        pytest.skip(f"no ravdess_original_sample in {speech_data_dir}")
    shutil.copytree(data_dir, tmp_path / "sample")
    paths = DataPaths(str(tmp_path / "sample"), str(tmp_path / "cache"))
    prepared = prepare(load_corpus("ravdess", paths.data_dir), tiny.FEATURES, paths)
    assert not any("genuine" in remark for remark in prepared.remarks) and len(prepared.reports) == 4
    path = Path(prepared.corpus.utterances[1].path)
    path.write_bytes(path.read_bytes()[:-2] + b"\1\1")
    prepared = prepare(load_corpus("ravdess", paths.data_dir), tiny.FEATURES, paths)
    assert f"1 of 4 files of 'ravdess' differ from the original ones ({path.name})" in prepared.remarks[-1]


def test_the_whole_of_ravdess_is_complete(speech_data_dir, tmp_path):
    paths = DataPaths(str(speech_data_dir / "ravdess_16k_flac"), str(tmp_path / "cache"))
    prepared = prepare(load_corpus("ravdess", paths.data_dir), tiny.FEATURES, paths)
    assert prepared.complete and len(prepared.reports) == 1440
    assert {(r.sample_rate_hz, r.channels) for r in prepared.reports} == {(16000, 1)}
    # One actor's take is in the published corpus twice, under two names.
    assert prepared.notes == (
        "Recordings that occur more than once: 03-01-03-01-02-01-07 = 03-01-03-01-02-02-07; training refuses splits that "
        "separate them.",
    )
