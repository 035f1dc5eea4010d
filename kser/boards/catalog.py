"""Boards and the TFLM libraries used on them: memory, clock, ops, kernels. Plain data, and nothing here is measured by kser.

To add a board, add an entry to `BOARDS`; to add an op that kser's own firmware brings a kernel for, see
kser.boards.own_kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kser.errors import ConfigError

KIB = 1024


@dataclass(frozen=True)
class Kernels:
    """How a library computes: `optimised` ops run in kernels made for the processor, all others in the reference ones.

    Attributes:
      scale: instructions of those kernels relative to CMSIS-NN's on a Cortex-M4, the only ones whose costs were measured;
        0 where they are no better than the reference kernels.
      own: ops that kser's own kernels compute in place of the library's, if a model's nodes allow it (see OWN_OPS and
        kser.boards.own_kernels.kernels_of).
      dsp: whether those use Armv7E-M's DSP instructions, or are plain C++.
      vector: whether the optimised kernels use the vector instructions of a Cortex-M55, whose costs are their own.
      for_size: whether the library is compiled for size with all its checks, as Arduino cores do.
    """

    name: str
    optimised: frozenset[str] = frozenset()
    scale: float = 1.0
    own: frozenset[str] = frozenset()
    dsp: bool = True
    vector: bool = False
    for_size: bool = False


@dataclass(frozen=True)
class Library:
    """A build of TensorFlow Lite Micro.

    Attributes:
      ops: builtin ops that have a kernel.
      custom_ops: names of custom ops that have one.
      types: types of activations an op's kernel takes, for ops where that is known; without an entry nothing is said.
      versions: highest version of an op its kernel was written for, likewise. TFLM itself ignores versions.
      per_channel_dense: whether an int8 FULLY_CONNECTED uses each output channel's own scale; where not, it silently
        computes all channels with that of channel 0.
      arena: what it keeps in the tensor arena, an entry of kser.boards.arena_layouts.LAYOUTS.
      code_bytes: code and constants of the library with the ops of a Transformer, without model and board support.
    """

    name: str
    title: str
    ops: frozenset[str]
    kernels: Kernels
    per_channel_dense: bool
    arena: str
    code_bytes: int
    custom_ops: frozenset[str] = frozenset()
    types: Mapping[str, frozenset[str]] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """A microcontroller board.

    Attributes:
      ram_bytes: RAM a sketch or application may fill with its data.
      reserved_ram_bytes: what the board support (core, RTOS, stacks, drivers) takes of it.
      flash_bytes: flash for one application.
      reserved_flash_bytes: what the board support takes of it.
      cycles_per_instruction: lowest and highest clock cycles for one instruction of kser's cost model, which counts those
        of a Cortex-M4F; for another instruction set that includes how many of its own it needs in place of one.
      fpu: whether float32 arithmetic is done in hardware.
    """

    name: str
    title: str
    core: str
    clock_mhz: float
    ram_bytes: int
    reserved_ram_bytes: int
    flash_bytes: int
    reserved_flash_bytes: int
    library: Library
    cycles_per_instruction: tuple[float, float]
    fpu: bool = True

    @property
    def free_ram_bytes(self) -> int:
        return self.ram_bytes - self.reserved_ram_bytes

    @property
    def free_flash_bytes(self) -> int:
        return self.flash_bytes - self.reserved_flash_bytes


# --- Ops --------------------------------------------------------------------------------------------------------------

# Ops whose int8 kernels the firmware of deploy/kser_micro brings along (src/kernels), registered in its own op resolver in
# front of those of any library. BATCH_MATMUL is one that the Arduino libraries lack.
OWN_OPS = frozenset(
    """LOGISTIC TANH HARD_SWISH SOFTMAX L2_NORMALIZATION MEAN ADD SUB MUL BATCH_MATMUL FULLY_CONNECTED CONV_2D
    DEPTHWISE_CONV_2D PAD""".split()
)
_WEIGHTED = "FULLY_CONNECTED CONV_2D DEPTHWISE_CONV_2D"

# MicroMutableOpResolver of mid-2023, the age of the Arduino libraries' kernels, by the names in the .tflite schema.
_OPS_2023 = frozenset(
    """ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CALL_ONCE
    CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS FILL
    FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION
    L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOG_SOFTMAX LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC MAX_POOL_2D MAXIMUM
    MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_MAX RELU RELU6 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH
    SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV
    UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE""".split()
)
# Those of the tflite-micro wheel that setup.py pins; tests/test_boards.py asks the wheel for each of them.
_OPS_UPSTREAM = _OPS_2023 | {
    *("BATCH_MATMUL", "DYNAMIC_UPDATE_SLICE", "EMBEDDING_LOOKUP", "REDUCE_ALL", "REDUCE_MIN", "REVERSE_V2"),
}
_CUSTOM_2023 = frozenset({"CIRCULAR_BUFFER", "TFLite_Detection_PostProcess"})
# The decoder of compressed weights, and the custom ops of the signal library, which the Arduino libraries leave out.
_CUSTOM_UPSTREAM = _CUSTOM_2023 | {
    "TFLM_DECODE",
    *("SignalDelay", "SignalEnergy", "SignalFftAutoScale", "SignalFilterBank", "SignalFilterBankLog", "SignalFramer"),
    *("SignalFilterBankSpectralSubtraction", "SignalFilterBankSquareRoot", "SignalIrfft", "SignalOverlapAdd", "SignalPCAN"),
    *("SignalRfft", "SignalStacker", "SignalWindow"),
}


def _types(table: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Ops by the types their kernels take, both as words in a string, turned into a table by op."""
    return {op: frozenset(types.split()) for types, ops in table.items() for op in ops.split()}


