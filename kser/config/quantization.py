"""Settings of quantization."""

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
    """How a trained network is quantized."""

    quantize: str = setting(
        "ptq",
        "Quantization: int8 by post-training quantization (ptq), by quantization-aware training of the folded network (qat) "
        "or of the network with HRF (qat_hrf), 16-bit activations with 8-bit weights (int16x8), or none (float).",
        choices=QUANTIZE,
    )
    representative_clips: int = setting(
        200, "Number of training clips that the activation ranges are measured on.", 1, 1000000
    )
    ranges: str = setting(
        "minmax",
        "Range of an activation in int8: its smallest to largest value (minmax), without a ten-thousandth of the values at "
        "either end (percentile), or the range of least squared error (mse).",
        choices=RANGES,
    )
    dense_scales: str = setting(
        "tensor",
        "One scale per Dense kernel, or one per output channel (Dense is then a 1 x 1 convolution).",
        choices=("tensor", "channel"),
    )
    compress: int = setting(
        0,
        "Also write a model with weights compressed to this many bits; saves flash, needs a recent TFLM. Try 4; 0: no.",
        0,
        7,
    )
    qat_epochs: int = setting(5, "Epochs of quantization-aware training.", 1, 100000)
    qat_learning_rate: float = setting(5e-5, "Peak learning rate of quantization-aware training.", 1e-8, 10)
    qat_targets: str = setting(
        "network",
        "Targets of quantization-aware training: the probabilities of the float network (as teacher), or the labels.",
        choices=QAT_TARGETS,
    )

    def __post_init__(self):
        super().__post_init__()
        for name, neutral in (("ranges", "minmax"), ("dense_scales", "tensor"), ("compress", 0)):
            require(
                self.quantize in INT8 or getattr(self, name) == neutral,
                f"{name} applies to int8 only, not to {self.quantize}; leave it out, or choose {' or '.join(INT8)}.",
            )
