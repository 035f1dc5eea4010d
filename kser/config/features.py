"""Settings of the log-mel front end, and of the smoothing of decisions on a board."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from kser.config.settings import Settings, require, setting

SAMPLE_RATE_HZ = 16000
MAX_DECISIONS_AVERAGED = 64


@dataclass(frozen=True)
class FeatureConfig(Settings):
    """Log-mel front end at 16 kHz: `ln(|STFT|^2 @ mel + log_floor)` of a clip of fixed length.

    Raises:
      ConfigError: a setting is out of range, or does not fit the others.

    Example:
      >>> features = kser.FeatureConfig(clip_seconds=0.6, num_mels=16)
      >>> features.num_frames, features.num_mels, features.window_samples
      (57, 16, 512)
    """

    window_ms: float = setting(32.0, "Analysis window in milliseconds.", 4, 128)
    hop_ms: float = setting(10.0, "Hop between successive windows in milliseconds.", 1, 128)
    num_mels: int = setting(40, "Number of mel bands.", 4, 128)
    lower_hz: float = setting(60.0, "Lower edge of the lowest mel band in Hz.", 0, SAMPLE_RATE_HZ / 2)
    upper_hz: float = setting(7600.0, "Upper edge of the highest mel band in Hz.", 1, SAMPLE_RATE_HZ / 2)
    log_floor: float = setting(2e-4, "Power added to every mel band before the logarithm.", 1e-12, 1)
    noise_dbfs: float = setting(
        -75.0, "Level in dBFS of the white microphone noise added to every clip, padding included.", -120, -20
    )
    remove_level: bool = setting(
        True,
        "Subtract each clip's mean log-mel, so that microphone gain and distance matter less; near the floor, of sound that "
        "is much quieter than the training's, they still do.",
    )
    clip_seconds: float = setting(2.5, "Clip length in seconds; longer clips are cropped, shorter ones padded.", 0.1, 60)

    def __post_init__(self):
        super().__post_init__()
        require(self.lower_hz < self.upper_hz, f"lower_hz ({self.lower_hz:g}) must be below upper_hz ({self.upper_hz:g}).")
        require(self.hop_ms <= self.window_ms, f"hop_ms ({self.hop_ms:g}) must not exceed window_ms ({self.window_ms:g}).")
        require(
            self.clip_samples >= self.window_samples,
            f"clip_seconds ({self.clip_seconds:g}) is shorter than one window of {self.window_ms:g} ms.",
        )

    @property
    def window_samples(self) -> int:
        return round(self.window_ms * SAMPLE_RATE_HZ / 1000)

    @property
    def hop_samples(self) -> int:
        return round(self.hop_ms * SAMPLE_RATE_HZ / 1000)

    @property
    def fft_length(self) -> int:
        """The smallest power of two that holds the window."""
        return 1 << (self.window_samples - 1).bit_length()

    @property
    def clip_samples(self) -> int:
        return round(self.clip_seconds * SAMPLE_RATE_HZ)

    @property
    def num_frames(self) -> int:
        return 1 + (self.clip_samples - self.window_samples) // self.hop_samples


@dataclass(frozen=True)
class SmoothingConfig(Settings):
    """How a board smooths the probabilities of successive, overlapping windows into labels.

    Raises:
      ConfigError: a setting is out of range, or the average shorter than a decision or longer than 64.

    Example:
      >>> smoothing = kser.SmoothingConfig(decision_ms=250.0, average_ms=2000.0)
      >>> smoothing.average_decisions, smoothing.dwell_decisions
      (8, 4)
    """

    decision_ms: float = setting(500.0, "Milliseconds between two decisions.", 10, 60000)
    average_ms: float = setting(1500.0, "Milliseconds over which the probabilities are averaged.", 10, 600000)
    hysteresis: float = setting(
        0.1, "Margin in average probability by which another label must exceed the current one to replace it.", 0, 1
    )
    dwell_ms: float = setting(1000.0, "Minimum milliseconds before a label may change.", 0, 600000)
    silence_dbfs: float = setting(
        -60.0, "Level in dBFS that some frame of the window must reach, else the decision is 'silence'.", -150, 0
    )

    def __post_init__(self):
        super().__post_init__()
        require(
            self.decision_ms <= self.average_ms <= MAX_DECISIONS_AVERAGED * self.decision_ms,
            f"average_ms ({self.average_ms:g}) must be from 1 to {MAX_DECISIONS_AVERAGED} times decision_ms "
            f"({self.decision_ms:g}).",
        )

    def changed(self, **values) -> SmoothingConfig:
        """These settings with some other values; an average that is not among them follows `decision_ms` into its range."""
        decision_ms = values.get("decision_ms", self.decision_ms)
        average_ms = min(max(self.average_ms, decision_ms), MAX_DECISIONS_AVERAGED * decision_ms)
        return dataclasses.replace(self, **{"average_ms": average_ms, **values})

    @property
    def average_decisions(self) -> int:
        return round(self.average_ms / self.decision_ms)

    @property
    def dwell_decisions(self) -> int:
        return math.ceil(self.dwell_ms / self.decision_ms)
