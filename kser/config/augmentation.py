"""What augmentations there are, and which of them a training takes."""

from __future__ import annotations

from dataclasses import dataclass

from kser.config.settings import Settings, check_number, require, setting
from kser.errors import ConfigError


@dataclass(frozen=True)
class Augmentation:
    """One augmentation of `--augment`: the stage it acts on, the range of its strength, and what the strength means."""

    stage: str
    low: float
    high: float
    meaning: str


# In processing order: the waveform, its log-mel, the normalized log-mel, the batch.
STAGES = ("sound", "features", "normalized", "batch")
AUGMENTATIONS = {
    "speed": Augmentation("sound", 0.01, 0.5, "play up to this share faster or slower; pitch changes too (0.1: 10 %)"),
    "pitch": Augmentation("sound", 0.1, 12, "shift the pitch by up to this many semitones; tempo stays"),
    "room": Augmentation("sound", 0.05, 3, "add simulated room reverberation of up to this many seconds (RT60)"),
    "codec": Augmentation("sound", 0.01, 1, "pass this share of the clips through a telephone band and 8-bit mu-law"),
    "tempo": Augmentation("features", 0.01, 0.5, "stretch or compress the log-mel in time by up to this share; pitch stays"),
    "shift": Augmentation("features", 1, 10000, "shift in time by up to this many milliseconds"),
    "warp": Augmentation("features", 0.01, 0.5, "scale all frequencies by up to this share, as another vocal tract would"),
    "filter": Augmentation("features", 0.1, 40, "random gain per frequency of up to this many dB (FilterAugment)"),
    "gain": Augmentation("features", 0.1, 40, "change the level by up to this many dB; no effect with --remove_level"),
    "noise": Augmentation("features", -20, 80, "add white noise with a signal-to-noise ratio of at least this many dB"),
    "babble": Augmentation(
        "features", -20, 80, "add other training clips as background, signal-to-noise ratio at least this many dB"
    ),
    "spec": Augmentation("normalized", 0.1, 5, "SpecAugment with masks this many times the default width"),
    "mixup": Augmentation("batch", 0.01, 10, "mix pairs of clips and targets with a share drawn from Beta(this, this)"),
}
NO_AUGMENTATION = "none"


@dataclass(frozen=True)
class AugmentConfig(Settings):
    """Augmentation of the training clips, applied in the order given; the order of the stages is fixed."""

    augment: str = setting(
        "speed:0.1,noise:10,spec:1,mixup:0.2",
        f"Augmentation of training clips: NAME:STRENGTH, separated by commas, or '{NO_AUGMENTATION}'. "
        + " ".join(f"{name}: {a.meaning}." for name, a in AUGMENTATIONS.items()),
    )
    augment_variants: int = setting(
        4, "Random versions of every training clip computed in advance for speed, pitch, room and codec.", 1, 64
    )

    def __post_init__(self):
        super().__post_init__()
        order = [STAGES.index(AUGMENTATIONS[name].stage) for name, _ in self._all_steps()]
        require(
            order == sorted(order),
            "augment must keep the order of the stages ("
            + "; ".join(", ".join(n for n, a in AUGMENTATIONS.items() if a.stage == s) for s in STAGES)
            + f"), which {self.augment!r} does not.",
        )

    def steps(self, stage: str) -> tuple[tuple[str, float], ...]:
        """(name, strength) of the augmentations of one stage, in order."""
        return tuple(step for step in self._all_steps() if AUGMENTATIONS[step[0]].stage == stage)

    def _all_steps(self) -> tuple[tuple[str, float], ...]:
        if self.augment == NO_AUGMENTATION:
            return ()
        return tuple(_augmentation_step(part) for part in self.augment.split(","))


def _augmentation_step(text: str) -> tuple[str, float]:
    name, _, strength = text.strip().partition(":")
    require(name in AUGMENTATIONS, f"augment has no {name!r}; it knows {', '.join(AUGMENTATIONS)}, or {NO_AUGMENTATION}.")
    try:
        value = float(strength)
    except ValueError as error:
        raise ConfigError(f"augment must give {name} a strength as in {name}:1, not {text!r}.") from error
    check_number(f"the strength of augment's {name}", value, False, AUGMENTATIONS[name].low, AUGMENTATIONS[name].high)
    return name, value


AUGMENT_OFF = AugmentConfig(NO_AUGMENTATION)
