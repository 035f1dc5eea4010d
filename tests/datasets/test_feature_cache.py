"""Features on disk: what is cached and when, what damaged entries, bad files and a full disk do, and augmented sounds."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kser.audio import reading
from kser.audio.augment_waveform import augment_sound, variant_rng
from kser.audio.log_mel import clip_moments, log_mel_numpy
from kser.config import SAMPLE_RATE_HZ, AugmentConfig, FeatureConfig, RunConfig
from kser.datasets import feature_cache
from kser.datasets.corpus import Corpus
from kser.datasets.feature_cache import cache_key, extract_to_cache, load_features, load_variants, read_cache
from kser.datasets.scan import CHUNK_CLIPS, scan
from kser.errors import AudioError, DatasetError, KserError
from tests import tiny
from tests.limits import files_at_most

CONFIG = tiny.FEATURES


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    """36 files, which a test may damage."""
    (tmp_path / "audio").mkdir()
    return tiny.make_corpus(str(tmp_path / "audio"))


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def no_audio(monkeypatch):
    """From here on, whoever reads audio fails."""

    def refuse(*args):
        raise AssertionError("audio was read")

    return lambda: monkeypatch.setattr(reading, "read", refuse)


def load(corpus: Corpus, cache: Path, config: FeatureConfig = CONFIG) -> np.ndarray:
    return load_features(corpus, config, str(cache)).values


def only_entry(cache: Path, ending: str = ".npy") -> Path:
    """A file of the one entry in the cache; a temporary one would be hidden, and is looked for too."""
    facts, values = sorted(os.listdir(cache), reverse=True)
    assert values.startswith("tiny-") and values.endswith(".npy") and facts == values[:-4] + ".npz"
    return cache / f"{values[:-4]}{ending}"


def assert_same(ours: feature_cache.Features, theirs: feature_cache.Features) -> None:
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(ours.moments, theirs.moments)
    assert ours.reports == theirs.reports


def without(corpus: Corpus, *places: int) -> Corpus:
    kept = [u for i, u in enumerate(corpus.utterances) if i not in places]
    return dataclasses.replace(corpus, utterances=tuple(kept))


# The cache.


def test_features_are_those_of_the_front_end_in_the_order_of_the_corpus(corpus, cache):
    features = load(corpus, cache)
    assert features.shape == (36, CONFIG.num_frames, CONFIG.num_mels) and features.dtype == np.float32
    for index in (0, 17, 35):
        clip = reading.fix_clip(reading.load(corpus.utterances[index].path), CONFIG)
        np.testing.assert_allclose(features[index], log_mel_numpy(clip, CONFIG), atol=1e-4)


def test_features_come_with_what_each_file_is_and_with_the_moments_of_each_clip(corpus, cache):
    features = load_features(corpus, CONFIG, str(cache))
    assert features.digests == [reading.read(u.path).digest for u in corpus.utterances]
    for utterance, report in zip(corpus.utterances, features.reports, strict=True):
        info = soundfile.info(utterance.path)
        assert (report.seconds, report.sample_rate_hz, report.channels) == (info.frames / SAMPLE_RATE_HZ, SAMPLE_RATE_HZ, 1)
        assert report.num_bytes == os.path.getsize(utterance.path) and report.problem == ""
    np.testing.assert_array_equal(features.moments, clip_moments(features.values))


def test_a_hit_is_bit_equal_and_reads_no_audio(corpus, cache, no_audio):
    first = load_features(corpus, CONFIG, str(cache))
    no_audio()
    assert_same(load_features(corpus, CONFIG, str(cache)), first)
    only_entry(cache)


def test_values_are_mapped_from_the_disk_and_cannot_be_written_to(corpus, cache):
    for _ in ("made", "found"):
        values = load(corpus, cache)
        assert isinstance(values, np.memmap) and values.filename == str(only_entry(cache)) and not values.flags.writeable


def test_the_features_of_two_corpora_are_those_of_one_after_the_other(corpus, cache):
    first, second = (load_features(without(corpus, *places), CONFIG, str(cache)) for places in (range(20, 36), range(20)))
    both = load_features(corpus, CONFIG, str(cache))
    joined = first + second
    np.testing.assert_array_equal(joined.values, np.concatenate([first.values, second.values]))
    np.testing.assert_allclose(joined.values, both.values, atol=1e-4)  # in batches of other sizes
    np.testing.assert_array_equal(joined.moments, clip_moments(joined.values))
    assert joined.reports == both.reports


@pytest.mark.parametrize(
    "setting",
    [
        {"window_ms": 33.0},
        {"hop_ms": 30.0},
        {"num_mels": 17},
        {"lower_hz": 61.0},
        {"upper_hz": 7500.0},
        {"log_floor": 2e-3},
        {"noise_dbfs": -74.0},
        {"clip_seconds": 0.61},
    ],
)
def test_the_key_changes_with_every_setting_of_the_front_end(corpus, setting):
    assert cache_key(corpus, dataclasses.replace(CONFIG, **setting)) != cache_key(corpus, CONFIG)


def test_the_key_changes_with_a_files_time_or_size(corpus):
    path, key = corpus.utterances[5].path, cache_key(corpus, CONFIG)
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    later = cache_key(corpus, CONFIG)
    with open(path, "ab") as file:
        file.write(b"\0\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len({key, later, cache_key(corpus, CONFIG)}) == 3


def test_the_key_knows_files_of_equal_name_size_and_time_apart(corpus, tmp_path):
    twin = shutil.copytree(os.path.dirname(corpus.utterances[0].path), tmp_path / "twin")  # times are copied too
    there = [dataclasses.replace(u, path=str(twin / os.path.basename(u.path))) for u in corpus.utterances]
    assert cache_key(dataclasses.replace(corpus, utterances=tuple(there)), CONFIG) != cache_key(corpus, CONFIG)


def test_the_key_changes_with_the_utterances_their_order_and_what_is_read_of_them(corpus):
    turned = dataclasses.replace(corpus, utterances=corpus.utterances[::-1])
    part = dataclasses.replace(corpus.utterances[0], span=(0.1, 0.3))
    cut = dataclasses.replace(corpus, utterances=(part, *corpus.utterances[1:]))
    assert len({cache_key(c, CONFIG) for c in (corpus, without(corpus, 0), turned, cut)}) == 4


def test_of_a_part_of_a_file_the_features_are_those_of_the_part(corpus, cache):
    first = corpus.utterances[0]
    parts = tuple(
        dataclasses.replace(first, utterance_id=name, span=s) for name, s in (("a", (0.1, 0.3)), ("b", (0.2, 0.4)))
    )
    values = load(dataclasses.replace(corpus, utterances=parts), cache)
    for clip, part in zip(values, parts, strict=True):
        samples = reading.fix_clip(reading.load(part.path, span=part.span), CONFIG)
        np.testing.assert_allclose(clip, log_mel_numpy(samples, CONFIG), atol=1e-4)


def test_a_changed_recording_is_read_again(corpus, cache):
    first = load(corpus, cache)
    soundfile.write(corpus.utterances[5].path, tiny.tone(2, 1, 99), SAMPLE_RATE_HZ)
    second = load(corpus, cache)
    assert np.flatnonzero((first != second).any(axis=(1, 2))).tolist() == [5]


DAMAGES = {
    "empty": lambda whole: b"",
    "magic": lambda whole: whole[:5],
    "header": lambda whole: whole[:100],
    "half": lambda whole: whole[: len(whole) // 2],
    "one short": lambda whole: whole[:-1],
    "zeros": lambda whole: bytes(len(whole)),
}


@pytest.mark.parametrize(
    "damage",
    [
        *DAMAGES.values(),
        lambda whole: b"PK\x03\x04" + whole[4:],
        lambda whole: whole.replace(b"<f4", b"<f2"),
        lambda whole: whole.replace(b"(36, ", b"(35, "),
        lambda whole: whole.replace(b"), }", b"((({"),
    ],
    ids=[*DAMAGES, "zip", "type", "shape", "brackets"],
)
def test_a_damaged_file_is_ignored_and_rewritten(corpus, cache, no_audio, damage):
    first = load(corpus, cache).copy()  # not mapped from the file that is to be damaged
    whole = only_entry(cache).read_bytes()
    only_entry(cache).write_bytes(damage(whole))
    np.testing.assert_array_equal(load(corpus, cache), first)
    assert only_entry(cache).read_bytes() == whole
    no_audio()
    np.testing.assert_array_equal(load(corpus, cache), first)


def in_directory(whole: bytes, offset: int, value: bytes) -> bytes:
    """A .npz with another byte in its directory's first entry."""
    place = whole.index(b"PK\x01\x02") + offset
    return whole[:place] + value + whole[place + 1 :]


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def changed(whole: bytes, **arrays) -> bytes:
    return npz(**{**np.load(io.BytesIO(whole)), **arrays})


