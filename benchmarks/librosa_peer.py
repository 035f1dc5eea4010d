"""librosa, the peer of two benchmarks, with the front end's settings as it calls them."""

from __future__ import annotations

import sys

from kser.config import SAMPLE_RATE_HZ, FeatureConfig


def require_librosa():
    """librosa, or the end of the program with a sentence."""
    try:
        import librosa
    except ImportError:
        sys.exit("This benchmark compares with librosa: install it with .venv/bin/pip install librosa.")
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
