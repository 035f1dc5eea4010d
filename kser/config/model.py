"""Settings of a network and of its factorization."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kser.config.settings import Settings, require, setting
from kser.errors import ConfigError

HRF_INIT = ("spectral", "identity", "glorot")
HRF_FORM = ("product", "layers")
HRF_WHERE = ("first", "second", "both", "attention", "pointwise", "classifier")


@dataclass(frozen=True)
class HRFConfig(Settings):
    """High-rank factorization of Dense layers; `expansion` 0 is the plain network."""

    expansion: int = setting(
        0, "Inner width of HRF in multiples of a layer's input width; 0 trains the plain network.", 0, 64
    )
    where: tuple[str, ...] = setting(
        ("both",),
        "Dense layers that HRF factorizes: the first, second or both of each feed-forward network, the projections of "
        "attention, the pointwise convolutions, the classifier.",
        choices=HRF_WHERE,
    )
    depth: int = setting(1, "Linear layers HRF inserts before each Dense layer.", 1, 3)
    init: str = setting("spectral", "Start of HRF's factors.", choices=HRF_INIT)
    inner_bias: bool = setting(False, "Whether HRF's inserted layers have a bias.")
    form: str = setting(
        "product", "Whether the kernels are multiplied first, or (for study) layer after layer is applied.", choices=HRF_FORM
    )
    override: str = setting(
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
    require(
        pattern != "" and re.fullmatch("[0-9]+", expansion) is not None and int(expansion) <= 64,
        f"override must be PATTERN=EXPANSION with a whole number from 0 to 64, not {text!r}.",
    )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"override has no regular expression in {pattern!r}: {error}.") from error
    return pattern, int(expansion)


# What bin/train factorizes with unless told otherwise; HRFConfig() is the plain network, which is what gets deployed.
RECOMMENDED_HRF = HRFConfig(expansion=4)

ACTIVATIONS = ("relu", "swish", "hard_swish")


@dataclass(frozen=True)
class ModelConfig(Settings):
    """A backbone's dimensions; each backbone reads those it has."""

    backbone: str = setting("conformer", "Architecture.", choices=("conformer", "convtransformer", "speechformer"))
    num_layers: int = setting(2, "Number of blocks.", 1, 64)
    num_heads: int = setting(2, "Attention heads; they divide hidden_dim.", 1, 64)
    hidden_dim: int = setting(32, "Width of a token.", 1, 4096)
    ffn_dim: int = setting(128, "Inner width of the feed-forward networks.", 1, 16384)
    kernel_size: int = setting(15, "Tokens the Conformer's depthwise convolutions span; odd.", 1, 255)
    stem_channels: tuple[int, ...] = setting((8, 16), "Filters of the stride-2 convolutions before the blocks.", 1, 512)
    norm_position: str = setting(
        "pre", "Whether the ConvTransformer normalizes before each part of a block or after it.", choices=("pre", "post")
    )
    stage_layers: tuple[int, ...] = setting(
        (2, 2, 4, 4), "Layers of SpeechFormer's frame, phoneme, word and utterance stages.", 1, 64
    )
    stage_widening: tuple[int, ...] = setting(
        (1, 1, 1), "Factors by which SpeechFormer's three merges widen the tokens.", 1, 4
    )
    head_layers: int = setting(0, "Hidden layers of SpeechFormer's classifier, each half as wide as what it reads.", 0, 3)
    activation: str = setting("swish", "Activation function.", choices=ACTIVATIONS)
    norm: str = setting("rms", "Normalization of tokens.", choices=("layer", "rms"))
    pooling: str = setting(
        "attention",
        "How tokens become one vector: their mean, a mean weighted by attention, or that and the deviation from it.",
        choices=("mean", "attention", "statistics"),
    )
    dropout: float = setting(0.1, "Share of activations dropped in training.", 0, 0.9)
    hrf: HRFConfig = field(default_factory=HRFConfig)

    def __post_init__(self):
        super().__post_init__()
        require(
            self.hidden_dim % self.num_heads == 0,
            f"hidden_dim ({self.hidden_dim}) must be a multiple of num_heads ({self.num_heads}).",
        )
        require(self.kernel_size % 2 == 1, f"kernel_size must be odd, not {self.kernel_size}.")
        for name, length in (("stage_layers", 4), ("stage_widening", 3)):
            given = getattr(self, name)
            require(len(given) == length, f"{name} must be {length} whole numbers, not {','.join(map(str, given))}.")