@pytest.mark.parametrize(
    "damage",
    [
        *DAMAGES.values(),
        lambda whole: in_directory(whole, 8, b"\x01"),
        lambda whole: in_directory(whole, 10, b"\x63"),
        lambda whole: npz(),
        lambda whole: changed(whole, reports=np.frombuffer(b"[[", np.uint8)),
        lambda whole: changed(whole, reports=np.frombuffer(b"[[1, 2, 3, 4, 5, 6, 7]]", np.uint8)),
        lambda whole: changed(whole, reports=np.frombuffer(b"3", np.uint8)),
        lambda whole: changed(whole, moments=np.load(io.BytesIO(whole))["moments"][:-1]),
        lambda whole: changed(whole, moments=np.array([{}], object)),
        lambda whole: _npy(np.zeros(36)),
        None,
    ],
    ids=[
        *DAMAGES,
        "encrypted",
        "compressed",
        "other",
        "no json",
        "other fields",
        "no list",
        "one clip less",
        "pickle",
        "npy",
        "missing",
    ],
)
def test_what_is_known_of_the_clips_is_found_again_where_it_is_damaged_or_missing(corpus, cache, no_audio, damage):
    first = load_features(corpus, CONFIG, str(cache))
    facts = only_entry(cache, ".npz")
    whole = facts.read_bytes()
    facts.unlink()
    if damage is not None:
        facts.write_bytes(damage(whole))
    assert read_cache(corpus, CONFIG, str(cache)) is None
    assert_same(load_features(corpus, CONFIG, str(cache)), first)
    no_audio()
    assert_same(load_features(corpus, CONFIG, str(cache)), first)


