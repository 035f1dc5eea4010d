"""Whole networks with kser's kernels on emulated boards, measured as in tests/measured_arenas.py, whose libraries these are.

Presets with 8 classes at FeatureConfig's defaults and the two-block Conformer, with random weights, converted to int8. An
inference is executed by qemu-system-arm with -icount; its instructions are those between two readings of SysTick. The
emulated processor's clock advances with instructions: there are no wait states and no cache.
"""

from __future__ import annotations

from kser.config import FeatureConfig, ModelConfig

LIBRARIES = {"arduino": "nano33ble", "upstream": "generic_m4", "upstream_mve": "generic_m55"}
# Backbone, preset; smallest arena and millions of instructions by library, in the order of LIBRARIES.
PRESETS = (
    ("conformer", "micro", (40_560, 39_472, 42_176), (10.16, 10.03, 5.61)),
    ("conformer", "light", (76_192, 74_656, 78_752), (30.51, 30.20, 13.73)),
    ("convtransformer", "micro", (37_584, 36_656, 39_104), (9.45, 9.30, 5.38)),
    ("convtransformer", "light", (71_696, 70_320, 74_608), (30.56, 30.12, 14.41)),
    ("speechformer", "micro", (58_864, 55_568, 62_320), (7.98, 7.56, 5.27)),
    ("speechformer", "light", (99_968, 96_064, 104_976), (27.53, 26.26, 15.64)),
)
# Two Conformer blocks, width 32, 100 frames of 40 mels: 2.92 M multiply-accumulates.
TWO_BLOCKS = ModelConfig(
    "conformer",
    num_layers=2,
    hidden_dim=32,
    num_heads=4,
    ffn_dim=128,
    kernel_size=15,
    norm="rms",
    activation="swish",
    stem_channels=(8,),
)
TWO_BLOCKS_FEATURES = FeatureConfig(num_mels=40, clip_seconds=1.0, hop_ms=10)
TWO_BLOCKS_MEASURED = (33_520, 32_448, 35_200), (7.15, 7.05, 4.07)
