"""What augmentations there are, and which of them a training takes."""

from __future__ import annotations

from dataclasses import dataclass

from kser.config.settings import Settings, check_number, require, setting
from kser.errors import ConfigError


@dataclass(frozen=True)
class Augmentation:
    """What `--augment` can name: the stage it acts in, the range of its strength, and what the strength means."""

    stage: str
    low: float
    high: float
    meaning: str


# In the order of the path: the sound before the front end, its log-mel, that normalized, the batch.
STAGES = ("sound", "features", "normalized", "batch")
AUGMENTATIONS = {
    "speed": Augmentation("sound", 0.01, 0.5, "played faster or slower within this share, the pitch going with it"),
    "pitch": Augmentation("sound", 0.1, 12, "pitch moved within this many semitones, the tempo staying"),
    "room": Augmentation("sound", 0.05, 3, "reverberation of generated rooms, of up to this many seconds (RT60)"),
    "codec": Augmentation("sound", 0.01, 1, "this share of clips passes a telephone's band and 8-bit mu-law"),
    "tempo": Augmentation("features", 0.01, 0.5, "read faster or slower within this share, the pitch staying"),
    "shift": Augmentation("features", 1, 10000, "moved in time within this many milliseconds"),
    "warp": Augmentation("features", 0.01, 0.5, "frequencies scaled within this share: another vocal tract"),
    "filter": Augmentation("features", 0.1, 40, "single frequencies louder or softer within this many dB"),
    "gain": Augmentation("features", 0.1, 40, "all louder or softer within this many dB; no effect with remove_level"),
    "noise": Augmentation("features", -20, 80, "white noise, its signal-to-noise ratio in dB at least this"),
    "babble": Augmentation("features", -20, 80, "other training clips in the background, the ratio in dB at least this"),
    "spec": Augmentation("normalized", 0.1, 5, "SpecAugment, its masks this many times as wide as by default"),
    "mixup": Augmentation("batch", 0.01, 10, "clips and targets mixed by shares of a Beta distribution of this parameter"),
}
NO_AUGMENTATION = "none"


@dataclass(frozen=True)
class AugmentConfig(Settings):
    """What is done to training clips, in the order given; a stage's steps come after those of the stage before."""

    augment: str = setting(
        "speed:0.1,noise:10,spec:1,mixup:0.2",
        f"Augmentations as NAME:STRENGTH, separated by commas, applied in this order; {NO_AUGMENTATION}: none. "
        + " ".join(f"{name}: {a.meaning}." for name, a in AUGMENTATIONS.items()),
    )
    augment_variants: int = setting(
        4, "Versions of every training clip that speed, pitch, room and codec are drawn for in advance.", 1, 64
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