# Activations in the kernels of 2023, from their Prepare and Eval functions. Only what speech networks meet is listed, and
# only where the refusal is certain: RSQRT, for one, gained int16 at a time that is not.
_TYPES_2023 = _types(
    {
        "float32 int8 int16 int32": "ADD MUL SUB",
        "float32 int8 int16": "AVERAGE_POOL_2D CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED LEAKY_RELU LOGISTIC MAX_POOL_2D "
        "MEAN SOFTMAX SUM TANH",
        "float32 int8 int32": "SQUARED_DIFFERENCE",
        "float32 int8": "DIV ELU HARD_SWISH L2_NORMALIZATION PRELU REDUCE_MAX RELU RELU6",
        "float32": "COS LOG SIN SQRT SQUARE",
    }
)
# Versions of the converter of early 2023 (TensorFlow 2.12), for the ops above that have gained versions since.
_VERSIONS_2023 = {"ADD": 5, "CONV_2D": 8, "DEPTHWISE_CONV_2D": 7, "FULLY_CONNECTED": 11, "MUL": 7, "SOFTMAX": 3, "MEAN": 3}


# --- Libraries --------------------------------------------------------------------------------------------------------

# deploy/kser_micro pins it: esp-tflite-micro takes any, and versions differ in what they ask of the arena.
ESP_NN_VERSION = "1.2.3"
REFERENCE = Kernels("reference")
_CMSIS_2023 = frozenset("FULLY_CONNECTED CONV_2D DEPTHWISE_CONV_2D AVERAGE_POOL_2D MAX_POOL_2D ADD MUL SOFTMAX SVDF".split())
CMSIS_NN = Kernels("CMSIS-NN", _CMSIS_2023 | {"BATCH_MATMUL", "TRANSPOSE", "PAD", "MAXIMUM", "MINIMUM"})
MVE = Kernels("CMSIS-NN (MVE)", CMSIS_NN.optimised - {"SOFTMAX"}, vector=True)
_ESP_NN_OPS = frozenset("FULLY_CONNECTED CONV_2D DEPTHWISE_CONV_2D AVERAGE_POOL_2D MAX_POOL_2D ADD MUL".split())
# ESP-NN's own table gives for the ESP32-S3, in cycles: ADD 44 an element, MUL 19, CONV 64 deep 1.13 a MAC, depthwise 5.2.
# That is about half of CMSIS-NN's instructions on an M4; the band of cycles per instruction is centred at 1.4.
ESP_NN_S3 = Kernels("ESP-NN (ESP32-S3)", _ESP_NN_OPS, scale=0.36)
# For the other chips ESP-NN has portable C only. Espressif's person detection (7.2 M MACs) takes 91 M cycles on an ESP32 and
# 68 M on an ESP32-C3 with it; this model counts 93 M instructions of reference kernels, which set the low end of both chips'
# bands. What ESP-NN leaves to those takes longer per instruction: its table has 2.2 cycles for an ADD in plain C.
ESP_NN_C = Kernels("ESP-NN (portable C)", _ESP_NN_OPS, scale=0)


def _with_own(kernels: Kernels, better: str = "", dsp: bool = True) -> Kernels:
    """With kser's kernels for all ops but those the library's vector instructions are better at."""
    return replace(kernels, own=OWN_OPS - frozenset(better.split()), dsp=dsp)