def _npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def test_a_run_that_dies_while_writing_leaves_nothing(corpus, cache, monkeypatch):
    def die(features):
        if len(os.listdir(cache)) == 1:  # the first chunk is written
            raise KeyboardInterrupt

    monkeypatch.setattr(feature_cache, "clip_moments", die)
    with pytest.raises(KeyboardInterrupt):
        load(corpus, cache)
    assert os.listdir(cache) == []
    monkeypatch.undo()
    assert load(corpus, cache).shape[0] == 36


@pytest.mark.parametrize("num_bytes", [0, 100, 5000, 40_000])
def test_a_full_disk_is_told_and_leaves_nothing(corpus, cache, num_bytes):
    with files_at_most(num_bytes), pytest.raises(KserError, match=r"^Cannot write .*\.npy: File too large\.$"):
        load(corpus, cache)
    assert os.listdir(cache) == []
    assert load(corpus, cache).nbytes > num_bytes


def test_a_disk_that_is_full_once_the_features_are_written_leaves_nothing(corpus, cache, monkeypatch):
    def fill(file, **_):
        file.write(b"PK half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", fill)
    with pytest.raises(KserError, match=r"^Cannot write .*\.npz: No space left on device\.$"):
        load(corpus, cache)
    assert os.listdir(cache) == []


