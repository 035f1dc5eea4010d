"""What builds of TensorFlow Lite Micro (TFLM) keep in the tensor arena: sizes of their structs, and of each op's kernel.

Sizes are those that the compiler gives the libraries' own structs: for Arm (arm-none-eabi-g++ 12.2, whose enums are as short
as can be), for other 32-bit processors (enums of 4 bytes), and for a 64-bit computer. Formulas of scratch buffers repeat the
libraries' `get_buffer_size` functions. To describe another build, add a `Layout` to `LAYOUTS`. kser's own kernels have
their sizes in kser.boards.own_kernels.

Sources: github.com/tensorflow/tflite-micro of 20 August 2026 with CMSIS-NN 4ab83cc; Chirale_TensorFLowLite 2.0.0;
esp-tflite-micro 1.4.0 with ESP-NN of kser.boards.ESP_NN_VERSION.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from kser.tflite.op_graph import Node

Sizes = Callable[[Node], Iterable[int]]


def _none(node: Node) -> tuple[int, ...]:
    return ()


@dataclass(frozen=True)
class Kernel:
    """What a kernel takes of the arena for one node.

    Attributes:
      options: bytes and alignment of the struct that holds the op's options from the file.
      data: bytes it keeps from the start.
      kept: bytes of further blocks it keeps.
      scratch: bytes of blocks it has while it runs.
    """

    options: tuple[int, int] = (0, 1)
    data: int = 0
    kept: Sizes = _none
    scratch: Sizes = _none


@dataclass(frozen=True)
class Layout:
    """A build of TFLM: bytes of its structs, and its kernels by op.

    Attributes:
      objects: of the interpreter's own objects, in the order in which they are made.
      tensor: of a TfLiteTensor, `quantization` of what it points to but for the zero points.
      request: of what is noted of a scratch buffer before, and `lifetime` of what is noted of any buffer for, planning.
    """

    pointer: int
    objects: tuple[int, ...]
    subgraph: int
    node: int
    eval_tensor: int
    tensor: int
    quantization: int
    request: int
    lifetime: int
    kernels: Mapping[str, Kernel] = field(default_factory=dict)


# --- Structs ----------------------------------------------------------------------------------------------------------

# Objects: the arena's allocator, the memory planner, the allocator of tensors, that of options.
_ARM = Layout(
    pointer=4,
    objects=(36, 44, 36, 8),
    subgraph=8,
    node=32,
    eval_tensor=12,
    tensor=32,
    quantization=12,
    request=12,
    lifetime=24,
)
# Without TF_LITE_STATIC_MEMORY, which no Arduino core defines, nodes and tensors have all members of TensorFlow Lite's.
_ARM_FULL = replace(_ARM, node=44, tensor=64)
_INT_ENUMS = replace(_ARM, tensor=40)
# The wheel that setup.py pins. Its recording allocator and what only its compiler knows are the last object: fitted, as are
# FULLY_CONNECTED, CONCATENATION and DEPTHWISE_CONV_2D, to what it reports, within 160 bytes, never below.
_HOST = Layout(
    pointer=8,
    objects=(72, 72, 72, 16, 352),
    subgraph=16,
    node=64,
    eval_tensor=24,
    tensor=64,
    quantization=24,
    request=16,
    lifetime=32,
)


# --- Shapes -----------------------------------------------------------------------------------------------------------


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width, channels."""
    return shape[1], shape[2], shape[3]


