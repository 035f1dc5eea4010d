"""bin/prepare as a user meets it: its exit status, its account, and what it refuses."""

from __future__ import annotations

from pathlib import Path

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
