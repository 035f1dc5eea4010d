"""How fast clips become log-mel: kser's batch extractor against librosa's melspectrogram, in turns in one process.

.venv/bin/pip install librosa
.venv/bin/python -m benchmarks.features
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import app, flags

from benchmarks.librosa_peer import mel_settings, require_librosa
from kser.audio.log_mel import batch_extractor
from kser.cli.threads import use_threads
from kser.config import FeatureConfig
from kser.datasets.scan import THREADS

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 10, "Turns each of the two takes.", lower_bound=1)

# As many as RAVDESS has; turns of a tenth of a second, of 256 clips, gave ratios that scattered twice as much.
CLIPS_PER_TURN = 1440
# By several threads, each with a batch small enough for its core's cache.
BATCH_CLIPS = 4


def seconds(function, clips: np.ndarray) -> float:
    """Seconds `function` takes for all clips."""
    start = time.perf_counter()
    function(clips)
    return time.perf_counter() - start


def main(_) -> None:
    librosa = require_librosa()
    use_threads(1)  # within an operation: batches are taken by threads
    config = FeatureConfig()
    extract = batch_extractor(config)
    rng = np.random.default_rng(0)
    clips = (0.1 * rng.standard_normal((CLIPS_PER_TURN, config.clip_samples))).astype(np.float32)
    settings = mel_settings(config)

    def ours(clips):
        batches = [clips[i : i + BATCH_CLIPS] for i in range(0, len(clips), BATCH_CLIPS)]
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda batch: extract(batch).numpy(), batches))

    def theirs(clips):
        return [librosa.feature.melspectrogram(y=clip, **settings) for clip in clips]

    ours(clips[:BATCH_CLIPS]), theirs(clips[:1])  # compile
    pairs = [(seconds(ours, clips), seconds(theirs, clips)) for _ in range(FLAGS.rounds)]
    ratio = statistics.median(b / a for a, b in pairs)
    speeds = [len(clips) / statistics.median(column) for column in zip(*pairs, strict=True)]
    print(f"clips of {config.clip_seconds:g} s, {config.num_frames} frames of {config.num_mels} mels")
    print(f"kser {speeds[0]:.0f} clips/s, librosa {speeds[1]:.0f} clips/s, median ratio {ratio:.2f}")


if __name__ == "__main__":
    app.run(main)
