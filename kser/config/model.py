"""Settings of a network and of its high-rank factorization (HRF)."""

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
    """High-rank factorization of Dense layers; `expansion` 0 means no HRF."""

    expansion: int = setting(
        0, "HRF: inner width of a factorized kernel in multiples of the layer's input width; 0: no HRF.", 0, 64
    )
    where: tuple[str, ...] = setting(
        ("both",),
        "Dense layers that HRF factorizes: first, second or both of each feed-forward network, attention (its projections), "
        "pointwise (convolutions), classifier; several are separated by commas.",
        choices=HRF_WHERE,
    )
    depth: int = setting(1, "Linear layers that HRF inserts before each Dense layer.", 1, 3)
    init: str = setting("spectral", "Initialization of HRF's factors; see HRFDense in docs/api.md.", choices=HRF_INIT)
    inner_bias: bool = setting(False, "Give HRF's inserted layers a bias.")
    form: str = setting(
        "product", "Training computes x (W1 W2) (product) or (x W1) W2 (layers); same function.", choices=HRF_FORM
    )
    override: str = setting(
        "",
        "HRF expansion of single layers as PATTERN=EXPANSION, separated by semicolons. The first regular expression that "
        "matches a layer's whole name counts, whatever --hrf_where says; example: classifier=2.",
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
        raise ConfigError(f"{pattern!r} in override is not a regular expression: {error}.") from error
    return pattern, int(expansion)


# The default of bin/train; HRFConfig() is the network without HRF, which is the one deployed.
RECOMMENDED_HRF = HRFConfig(expansion=4)

ACTIVATIONS = ("relu", "swish", "hard_swish")


@dataclass(frozen=True)
class ModelConfig(Settings):
    """Dimensions of a backbone; each backbone uses some of them."""

    backbone: str = setting("conformer", "Network architecture.", choices=("conformer", "convtransformer", "speechformer"))
    num_layers: int = setting(2, "Number of blocks.", 1, 64)
    num_heads: int = setting(2, "Number of attention heads; must divide hidden_dim.", 1, 64)
    hidden_dim: int = setting(32, "Width of a token (model dimension).", 1, 4096)
    ffn_dim: int = setting(128, "Hidden width of the feed-forward networks.", 1, 16384)
    kernel_size: int = setting(15, "Kernel size of the Conformer's depthwise convolutions, in tokens; odd.", 1, 255)
    stem_channels: tuple[int, ...] = setting(
        (8, 16), "Filters of each stride-2 convolution before the blocks, as 8,16.", 1, 512
    )
    norm_position: str = setting("pre", "Pre-norm or post-norm blocks in the ConvTransformer.", choices=("pre", "post"))
    stage_layers: tuple[int, ...] = setting(
        (2, 2, 4, 4), "Number of layers in SpeechFormer's frame, phoneme, word and utterance stage.", 1, 64
    )
    stage_widening: tuple[int, ...] = setting(
        (1, 1, 1), "Factors by which SpeechFormer's three merges widen the tokens, as 1,1,2.", 1, 4
    )
    head_layers: int = setting(0, "Hidden layers of SpeechFormer's classifier, each half as wide as its input.", 0, 3)
    activation: str = setting("swish", "Activation function of the blocks.", choices=ACTIVATIONS)
    norm: str = setting("rms", "Normalization layer: LayerNorm or RMSNorm.", choices=("layer", "rms"))
    pooling: str = setting(
        "attention",
        "Pooling over time: mean, attention-weighted mean, or that mean and standard deviation (statistics).",
        choices=("mean", "attention", "statistics"),
    )
    dropout: float = setting(0.1, "Dropout rate in training.", 0, 0.9)
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
