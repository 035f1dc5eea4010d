"""The feature cache: log-mel of a corpus, and of its training clips with augmented waveforms, each computed once."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from kser.audio import reading
from kser.audio.augment_waveform import augment_sound, variant_rng
from kser.audio.log_mel import batch_extractor, clip_moments
from kser.config import FeatureConfig, RunConfig, to_dict
from kser.datasets.corpus import Corpus, Utterance
from kser.datasets.scan import MAX_NAMED_FAILURES, ClipReport, first_problems, in_order, scan
from kser.errors import DatasetError, KserWarning
from kser.files import replacing, temporary_beside
from kser.progress import counting

# Incremented when the front end computes different numbers for the same settings.
CACHE_VERSION = 4


def default_cache_dir() -> str:
    """`$KSER_CACHE_DIR`, or kser's folder in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("KSER_CACHE_DIR") or os.path.join(base, "kser")


@dataclasses.dataclass(frozen=True)
class Features:
    """All clips of a corpus: raw log-mel (num_utterances, num_frames, num_mels) float32, possibly memory-mapped, their
    reports, and their moments (`log_mel.clip_moments`)."""

    values: np.ndarray
    reports: tuple[ClipReport, ...]
    moments: np.ndarray

    @property
    def digests(self) -> list[str]:
        return [report.digest for report in self.reports]

    def rows(self, indices: Sequence[int]) -> Features:
        """The features of some of the clips."""
        return Features(self.values[indices], tuple(self.reports[i] for i in indices), self.moments[indices])

    def __add__(self, other: Features) -> Features:
        """The features of both, in order."""
        parts = (np.concatenate(pair) for pair in ((self.values, other.values), (self.moments, other.moments)))
        values, moments = parts
        return Features(values, self.reports + other.reports, moments)


def load_features(corpus: Corpus, config: FeatureConfig, cache_dir: str = "") -> Features:
    """Log-mel of every utterance, from the cache if it is there.

    The cache file's name is a hash of the corpus (paths, sizes and times of its files) and of the settings. The file
    appears only when complete, so concurrent or interrupted runs do no harm.

    Raises:
      DatasetError: one or more audio files cannot be used; it names the first few and their number.
    """
    features = read_cache(corpus, config, cache_dir)
    if features is None:
        reports, features = extract_to_cache(corpus, scan(corpus.utterances, config), config, cache_dir)
        _require_usable(reports)
    _tell_corrections(features.reports)
    return features


def _tell_corrections(reports: Sequence[ClipReport]) -> None:
    remarks = [report.remark for report in reports if report.remark]
    if remarks:
        told = " ".join(remarks[:MAX_NAMED_FAILURES])
        warnings.warn(f"{len(remarks)} of {len(reports)} clips were corrected: {told}", KserWarning, stacklevel=3)


def extract_to_cache(
    corpus: Corpus, found: Iterable, config: FeatureConfig, cache_dir: str
) -> tuple[list[ClipReport], Features]:
    """Makes the cache entry of a corpus' usable clips from the results of `scan` for all clips.

    Apart from the reports, memory use does not grow with the corpus.

    Returns:
      The reports of all clips, and the features of the usable ones.
    Raises:
      DatasetError: no clip can be used.
    """
    count = len(corpus.utterances)
    reports, moments = [], []
    with temporary_beside(cache_path(corpus, config, cache_dir)) as temporary:
        with open(temporary, "wb") as file, counting("features", "clips", count) as progress:
            _write_header(file, cache_shape(count, config))
            for chunk_reports, chunk in found:
                usable = chunk[[not report.problem for report in chunk_reports]]
                file.write(usable.tobytes())
                moments.append(clip_moments(usable))
                reports += chunk_reports
                progress.advance(len(chunk))
            kept = [not report.problem for report in reports]
            if not any(kept):
                _require_usable(reports)
            file.seek(0)
            _write_header(file, cache_shape(sum(kept), config))
        utterances = tuple(itertools.compress(corpus.utterances, kept))
        path = cache_path(dataclasses.replace(corpus, utterances=utterances), config, cache_dir)
        _write_facts(path, list(itertools.compress(reports, kept)), np.concatenate(moments))
        os.replace(temporary, path)
    return reports, Features(np.load(path, mmap_mode="r"), tuple(itertools.compress(reports, kept)), np.concatenate(moments))


def _write_header(file, shape: tuple[int, ...]) -> None:
    """The header of a .npy file whose float32 values follow in order; NumPy leaves room to change its first dimension.

    Writing through a memory map would crash on a full disk.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _require_usable(reports: Sequence[ClipReport]) -> None:
    problems = [r.problem for r in reports if r.problem]
    if problems:
        named = first_problems(problems)
        raise DatasetError(
            f"{len(problems)} of {len(reports)} audio files cannot be used; repair or remove them, or train with the "
            f"--manifest of bin/prepare, which leaves them out: {named}"
        )


def cache_path(corpus: Corpus, config: FeatureConfig, cache_dir: str) -> str:
    """The path of a corpus' features."""
    return os.path.join(cache_dir or default_cache_dir(), f"{corpus.name}-{cache_key(corpus, config)}.npy")


