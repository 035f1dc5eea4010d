"""One look at every clip of a corpus: what it is, whether it can be used, and its log-mel."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kser.audio import reading
from kser.audio.log_mel import batch_extractor
from kser.config import FeatureConfig
from kser.datasets.corpus import Utterance
from kser.errors import AudioError

CHUNK_CLIPS = 16
CORES = len(os.sched_getaffinity(0))
# One more than there are cores: of two threads one often waits for the interpreter, or for the disk.
THREADS = CORES + 1
# The scan leaves a core to the features. Two readers on two cores would wait for the interpreter longer than they help.
READERS = max(1, CORES - 1)
# What lasts longer is no utterance but a whole recording, of which a clip would show some window in the middle.
MAX_SECONDS = 120.0


@dataclass(frozen=True)
class ClipReport:
    """What a clip is, and in a sentence why it cannot be used (empty: it can). The digest is that of `audio.Recording`."""

    digest: str = ""
    num_bytes: int = 0
    seconds: float = 0.0
    sample_rate_hz: int = 0
    channels: int = 0
    problem: str = ""


def examine(utterance: Utterance, config: FeatureConfig) -> tuple[ClipReport, np.ndarray | None]:
    """A clip's report and, where it can be used, its samples of fixed length, (clip_samples,) float32."""
    try:
        recording = reading.read(utterance.path, utterance.span)
    except AudioError as error:
        return ClipReport(problem=str(error)), None
    channels = recording.samples.shape[1]
    facts = recording.digest, recording.num_bytes, recording.seconds, recording.sample_rate_hz, channels
    if recording.seconds > MAX_SECONDS:
        problem = f"{utterance.path} lasts {recording.seconds:.0f} s, an utterance at most {MAX_SECONDS:g} s; cut it up."
        return ClipReport(*facts, problem), None
    try:
        samples = reading.to_mono(recording, utterance.path, config.upper_hz)
    except AudioError as error:
        return ClipReport(*facts, str(error)), None
    return ClipReport(*facts), reading.fix_clip(samples, config)


def scan_chunk(
    utterances: Sequence[Utterance], config: FeatureConfig, extract: Callable
) -> tuple[list[ClipReport], np.ndarray]:
    """Reports of a few clips, and their log-mel (len, num_frames, num_mels) float32; of those not to be used, zeros.

    Args:
      extract: what `features.batch_extractor` returns for `config`.
    """
    return _with_features(*_read_chunk(utterances, config), extract)


def _read_chunk(utterances: Sequence[Utterance], config: FeatureConfig) -> tuple[list[ClipReport], np.ndarray]:
    """Reports of a few clips, and the clips (len, clip_samples) float32; of those not to be used, zeros."""
    results = [examine(utterance, config) for utterance in utterances]
    silence = np.zeros(config.clip_samples, np.float32)
    return [report for report, _ in results], np.stack([silence if clip is None else clip for _, clip in results])


def _with_features(reports: list[ClipReport], clips: np.ndarray, extract: Callable) -> tuple[list[ClipReport], np.ndarray]:
    features = extract(clips).numpy()
    features[[i for i, report in enumerate(reports) if report.problem]] = 0
    return reports, features


def scan(utterances: Sequence[Utterance], config: FeatureConfig) -> Iterator[tuple[list[ClipReport], np.ndarray]]:
    """Reports and log-mel (see `scan_chunk`), chunk by chunk in the order of the utterances.

    Clips are read by READERS threads, ahead of the features that are made of them here.
    """
    extract = batch_extractor(config)
    places = chunks(len(utterances))
    for _, found in in_order(places, lambda place: _read_chunk(utterances[place], config), READERS):
        yield _with_features(*found, extract)


def chunks(count: int) -> list[slice]:
    """`count` clips in chunks of CHUNK_CLIPS."""
    return [slice(i, min(i + CHUNK_CLIPS, count)) for i in range(0, count, CHUNK_CLIPS)]


def in_order(items: Iterable, function: Callable, threads: int = THREADS) -> Iterator[tuple]:
    """Pairs of item and result, computed by threads but few ahead of who takes them: `map` would hold all."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > 2 * threads:
                done, future = waiting.popleft()
                yield done, future.result()
        yield from ((item, future.result()) for item, future in waiting)
