"""Settings of a training: corpus, optimiser, and all of a run together."""

from __future__ import annotations

from dataclasses import dataclass, field

from kser.config.augmentation import AugmentConfig
from kser.config.features import FeatureConfig
from kser.config.model import ModelConfig
from kser.config.settings import Settings, setting


@dataclass(frozen=True)
class DataConfig(Settings):
    """The corpus of a run, and who of it trains, validates and tests."""

    dataset: str = setting("synthetic", "Corpus to train on.")
    corpus_options: str = setting("", "Ways of reading the corpus that it offers, by name, separated by commas.")
    label_set: str = setting("", "Labels to map those of the corpus to, leaving out clips of others; empty: its own.")
    protocol: str = setting("", "How the corpus is split; empty: as its literature does.")
    split: int = setting(1, "Which split of the protocol, counted from 1.", 1, 1000)
    validation_speakers: int = setting(
        0, "Speakers taken from the training part to choose the best epoch by; 0: 15 % of them.", 0, 1000
    )
    eval_dataset: str = setting("", "Another corpus to test on; all of `dataset` then trains and validates.")
    shuffle_labels: bool = setting(
        False, "Whether labels are dealt out at random, to see that the score then falls to chance."
    )


@dataclass(frozen=True)
class DataPaths(Settings):
    """Where things lie; not part of RunConfig, for the same run is the same elsewhere."""

    data_dir: str = setting("", "Directory of the corpus; empty: where bin/train found it ('synthetic' makes its own).")
    cache_dir: str = setting("", "Directory of cached features; empty: $KSER_CACHE_DIR or the user's cache.")
    eval_data_dir: str = setting("", "Directory of the corpus that --eval_dataset names.")
    manifest: str = setting("", "A manifest of bin/prepare, which fixes the clips, their order and their content.")


HRF_DECAY = ("product", "factors")
SELECT = ("auto", "validation", "last")


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Optimiser and schedule."""

    epochs: int = setting(80, "Passes over the training part.", 1, 100000)
    batch_size: int = setting(32, "Clips per step.", 1, 65536)
    learning_rate: float = setting(2e-3, "Peak learning rate of Adam; for SpeechFormer 1e-3 unless given.", 1e-8, 10)
    warmup_share: float = setting(0.05, "Share of all steps in which the learning rate rises to its peak.", 0, 1)
    weight_decay: float = setting(0.05, "Decoupled weight decay of the kernels, per unit of learning rate.", 0, 1)
    hrf_decay: str = setting(
        "product", "Whether weight decay acts on the product of HRF's factors or on each factor.", choices=HRF_DECAY
    )
    label_smoothing: float = setting(0.1, "Share of the target spread evenly over all classes.", 0, 0.9)
    class_weight_power: float = setting(
        0.0, "Weigh clips by label count to this power, inverted; 0 alike, 1 balanced.", 0, 1
    )
    seed: int = setting(
        0, "Seed of everything drawn: start, order, augmentation, dropout, validation speakers.", 0, 2**31 - 1
    )
    teacher_share: float = setting(
        0.7, "Share of the targets that the teachers' answers make, where there are teachers.", 0, 1
    )
    select: str = setting(
        "auto",
        "Which epoch is kept: the one the validation speakers choose, or the last of a network that learns from them too; "
        "auto: the last, unless validation speakers are asked for or share a session with the test part.",
        choices=SELECT,
    )


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes."""

    data: DataConfig = field(default_factory=DataConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
