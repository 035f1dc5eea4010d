"""Previews of augmentation: sounds and spectrograms of single clips before and after."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
import tensorflow as tf
from matplotlib import colormaps
from matplotlib.figure import Figure

from kser.audio import reading
from kser.audio.augment_spectrogram import Others, augment_features, augment_normalized
from kser.audio.augment_waveform import augment_sound, variant_rng
from kser.audio.log_mel import batch_extractor, clip_moments, estimate_normalization, hz_to_mel
from kser.config import SAMPLE_RATE_HZ, AugmentConfig, FeatureConfig
from kser.errors import AudioError, ConfigError, KserError
from kser.files import replacing, write_bytes

SINGLE_CLIP_STAGES = ("sound", "features", "normalized")
LN_POWER_TO_DB = 10 / np.log(10)
FREQUENCY_TICKS_HZ = (125, 250, 500, 1000, 2000, 4000)
MASK_COLOUR = "white"


@dataclass(frozen=True)
class SourceClip:
    """A whole recording (num_samples,) float32, the raw log-mel of its fixed-length clip, and the name of its files."""

    name: str
    samples: np.ndarray
    log_mel: np.ndarray


class Previews:
    """Clips and their augmentation; nothing is written before all input has been checked.

    Args:
      paths: audio files; the results are named after them, without extension.
      seed: together with a clip's name and the number of the version it determines all random numbers.
      count: augmented versions per clip.

    Raises:
      AudioError: a file cannot be used, or two have the same name.
      ConfigError: babble with a single clip.
      KserError: a file that would be written exists.
    """

    def __init__(
        self, paths: list[str], augment: AugmentConfig, features: FeatureConfig, out_dir: str, seed: int = 0, count: int = 1
    ):
        self._augment, self._features, self._out_dir = augment, features, out_dir
        self._seed, self._count = seed, count
        self._extract = batch_extractor(features)
        self._steps = augment.steps("features"), augment.steps("normalized")
        names = _names(paths)
        if len(paths) < 2 and "babble" in dict(augment.steps("features")):
            raise ConfigError("babble mixes in other clips; name two or more audio files.")
        self._refuse_existing(names)
        self._clips = [self._read(name, path) for name, path in zip(names, paths, strict=True)]

    def notes(self) -> list[str]:
        """Notes on augmentations that the files do not show."""
        notes = []
        if not self._augment.steps("sound"):
            notes.append("No augmentation acts on the waveform: the .after wav files equal the .before wav files.")
        for name, _ in self._augment.steps("batch"):
            notes.append(f"{name} needs a batch of clips and is left out.")
        return notes

    def write(self) -> Iterator[str]:
        """Writes the files clip by clip; yields the path of each after it was written."""
        for index, clip in enumerate(self._clips):
            before, *after, picture = self._paths(clip.name)
            yield _write_wav(before, clip.samples)
            log_mels = []
            for draw, path in enumerate(after):
                samples, log_mel = self._draw(index, draw)
                yield _write_wav(path, samples)
                log_mels.append(log_mel)
            save_spectrograms(picture, clip.log_mel, log_mels, self._features, self._title())
            yield picture

    def _draw(self, index: int, draw: int) -> tuple[np.ndarray, np.ma.MaskedArray]:
        """The sound and the raw log-mel of one augmented version; cells that SpecAugment removes are masked."""
        features, normalized = self._steps
        clip = self._clips[index]
        rng = variant_rng(self._seed, clip.name, draw)
        samples = augment_sound(clip.samples, self._augment.steps("sound"), rng)
        tf.random.set_seed(int(rng.integers(2**31)))
        log_mel = tf.constant(self._log_mel(samples))
        log_mel = augment_features(log_mel, features, self._features, self._others(index)).numpy()
        return samples, np.ma.masked_array(log_mel, self._masked_cells(log_mel, normalized))

    def _masked_cells(self, log_mel: np.ndarray, steps: tuple[tuple[str, float], ...]) -> np.ndarray:
        """The cells that SpecAugment masks in the clip, normalized by its own mean and deviation."""
        own = estimate_normalization(clip_moments(log_mel[None]), self._features.remove_level)
        normalized = own.apply(log_mel)
        return augment_normalized(tf.constant(normalized), steps).numpy() != normalized

    def _others(self, index: int) -> Others:
        others = [clip.log_mel for place, clip in enumerate(self._clips) if place != index]
        return Others(len(others), lambda chosen: tf.gather(np.stack(others), chosen))

    def _read(self, name: str, path: str) -> SourceClip:
        samples = reading.load(path, self._features.upper_hz)
        return SourceClip(name, samples, self._log_mel(samples))

    def _log_mel(self, samples: np.ndarray) -> np.ndarray:
        return self._extract(reading.fix_clip(samples, self._features)[None])[0].numpy()

    def _title(self) -> str:
        """The title without the clip's name, which the font may be unable to show."""
        steps = [step for stage in SINGLE_CLIP_STAGES for step in self._augment.steps(stage)]
        text = ", ".join(f"{name}:{strength:g}" for name, strength in steps) or "no step"
        without = "".join(f", without {name}" for name, _ in self._augment.steps("batch"))
        return f"{text}{without}; seed {self._seed}"

    def _paths(self, name: str) -> list[str]:
        numbers = [""] if self._count == 1 else [f"-{draw}" for draw in range(1, self._count + 1)]
        endings = [".before.wav", *(f".after{number}.wav" for number in numbers), ".png"]
        return [os.path.join(self._out_dir, name + ending) for ending in endings]

    def _refuse_existing(self, names: list[str]) -> None:
        for path in (path for name in names for path in self._paths(name)):
            if os.path.lexists(path):
                raise KserError(f"{path} exists already; choose another --out_dir.")