# Code sizes: a minimal firmware on an M4, -O2, with the ops of an attention model: 156.0 kB with CMSIS-NN, 104.6 without.
UPSTREAM = Library(
    *("upstream", "TensorFlow Lite Micro", _OPS_UPSTREAM, _with_own(CMSIS_NN), True, "upstream", 156_000),
    custom_ops=_CUSTOM_UPSTREAM,
)
# Kept in step with upstream; its code size was not measured, ESP-NN is taken to be as long as CMSIS-NN.
ESP_IDF = Library(
    *("esp_tflite_micro", f"esp-tflite-micro (ESP-IDF) with ESP-NN {ESP_NN_VERSION}", _OPS_UPSTREAM),
    *(_with_own(ESP_NN_C, dsp=False), True, "esp_nn_c", 156_000),
    custom_ops=_CUSTOM_UPSTREAM,
)
ESP_IDF_S3 = replace(ESP_IDF, kernels=_with_own(ESP_NN_S3, better=f"ADD {_WEIGHTED}", dsp=False), arena="esp_nn_s3")
# Chirale_TensorFLowLite 2.0.0 of the Library Manager and the official examples repository.
ARDUINO = Library(
    name="arduino",
    title="Arduino TFLM library (kernels of 2023)",
    ops=_OPS_2023,
    kernels=_with_own(Kernels("CMSIS-NN of 2023", _CMSIS_2023, for_size=True)),
    per_channel_dense=False,
    arena="arduino",
    code_bytes=156_000,
    custom_ops=_CUSTOM_2023,
    types=_TYPES_2023,
    versions=_VERSIONS_2023,
)
# A Cortex-M0+ has no DSP instructions, without which CMSIS-NN's kernels are plain C.
# A Cortex-M55's vector instructions.
UPSTREAM_MVE = replace(UPSTREAM, kernels=_with_own(MVE, better=f"ADD BATCH_MATMUL PAD {_WEIGHTED}"), arena="upstream_mve")
ARDUINO_M0 = replace(
    ARDUINO, kernels=_with_own(replace(REFERENCE, for_size=True), dsp=False), arena="arduino_m0", code_bytes=104_600
)
# Nor has an ESP32: there the library's kernels are plain C too.
ARDUINO_ESP32 = replace(ARDUINO_M0, arena="arduino_esp32")
LIBRARIES = (UPSTREAM, UPSTREAM_MVE, ESP_IDF, ESP_IDF_S3, ARDUINO, ARDUINO_M0, ARDUINO_ESP32)


# --- Boards -----------------------------------------------------------------------------------------------------------

