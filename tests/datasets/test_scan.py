"""One look at every clip: what is reported of good and of unusable files, features in order, and no running ahead."""

from __future__ import annotations

import hashlib
import threading
import time

import numpy as np
import pytest
import soundfile

from kser.audio import reading
from kser.audio.log_mel import batch_extractor, log_mel_numpy
from kser.config import SAMPLE_RATE_HZ
from kser.datasets import scan
from kser.datasets.corpus import Utterance
from tests import tiny

GOOD = tiny.tone(1, 0, 0)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 375720\n"


def clip(path, span: tuple[float, float] | None = None) -> Utterance:
    return Utterance(f"{path}{span}", str(path), "calm", "ann", span=span)


def write(path, samples=GOOD, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Utterance:
    soundfile.write(path, samples, sample_rate_hz)
    return clip(path)


def examine(utterance: Utterance) -> tuple[scan.ClipReport, np.ndarray | None]:
    return scan.examine(utterance, tiny.FEATURES)


def problem_of(utterance: Utterance) -> str:
    """Why a clip cannot be used: one sentence that names its file."""
    report, samples = examine(utterance)
    assert samples is None and utterance.path in report.problem
    rest = report.problem.replace(utterance.path, "FILE")
    assert rest.endswith(".") and ". " not in rest and "\n" not in rest, rest
    return rest


# What is reported of a clip.


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_good_clip_is_reported_with_what_is_in_its_file(tmp_path, name):
    report, samples = examine(write(tmp_path / name))
    data = (tmp_path / name).read_bytes()
    assert report == scan.ClipReport(
        hashlib.sha256(data).hexdigest(), len(data), len(GOOD) / SAMPLE_RATE_HZ, SAMPLE_RATE_HZ, 1, ""
    )
    assert samples.shape == (tiny.FEATURES.clip_samples,) and samples.dtype == np.float32


def test_of_a_stereo_clip_at_another_rate_the_original_is_reported(tmp_path):
    report, samples = examine(write(tmp_path / "a.wav", np.tile(tiny.tone(0, 0, 0)[:, None], 2), 22050))
    assert (report.sample_rate_hz, report.channels, report.problem) == (22050, 2, "")
    assert report.seconds == len(tiny.tone(0, 0, 0)) / 22050 and len(samples) == tiny.FEATURES.clip_samples


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"This is a text, whatever it is called.\n" * 100, "is not a readable audio file"),
        (bytes(5000), "is not a readable audio file"),
        (LFS, "is a Git LFS pointer"),
    ],
    ids=["empty", "text", "zeros", "git-lfs"],
)
def test_bytes_that_are_no_audio(tmp_path, content, words):
    (tmp_path / "a.wav").write_bytes(content)
    assert words in problem_of(clip(tmp_path / "a.wav"))
    assert words in problem_of(clip(tmp_path / "a.wav", (0, 1)))


def test_a_missing_file(tmp_path):
    assert problem_of(clip(tmp_path / "none.wav")) == "There is no audio file FILE."
    assert examine(clip(tmp_path / "none.wav"))[0].digest == ""


@pytest.mark.parametrize(("name", "words"), [("a.wav", "is truncated"), ("a.flac", "is not a readable audio file")])
def test_a_truncated_file(tmp_path, name, words):
    utterance = write(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert words in problem_of(utterance)


@pytest.mark.parametrize(
    ("samples", "sample_rate_hz", "words"),
    [
        (np.zeros(8000), SAMPLE_RATE_HZ, "is silent"),
        (GOOD[:1], SAMPLE_RATE_HZ, "holds 1 samples at 16000 Hz"),
        (GOOD, 8000, "is sampled at 8000 Hz"),
        (np.tile(GOOD[:, None], 6), SAMPLE_RATE_HZ, "has 6 channels"),
    ],
    ids=["silent", "one sample", "8 kHz", "6 channels"],
)
def test_sound_that_cannot_be_used_is_reported_with_what_it_is(tmp_path, samples, sample_rate_hz, words):
    utterance = write(tmp_path / "a.wav", samples, sample_rate_hz)
    assert words in problem_of(utterance)
    report = examine(utterance)[0]
    assert report.digest == hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()
    assert (report.sample_rate_hz, report.channels) == (sample_rate_hz, samples.shape[1] if samples.ndim > 1 else 1)
    assert report.seconds == len(samples) / sample_rate_hz


def test_what_lasts_too_long_is_no_utterance_but_a_span_of_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "MAX_SECONDS", 0.5)
    utterance = write(tmp_path / "a.wav", np.resize(GOOD, SAMPLE_RATE_HZ))
    assert problem_of(utterance) == "FILE lasts 1 s, more than 0.5 s; cut it into utterances."
    assert examine(clip(tmp_path / "a.wav", (0.2, 0.7)))[0].problem == ""
    assert "lasts 1 s" in problem_of(clip(tmp_path / "a.wav", (0.2, 0.8)))