def _names(paths: list[str]) -> list[str]:
    """The files' names without extension, which must differ."""
    taken = {}
    for path in paths:
        name = os.path.splitext(os.path.basename(path))[0]
        if name in taken:
            raise AudioError(f"{taken[name]} and {path} would write the same files; preview one of them at a time.")
        taken[name] = path
    return list(taken)


def _write_wav(path: str, samples: np.ndarray) -> str:
    """Writes 16-bit WAV, which clips values beyond +-1; returns `path`."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    write_bytes(path, buffer.getvalue())
    return path


def save_spectrograms(
    path: str, before: np.ndarray, after: list[np.ma.MaskedArray], features: FeatureConfig, title: str
) -> None:
    """Plots log-mel clips one below the other as PNG, with a common colour scale in dB; masked cells are white.

    Args:
      before: (num_frames, num_mels) ln power.
      after: the augmented versions, each (num_frames, num_mels) ln power.
    """
    names = ["before", *(["after"] if len(after) == 1 else [f"after, version {n}" for n in range(1, len(after) + 1)])]
    clips = [np.ma.asarray(clip) * LN_POWER_TO_DB for clip in (before, *after)]
    scale = {"vmin": min(clip.min() for clip in clips), "vmax": max(clip.max() for clip in clips)}
    figure = Figure(figsize=(8, 0.8 + 2.2 * len(clips)), layout="constrained")
    panels = figure.subplots(len(clips), sharex=True)
    for axes, name, clip in zip(panels, names, clips, strict=True):
        image = _show(axes, clip, features, scale)
        axes.set(ylabel="Hz", title=name)
    panels[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=list(panels), label=f"mel band power in dB ({MASK_COLOUR}: masked)")
    figure.suptitle(title, wrap=True, parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _show(axes, clip: np.ma.MaskedArray, features: FeatureConfig, scale: dict):
    """Plots a spectrogram: time in seconds, frames centred on their windows, mel bands labelled in Hz."""
    colours = colormaps["magma"].with_extremes(bad=MASK_COLOUR)
    begin = (features.window_samples - features.hop_samples) / 2 / SAMPLE_RATE_HZ
    end = begin + len(clip) * features.hop_samples / SAMPLE_RATE_HZ
    extent = (begin, end, -0.5, features.num_mels - 0.5)
    image = axes.imshow(clip.T, origin="lower", aspect="auto", interpolation="nearest", extent=extent, cmap=colours, **scale)
    ticks = {hz: band for hz in FREQUENCY_TICKS_HZ if 0 <= (band := mel_band(hz, features)) <= features.num_mels - 1}
    axes.set_yticks(list(ticks.values()), list(map(str, ticks)))
    return image


def mel_band(frequency_hz: float, features: FeatureConfig) -> float:
    """The position of a frequency in mel bands, counted from 0 by band centres."""
    low, high = hz_to_mel(features.lower_hz), hz_to_mel(features.upper_hz)
    return float((hz_to_mel(frequency_hz) - low) / (high - low) * (features.num_mels + 1) - 1)