def cache_shape(num_clips: int, config: FeatureConfig) -> tuple[int, int, int]:
    """The shape of the features of so many clips."""
    return num_clips, config.num_frames, config.num_mels


def cache_key(corpus: Corpus, config: FeatureConfig) -> str:
    """A hash that changes when a file of the corpus or a setting of the front end does.

    A file is known by its path, size and time: files of two folders may share the latter two and their names.
    """
    files = [(u.utterance_id, u.span, os.path.abspath(u.path), *_size_and_time(u.path)) for u in corpus.utterances]
    return _hash([CACHE_VERSION, files, to_dict(config)])


def _hash(values) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:20]


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0  # reading the file will raise the proper error
    return status.st_size, status.st_mtime_ns


def _facts_path(path: str) -> str:
    return os.path.splitext(path)[0] + ".npz"


def _write_facts(path: str, reports: Sequence[ClipReport], moments: np.ndarray) -> None:
    """The clips' reports and moments; written first, so that the features are never without them."""
    text = json.dumps([dataclasses.astuple(report) for report in reports])
    with replacing(_facts_path(path)) as temporary, open(temporary, "wb") as file:
        np.savez(file, reports=np.frombuffer(text.encode(), np.uint8), moments=moments)


def read_cache(corpus: Corpus, config: FeatureConfig, cache_dir: str) -> Features | None:
    """The cached features of a corpus; None if they are missing or damaged."""
    path = cache_path(corpus, config, cache_dir)
    values = _load_array(path, cache_shape(len(corpus.utterances), config))
    try:
        with np.load(_facts_path(path)) as facts:
            reports = tuple(ClipReport(*row) for row in json.loads(facts["reports"].tobytes()))
            moments = facts["moments"]
    except Exception:  # zipfile, NumPy and json raise many kinds of exceptions on a damaged file
        return None
    whole = values is not None and len(reports) == len(moments) == len(values)
    return Features(values, reports, moments) if whole else None


def _load_array(path: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """A memory-mapped float32 array of this shape; None if it is missing or damaged."""
    try:
        values = np.load(path, mmap_mode="r")
    except Exception:  # NumPy raises many kinds of exceptions on a damaged file
        return None
    return values if values.shape == shape and values.dtype == np.float32 else None


def load_variants(utterances: Sequence[Utterance], config: RunConfig, cache_dir: str = "") -> np.ndarray | None:
    """Log-mel of clips with augmented waveforms, (len, augment_variants, num_frames, num_mels) float32, from the cache if it
    is there; None if the settings do not augment waveforms.

    Every variant of a clip has its own random generator, seeded by the seed, the clip's name and the variant's number.

    Raises:
      AudioError: a file can no longer be read.
    """
    steps = config.augment.steps("sound")
    if not steps:
        return None
    num_variants = config.augment.augment_variants
    files = [(u.utterance_id, u.span, *_size_and_time(u.path)) for u in utterances]
    key = _hash([CACHE_VERSION, files, to_dict(config.features), steps, num_variants, config.train.seed])
    path = os.path.join(cache_dir or default_cache_dir(), f"variants-{key}.npy")
    shape = (len(utterances), num_variants, config.features.num_frames, config.features.num_mels)
    values = _load_array(path, shape)
    if values is None:
        _write_variants(path, shape, utterances, config)
        values = np.load(path, mmap_mode="r")
    return values


def _write_variants(path: str, shape: tuple[int, ...], utterances: Sequence[Utterance], config: RunConfig) -> None:
    extract = batch_extractor(config.features)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        _write_header(file, shape)
        with counting("augmented sounds", "clips", len(utterances)) as progress:
            for _, clips in in_order(utterances, lambda utterance: _augmented_clips(utterance, config)):
                file.write(extract(clips).numpy().tobytes())
                progress.advance()


def _augmented_clips(utterance: Utterance, config: RunConfig) -> np.ndarray:
    """(augment_variants, clip_samples) float32."""
    recording = reading.read(utterance.path, utterance.span)
    samples, _ = reading.to_mono(recording, utterance.path, config.features.upper_hz)
    steps, seed = config.augment.steps("sound"), config.train.seed
    rngs = [variant_rng(seed, utterance.utterance_id, variant) for variant in range(config.augment.augment_variants)]
    return np.stack([reading.fix_clip(augment_sound(samples, steps, rng), config.features) for rng in rngs])
