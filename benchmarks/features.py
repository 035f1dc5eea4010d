"""How fast clips become log-mel: kser's batch extractor against librosa's melspectrogram, in turns in one process.

.venv/bin/pip install librosa
.venv/bin/python benchmarks/features.py
"""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import app, flags

from kser.config import SAMPLE_RATE_HZ, FeatureConfig
from kser.features import batch_extractor
from kser.pipeline import CHUNK_CLIPS, EXTRACTOR_THREADS

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 10, "Turns each of the two takes.", lower_bound=1)

CLIPS_PER_TURN = 256


def require_librosa():
    """librosa, or the end of the program with a sentence."""
    try:
        import librosa
    except ImportError:
        sys.exit("This benchmark compares with librosa: install it with .venv/bin/pip install librosa.")
    return librosa


def seconds(function, clips: np.ndarray) -> float:
    """Seconds `function` takes for all clips."""
    start = time.perf_counter()
    function(clips)
    return time.perf_counter() - start


def main(_) -> None:
    librosa = require_librosa()
    config = FeatureConfig()
    extract = batch_extractor(config)
    rng = np.random.default_rng(0)
    clips = (0.1 * rng.standard_normal((CLIPS_PER_TURN, config.clip_samples))).astype(np.float32)
    settings = {"n_fft": config.fft_length, "win_length": config.window_samples, "hop_length": config.hop_samples}
    bands = {"n_mels": config.num_mels, "fmin": config.lower_hz, "fmax": config.upper_hz}

    def ours(batch):
        chunks = [batch[i : i + CHUNK_CLIPS] for i in range(0, len(batch), CHUNK_CLIPS)]
        with ThreadPoolExecutor(EXTRACTOR_THREADS) as pool:
            return list(pool.map(lambda chunk: extract(chunk).numpy(), chunks))

    def theirs(batch):
        return [
            librosa.feature.melspectrogram(y=clip, sr=SAMPLE_RATE_HZ, center=False, **settings, **bands) for clip in batch
        ]

    ours(clips[:CHUNK_CLIPS]), theirs(clips[:1])  # compile
    pairs = [(seconds(ours, clips), seconds(theirs, clips)) for _ in range(FLAGS.rounds)]
    ratio = statistics.median(b / a for a, b in pairs)
    speeds = [len(clips) / statistics.median(column) for column in zip(*pairs, strict=True)]
    print(f"clips of {config.clip_seconds:g} s, {config.num_frames} frames of {config.num_mels} mels")
    print(f"kser {speeds[0]:.0f} clips/s, librosa {speeds[1]:.0f} clips/s, median ratio {ratio:.2f}")


if __name__ == "__main__":
    app.run(main)
