"""Settings of the way to integers."""

from __future__ import annotations

from dataclasses import dataclass

from kser.config.settings import Settings, require, setting

QUANTIZE = ("ptq", "qat", "qat_hrf", "int16x8", "float")
QAT = ("qat", "qat_hrf")
INT8 = ("ptq", *QAT)
RANGES = ("minmax", "percentile", "mse")
QAT_TARGETS = ("network", "labels")


@dataclass(frozen=True)
class QuantizationConfig(Settings):
    """How a trained network becomes integers."""

    quantize: str = setting(
        "ptq",
        "Numbers of the converted model: int8 after training (ptq), fine-tuned as int8 after the fold (qat) or with HRF's "
        "factors still in place (qat_hrf), weights of 8 and activations of 16 bits (int16x8), or float.",
        choices=QUANTIZE,
    )
    representative_clips: int = setting(200, "Training clips the ranges of activations are taken from.", 1, 1000000)
    ranges: str = setting(
        "minmax",
        "Range of an activation: all that was seen, all but a ten-thousandth at either end, or what leaves the least "
        "squared error.",
        choices=RANGES,
    )
    dense_scales: str = setting(
        "tensor",
        "Whether a Dense kernel has one scale, or one for every output channel, as a 1 x 1 convolution.",
        choices=("tensor", "channel"),
    )
    compress: int = setting(
        0,
        "Bits to compress each weight to in a second model, for recent TFLM alone: it saves flash; try 4. 0: no such model.",
        0,
        7,
    )
    qat_epochs: int = setting(5, "Passes over the training part of quantization-aware training.", 1, 100000)
    qat_learning_rate: float = setting(5e-5, "Peak learning rate of quantization-aware training.", 1e-8, 10)
    qat_targets: str = setting(
        "network",
        "What quantization-aware training learns: what the float network says of the training clips, or their labels.",
        choices=QAT_TARGETS,
    )

    def __post_init__(self):
        super().__post_init__()
        for name, neutral in (("ranges", "minmax"), ("dense_scales", "tensor"), ("compress", 0)):
            require(
                self.quantize in INT8 or getattr(self, name) == neutral,
                f"{name} is a setting of int8, which {self.quantize} is not; leave it out, or choose {' or '.join(INT8)}.",
            )
