"""librosa, the peer of two benchmarks, with the front end's settings as it calls them."""

from __future__ import annotations

import sys

from kser.config import SAMPLE_RATE_HZ, FeatureConfig


def require_librosa():
    """librosa, or the end of the program with a sentence.

    BLAS is held to one thread: librosa is the faster for it, and idle threads of BLAS wait for work in a loop, which takes a
    core from the other side's turn.
    """
    try:
        import librosa
        from threadpoolctl import threadpool_limits
    except ImportError:
        sys.exit("This benchmark compares with librosa: install it with .venv/bin/pip install librosa.")
    threadpool_limits(1, user_api="blas")
    return librosa


def mel_settings(config: FeatureConfig) -> dict:
    """Arguments of librosa.feature.melspectrogram."""
    return {
        "sr": SAMPLE_RATE_HZ,
        "center": False,
        "n_fft": config.fft_length,
        "win_length": config.window_samples,
        "hop_length": config.hop_samples,
        "n_mels": config.num_mels,
        "fmin": config.lower_hz,
        "fmax": config.upper_hz,
    }
