"""Frozen, validated settings, one dataclass per subsystem; each makes the JSON round trip, an unknown key is an error.

A field carries its own range and help text, so that validation and command-line flags follow from it.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from dataclasses import dataclass, field

from kser.errors import ConfigError

SAMPLE_RATE_HZ = 16000
MAX_DECISIONS_AVERAGED = 64


def _setting(default, help: str, low: float = -math.inf, high: float = math.inf, choices: tuple[str, ...] = ()):
    """A field with its help text and its values: numbers from `low` to `high` (whole if the default is), or choices."""
    return field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _check_number(name: str, value, whole: bool, low: float, high: float) -> None:
    kind = "a whole number" if whole else "a number"
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    upper = f" to {high:g}" if high < math.inf else " up"
    _require(number and low <= value <= high, f"{name} must be {kind} from {low:g}{upper}, not {value!r}.")


class _Settings:
    """Checks every field against what it says of itself."""

    def __post_init__(self):
        for setting in dataclasses.fields(self):
            if "help" in setting.metadata:
                self._check(setting, getattr(self, setting.name))

    def _check(self, setting: dataclasses.Field, value) -> None:
        low, high, choices = (setting.metadata[key] for key in ("low", "high", "choices"))
        if choices:
            several = isinstance(setting.default, tuple)
            _require(
                not several or isinstance(value, tuple) and len(value) > 0, f"{setting.name} must be a list, not {value!r}."
            )
            for item in value if several else (value,):
                _require(item in choices, f"{setting.name} must be one of {', '.join(choices)}, not {item!r}.")
        elif isinstance(setting.default, (bool, str)):
            kind = type(setting.default)
            _require(isinstance(value, kind), f"{setting.name} must be of type {kind.__name__}, not {value!r}.")
        elif isinstance(setting.default, tuple):
            _require(
                isinstance(value, tuple) and len(value) > 0,
                f"{setting.name} must be a list of whole numbers, not {value!r}.",
            )
            for item in value:
                _check_number(setting.name, item, True, low, high)
        else:
            _check_number(setting.name, value, isinstance(setting.default, int), low, high)


@dataclass(frozen=True)
class FeatureConfig(_Settings):
    """Log-mel front end at 16 kHz: `ln(|STFT|^2 @ mel + log_floor)` of a clip of fixed length.

    Raises:
      ConfigError: a setting is out of range, or does not fit the others.

    Example:
      >>> features = kser.FeatureConfig(clip_seconds=0.6, num_mels=16)
      >>> features.num_frames, features.num_mels, features.window_samples
      (57, 16, 512)
    """

    window_ms: float = _setting(32.0, "Length of the analysis window in milliseconds.", 4, 128)
    hop_ms: float = _setting(10.0, "Distance of successive windows in milliseconds.", 1, 128)
    num_mels: int = _setting(40, "Number of mel bands.", 4, 128)
    lower_hz: float = _setting(60.0, "Lower edge of the lowest mel band in Hz.", 0, SAMPLE_RATE_HZ / 2)
    upper_hz: float = _setting(7600.0, "Upper edge of the highest mel band in Hz.", 1, SAMPLE_RATE_HZ / 2)
    log_floor: float = _setting(2e-4, "Power added to every mel band before the logarithm.", 1e-12, 1)
    noise_dbfs: float = _setting(
        -75.0, "Level of the white noise that stands for a microphone's own in every clip, padding included.", -120, -20
    )
    remove_level: bool = _setting(
        True, "Whether each clip's mean log-mel is subtracted, so that neither microphone gain nor distance matters."
    )
    clip_seconds: float = _setting(2.5, "Length every clip is cropped or padded to, in seconds.", 0.1, 60)

    def __post_init__(self):
        super().__post_init__()
        _require(self.lower_hz < self.upper_hz, f"lower_hz ({self.lower_hz:g}) must be below upper_hz ({self.upper_hz:g}).")
        _require(self.hop_ms <= self.window_ms, f"hop_ms ({self.hop_ms:g}) must not exceed window_ms ({self.window_ms:g}).")
        _require(
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
class SmoothingConfig(_Settings):
    """How a board makes labels of the scores of successive, overlapping windows."""

    decision_ms: float = _setting(500.0, "Time from one decision to the next in milliseconds.", 10, 60000)
    average_ms: float = _setting(1500.0, "Time over which the probabilities are averaged, in milliseconds.", 10, 600000)
    hysteresis: float = _setting(
        0.1, "By how much the average of another label must exceed that of the present one to take its place.", 0, 1
    )
    dwell_ms: float = _setting(1000.0, "Shortest time a label stays, in milliseconds.", 0, 600000)
    silence_dbfs: float = _setting(
        -60.0, "Level in the mel bands that some frame of the window must reach, else the decision is silence.", -150, 0
    )

    def __post_init__(self):
        super().__post_init__()
        _require(
            self.decision_ms <= self.average_ms <= MAX_DECISIONS_AVERAGED * self.decision_ms,
            f"average_ms ({self.average_ms:g}) must be from 1 to {MAX_DECISIONS_AVERAGED} times decision_ms "
            f"({self.decision_ms:g}).",
        )

    @property
    def average_decisions(self) -> int:
        return round(self.average_ms / self.decision_ms)

    @property
    def dwell_decisions(self) -> int:
        return math.ceil(self.dwell_ms / self.decision_ms)


HRF_INIT = ("spectral", "identity", "glorot")
HRF_DECAY = ("product", "factors")
HRF_FORM = ("product", "layers")
HRF_WHERE = ("first", "second", "both", "attention", "pointwise", "classifier")


@dataclass(frozen=True)
class HRFConfig(_Settings):
    """High-rank factorization of Dense layers; `expansion` 0 is the plain network."""

    expansion: int = _setting(
        0, "Inner width of HRF in multiples of a layer's input width; 0 trains the plain network.", 0, 64
    )
    where: tuple[str, ...] = _setting(
        ("both",),
        "Dense layers that HRF factorizes: the first, second or both of each feed-forward network, the projections of "
        "attention, the pointwise convolutions, the classifier.",
        choices=HRF_WHERE,
    )
    depth: int = _setting(1, "Linear layers HRF inserts before each Dense layer.", 1, 3)
    init: str = _setting("spectral", "Start of HRF's factors.", choices=HRF_INIT)
    inner_bias: bool = _setting(False, "Whether HRF's inserted layers have a bias.")
    form: str = _setting(
        "product", "Whether the kernels are multiplied first, or (for study) layer after layer is applied.", choices=HRF_FORM
    )
    override: str = _setting(
        "",
        "Expansion of single layers, as PATTERN=EXPANSION, separated by semicolons: the first pattern (a regular "
        "expression) that matches a layer's whole name decides, wherever the layer stands.",
    )

    def __post_init__(self):
        super().__post_init__()
        self.overrides()

    def overrides(self) -> tuple[tuple[str, int], ...]:
        """(pattern, expansion) pairs of `override`, in order."""
        return tuple(_pattern_and_expansion(part) for part in self.override.split(";") if part)


def _pattern_and_expansion(text: str) -> tuple[str, int]:
    pattern, _, expansion = text.rpartition("=")
    _require(
        pattern != "" and re.fullmatch("[0-9]+", expansion) is not None and int(expansion) <= 64,
        f"override must be PATTERN=EXPANSION with a whole number from 0 to 64, not {text!r}.",
    )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"override has no regular expression in {pattern!r}: {error}.") from error
    return pattern, int(expansion)


ACTIVATIONS = ("relu", "swish", "hard_swish")


@dataclass(frozen=True)
class ModelConfig(_Settings):
    """A backbone's dimensions; each backbone reads those it has."""

    backbone: str = _setting("conformer", "Architecture.", choices=("conformer", "convtransformer", "speechformer"))
    num_layers: int = _setting(2, "Number of blocks.", 1, 64)
    num_heads: int = _setting(2, "Attention heads; they divide hidden_dim.", 1, 64)
    hidden_dim: int = _setting(32, "Width of a token.", 1, 4096)
    ffn_dim: int = _setting(128, "Inner width of the feed-forward networks.", 1, 16384)
    kernel_size: int = _setting(15, "Tokens the Conformer's depthwise convolutions span; odd.", 1, 255)
    stem_channels: tuple[int, ...] = _setting((8, 16), "Filters of the stride-2 convolutions before the blocks.", 1, 512)
    norm_position: str = _setting(
        "pre", "Whether the ConvTransformer normalizes before each part of a block or after it.", choices=("pre", "post")
    )
    stage_layers: tuple[int, ...] = _setting(
        (2, 2, 4, 4), "Layers of SpeechFormer's frame, phoneme, word and utterance stages.", 1, 64
    )
    stage_widening: tuple[int, ...] = _setting(
        (1, 1, 1), "Factors by which SpeechFormer's three merges widen the tokens.", 1, 4
    )
    head_layers: int = _setting(0, "Hidden layers of SpeechFormer's classifier, each half as wide as what it reads.", 0, 3)
    activation: str = _setting("swish", "Activation function.", choices=ACTIVATIONS)
    norm: str = _setting("rms", "Normalization of tokens.", choices=("layer", "rms"))
    pooling: str = _setting(
        "attention",
        "How tokens become one vector: their mean, a mean weighted by attention, or that and the deviation from it.",
        choices=("mean", "attention", "statistics"),
    )
    dropout: float = _setting(0.1, "Share of activations dropped in training.", 0, 0.9)
    hrf: HRFConfig = field(default_factory=HRFConfig)

    def __post_init__(self):
        super().__post_init__()
        _require(
            self.hidden_dim % self.num_heads == 0,
            f"hidden_dim ({self.hidden_dim}) must be a multiple of num_heads ({self.num_heads}).",
        )
        _require(self.kernel_size % 2 == 1, f"kernel_size must be odd, not {self.kernel_size}.")
        for name, length in (("stage_layers", 4), ("stage_widening", 3)):
            given = getattr(self, name)
            _require(len(given) == length, f"{name} must be {length} whole numbers, not {','.join(map(str, given))}.")


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
class AugmentConfig(_Settings):
    """What is done to training clips, in the order given; a stage's steps come after those of the stage before."""

    augment: str = _setting(
        "tempo:0.1,shift:200,warp:0.1,filter:6,gain:6,noise:10,spec:1,mixup:0.2",
        f"Augmentations as NAME:STRENGTH, separated by commas, applied in this order; {NO_AUGMENTATION}: none. "
        + " ".join(f"{name}: {a.meaning}." for name, a in AUGMENTATIONS.items()),
    )
    augment_variants: int = _setting(
        4, "Versions of every training clip that speed, pitch, room and codec are drawn for in advance.", 1, 64
    )

    def __post_init__(self):
        super().__post_init__()
        order = [STAGES.index(AUGMENTATIONS[name].stage) for name, _ in self._all_steps()]
        _require(
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
    _require(name in AUGMENTATIONS, f"augment has no {name!r}; it knows {', '.join(AUGMENTATIONS)}, or {NO_AUGMENTATION}.")
    try:
        value = float(strength)
    except ValueError as error:
        raise ConfigError(f"augment must give {name} a strength as in {name}:1, not {text!r}.") from error
    _check_number(f"the strength of augment's {name}", value, False, AUGMENTATIONS[name].low, AUGMENTATIONS[name].high)
    return name, value


AUGMENT_OFF = AugmentConfig(NO_AUGMENTATION)


@dataclass(frozen=True)
class DataConfig(_Settings):
    """The corpus of a run, and who of it trains, validates and tests."""

    dataset: str = _setting("synthetic", "Corpus to train on.")
    corpus_options: str = _setting("", "Ways of reading the corpus that it offers, by name, separated by commas.")
    label_set: str = _setting("", "Labels to map those of the corpus to, leaving out clips of others; empty: its own.")
    protocol: str = _setting("", "How the corpus is split; empty: as its literature does.")
    split: int = _setting(1, "Which split of the protocol, counted from 1.", 1, 1000)
    validation_speakers: int = _setting(
        0, "Speakers taken from the training part to choose the best epoch by; 0: 15 % of them.", 0, 1000
    )
    eval_dataset: str = _setting("", "Another corpus to test on; all of `dataset` then trains and validates.")
    shuffle_labels: bool = _setting(
        False, "Whether labels are dealt out at random, to see that the score then falls to chance."
    )


@dataclass(frozen=True)
class DataPaths(_Settings):
    """Where things lie; not part of RunConfig, for the same run is the same elsewhere."""

    data_dir: str = _setting("", "Directory of the corpus; empty: where bin/train found it ('synthetic' makes its own).")
    cache_dir: str = _setting("", "Directory of cached features; empty: $KSER_CACHE_DIR or the user's cache.")
    eval_data_dir: str = _setting("", "Directory of the corpus that --eval_dataset names.")
    manifest: str = _setting("", "A manifest of bin/prepare, which fixes the clips, their order and their content.")


SELECT = ("validation", "last")


@dataclass(frozen=True)
class TrainConfig(_Settings):
    """Optimiser and schedule."""

    epochs: int = _setting(80, "Passes over the training part.", 1, 100000)
    batch_size: int = _setting(32, "Clips per step.", 1, 65536)
    learning_rate: float = _setting(2e-3, "Peak learning rate of Adam; for SpeechFormer 1e-3 unless given.", 1e-8, 10)
    warmup_share: float = _setting(0.05, "Share of all steps in which the learning rate rises to its peak.", 0, 1)
    weight_decay: float = _setting(0.05, "Decoupled weight decay of the kernels, per unit of learning rate.", 0, 1)
    hrf_decay: str = _setting(
        "product", "Whether weight decay acts on the product of HRF's factors or on each factor.", choices=HRF_DECAY
    )
    label_smoothing: float = _setting(0.1, "Share of the target spread evenly over all classes.", 0, 0.9)
    class_weight_power: float = _setting(
        0.0, "Weigh clips by label count to this power, inverted; 0 alike, 1 balanced.", 0, 1
    )
    seed: int = _setting(
        0, "Seed of everything drawn: start, order, augmentation, dropout, validation speakers.", 0, 2**31 - 1
    )
    teacher_share: float = _setting(
        0.7, "Share of the targets that the teachers' answers make, where there are teachers.", 0, 1
    )
    select: str = _setting(
        "validation",
        "Which epoch is kept: the one the validation speakers choose, or the last of a network that learns from them too.",
        choices=SELECT,
    )


QUANTIZE = ("ptq", "qat", "qat_hrf", "int16x8", "float")
QAT = ("qat", "qat_hrf")
INT8 = ("ptq", *QAT)
RANGES = ("minmax", "percentile", "mse")
QAT_TARGETS = ("network", "labels")


@dataclass(frozen=True)
class QuantizationConfig(_Settings):
    """How a trained network becomes integers."""

    quantize: str = _setting(
        "ptq",
        "Numbers of the converted model: int8 after training (ptq), fine-tuned as int8 after the fold (qat) or with HRF's "
        "factors still in place (qat_hrf), weights of 8 and activations of 16 bits (int16x8), or float.",
        choices=QUANTIZE,
    )
    representative_clips: int = _setting(200, "Training clips the ranges of activations are taken from.", 1, 1000000)
    ranges: str = _setting(
        "minmax",
        "Range of an activation: all that was seen, all but a ten-thousandth at either end, or what leaves the least "
        "squared error.",
        choices=RANGES,
    )
    dense_scales: str = _setting(
        "tensor",
        "Whether a Dense kernel has one scale, or one for every output channel, as a 1 x 1 convolution.",
        choices=("tensor", "channel"),
    )
    compress: int = _setting(
        0,
        "Bits to compress each weight to in a second model, for recent TFLM alone: it saves flash; try 4. 0: no such model.",
        0,
        7,
    )
    qat_epochs: int = _setting(5, "Passes over the training part of quantization-aware training.", 1, 100000)
    qat_learning_rate: float = _setting(5e-5, "Peak learning rate of quantization-aware training.", 1e-8, 10)
    qat_targets: str = _setting(
        "network",
        "What quantization-aware training learns: what the float network says of the training clips, or their labels.",
        choices=QAT_TARGETS,
    )

    def __post_init__(self):
        super().__post_init__()
        for name, neutral in (("ranges", "minmax"), ("dense_scales", "tensor"), ("compress", 0)):
            _require(
                self.quantize in INT8 or getattr(self, name) == neutral,
                f"{name} is a setting of int8, which {self.quantize} is not; leave it out, or choose {' or '.join(INT8)}.",
            )


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes."""

    data: DataConfig = field(default_factory=DataConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def to_dict(config) -> dict:
    """The settings as plain JSON values."""
    return dataclasses.asdict(config)


def from_dict(cls, values: typing.Mapping):
    """The inverse of `to_dict`.

    Raises:
      ConfigError: `values` is no mapping, has an unknown key, or a value out of range.
    """
    _require(isinstance(values, typing.Mapping), f"{cls.__name__} must be a mapping of settings, not {values!r}.")
    types = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(types))
    _require(not unknown, f"{cls.__name__} has no setting {', '.join(map(repr, unknown))}; known: {', '.join(types)}.")
    return cls(**{name: _from_json(types[name], value) for name, value in values.items()})


def _from_json(kind, value):
    if dataclasses.is_dataclass(kind):
        return from_dict(kind, value)
    return tuple(value) if isinstance(value, list) else value