def at_once(both, function, *arguments) -> list:
    """What the function returns to two threads, whose `both.wait()` makes them wait for each other."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(function(*arguments))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_two_runs_at_once_leave_one_good_entry(corpus, cache, no_audio, monkeypatch):
    both = threading.Barrier(2, timeout=60)

    def wait_for_the_other(*arguments):
        both.wait()  # neither has written yet: both will
        found = list(scan(*arguments))
        both.wait()
        return found

    monkeypatch.setattr(feature_cache, "scan", wait_for_the_other)
    results = at_once(both, load_features, corpus, CONFIG, str(cache))
    assert_same(*results)
    only_entry(cache)
    no_audio()
    assert_same(load_features(corpus, CONFIG, str(cache)), results[0])


def test_a_cache_that_cannot_be_written_is_told(corpus, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KserError, match=r"^Cannot write .*: Not a directory\.$"):
        load(corpus, tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"KSER_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/kser"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/kser"),
    ],
)
def test_where_the_cache_is_by_default(monkeypatch, environment, expected):
    for name in ("KSER_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert feature_cache.default_cache_dir() == expected


def test_the_cache_is_in_the_default_place_if_none_is_given(corpus, cache, monkeypatch):
    monkeypatch.setenv("KSER_CACHE_DIR", str(cache))
    load_features(corpus, CONFIG)
    only_entry(cache)


# Bad files among good ones.


FIVE = (3, 8, 20, 30, 35)


def damage_five(corpus: Corpus) -> list[Path]:
    """Makes five files unusable, each in its way."""
    paths = [Path(corpus.utterances[i].path) for i in FIVE]
    paths[0].write_bytes(b"")
    paths[1].write_bytes(paths[1].read_bytes()[:5000])
    paths[2].write_bytes(b"no audio at all, though it is called so")
    soundfile.write(paths[3], np.zeros(8000), SAMPLE_RATE_HZ)
    soundfile.write(paths[4], tiny.tone(0, 0, 0), 8000)
    return paths


def test_bad_files_are_counted_and_the_first_are_named(corpus, cache):
    paths = damage_five(corpus)
    sentence = r"^5 of 36 audio files cannot be used; repair or remove them, or train with the --manifest of bin/prepare, "
    with pytest.raises(DatasetError, match=sentence + "which leaves them out: ") as error:
        load(corpus, cache)
    message = str(error.value)
    assert [str(path) in message for path in paths] == [True, True, True, False, False]
    assert "is empty" in message and "is truncated" in message and "not a readable audio file" in message


def test_what_is_usable_is_kept_for_a_corpus_without_the_bad_files(corpus, cache, no_audio):
    damage_five(corpus)
    with pytest.raises(DatasetError):
        load(corpus, cache)
    only_entry(cache)
    no_audio()
    assert len(load(without(corpus, *FIVE), cache)) == 31


def test_bad_files_are_left_out_of_the_entry_the_others_being_in_order(corpus, cache):
    good = load_features(corpus, CONFIG, str(cache))
    paths = damage_five(corpus)
    reports, features = extract_to_cache(corpus, scan(corpus.utterances, CONFIG), CONFIG, str(cache))
    kept = [i for i in range(36) if i not in FIVE]
    assert [i for i, report in enumerate(reports) if report.problem] == list(FIVE)
    assert all(str(path) in reports[i].problem for i, path in zip(FIVE, paths, strict=True))
    assert features.reports == tuple(reports[i] for i in kept) == tuple(good.reports[i] for i in kept)
    np.testing.assert_allclose(features.values, good.values[kept], atol=1e-4)  # in batches of other sizes
    np.testing.assert_array_equal(features.moments, clip_moments(features.values))
    assert_same(read_cache(without(corpus, *FIVE), CONFIG, str(cache)), features)


def test_a_whole_chunk_of_bad_files_is_left_out(corpus, cache):
    for utterance in corpus.utterances[:CHUNK_CLIPS]:
        Path(utterance.path).write_bytes(b"")
    reports, features = extract_to_cache(corpus, scan(corpus.utterances, CONFIG), CONFIG, str(cache))
    assert len(reports) == 36 and len(features.values) == len(features.moments) == 36 - CHUNK_CLIPS
    clip = reading.fix_clip(reading.load(corpus.utterances[-1].path), CONFIG)
    np.testing.assert_allclose(features.values[-1], log_mel_numpy(clip, CONFIG), atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 11025])
def test_recordings_sampled_too_slowly_for_the_features_are_refused(corpus, cache, rate):
    soundfile.write(corpus.utterances[0].path, tiny.tone(0, 0, 0), rate)
    with pytest.raises(DatasetError, match=rf"^1 of 36 .*is sampled at {rate} Hz"):
        load(corpus, cache)


def test_a_link_to_nowhere_is_a_bad_file(corpus, cache):
    path = Path(corpus.utterances[7].path)
    path.unlink()
    path.symlink_to("annexed-elsewhere.wav")
    with pytest.raises(DatasetError, match="^1 of 36 .*There is no audio file .*"):
        load(corpus, cache)


def test_all_files_bad(corpus, cache):
    for utterance in corpus.utterances:
        Path(utterance.path).write_bytes(b"")
    with pytest.raises(DatasetError, match="^36 of 36 "):
        load(corpus, cache)
    assert os.listdir(cache) == []


# Augmented sounds.

STEPS = "speed:0.1,pitch:2,codec:0.5"


@pytest.fixture
def some(corpus) -> tuple:
    """A few utterances, more than are worked on at once."""
    return corpus.utterances[::4]


def with_steps(steps: str = STEPS, variants: int = 2, seed: int = 0) -> RunConfig:
    return tiny.run_config(AugmentConfig(steps, variants), seed=seed)


def variants_of(utterances, cache: Path, config: RunConfig | None = None) -> np.ndarray:
    return load_variants(utterances, config or with_steps(), str(cache))


@pytest.mark.parametrize("steps", ["none", "gain:3,spec:1,mixup:0.2"])
def test_without_steps_on_the_sound_there_are_no_variants(some, cache, no_audio, steps):
    no_audio()
    assert variants_of(some, cache, with_steps(steps)) is None and not cache.exists()


def test_variants_are_the_features_of_augmented_sounds(some, cache):
    config = with_steps("pitch:2,speed:0.1")
    variants = variants_of(some, cache, config)
    assert variants.shape == (9, 2, CONFIG.num_frames, CONFIG.num_mels) and variants.dtype == np.float32
    assert isinstance(variants, np.memmap)
    for clip, variant in ((0, 0), (4, 1), (8, 0)):
        rng = variant_rng(0, some[clip].utterance_id, variant)
        sound = augment_sound(reading.load(some[clip].path), config.augment.steps("sound"), rng)
        expected = log_mel_numpy(reading.fix_clip(sound, CONFIG), CONFIG)
        np.testing.assert_allclose(variants[clip, variant], expected, atol=1e-4)
    assert len({variant.tobytes() for clip in variants for variant in clip}) == 18


def test_variants_are_the_same_elsewhere_and_in_another_order(some, cache, tmp_path):
    first = variants_of(some, cache)
    np.testing.assert_array_equal(variants_of(some, tmp_path / "another"), first)
    np.testing.assert_array_equal(variants_of(some[::-1], cache)[::-1], first)
    np.testing.assert_array_equal(variants_of(some[3:4], cache), first[3:4])


def test_variants_are_read_from_the_cache(some, cache, no_audio):
    first = variants_of(some, cache)
    no_audio()
    np.testing.assert_array_equal(variants_of(some, cache), first)
    assert len(os.listdir(cache)) == 1


def test_other_seeds_steps_numbers_and_recordings_have_other_variants(some, cache):
    configs = [with_steps(), with_steps(seed=1), with_steps("speed:0.1,pitch:3,codec:0.5"), with_steps("pitch:2,speed:0.1")]
    found = [variants_of(some[:2], cache, config) for config in configs]
    soundfile.write(some[0].path, tiny.tone(2, 1, 99), SAMPLE_RATE_HZ)
    found.append(variants_of(some[:2], cache))
    assert len({variants[0].tobytes() for variants in found}) == 5
    np.testing.assert_array_equal(found[-1][1], found[0][1])
    np.testing.assert_allclose(variants_of(some[:2], cache, with_steps(variants=3))[:, :2], found[-1], atol=1e-4)
    assert len(os.listdir(cache)) == 6


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_variants_are_made_again(some, cache, damage):
    first = variants_of(some[:2], cache).copy()
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    np.testing.assert_array_equal(variants_of(some[:2], cache), first)
    assert file.read_bytes() == whole and len(os.listdir(cache)) == 1


@pytest.mark.parametrize("num_bytes", [0, 5000])
def test_a_disk_too_full_for_variants_is_told_and_left_as_it_was(some, cache, num_bytes):
    with files_at_most(num_bytes), pytest.raises(KserError, match=r"^Cannot write .*\.npy: File too large\.$"):
        variants_of(some, cache)
    assert os.listdir(cache) == []


def test_a_recording_that_vanished_is_told(some, cache):
    os.remove(some[5].path)
    with pytest.raises(AudioError, match=f"^There is no audio file {some[5].path}"):
        variants_of(some, cache)
    assert os.listdir(cache) == []


def test_two_runs_at_once_make_the_same_variants(some, cache, monkeypatch):
    both, augmented = threading.Barrier(2, timeout=60), feature_cache.batch_extractor

    def wait_for_the_other(*arguments):
        both.wait()
        return augmented(*arguments)

    monkeypatch.setattr(feature_cache, "batch_extractor", wait_for_the_other)
    np.testing.assert_array_equal(*at_once(both, variants_of, some[:2], cache))
    assert len(os.listdir(cache)) == 1
