"""The smallest arenas that networks load in, measured: TensorFlow Lite Micro itself on emulated boards, with kser's kernels.

  arduino       Chirale_TensorFLowLite 2.0.0 as an Arduino core compiles it (-Os, no TF_LITE_STATIC_MEMORY), Cortex-M4F
  upstream      TFLM of 20 August 2026 with CMSIS-NN 4ab83cc, TF_LITE_STATIC_MEMORY, Cortex-M4F
  upstream_mve  the same on a Cortex-M55, KERNELS_OPTIMIZED_FOR_SPEED as TFLM's Makefile has it
  esp_nn_s3     esp-tflite-micro 1.4.0 with the ESP32-S3's scratch functions of ESP-NN 1.2.3, for 32-bit Arm with enums of
                4 bytes as on Xtensa; memory is planned, nothing computed

Each from a search in steps of 16 bytes with MicroInterpreter::AllocateTensors, in qemu-system-arm 7.2 (mps2-an386,
mps3-an547), compiled by arm-none-eabi-g++ 12.2.
"""

from __future__ import annotations

LIBRARIES = ("arduino", "upstream", "upstream_mve", "esp_nn_s3")

# Networks of tests/random_networks.py: backbone, seed, and bytes in the order of LIBRARIES.
RANDOM = (
    ("conformer", 0, 21968, 18928, 19376, 32304),
    ("conformer", 1, 191472, 184464, 185072, 184224),
    ("conformer", 2, 55056, 44096, 46096, 40832),
    ("conformer", 3, 42688, 36880, 40208, 33264),
    ("conformer", 4, 90336, 69440, 70896, 135456),
    ("conformer", 5, 58496, 30992, 32992, 63296),
    ("conformer", 6, 45200, 37024, 37680, 75328),
    ("conformer", 7, 78944, 50144, 52432, 96992),
    ("conformer", 8, 53600, 35824, 36976, 43664),
    ("conformer", 9, 268544, 255280, 256256, 254688),
    ("conformer", 10, 58592, 41344, 42912, 38656),
    ("conformer", 11, 62832, 48944, 50032, 102512),
    ("conformer", 12, 79312, 70784, 71360, 70576),
    ("conformer", 13, 77232, 53664, 58048, 85840),
    ("conformer", 14, 285968, 275344, 276208, 274688),
    ("conformer", 15, 56448, 42448, 43408, 64848),
    ("conformer", 16, 21248, 18064, 18384, 29056),
    ("conformer", 17, 33536, 29200, 34384, 34432),
    ("conformer", 18, 39200, 23600, 24880, 34320),
    ("conformer", 19, 47248, 30368, 38144, 44672),
    ("convtransformer", 0, 18080, 16352, 16800, 29872),
    ("convtransformer", 1, 185792, 182128, 182736, 182016),
    ("convtransformer", 2, 30752, 24816, 26816, 23488),
    ("convtransformer", 3, 36608, 32624, 34336, 31472),
    ("convtransformer", 4, 74112, 63312, 64752, 130016),
    ("convtransformer", 5, 40640, 26496, 28496, 61120),
    ("convtransformer", 6, 39120, 34640, 35264, 73264),
    ("convtransformer", 7, 60272, 46000, 48272, 93552),
    ("convtransformer", 8, 41440, 32416, 33552, 40576),
    ("convtransformer", 9, 254416, 247504, 248464, 247232),
    ("convtransformer", 10, 42144, 32528, 34096, 33984),
    ("convtransformer", 11, 54624, 47200, 48272, 101280),
    ("convtransformer", 12, 71888, 67536, 68080, 67440),
    ("convtransformer", 13, 56640, 44480, 46496, 77120),
    ("convtransformer", 14, 271680, 266416, 267280, 266128),
    ("convtransformer", 15, 43008, 35904, 36848, 58512),
    ("convtransformer", 16, 18512, 16640, 16976, 27792),
    ("convtransformer", 17, 29056, 26048, 27376, 33600),
    ("convtransformer", 18, 23840, 15840, 16736, 28624),
    ("convtransformer", 19, 36976, 28336, 29568, 42960),
    ("speechformer", 0, 65392, 49632, 51120, 48992),
    ("speechformer", 1, 116928, 96304, 98912, 95680),
    ("speechformer", 2, 72288, 45472, 47664, 42496),
    ("speechformer", 3, 93520, 78976, 81584, 75232),
    ("speechformer", 4, 113856, 83232, 86352, 82240),
    ("speechformer", 5, 103504, 72240, 76096, 68768),
    ("speechformer", 6, 90816, 73104, 75104, 72240),
    ("speechformer", 7, 150336, 105712, 109840, 104944),
    ("speechformer", 8, 106960, 68336, 71824, 65088),
    ("speechformer", 9, 231072, 160592, 162608, 159616),
    ("speechformer", 10, 102208, 75104, 78928, 71104),
    ("speechformer", 11, 166864, 148320, 150608, 147328),
    ("speechformer", 12, 153392, 124576, 126672, 123968),
    ("speechformer", 13, 97584, 75488, 77872, 74624),
    ("speechformer", 14, 122832, 106480, 108688, 105824),
    ("speechformer", 15, 106496, 79280, 80752, 78800),
    ("speechformer", 16, 97376, 74960, 77520, 74304),
    ("speechformer", 17, 85600, 65408, 66992, 64528),
    ("speechformer", 18, 68064, 50048, 51984, 46992),
    ("speechformer", 19, 126320, 93056, 96144, 92432),
)