# Arduino boards: upload.maximum_size and maximum_data_size in boards.txt of ArduinoCore-mbed; the reserves are what an empty
# sketch reports there (about 44 kB of RAM and 85 kB of flash with Mbed OS on a Nano) and 20 kB for stacks, USB and PDM.
_M4_CYCLES = (1.2, 2.0)  # loads, branches, wait states of the flash
_M7_CYCLES = (0.6, 1.3)  # dual issue, caches
# Each: name, title, core, MHz; RAM, of it reserved, flash, of it reserved, library, cycles per instruction.
_BOARDS = (
    Board(
        *("nano33ble", "Arduino Nano 33 BLE (Sense)", "nRF52840, Cortex-M4F", 64),
        *(262_144, 64 * KIB, 983_040, 88 * KIB, ARDUINO, _M4_CYCLES),
    ),
    # Seeed's core on Mbed OS: of flash and RAM a SoftDevice has its part before them.
    Board(
        *("xiao_nrf52840", "Seeed XIAO nRF52840 Sense", "nRF52840, Cortex-M4F", 64),
        *(237_568, 64 * KIB, 811_008, 88 * KIB, ARDUINO, _M4_CYCLES),
    ),
    # The M7 core, with the default split of the flash.
    Board(
        *("portenta_h7", "Arduino Portenta H7", "STM32H747, Cortex-M7", 480),
        *(523_624, 84 * KIB, 786_432, 112 * KIB, ARDUINO, _M7_CYCLES),
    ),
    Board(
        *("nicla_vision", "Arduino Nicla Vision", "STM32H747, Cortex-M7", 480),
        *(523_624, 84 * KIB, 1_966_080, 112 * KIB, ARDUINO, _M7_CYCLES),
    ),
    Board(
        *("nicla_sense", "Arduino Nicla Sense ME", "nRF52832, Cortex-M4F", 64),
        *(64_288, 36 * KIB, 527_616, 88 * KIB, ARDUINO, _M4_CYCLES),
    ),
    # Raspberry Pi Pico under the same core. An M0+ has no 32x32->64 bit multiplication, which every requantization needs.
    Board(
        *("rp2040", "Raspberry Pi Pico", "RP2040, Cortex-M0+", 133),
        *(270_336, 60 * KIB, 2_097_152, 64 * KIB, ARDUINO_M0, (2.0, 5.0)),
        fpu=False,
    ),
    Board(
        *("nano_rp2040", "Arduino Nano RP2040 Connect", "RP2040, Cortex-M0+", 133),
        *(270_336, 84 * KIB, 16_777_216, 88 * KIB, ARDUINO_M0, (2.0, 5.0)),
        fpu=False,
    ),
    # A Cortex-M33 has the M4F's DSP instructions and FPU; the core's reserves are taken to be the Pico's.
    Board(
        *("pico2", "Raspberry Pi Pico 2", "RP2350, Cortex-M33", 150),
        *(524_288, 60 * KIB, 4_190_208, 64 * KIB, ARDUINO, _M4_CYCLES),
    ),
    # PJRC's technical page: RAM1 512 KB, in which the code runs as well (32 KB steps), RAM2 512 KB (not counted here).
    Board(
        *("teensy40", "Teensy 4.0", "i.MX RT1062, Cortex-M7", 600),
        *(524_288, 256 * KIB, 2_031_616, 64 * KIB, ARDUINO, (0.6, 1.1)),
    ),
    Board(
        *("teensy41", "Teensy 4.1", "i.MX RT1062, Cortex-M7", 600),
        *(524_288, 256 * KIB, 8_126_464, 64 * KIB, ARDUINO, (0.6, 1.1)),
    ),
    # ESP-IDF programming guide, memory types: of 320 KB DRAM at most 160 KB are static data, the rest is heap in pieces.
    # Flash: the default partition table gives an application 1 MB, whatever the module has.
    Board(
        *("esp32", "ESP32", "Xtensa LX6", 240),
        *(320 * KIB, 180 * KIB, 1024 * KIB, 200 * KIB, ESP_IDF, (0.9, 2.5)),
    ),
    # 512 KB of SRAM, shared with caches and code in IRAM; cycles from ESP-NN's table for its ANSI C kernels.
    Board(
        *("esp32s3", "ESP32-S3", "Xtensa LX7", 240),
        *(512 * KIB, 256 * KIB, 1024 * KIB, 220 * KIB, ESP_IDF_S3, (0.9, 2.2)),
    ),
    Board(
        *("xiao_esp32s3", "Seeed XIAO ESP32S3 Sense", "Xtensa LX7", 240),
        *(512 * KIB, 256 * KIB, 1024 * KIB, 220 * KIB, ESP_IDF_S3, (0.9, 2.2)),
    ),
    # Espressif's Arduino core: its default partition table gives a sketch 1280 kB. What it takes of flash is an estimate,
    # and RAM is taken to be as under ESP-IDF.
    Board(
        *("esp32_arduino", "ESP32, Arduino core", "Xtensa LX6", 240),
        *(320 * KIB, 180 * KIB, 1280 * KIB, 260 * KIB, ARDUINO_ESP32, (0.9, 2.5)),
    ),
    Board(
        *("esp32s3_arduino", "ESP32-S3, Arduino core", "Xtensa LX7", 240),
        *(512 * KIB, 256 * KIB, 1280 * KIB, 280 * KIB, ARDUINO_ESP32, (0.9, 2.2)),
    ),
    # 400 KB of SRAM, 16 KB of it cache, shared with code.
    Board(
        *("esp32c3", "ESP32-C3", "RISC-V RV32IMC", 160),
        *(400 * KIB, 160 * KIB, 1024 * KIB, 200 * KIB, ESP_IDF, (0.7, 2.2)),
        fpu=False,
    ),
    # No board of a shop: the processor with the memory such parts often have, upstream TFLM and hardly any support code.
    Board(
        *("generic_m4", "any Cortex-M4F", "Cortex-M4F", 100),
        *(256 * KIB, 8 * KIB, 1024 * KIB, 16 * KIB, UPSTREAM, _M4_CYCLES),
    ),
    Board(
        *("generic_m55", "any Cortex-M55 with MVE", "Cortex-M55", 160),
        *(512 * KIB, 8 * KIB, 2048 * KIB, 16 * KIB, UPSTREAM_MVE, (1.0, 1.8)),
    ),
)
BOARDS: Mapping[str, Board] = {board.name: board for board in _BOARDS}


def find_board(name: str) -> Board:
    """The board of that name.

    Raises:
      ConfigError: there is none.
    """
    if name not in BOARDS:
        raise ConfigError(f"There is no board '{name}'; known: {', '.join(BOARDS)}.")
    return BOARDS[name]
