"""The generated corpus: the same sounds every time, voices and emotions that differ as stated, files that heal."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import soundfile

from kser.audio.synthesis import sound, voices
from kser.config import SAMPLE_RATE_HZ
from kser.datasets import synthetic
from kser.datasets.corpus import label_counts
from kser.datasets.protocols import find_protocol, make_split
from kser.errors import DatasetError

TAKES = (1, 2)


def frames(clip, length=640, hop=320):
    """The louder half of the clip's frames: (num_frames, length)."""
    windows = np.lib.stride_tricks.sliding_window_view(clip.astype(float), length)[::hop]
    energy = np.mean(windows**2, axis=1)
    return windows[energy >= np.median(energy)]


def level_dbfs(clip):
    return 10 * np.log10(np.mean(clip.astype(float) ** 2))


def power(clip):
    """Mean power spectrum of the speech: frequencies and (321,) power."""
    spectra = np.fft.rfft(frames(clip) * np.hanning(640))
    return np.fft.rfftfreq(640, 1 / SAMPLE_RATE_HZ), np.mean(np.abs(spectra) ** 2, axis=0)


def centroid_hz(clip):
    """Centre of gravity of the power spectrum."""
    frequencies, spectrum = power(clip)
    return np.sum(frequencies * spectrum) / np.sum(spectrum)


def pitch_hz(clip):
    """Median over frames of the autocorrelation's peak between 60 and 500 Hz."""
    windows = frames(clip)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(windows - windows.mean(axis=1, keepdims=True), 2048)) ** 2)
    lags = np.arange(32, 267)
    # Left biased towards short lags: two periods correlate as well as one, and would be found as an octave below.
    return float(np.median(SAMPLE_RATE_HZ / lags[correlation[:, lags].argmax(axis=1)]))


@pytest.fixture(scope="module")
def clips():
    """{(speaker_index, emotion, take): clip} for all speakers and emotions."""
    keys = [(s, e, t) for s in range(len(synthetic.SPEAKERS)) for e in synthetic.LABELS for t in TAKES]
    return {key: synthetic.generate_clip(*key) for key in keys}


def mean_by_emotion(clips, measure):
    """Mean of `measure` over all clips of an emotion, a number for each label."""
    return {e: np.mean([measure(clip) for key, clip in clips.items() if key[1] == e]) for e in synthetic.LABELS}


def mean_by_speaker(clips, measure):
    count = len(synthetic.SPEAKERS)
    return np.array([np.mean([measure(clip) for key, clip in clips.items() if key[0] == s]) for s in range(count)])


def test_clips_are_sound_at_16_khz_without_clipping(clips):
    for key, clip in clips.items():
        assert clip.dtype == np.float32 and clip.ndim == 1, key
        assert np.isfinite(clip).all(), key
        assert 0.02 < np.abs(clip).max() <= 0.951, key
        assert 1.0 <= len(clip) / SAMPLE_RATE_HZ <= 3.0, key


def test_a_clip_does_not_depend_on_the_others(clips):
    for key in [(7, "angry", 2), (0, "neutral", 1), (7, "angry", 2)]:
        np.testing.assert_array_equal(synthetic.generate_clip(*key), clips[key])


def test_speaker_emotion_and_take_each_change_the_clip(clips):
    reference = clips[0, "neutral", 1]
    # Take 3 has as many syllables as take 1.
    for key in [(1, "neutral", 1), (0, "sad", 1), (0, "neutral", 3)]:
        assert not np.array_equal(synthetic.generate_clip(*key)[:8000], reference[:8000])


@pytest.mark.parametrize("key", [(-1, "sad", 1), (8, "sad", 1), (0, "bored", 1), (0, "sad", 0)])
def test_unknown_clip_is_an_error(key):
    with pytest.raises(DatasetError, match="has speaker indices 0 to 7"):
        synthetic.generate_clip(*key)


def test_energy_follows_emotion(clips):
    level = mean_by_emotion(clips, level_dbfs)
    assert level["angry"] > level["happy"] > level["neutral"] + 2 and level["neutral"] > level["sad"] + 4


def test_pitch_follows_emotion(clips):
    semitones = mean_by_emotion(clips, lambda clip: 12 * np.log2(pitch_hz(clip)))
    assert semitones["happy"] > semitones["neutral"] + 3 and semitones["angry"] > semitones["neutral"] + 1
    assert semitones["neutral"] > semitones["sad"] + 1


