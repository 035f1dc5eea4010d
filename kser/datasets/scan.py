"""Scans every clip of a corpus once: its properties, whether it is usable, and its log-mel."""

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
# One more than there are cores, because a thread often waits for the interpreter or the disk.
THREADS = CORES + 1
# The scan leaves a core to the features: on two cores a second reader costs more than it gains.
READERS = max(1, CORES - 1)
# Longer files are whole recordings, not utterances; a clip would be an arbitrary window from the middle.
MAX_SECONDS = 120.0


MAX_NAMED_FAILURES = 3


@dataclass(frozen=True)
class ClipReport:
    """Properties of a clip, a sentence on why it is unusable, and one on what was corrected, if anything. The digest is that
    of `Recording`."""

    digest: str = ""
    num_bytes: int = 0
    seconds: float = 0.0
    sample_rate_hz: int = 0
    channels: int = 0
    problem: str = ""
    remark: str = ""


def first_problems(problems: Sequence[str]) -> str:
    """The first few of these sentences; only one, where all say that audio is still to be fetched."""
    is_one = len(problems) > 1 and all("Git LFS pointer" in problem for problem in problems)
    return f"all of them are Git LFS pointers. {problems[0]}" if is_one else " ".join(problems[:MAX_NAMED_FAILURES])


def examine(utterance: Utterance, config: FeatureConfig) -> tuple[ClipReport, np.ndarray | None]:
    """A clip's report and, if usable, its samples of fixed length (clip_samples,) float32."""
    try:
        recording = reading.read(utterance.path, utterance.span)
    except AudioError as error:
        return ClipReport(problem=str(error)), None
    channels = recording.samples.shape[1]
    facts = recording.digest, recording.num_bytes, recording.seconds, recording.sample_rate_hz, channels
    if recording.seconds > MAX_SECONDS:
        problem = f"{utterance.path} lasts {recording.seconds:.0f} s, more than {MAX_SECONDS:g} s; cut it into utterances."
        return ClipReport(*facts, problem), None
    try:
        samples, remark = reading.to_mono(recording, utterance.path, config.upper_hz)
    except AudioError as error:
        return ClipReport(*facts, str(error)), None
    return ClipReport(*facts, remark=remark), reading.fix_clip(samples, config)


def scan_chunk(
    utterances: Sequence[Utterance], config: FeatureConfig, extract: Callable
) -> tuple[list[ClipReport], np.ndarray]:
    """Reports of a few clips, and their log-mel (len, num_frames, num_mels) float32; zeros for unusable ones.

    Args:
      extract: the result of `log_mel.batch_extractor` for `config`.
    """
    return _with_features(*_read_chunk(utterances, config), extract)


def _read_chunk(utterances: Sequence[Utterance], config: FeatureConfig) -> tuple[list[ClipReport], np.ndarray]:
    """Reports of a few clips, and the clips (len, clip_samples) float32; zeros for unusable ones."""
    results = [examine(utterance, config) for utterance in utterances]
    silence = np.zeros(config.clip_samples, np.float32)
    return [report for report, _ in results], np.stack([silence if clip is None else clip for _, clip in results])


def _with_features(reports: list[ClipReport], clips: np.ndarray, extract: Callable) -> tuple[list[ClipReport], np.ndarray]:
    features = extract(clips).numpy()
    features[[i for i, report in enumerate(reports) if report.problem]] = 0
    return reports, features


def scan(utterances: Sequence[Utterance], config: FeatureConfig) -> Iterator[tuple[list[ClipReport], np.ndarray]]:
    """Reports and log-mel (see `scan_chunk`), chunk by chunk in the order of the utterances.

    READERS threads read clips ahead while this thread computes the features.
    """
    extract = batch_extractor(config)
    places = chunks(len(utterances))
    for _, found in in_order(places, lambda place: _read_chunk(utterances[place], config), READERS):
        yield _with_features(*found, extract)


def chunks(count: int) -> list[slice]:
    """`count` clips in chunks of CHUNK_CLIPS."""
    return [slice(i, min(i + CHUNK_CLIPS, count)) for i in range(0, count, CHUNK_CLIPS)]


def in_order(items: Iterable, function: Callable, threads: int = THREADS) -> Iterator[tuple]:
    """Pairs of item and result, computed by threads only a few ahead of the consumer; `map` would hold all results."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > 2 * threads:
                done, future = waiting.popleft()
                yield done, future.result()
        yield from ((item, future.result()) for item, future in waiting)
