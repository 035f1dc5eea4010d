"""Settings of a training run: corpus, optimiser, and all of a run together."""

from __future__ import annotations

from dataclasses import dataclass, field

from kser.config.augmentation import AugmentConfig
from kser.config.features import FeatureConfig, SmoothingConfig
from kser.config.model import ModelConfig
from kser.config.settings import Settings, require, setting


@dataclass(frozen=True)
class DataConfig(Settings):
    """The corpus of a run and its split into training, validation and test part."""

    dataset: str = setting(
        "synthetic",
        "Corpus: a published one such as ravdess, iemocap or m3ed, 'folder' (your own clips), or 'synthetic' (generated "
        "sounds, to try the tools). An unknown name lists all.",
    )
    corpus_options: str = setting(
        "", "Options of the corpus, separated by commas, such as all_816 for emodb. An unknown name lists them."
    )
    label_set: str = setting(
        "",
        "Common labels to map the corpus' labels to: 4class, 5class, 6class or arousal; clips with other labels are left "
        "out. Empty: the corpus' own labels.",
    )
    protocol: str = setting(
        "",
        "How the corpus is split: leave_one_speaker_out, speaker_groups_K, speakers_shared_K, or a protocol of the "
        "corpus. Empty: the corpus' standard protocol. An unknown name lists all.",
    )
    split: int = setting(1, "Number of the split within the protocol, from 1.", 1, 1000)
    validation_speakers: int = setting(
        0, "Number of validation speakers held out of the training part; 0: 15 % of its speakers.", 0, 1000
    )
    eval_dataset: str = setting(
        "", "Test on all of this other corpus; --dataset is then used for training and validation only."
    )
    shuffle_labels: bool = setting(
        False, "Shuffle the labels as a sanity check: a score above chance then means that the test part leaks."
    )
    columns: str = setting(
        "", "Names of the columns of a table of your own clips, such as path:file,label:emotion, where they are unusual."
    )

    def __post_init__(self):
        super().__post_init__()
        own = "folder" in (self.dataset, self.eval_dataset)
        require(own or not self.columns, "columns names those of a table of your own clips; it needs dataset folder.")


@dataclass(frozen=True)
class DataPaths(Settings):
    """Paths of data and caches; not part of RunConfig, because they do not change the result of a run."""

    data_dir: str = setting("", "Directory of the corpus; empty: the one bin/train used ('synthetic' generates its own).")
    cache_dir: str = setting("", "Directory of the feature cache; empty: $KSER_CACHE_DIR or the user's cache directory.")
    eval_data_dir: str = setting("", "Directory of the corpus that --eval_dataset names.")
    manifest: str = setting("", "Manifest written by bin/prepare: use exactly its clips, checked by their digests.")


HRF_BALANCE = ("adam", "none")
HRF_DECAY = ("kernel", "product", "factors")
SELECT = ("auto", "validation", "last")


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Optimiser and schedule."""

    epochs: int = setting(80, "Number of epochs.", 1, 100000)
    batch_size: int = setting(32, "Clips per step.", 1, 65536)
    learning_rate: float = setting(2e-3, "Peak learning rate of Adam; SpeechFormer's default is 1e-3.", 1e-8, 10)
    warmup_share: float = setting(0.05, "Share of all steps used for learning-rate warm-up.", 0, 1)
    weight_decay: float = setting(0.05, "Decoupled weight decay of the kernels, multiplied by the learning rate.", 0, 1)
    hrf_balance: str = setting(
        "none",
        "For a comparison with a plain network: scale the steps of HRF's factors so that a step of Adam moves their product "
        "as far as a plain kernel (adam). Or let the product learn faster, the more so the wider its factors are (none).",
        choices=HRF_BALANCE,
    )
    hrf_decay: str = setting(
        "product",
        "Weight decay of HRF's factors: their product shrinks like a plain kernel (kernel), by the gradient of its squared "
        "norm (product: several times as fast), or each factor shrinks like a plain kernel (factors).",
        choices=HRF_DECAY,
    )
    label_smoothing: float = setting(0.1, "Label smoothing: share of the target spread evenly over all classes.", 0, 0.9)
    class_weight_power: float = setting(
        0.0, "Weight a clip by count(label)^-POWER; 0: all clips equal, 1: all classes equal.", 0, 1
    )
    seed: int = setting(
        0, "Random seed of initial weights, clip order, augmentation, dropout and validation speakers.", 0, 2**31 - 1
    )
    teacher_share: float = setting(
        0.7, "Weight of the teachers' probabilities in the training targets (the rest: labels).", 0, 1
    )
    select: str = setting(
        "auto",
        "Which epoch is kept. validation: the one with the highest UA on held-out validation speakers. last: the last one; "
        "the validation speakers are trained on too. auto: last, unless --validation_speakers is given or validation and "
        "test part share a session.",
        choices=SELECT,
    )


@dataclass(frozen=True)
class RunConfig:
    """All settings that the result of a run depends on."""

    data: DataConfig = field(default_factory=DataConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
