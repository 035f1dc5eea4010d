"""Previews: what is written is what the augmentation made, and nothing is written when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from kser.audio import preview, reading
from kser.audio.augment_waveform import augment_sound, variant_rng
from kser.audio.log_mel import hz_to_mel, log_mel_numpy
from kser.config import SAMPLE_RATE_HZ, AugmentConfig, FeatureConfig
from kser.errors import AudioError, ConfigError, KserError

FEATURES = FeatureConfig(clip_seconds=0.6, num_mels=16, hop_ms=32)
HALF_STEP = 0.5 / 2**15


def tone(pitch_hz: float) -> np.ndarray:
    """(num_samples,) float32: half a second of a tone with an overtone and noise."""
    time = np.arange(SAMPLE_RATE_HZ // 2) / SAMPLE_RATE_HZ
    wave = np.sin(2 * np.pi * pitch_hz * time) + 0.3 * np.sin(6 * np.pi * pitch_hz * time)
    return (0.1 * wave + 0.01 * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


@pytest.fixture
def clips(tmp_path) -> list[str]:
    """Two tones; the first is sampled at 48 kHz."""
    paths = [str(tmp_path / "a.wav"), str(tmp_path / "b.flac")]
    soundfile.write(paths[0], np.repeat(tone(300), 3), 3 * SAMPLE_RATE_HZ)
    soundfile.write(paths[1], tone(900), SAMPLE_RATE_HZ)
    return paths


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def shown(monkeypatch) -> list:
    """What is given to `save_spectrograms`, instead of pictures: (path, before, after, title)."""
    calls = []
    monkeypatch.setattr(
        preview, "save_spectrograms", lambda path, before, after, _, title: calls.append((path, before, after, title))
    )
    return calls


def previews(paths, augment: str, out, **options) -> preview.Previews:
    return preview.Previews(paths, AugmentConfig(augment), FEATURES, str(out), **options)


def written(paths, augment: str, out, **options) -> list[str]:
    """Writes the previews; returns the names of the files in the order they were told."""
    return [path.removeprefix(f"{out}/") for path in previews(paths, augment, out, **options).write()]


def names(directory) -> set[str]:
    return {path.name for path in directory.iterdir()}


# Files.


def test_three_files_of_each_clip(clips, out):
    expected = ["a.before.wav", "a.after.wav", "a.png", "b.before.wav", "b.after.wav", "b.png"]
    assert written(clips, "speed:0.2,noise:10,spec:1", out) == expected
    assert names(out) == set(expected)
    for name in ("a.png", "b.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_several_draws_are_numbered_and_differ(clips, out, shown):
    paths = written(clips[1:], "pitch:4,tempo:0.1", out, count=2)
    assert paths == ["b.before.wav", "b.after-1.wav", "b.after-2.wav", "b.png"]
    first, second = ((out / f"b.after-{number}.wav").read_bytes() for number in (1, 2))
    assert first != second
    ((_, _, after, _),) = shown
    assert len(after) == 2 and not np.array_equal(*after)


@pytest.mark.parametrize("index", [0, 1])
def test_the_sound_is_the_whole_recording_before_and_its_first_variant_after(clips, out, shown, index):
    steps = "speed:0.2,room:0.3"
    written(clips, steps, out, seed=5)
    name = "ab"[index]
    samples = reading.load(clips[index])
    variant = augment_sound(samples, AugmentConfig(steps).steps("sound"), variant_rng(5, name, 0))
    for kind, expected in (("before", samples), ("after", variant)):
        info = soundfile.info(out / f"{name}.{kind}.wav")
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE_HZ, 1, "PCM_16")
        heard, _ = soundfile.read(out / f"{name}.{kind}.wav", dtype="float32")
        np.testing.assert_allclose(heard, expected, atol=2.1 * HALF_STEP)


def test_what_passes_full_scale_is_clipped_and_does_not_wrap_round(tmp_path):
    path = str(tmp_path / "loud.wav")
    preview._write_wav(path, np.array([1.5, -1.5, 0.5], np.float32))
    np.testing.assert_allclose(soundfile.read(path)[0], [1, -1, 0.5], atol=2.1 * HALF_STEP)


def test_the_same_seed_writes_the_same_and_another_seed_another(clips, tmp_path, shown):
    for out, seed in (("first", 1), ("again", 1), ("other", 2)):
        written(clips[:1], "room:0.3,noise:10,spec:1", tmp_path / out, seed=seed)
    sounds = [(tmp_path / out / "a.after.wav").read_bytes() for out in ("first", "again", "other")]
    spectrograms = [after[0].filled(0).tobytes() for _, _, after, _ in shown]
    for first, again, other in (sounds, spectrograms):
        assert first == again != other


def test_a_clip_does_not_depend_on_those_named_with_it(clips, tmp_path, shown):
    written(clips, "pitch:4,tempo:0.1", tmp_path / "both")
    written(clips[1:], "pitch:4,tempo:0.1", tmp_path / "alone")
    assert (tmp_path / "both/b.after.wav").read_bytes() == (tmp_path / "alone/b.after.wav").read_bytes()
    np.testing.assert_array_equal(shown[1][2], shown[2][2])


# Spectrograms.


def test_spectrograms_are_of_the_fixed_clip(clips, out, shown):
    written(clips[:1], "codec:1", out)
    ((path, before, (after,), title),) = shown
    assert path == str(out / "a.png") and title == "codec:1; seed 0"
    samples = reading.load(clips[0])
    for shape, sound in ((before, samples), (after, augment_sound(samples, (("codec", 1.0),), variant_rng(0, "a", 0)))):
        expected = log_mel_numpy(reading.fix_clip(sound, FEATURES), FEATURES)
        np.testing.assert_allclose(np.asarray(shape), expected, atol=1e-3)
    assert not after.mask.any() and not np.allclose(before, after, atol=0.1)


def test_masked_cells_are_whole_bands_or_frames_and_the_others_stay(clips, out, shown):
    written(clips[:1], "spec:2", out, count=4)
    ((_, before, after, _),) = shown
    for clip in after:
        mask = np.ma.getmaskarray(clip)
        assert np.array_equal(mask, mask.all(axis=0) | mask.all(axis=1)[:, None])
        np.testing.assert_array_equal(clip.data, before)
    assert len({np.ma.getmaskarray(clip).tobytes() for clip in after}) > 1


def test_babble_is_of_the_other_clips(clips, out, shown, monkeypatch):
    given = []
    monkeypatch.setattr(preview, "augment_features", lambda clip, steps, features, others: given.append(others) or clip)
    written(clips, "babble:5", out)
    (_, before_a, _, _), (_, before_b, _, _) = shown
    for others, clip in zip(given, (before_b, before_a), strict=True):
        assert others.count == 1
        np.testing.assert_array_equal(others.read(np.array([0, 0])), [clip, clip])


def test_babble_adds_power(clips, out, shown):
    written(clips, "babble:-20", out)
    for _, before, (after,), _ in shown:
        assert (after >= before - 1e-4).all() and (after > before + 1).any()


@pytest.fixture
def figure(monkeypatch, tmp_path) -> Figure:
    """The figure of one clip before and of two draws, of which the first is louder and the second partly masked."""
    figures = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: figures.append(self) or savefig(self, *a, **k))
    before = np.random.default_rng(0).normal(size=(FEATURES.num_frames, FEATURES.num_mels)).astype(np.float32)
    masked = np.ma.masked_array(before, np.arange(FEATURES.num_mels) == 3 * np.ones((FEATURES.num_frames, 1)))
    preview.save_spectrograms(str(tmp_path / "x.png"), before, [np.ma.masked_array(before + 2), masked], FEATURES, "$title_")
    return figures[0]


def test_all_spectrograms_have_one_scale_of_colours_in_decibels(figure):
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 3
    (scale,) = {image.get_clim() for image in images}
    data = [image.get_array() for image in images]
    assert scale == (min(d.min() for d in data), max(d.max() for d in data))
    np.testing.assert_allclose(data[1] - data[0], 2 * 10 / np.log(10), rtol=1e-4)
    assert data[2].mask[3].all() and data[2].mask.sum() == FEATURES.num_frames


def test_axes_are_in_seconds_and_hertz(figure):
    for axes in figure.axes[:3]:
        left, right, bottom, top = axes.images[0].get_extent()
        # All frames are one hop wide and stand around the middle of their windows.
        frame_seconds = (right - left) / FEATURES.num_frames
        assert frame_seconds == pytest.approx(FEATURES.hop_ms / 1000)
        assert left + frame_seconds / 2 == pytest.approx(FEATURES.window_ms / 2000)
        assert (bottom, top) == (-0.5, FEATURES.num_mels - 0.5)
        ticks = {text.get_text(): place for text, place in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)}
        assert set(ticks) >= {"250", "500", "1000", "2000", "4000"} and all(bottom < t < top for t in ticks.values())
    assert figure.get_suptitle() == "$title_"
    assert figure.axes[2].get_xlabel() == "seconds"


def test_bands_lie_at_the_centres_of_their_triangles():
    centres = np.linspace(hz_to_mel(FEATURES.lower_hz), hz_to_mel(FEATURES.upper_hz), FEATURES.num_mels + 2)[1:-1]
    for band, mel in enumerate(centres):
        assert preview.mel_band(700 * np.expm1(mel / 1127), FEATURES) == pytest.approx(band)


# Notes.


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ("room:0.3", []),
        ("noise:10,spec:1", ["No augmentation acts on the waveform"]),
        ("none", ["No augmentation acts on the waveform"]),
        ("room:0.3,mixup:0.2", ["mixup needs a batch of clips and is left out."]),
    ],
)
def test_what_the_files_do_not_show_is_told(clips, out, augment, words):
    notes = previews(clips, augment, out).notes()
    assert len(notes) == len(words) and all(word in note for word, note in zip(words, notes, strict=True))
    assert not out.exists()


def test_without_steps_of_the_sound_it_stays(clips, out, shown):
    written(clips[:1], "noise:10,mixup:0.2", out)
    assert (out / "a.after.wav").read_bytes() == (out / "a.before.wav").read_bytes()
    ((_, before, (after,), title),) = shown
    assert (after > before).any() and title == "noise:10, without mixup; seed 0"


# Errors.


@pytest.mark.parametrize("existing", ["a.before.wav", "b.after.wav", "b.png"])
def test_nothing_is_written_where_something_would_be_overwritten(clips, out, existing):
    out.mkdir()
    (out / existing).write_text("mine")
    with pytest.raises(KserError, match=f"{existing} exists already; choose another --out_dir."):
        previews(clips, "room:0.3", out)
    assert names(out) == {existing} and (out / existing).read_text() == "mine"


def test_one_bad_file_is_told_before_anything_is_written(clips, out, tmp_path):
    (tmp_path / "c.wav").write_text("no audio")
    for bad in ("missing.wav", str(tmp_path / "c.wav")):
        with pytest.raises(AudioError, match=bad):
            previews([*clips, bad], "room:0.3", out)
    assert not out.exists()


def test_clips_of_the_same_name_are_refused(clips, out):
    with pytest.raises(AudioError, match="would write the same files"):
        previews([clips[0], clips[1], clips[0]], "room:0.3", out)


def test_babble_of_a_single_clip_is_refused(clips, out):
    with pytest.raises(ConfigError, match="babble mixes in other clips"):
        previews(clips[:1], "babble:5", out)
