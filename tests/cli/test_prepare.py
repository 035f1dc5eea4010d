"""bin/prepare as a user meets it: its exit status, its account, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser.config import SAMPLE_RATE_HZ
from tests import tiny

SMALL = ("--clip_seconds=0.6", "--hop_ms=32", "--num_mels=16")


@pytest.fixture
def corpus(tmp_path) -> Path:
    """A corpus of one's own: three speakers, two labels."""
    for label in (0, 1):
        for speaker in range(3):
            path = tmp_path / "corpus" / tiny.LABELS[label] / tiny.SPEAKERS[speaker] / "clip.wav"
            path.parent.mkdir(parents=True)
            soundfile.write(path, tiny.tone(label, speaker, 0), SAMPLE_RATE_HZ)
    return tmp_path / "corpus"


@pytest.fixture
def prepare(server, corpus, tmp_path):
    """Runs bin/prepare on the corpus, writing the manifest to `tmp_path`/m.jsonl."""
    flags = ("--dataset=folder", f"--data_dir={corpus}", f"--manifest={tmp_path}/m.jsonl", *SMALL)
    return lambda *arguments: server.run("prepare", *flags, *arguments)


def test_a_complete_corpus_ends_with_0(prepare, tmp_path):
    outcome = prepare()
    assert outcome.status == 0, outcome
    lines = outcome.stdout.splitlines()
    assert lines[0] == "folder: 6 clips, 0.00 h, 3 speakers"
    assert lines[-2:] == ["complete", f"manifest     {tmp_path}/m.jsonl"]
    assert "protocol leave_one_speaker_out, 3 splits:" in lines
    assert (tmp_path / "m.jsonl").is_file()
    assert prepare().status == 0  # the same manifest again is no conflict


def test_a_usable_corpus_with_remarks_ends_with_2(prepare, corpus):
    (corpus / "low" / "a" / "empty.wav").touch()
    outcome = prepare()
    assert outcome.status == 2 and "Remark: 1 of 7 clips cannot be used" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data_dir=/nowhere",), "no directory /nowhere"),
        (("--dataset=iemocap",), "iemocap"),
        (("--dataset=nonsense",), "There is no corpus 'nonsense'"),
        (("--corpus_options=secret",), "has no option 'secret'"),
        (("--protocol=secret",), "has no protocol 'secret'"),
        (("--runner=SecretRunner",), "SecretRunner"),
    ],
)
def test_what_cannot_be_prepared_ends_with_1_and_a_sentence(prepare, arguments, words):
    outcome = prepare(*arguments)
    assert outcome.status == 1 and "Traceback" not in outcome.stderr
    (sentence,) = [line for line in outcome.stderr.splitlines() if "Error: " in line]
    assert words in sentence and sentence.endswith("."), sentence


def test_a_corpus_that_cannot_be_split_leaves_no_manifest(prepare, corpus, tmp_path):
    for speaker in tiny.SPEAKERS[1:3]:
        for label in tiny.LABELS[:2]:
            (corpus / label / speaker / "clip.wav").write_bytes(b"")  # one speaker has usable clips
    outcome = prepare()
    assert outcome.status == 1 and "speaker" in outcome.stderr, outcome
    assert not (tmp_path / "m.jsonl").exists()


def test_clips_of_many_formats_are_prepared(prepare, corpus):
    formats = (("MP3", "MPEG_LAYER_III", "mp3"), ("OGG", "VORBIS", "ogg"), ("OGG", "OPUS", "opus"))
    for label in (0, 1):
        for kind, subtype, extension in formats:
            path = corpus / tiny.LABELS[label] / "c" / f"more.{extension}"
            tone = np.resize(tiny.tone(label, 2, 0), SAMPLE_RATE_HZ)
            soundfile.write(path, tone, SAMPLE_RATE_HZ, format=kind, subtype=subtype)
        soundfile.write(path.with_suffix(".wav"), 20000 * tone, SAMPLE_RATE_HZ, subtype="FLOAT")
    outcome = prepare()
    assert outcome.status == 2, outcome
    assert outcome.stdout.startswith("folder: 8 clips, ")
    assert "Remark: 6 clips are there in two formats; these were left out: " in outcome.stdout
    assert "Remark: 2 of 8 clips were corrected: " in outcome.stdout
    assert "more.wav has samples beyond 1 and was divided by 32768." in outcome.stdout


def test_a_table_with_unusual_columns(prepare, corpus):
    rows = [f"{path.relative_to(corpus)};{path.parts[-3]};{path.parts[-2]}" for path in corpus.rglob("*.wav")]
    (corpus / "manifest.csv").write_text("\n".join(["recording;mood;actor", *rows]))
    outcome = prepare()
    assert outcome.status == 1 and "has the columns recording, mood, actor, none of which" in outcome.stderr
    outcome = prepare("--columns=path:recording,label:mood")
    assert outcome.status == 0 and outcome.stdout.startswith("folder: 6 clips, 0.00 h, 3 speakers"), outcome


def test_the_manifest_is_trained_on(prepare, server, corpus, tmp_path):
    (corpus / "low" / "a" / "empty.wav").touch()
    prepare()
    network = ("--num_layers=1", "--num_heads=2", "--hidden_dim=8", "--stem_channels=4,4", "--epochs=1", "--batch_size=2")
    common = ("--dataset=folder", f"--data_dir={corpus}", f"--run_dir={tmp_path}/run", *SMALL, *network)
    outcome = server.run("train", *common)
    assert outcome.status == 1 and "--manifest of bin/prepare" in outcome.stderr
    outcome = server.run("train", *common, f"--manifest={tmp_path}/m.jsonl")
    assert outcome.status == 0, outcome
    assert "folder, split 1, held-out speakers a: 2 clips" in outcome.stdout