def test_spectral_centroid_follows_emotion(clips):
    centroid = mean_by_emotion(clips, centroid_hz)
    assert min(centroid["angry"], centroid["happy"]) > 1.2 * centroid["neutral"]
    assert centroid["neutral"] > 1.05 * centroid["sad"]


def test_rate_follows_emotion(clips):
    samples = mean_by_emotion(clips, len)
    assert samples["sad"] > samples["neutral"] > max(samples["angry"], samples["happy"])


def test_pitch_follows_speaker(clips):
    pitch = mean_by_speaker(clips, pitch_hz)
    assert pitch[1::2].min() > 1.2 * pitch[::2].max()
    assert np.corrcoef(pitch, [s.f0_hz for s in synthetic.SPEAKERS])[0, 1] > 0.95


def test_short_vocal_tracts_raise_the_spectrum(clips):
    centroid = mean_by_speaker(clips, centroid_hz)
    assert centroid[1::2].mean() > 1.1 * centroid[::2].mean()


@pytest.mark.parametrize("speaker", synthetic.SPEAKERS)
def test_formants_are_those_of_the_vowel_scaled_by_the_vocal_tract(speaker):
    # A low voice without breath, so that the harmonics lie close enough to show the formants.
    voice = _voice(speaker, f0_hz=60.0, breath=0.0, articulation=1.0)
    vowel = [voices.spoken(voices.VOWELS["ɑ"], voice, 0.5, 1.0, 0.0)]
    frequencies, spectrum = power(sound.speak(voice, vowel, np.random.default_rng(0)))
    for formant_hz in (730, 1090, 2440):
        expected_hz = formant_hz * 17.5 / speaker.tract_cm
        near = np.abs(frequencies / expected_hz - 1) < 0.15
        assert frequencies[near][spectrum[near].argmax()] == pytest.approx(expected_hz, rel=0.07)


def test_resonator_peaks_at_its_formant():
    gain = 1 / np.abs(sound._damping(1500.0, 100.0))
    assert abs(gain.argmax() * SAMPLE_RATE_HZ / sound._FFT - 1500) < 20
    assert gain[0] == pytest.approx(1, rel=1e-5)


