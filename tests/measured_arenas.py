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
    ("conformer", 0, 16208, 15504, 16848, 29680),
    ("conformer", 1, 182560, 182000, 183824, 182896),
    ("conformer", 2, 36112, 34176, 39120, 34336),
    ("conformer", 3, 29904, 28272, 34352, 28208),
    ("conformer", 4, 60656, 58768, 64256, 128576),
    ("conformer", 5, 25424, 24160, 28624, 58432),
    ("conformer", 6, 32320, 31296, 34000, 71520),
    ("conformer", 7, 41808, 40080, 46416, 90688),
    ("conformer", 8, 30944, 29936, 33312, 39856),
    ("conformer", 9, 249568, 248032, 252112, 250304),
    ("conformer", 10, 34160, 32400, 37184, 32880),
    ("conformer", 11, 42448, 41072, 45216, 97456),
    ("conformer", 12, 68848, 68304, 69968, 69136),
    ("conformer", 13, 45328, 43536, 51936, 79456),
    ("conformer", 14, 269408, 267872, 271984, 270272),
    ("conformer", 15, 38576, 37616, 40592, 61920),
    ("conformer", 16, 16400, 15808, 17008, 27616),
    ("conformer", 17, 23632, 22368, 29712, 29568),
    ("conformer", 18, 19456, 18560, 21408, 30480),
    ("conformer", 19, 25408, 24384, 34528, 40864),
    ("convtransformer", 0, 14096, 13552, 14448, 27392),
    ("convtransformer", 1, 180624, 180208, 181552, 180752),
    ("convtransformer", 2, 19312, 18208, 21184, 18352),
    ("convtransformer", 3, 26608, 24896, 28320, 25792),
    ("convtransformer", 4, 55824, 54032, 58080, 123040),
    ("convtransformer", 5, 21664, 20320, 23728, 55808),
    ("convtransformer", 6, 30480, 29456, 31472, 69296),
    ("convtransformer", 7, 38640, 36816, 41712, 86656),
    ("convtransformer", 8, 28080, 27072, 29760, 36608),
    ("convtransformer", 9, 243168, 242128, 244752, 243296),
    ("convtransformer", 10, 26992, 25328, 28656, 28112),
    ("convtransformer", 11, 41424, 39968, 43056, 95792),
    ("convtransformer", 12, 66080, 65712, 66928, 66224),
    ("convtransformer", 13, 37840, 36608, 40704, 71056),
    ("convtransformer", 14, 262160, 261248, 263760, 262416),
    ("convtransformer", 15, 33088, 32512, 34528, 56096),
    ("convtransformer", 16, 15296, 14736, 15600, 26352),
    ("convtransformer", 17, 21216, 19872, 22608, 28288),
    ("convtransformer", 18, 11264, 10640, 13408, 25152),
    ("convtransformer", 19, 23840, 22768, 25680, 38896),
    ("speechformer", 0, 34976, 32624, 37168, 33872),
    ("speechformer", 1, 85840, 81808, 90464, 85648),
    ("speechformer", 2, 39616, 36816, 42016, 36016),
    ("speechformer", 3, 68256, 63616, 71808, 64352),
    ("speechformer", 4, 72736, 68688, 77792, 71408),
    ("speechformer", 5, 63200, 58752, 67680, 59296),
    ("speechformer", 6, 64128, 60720, 67744, 63040),
    ("speechformer", 7, 92560, 87392, 99168, 92064),
    ("speechformer", 8, 59152, 55152, 63408, 55744),
    ("speechformer", 9, 149200, 145552, 152960, 148176),
    ("speechformer", 10, 62928, 58688, 68640, 59440),
    ("speechformer", 11, 137952, 134000, 142272, 136720),
    ("speechformer", 12, 118064, 116096, 121648, 117680),
    ("speechformer", 13, 55344, 51904, 59232, 54224),
    ("speechformer", 14, 94944, 90672, 99168, 94624),
    ("speechformer", 15, 71760, 69152, 75056, 71920),
    ("speechformer", 16, 62544, 58608, 67984, 62720),
    ("speechformer", 17, 50080, 46640, 52544, 45728),
    ("speechformer", 18, 42896, 39952, 44784, 39168),
    ("speechformer", 19, 82784, 78976, 87984, 82416),
)