def _padding(node: Node) -> tuple[int, int]:
    """Rows above and columns on the left that a convolution pads its input with."""
    if not node.same_padding:
        return 0, 0
    source, kernel, output = (_image(t.shape) for t in (node.inputs[0], node.inputs[1], node.outputs[0]))
    axes = zip(source[:2], kernel[:2], output[:2], node.strides, node.dilations, strict=True)
    above, left = (max(0, (y - 1) * step + (k - 1) * dilation + 1 - x) // 2 for x, k, y, step, dilation in axes)
    return above, left


def _filters(node: Node) -> tuple[int, int]:
    """A multiplier and a shift for each filter of a convolution."""
    channels = node.outputs[0].shape[-1]
    return 4 * channels, 4 * channels


def _per_channel(node: Node) -> tuple[int, ...]:
    """Likewise for a FULLY_CONNECTED with a scale for each output channel."""
    return _filters(node) if node.inputs[1].num_scales > 1 else ()


def _is_pointwise_dense(node: Node) -> bool:
    """Whether CMSIS-NN computes a FULLY_CONNECTED as a convolution of size 1, which knows scales by channel only."""
    return len(node.outputs[0].shape) > 2 and node.inputs[1].shape[-1] % 4 == 0


# --- Reference kernels ------------------------------------------------------------------------------------------------


def _mean_scratch(node: Node) -> tuple[int, ...]:
    source, axes = node.inputs[:2]
    return 4 * node.outputs[0].elements, 4 * len(source.shape), 4 * axes.elements


_MULTIPLIER = 28


def _product(eval_tensor: int) -> Sizes:
    """Of BATCH_MATMUL: a transposed copy of its right operand without adj_y, a copy of its output's shape."""

    def kept(node: Node) -> tuple[int, ...]:
        right = node.inputs[1]
        copy = () if node.adj_y else (eval_tensor, 4 + 4 * len(right.shape), right.elements)
        return *copy, 4 + 4 * len(node.outputs[0].shape), _MULTIPLIER

    return kept


_REFERENCE_HOST = {
    "ADD": Kernel((8, 4), 60),
    "AVERAGE_POOL_2D": Kernel((40, 4), 32),
    "BATCH_MATMUL": Kernel((3, 1), 32, _product(24)),
    "CONCATENATION": Kernel((8, 4), 80),
    "CONV_2D": Kernel((28, 4), 72, _filters),
    "DEPTHWISE_CONV_2D": Kernel((28, 4), 96, _filters),
    "FULLY_CONNECTED": Kernel((16, 4), 96, _per_channel),
    "HARD_SWISH": Kernel(data=20),
    "L2_NORMALIZATION": Kernel((4, 4), 4),
    "LOGISTIC": Kernel(data=16),
    "MEAN": Kernel((1, 1), 44, scratch=_mean_scratch),
    "MUL": Kernel((4, 4), 36),
    "PAD": Kernel(data=56),
    "RESHAPE": Kernel((36, 4)),
    "RSQRT": Kernel(data=20),
    "SLICE": Kernel(),
    "SOFTMAX": Kernel((4, 4), 80),
    "SPLIT": Kernel((4, 4)),
    "SUB": Kernel((8, 4), 52),
    "TANH": Kernel(data=16),
    "TRANSPOSE": Kernel(),
}


# --- CMSIS-NN ---------------------------------------------------------------------------------------------------------


def _window(node: Node) -> int:
    """Values that one output of a convolution is made of."""
    height, width, channels = _image(node.inputs[1].shape)
    return height * width * channels


def _is_pointwise(node: Node) -> bool:
    return node.inputs[1].shape[1:3] == (1, 1) and _padding(node) == (0, 0) and node.dilations == (1, 1)


def _conv_2023(node: Node) -> tuple[int, ...]:
    """Two windows of 16-bit values."""
    return () if _is_pointwise(node) and node.strides == (1, 1) else (2 * 2 * _window(node),)


def _conv_dsp(node: Node) -> tuple[int, ...]:
    """Since 2023 a window is filled up to a multiple of 4 values, and a pointwise one needs none at any stride."""
    return () if _is_pointwise(node) else (2 * 2 * _rounded_up(_window(node), 4),)


def _conv_mve(node: Node) -> tuple[int, ...]:
    """Four windows of whole vectors."""
    if _is_pointwise(node):
        return ()
    return (_row_conv_mve(node) if _is_row(node) else 4 * _rounded_up(_window(node), 16),)


def _is_row(node: Node) -> bool:
    """Whether CMSIS-NN takes a convolution for one along a single row."""
    return node.inputs[0].shape[1] == 1 and node.inputs[1].shape[1] == 1 and node.dilations[1] == 1


def _row_conv_mve(node: Node) -> int:
    """At most what arm_convolve_1_x_n_s8 or arm_convolve_s8 asks for."""
    kernel, channels, padding = node.inputs[1].shape[2], node.inputs[0].shape[3], _padding(node)[1]
    ends = (kernel + kernel * math.ceil((padding + 1) / node.strides[1])) * channels
    return max(ends, 4 * _rounded_up(_window(node), 16))


def _depthwise_2023(node: Node) -> tuple[int, ...]:
    """A window of all channels in 16 bits, unless a channel has several filters."""
    return (2 * _window(node),) if _has_one_filter_each(node) else ()


def _has_one_filter_each(node: Node) -> bool:
    return node.inputs[0].shape[-1] == node.outputs[0].shape[-1] and node.dilations == (1, 1)


def _depthwise_dsp(node: Node) -> tuple[int, ...]:
    """None for 3 x 3 any more."""
    is_small = node.inputs[1].shape[1:3] == (3, 3) and max(_padding(node)) <= 1
    return () if is_small else _depthwise_2023(node)


def _depthwise_mve(node: Node) -> tuple[int, ...]:
    """Four windows of a block of 124 channels."""
    height, width, _ = _image(node.inputs[1].shape)
    return (4 * 124 * height * width,) if _has_one_filter_each(node) else ()


def _pool_dsp(node: Node) -> tuple[int, ...]:
    """A sum for each channel."""
    return (4 * node.inputs[0].shape[-1],)


def _dense_scratch(node: Node) -> tuple[int, ...]:
    """Scales by channel for the time of an inference, of a pointwise convolution in place of a FULLY_CONNECTED."""
    has_one_scale = node.inputs[1].num_scales <= 1
    return (8 * node.outputs[0].shape[-1],) if _is_pointwise_dense(node) and has_one_scale else ()


def _dense_mve(node: Node) -> tuple[int, ...]:
    """Sums of the rows of the weights, kept; the rest as in any FULLY_CONNECTED."""
    sums = () if _is_pointwise_dense(node) else (4 * node.outputs[0].shape[-1],)
    return (*_per_channel(node), *sums)


def _product_mve(node: Node) -> tuple[int, ...]:
    return (4 * node.outputs[0].shape[-1],)


def _dense_2023(node: Node) -> tuple[int, ...]:
    """Scales by channel, kept."""
    return _filters(node) if _is_pointwise_dense(node) else ()


def _rounded_up(size: int, step: int) -> int:
    return -(-size // step) * step


_UPSTREAM_ARM = {
    "ADD": Kernel((2, 1), 60),
    "AVERAGE_POOL_2D": Kernel((40, 4), 36, scratch=_pool_dsp),
    "BATCH_MATMUL": Kernel((3, 1), 36, _product(12)),
    "CONCATENATION": Kernel((8, 4), 24),
    "CONV_2D": Kernel((28, 4), 60, _filters, _conv_dsp),
    "DEPTHWISE_CONV_2D": Kernel((28, 4), 60, _filters, _depthwise_dsp),
    "FULLY_CONNECTED": Kernel((5, 1), 72, _per_channel, _dense_scratch),
    "MUL": Kernel((1, 1), 36),
    "PAD": Kernel(data=56),
    "RESHAPE": Kernel((36, 4)),
    "RSQRT": Kernel(data=20),
    "SLICE": Kernel(),
    "SPLIT": Kernel((4, 4)),
    "TRANSPOSE": Kernel(),
}
_UPSTREAM_MVE = _UPSTREAM_ARM | {
    "AVERAGE_POOL_2D": replace(_UPSTREAM_ARM["AVERAGE_POOL_2D"], scratch=_none),
    "BATCH_MATMUL": replace(_UPSTREAM_ARM["BATCH_MATMUL"], scratch=_product_mve),
    "CONV_2D": replace(_UPSTREAM_ARM["CONV_2D"], scratch=_conv_mve),
    "DEPTHWISE_CONV_2D": replace(_UPSTREAM_ARM["DEPTHWISE_CONV_2D"], scratch=_depthwise_mve),
    "FULLY_CONNECTED": replace(_UPSTREAM_ARM["FULLY_CONNECTED"], kept=_dense_mve),
}


def _input_scales(node: Node) -> tuple[int, int]:
    return 4 * len(node.inputs), 4 * len(node.inputs)


_ARDUINO = {
    "AVERAGE_POOL_2D": Kernel((40, 4), 36, scratch=_pool_dsp),
    "CONCATENATION": Kernel((8, 4), 24, _input_scales),
    "CONV_2D": Kernel((24, 4), 60, _filters, _conv_2023),
    "DEPTHWISE_CONV_2D": Kernel((28, 4), 60, _filters, _depthwise_2023),
    "FULLY_CONNECTED": Kernel((4, 1), 60, _dense_2023),
    "PAD": Kernel(data=56),
    "RESHAPE": Kernel((36, 4)),
    "RSQRT": Kernel(data=20),
    "SLICE": Kernel(),
    "SPLIT": Kernel((4, 4)),
    "TRANSPOSE": Kernel(),
}
# CMSIS-NN without DSP instructions.
_ARDUINO_M0 = _ARDUINO | {
    "AVERAGE_POOL_2D": replace(_ARDUINO["AVERAGE_POOL_2D"], scratch=_none),
    "DEPTHWISE_CONV_2D": replace(_ARDUINO["DEPTHWISE_CONV_2D"], scratch=_none),
}
# The same where enums have 4 bytes.
_ARDUINO_ESP32 = _ARDUINO_M0 | {"FULLY_CONNECTED": replace(_ARDUINO["FULLY_CONNECTED"], options=(12, 4))}


# --- ESP-NN -----------------------------------------------------------------------------------------------------------


def _conv_s3(node: Node) -> tuple[int]:
    """esp_nn_get_conv_scratch_size_esp32s3."""
    (rows, columns, channels), (height, width, _) = (_image(t.shape) for t in node.inputs[:2])
    filters = node.outputs[0].shape[-1]
    if _is_pointwise_esp(node):
        return (_pointwise_esp(rows * columns, channels, filters) + 64,)
    row, window = width * channels, height * width * channels
    if row < 16 <= window:
        aligned = _rounded_up(window, 16)
        return (4 * filters + 16 + filters * aligned + 16 + aligned + 64,)
    kernels = filters * height * (width * _rounded_up(channels, 16) + _rounded_up(row, 16))
    return (_padded_copy(node) + kernels + _bordered_copy(node) + 64 + 4 * filters,)


def _is_pointwise_esp(node: Node) -> bool:
    return node.inputs[1].shape[1:3] == (1, 1) and _padding(node) == (0, 0) and node.strides == (1, 1)


def _pointwise_esp(pixels: int, channels: int, filters: int) -> int:
    """Input and kernels filled up to a multiple of 8 channels, and 8 pixels transposed."""
    filled = _rounded_up(channels, 8)
    copy = pixels * filled if channels % 8 else 0
    return copy + filled * filters + (16 * filled if pixels >= 8 else 0)


def _padded_copy(node: Node) -> int:
    """The input with padding on all sides; none where there is none."""
    (rows, columns, channels), (above, left) = _image(node.inputs[0].shape), _padding(node)
    return (columns + 2 * left) * (rows + 2 * above) * channels if above or left else 0


def _bordered_copy(node: Node) -> int:
    """The input with what the last windows may stick out on the right and below."""
    rows, columns, channels = _image(node.inputs[0].shape)
    below, right = _overhang(node)
    return (columns + right) * (rows + below) * channels if below or right else 0


def _overhang(node: Node) -> tuple[int, int]:
    source, kernel, output = (t.shape[1:3] for t in (node.inputs[0], node.inputs[1], node.outputs[0]))
    below, right = (max(0, y * s + k - 1 - x) for x, k, y, s in zip(source, kernel, output, node.strides, strict=True))
    return below, right


def _depthwise_s3(node: Node) -> tuple[int]:
    """esp_nn_get_depthwise_conv_scratch_size_esp32s3."""
    channels, filters = node.inputs[0].shape[-1], node.outputs[0].shape[-1]
    kernels = math.prod(node.inputs[1].shape)
    if filters == channels and channels % 8 == 0:
        return (_depthwise_3x3_s3(node) if node.inputs[1].shape[1:3] == (3, 3) else _depthwise_rows_s3(node, 48 << 10),)
    if filters == channels and channels > 3:
        return (_depthwise_filled_s3(node),)
    wide = filters // channels % 4 == 0
    return (2 * (kernels + node.inputs[0].elements) + 32 if wide else 32,)


def _depthwise_rows_s3(node: Node, limit: int) -> int:
    """Kernels and input in 16 bits; where that is more than the limit, of the input as many rows as the kernel has."""
    kernels, (_, columns, channels) = math.prod(node.inputs[1].shape), _image(node.inputs[0].shape)
    whole = 2 * (kernels + node.inputs[0].elements)
    return (whole if whole <= limit else 2 * (kernels + columns * node.inputs[1].shape[1] * channels)) + 32


def _depthwise_3x3_s3(node: Node) -> int:
    rows, columns, channels = _image(node.inputs[0].shape)
    kernels, (above, left) = math.prod(node.inputs[1].shape), _padding(node)
    if channels == 8:
        return 2 * (kernels + node.inputs[0].elements) + 32
    if channels % 16:
        return _depthwise_3x3_filled_s3(node)
    below, right = (2 * above, 2 * left) if above or left else _signed_overhang(node)
    if not (below or right):
        return kernels + 16
    whole = (columns + right) * (rows + below) * channels
    return kernels + 16 + (whole if whole <= 40 << 10 else (columns + right) * 3 * channels)


def _signed_overhang(node: Node) -> tuple[int, int]:
    source, output = node.inputs[0].shape[1:3], node.outputs[0].shape[1:3]
    below, right = (y * s + 2 - x for x, y, s in zip(source, output, node.strides, strict=True))
    return below, right


def _depthwise_3x3_filled_s3(node: Node) -> int:
    """Everything filled up to a multiple of 16 channels."""
    rows, columns, channels = _image(node.inputs[0].shape)
    (above, left), (below, right) = _padding(node), _overhang(node)
    pixels = (columns + 2 * left + right) * (rows + 2 * above + below) + math.prod(node.outputs[0].shape[1:3])
    return (9 + pixels) * _rounded_up(channels, 16) + 64


def _depthwise_filled_s3(node: Node) -> int:
    """Everything filled up to a multiple of 8 channels, and each part on a 16-byte boundary."""
    rows, columns, channels = _image(node.inputs[0].shape)
    filled, window = _rounded_up(channels, 8), math.prod(node.inputs[1].shape[1:3])
    pixels = math.prod(node.outputs[0].shape[1:3])
    parts = (2 * window * filled, 2 * rows * columns * filled, pixels * filled)
    return sum(_rounded_up(part, 16) for part in parts) + 3 * 4 * filled + 16


def _conv_p4(node: Node) -> tuple[int]:
    """esp_nn_get_conv_scratch_size_esp32p4, for windows of 16 values or more and pointwise ones."""
    (rows, columns, channels), (height, width, _) = (_image(t.shape) for t in node.inputs[:2])
    filters = node.outputs[0].shape[-1]
    if _is_pointwise_esp(node):
        small = 4 * filters + 16 * filters + 32
        return ((small if channels < 16 else _pointwise_esp(rows * columns, channels, filters)) + 32,)
    if _padding(node) == (0, 0) and width * channels >= 16:
        return (height * width * _rounded_up(channels, 16) * filters + 32 + 4 * filters,)
    if height * width * channels >= 16:
        return (4 * filters + height * width * channels + 32,)
    return (_small_conv_p4(node) + 4 * filters + 32,)


def _small_conv_p4(node: Node) -> int:
    """At most what windows of fewer than 16 values take: kernels and a copy of the input, filled up."""
    (rows, columns, channels), (height, width, _) = (_image(t.shape) for t in node.inputs[:2])
    above, left = _padding(node)
    filled = max(channels, _rounded_up(math.ceil(16 / width), 16))
    pixels = (columns + 2 * left) * (rows + 2 * above)
    return filled * (height * width * node.outputs[0].shape[-1] + pixels)


_ESP = {
    "ADD": Kernel((8, 4), 60),
    "AVERAGE_POOL_2D": Kernel((40, 4), 32),
    "BATCH_MATMUL": Kernel((3, 1), 16, _product(12)),
    "CONCATENATION": Kernel((8, 4), 24),
    "CONV_2D": Kernel((28, 4), 60, _filters),
    "DEPTHWISE_CONV_2D": Kernel((28, 4), 60, _filters),
    "FULLY_CONNECTED": Kernel((16, 4), 48, _per_channel),
    "MUL": Kernel((4, 4), 36),
    "PAD": Kernel(data=56),
    "RESHAPE": Kernel((36, 4)),
    "RSQRT": Kernel(data=20),
    "SLICE": Kernel(),
    "SPLIT": Kernel((4, 4)),
    "TRANSPOSE": Kernel(),
}
_ESP_S3 = _ESP | {
    "CONV_2D": replace(_ESP["CONV_2D"], scratch=_conv_s3),
    "DEPTHWISE_CONV_2D": replace(_ESP["DEPTHWISE_CONV_2D"], scratch=_depthwise_s3),
}
_ESP_P4 = _ESP | {"CONV_2D": replace(_ESP["CONV_2D"], scratch=_conv_p4)}


# --- Layouts -----------------------------------------------------------------------------------------------------------

HOST = replace(_HOST, kernels=_REFERENCE_HOST)
LAYOUTS: Mapping[str, Layout] = {
    "upstream": replace(_ARM, kernels=_UPSTREAM_ARM),
    "upstream_mve": replace(_ARM, kernels=_UPSTREAM_MVE),
    "arduino": replace(_ARM_FULL, kernels=_ARDUINO),
    "arduino_m0": replace(_ARM_FULL, kernels=_ARDUINO_M0),
    "arduino_esp32": replace(_ARM_FULL, kernels=_ARDUINO_ESP32),
    "esp_nn_c": replace(_INT_ENUMS, kernels=_ESP),
    "esp_nn_s3": replace(_INT_ENUMS, kernels=_ESP_S3),
    "esp_nn_p4": replace(_INT_ENUMS, kernels=_ESP_P4),
}