def test_overlap_add_restores_the_signal():
    signal = np.random.default_rng(0).standard_normal(64 * 50)
    restored = sound._overlap_add(sound._spectra(signal))[: len(signal)]
    inside = slice(sound._WINDOW // 2, -sound._WINDOW // 2)  # the ends lie under fewer windows
    np.testing.assert_allclose(restored[inside], signal[inside], atol=1e-12)


def test_glottal_derivative_is_the_derivative_of_the_flow():
    phase = np.linspace(0, 1, 20001)
    flow, derivative = sound._rosenberg(phase, 0.6)
    away_from_closure = np.abs(phase[:-1] - 0.6) > 1e-3
    np.testing.assert_allclose(
        (np.diff(flow) / np.diff(phase))[away_from_closure], derivative[:-1][away_from_closure], atol=0.02
    )
    assert flow.min() >= 0 and flow.max() == pytest.approx(1)


def test_jitter_and_shimmer_perturb_every_cycle():
    f0_hz = np.full(2 * SAMPLE_RATE_HZ * sound._OVERSAMPLING, 100.0)
    rng = np.random.default_rng(0)
    for jitter, shimmer_db in ((0.0, 0.0), (0.02, 0.5)):
        voice = _voice(synthetic.SPEAKERS[0], jitter=jitter, shimmer_db=shimmer_db)
        cycles, gains = sound._glottal_cycles(voice, f0_hz, rng)
        onsets = np.interp(np.arange(1, 150), cycles, np.arange(len(cycles)))
        periods = np.diff(onsets)
        assert np.std(periods) / np.mean(periods) == pytest.approx(jitter, rel=0.2, abs=1e-9)
        assert np.std(20 * np.log10(gains)) == pytest.approx(shimmer_db, rel=0.2, abs=1e-9)


def _voice(speaker, **changes):
    neutral = voices.draw_voice(speaker, voices.EMOTIONS["neutral"], np.random.default_rng(0))
    return dataclasses.replace(neutral, **changes)


@pytest.fixture
def short_clips(monkeypatch):
    """All 384 files, but of a hundred samples."""
    monkeypatch.setattr(synthetic, "generate_clip", lambda *key: np.full(100, 0.25, np.float32))


@pytest.fixture
def one_take(monkeypatch):
    """A corpus of true clips, but of the first speaker's first takes only."""
    monkeypatch.setattr(synthetic, "TAKES", 1)
    monkeypatch.setattr(synthetic, "SPEAKERS", synthetic.SPEAKERS[:1])


def test_corpus_has_its_speakers_labels_and_counts(tmp_path, short_clips):
    corpus = synthetic.load(str(tmp_path))
    assert corpus.name == "synthetic"
    assert corpus.labels == ("neutral", "happy", "sad", "angry")
    assert corpus.speakers == tuple(f"Speaker_{number:02d}" for number in range(1, 9))
    assert label_counts(corpus) == dict.fromkeys(corpus.labels, 96)
    assert len({u.utterance_id for u in corpus.utterances}) == 384
    assert len(corpus.warnings) == 1 and "a score on it says nothing about real speech" in corpus.warnings[0]


def test_names_tell_speaker_emotion_and_take(tmp_path, short_clips):
    corpus = synthetic.load(str(tmp_path))
    path = str(tmp_path / "Speaker_03" / "03-angry-07.wav")
    (found,) = [u for u in corpus.utterances if u.path == path]
    assert (found.utterance_id, found.speaker, found.label) == ("03-angry-07", "Speaker_03", "angry")
    assert found.attributes == {"take": "07"}


def test_splits_hold_out_every_speaker_once_one_low_and_one_high(tmp_path, short_clips):
    corpus = synthetic.load(str(tmp_path))
    f0_hz = {f"Speaker_{i + 1:02d}": s.f0_hz for i, s in enumerate(synthetic.SPEAKERS)}
    name, protocol = find_protocol(corpus)
    held_out = [split.test for split in protocol.splits]
    assert name == "pairs" and sorted(s for pair in held_out for s in pair) == list(corpus.speakers)
    for number, (low, high) in enumerate(held_out, start=1):
        assert f0_hz[low] < 150 < f0_hz[high]
        split = make_split(corpus, "pairs", number, num_validation_speakers=2)
        parts = [{corpus.utterances[i].speaker for i in p} for p in (split.train, split.validation, split.test)]
        assert parts[2] == {low, high} and sum(map(len, parts)) == len(set.union(*parts)) == 8


def test_files_are_16_bit_wav_of_the_clips(tmp_path, one_take):
    for utterance in synthetic.load(str(tmp_path / "new" / "corpus")).utterances:
        info = soundfile.info(utterance.path)
        assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_16", 1, SAMPLE_RATE_HZ)
        samples, _ = soundfile.read(utterance.path, dtype="float32")
        np.testing.assert_allclose(samples, synthetic.generate_clip(0, utterance.label, 1), atol=0.5 / 32768 + 1e-7)


def test_second_load_generates_nothing(tmp_path, one_take, monkeypatch):
    first = synthetic.load(str(tmp_path))
    before = [os.stat(u.path).st_mtime_ns for u in first.utterances]
    monkeypatch.setattr(synthetic, "generate_clip", lambda *key: pytest.fail(f"generated {key} again"))
    second = synthetic.load(str(tmp_path))
    assert second == first and [os.stat(u.path).st_mtime_ns for u in second.utterances] == before


def test_a_deleted_file_comes_back_identical_and_alone(tmp_path, one_take):
    corpus = synthetic.load(str(tmp_path))
    lost, kept = corpus.utterances[1].path, corpus.utterances[0].path
    with open(lost, "rb") as file:
        content = file.read()
    before = os.stat(kept).st_mtime_ns
    os.remove(lost)
    synthetic.load(str(tmp_path))
    with open(lost, "rb") as file:
        assert file.read() == content
    assert os.stat(kept).st_mtime_ns == before
    assert sorted(os.listdir(tmp_path / "Speaker_01")) == sorted(os.path.basename(u.path) for u in corpus.utterances)


def test_without_a_directory_the_users_cache_is_used(tmp_path, short_clips, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    corpus = synthetic.load("")
    assert corpus.utterances[0].path == str(tmp_path / "kser" / "synthetic-v1" / "Speaker_01" / "01-neutral-01.wav")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert synthetic.default_dir() == str(tmp_path / ".cache" / "kser" / "synthetic-v1")


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path, short_clips):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatasetError, match=r"^Corpus 'synthetic' cannot be generated: Cannot write .*\.$"):
        synthetic.load(str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_is_an_error_and_leaves_nothing_behind(tmp_path, short_clips, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DatasetError, match="No space left on device"):
        synthetic.load(str(tmp_path))
    assert os.listdir(tmp_path / "Speaker_01") == []


def test_another_corpus_directory_is_left_alone(tmp_path):
    (tmp_path / "Actor_01").mkdir()
    with pytest.raises(DatasetError, match="contains files that are not"):
        synthetic.load(str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["Actor_01"]