def test_a_clip_of_the_utmost_length_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "MAX_SECONDS", 0.5)
    assert examine(write(tmp_path / "a.wav", np.resize(GOOD, SAMPLE_RATE_HZ // 2)))[0].problem == ""


# Digests.


def test_the_digest_of_a_span_is_of_its_samples(tmp_path):
    whole = write(tmp_path / "a.wav", np.resize(GOOD, SAMPLE_RATE_HZ))
    spans = [(0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.25, 0.75)]
    found = [examine(clip(tmp_path / "a.wav", span))[0].digest for span in spans]
    assert len({examine(whole)[0].digest, *found}) == 5
    assert found == [examine(clip(tmp_path / "a.wav", span))[0].digest for span in spans]


def test_a_span_of_a_copy_has_the_same_digest(tmp_path):
    names = ("a.wav", "copy.wav", "lossless.flac")
    for name in names:
        write(tmp_path / name, (GOOD * 32767).astype(np.int16))
    assert len({examine(clip(tmp_path / name, (0.1, 0.3)))[0].digest for name in names}) == 1


def test_a_span_is_as_long_as_it_says_and_the_size_is_that_of_the_file(tmp_path):
    write(tmp_path / "a.wav")
    report = examine(clip(tmp_path / "a.wav", (0.1, 0.3)))[0]
    assert report.seconds == pytest.approx(0.2) and report.num_bytes == (tmp_path / "a.wav").stat().st_size


def test_a_span_behind_the_end(tmp_path):
    write(tmp_path / "a.wav")
    assert "nothing from 5 to 6 s" in problem_of(clip(tmp_path / "a.wav", (5, 6)))


# Features.


def mixed(directory, count: int) -> list[Utterance]:
    """Clips that all sound different, every fifth silent."""
    rng = np.random.default_rng(0)
    utterances = []
    for i in range(count):
        samples = np.zeros(8000) if i % 5 == 3 else tiny.tone(0, 0, 0) * rng.uniform(0.2, 2) + 0.02 * rng.normal()
        utterances.append(write(directory / f"{i}.wav", samples))
    return utterances


def test_features_are_the_log_mel_of_the_clips_and_zero_where_there_is_none(tmp_path):
    utterances = mixed(tmp_path, 12)
    reports, features = scan.scan_chunk(utterances, tiny.FEATURES, batch_extractor(tiny.FEATURES))
    assert features.shape == (12, tiny.FEATURES.num_frames, tiny.FEATURES.num_mels) and features.dtype == np.float32
    assert [bool(report.problem) for report in reports] == [i % 5 == 3 for i in range(12)]
    for utterance, report, found in zip(utterances, reports, features, strict=True):
        if report.problem:
            assert not found.any()
        else:
            samples = reading.fix_clip(reading.load(utterance.path), tiny.FEATURES)
            np.testing.assert_allclose(found, log_mel_numpy(samples, tiny.FEATURES), atol=1e-4)


def test_a_chunk_without_a_usable_clip_is_zero(tmp_path):
    reports, features = scan.scan_chunk([clip(tmp_path / "none.wav")], tiny.FEATURES, batch_extractor(tiny.FEATURES))
    assert reports[0].problem and features.shape[0] == 1 and not features.any()


@pytest.mark.parametrize("count", [0, 1, 4, 5, 13])
def test_a_scan_yields_chunks_in_the_order_of_the_clips(tmp_path, monkeypatch, count):
    monkeypatch.setattr(scan, "CHUNK_CLIPS", 4)
    utterances = mixed(tmp_path, count)
    expected = [examine(utterance)[0] for utterance in utterances]
    original, rng = scan.examine, np.random.default_rng(0)
    delays = {u.path: rng.uniform(0, 0.01) for u in utterances}

    def slow(utterance, config):
        time.sleep(delays[utterance.path])
        return original(utterance, config)

    monkeypatch.setattr(scan, "examine", slow)
    found = list(scan.scan(utterances, tiny.FEATURES))
    assert [len(reports) for reports, _ in found] == [len(features) for _, features in found]
    assert [len(reports) for reports, _ in found] == [4] * (count // 4) + [count % 4] * (count % 4 > 0)
    assert [report for reports, _ in found for report in reports] == expected


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100])
def test_chunks_hold_every_clip_once(count):
    places = scan.chunks(count)
    assert [i for place in places for i in range(count)[place]] == list(range(count))
    assert all(place.stop - place.start <= scan.CHUNK_CLIPS for place in places)


# Threads.


def test_results_come_in_the_order_of_the_items_whichever_is_ready_first():
    delays = np.random.default_rng(0).uniform(0, 0.01, 40)

    def square(i: int) -> int:
        time.sleep(delays[i])
        return i * i

    assert list(scan.in_order(range(40), square)) == [(i, i * i) for i in range(40)]


def test_items_are_worked_on_by_several_threads():
    together = threading.Barrier(scan.THREADS, timeout=10)
    assert len(list(scan.in_order(range(scan.THREADS), lambda i: together.wait()))) == scan.THREADS


def test_no_more_than_a_few_items_are_taken_ahead():
    taken = []
    items = (taken.append(i) or i for i in range(1000))
    results = scan.in_order(items, lambda i: i)
    assert not taken
    for number in range(1, 50):
        next(results)
        assert len(taken) <= number + 2 * scan.THREADS
    results.close()
    assert len(taken) < 60


def test_what_a_thread_raises_is_raised_where_its_result_is_taken():
    def divide(i: int) -> float:
        return 1 / (i - 3)

    results = scan.in_order(range(10), divide)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(results)
