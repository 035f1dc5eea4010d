from __future__ import annotations

from kser.tflite import op_graph
from kser.tflite.op_graph import Tensor
from tests.toy_model import NUM_CLASSES, NUM_FRAMES, NUM_MELS


def test_describe_counts_nodes(int8_bytes):
    description = op_graph.describe(int8_bytes)
    # Conv2D: two in the stem, one after attention; a permutation that moves only a size of 1 is a RESHAPE.
    assert description.ops == {
        "RESHAPE": 6, "TRANSPOSE": 4, "FULLY_CONNECTED": 4, "CONV_2D": 3, "BATCH_MATMUL": 2,
        "ADD": 1, "SOFTMAX": 1, "DEPTHWISE_CONV_2D": 1, "MEAN": 1,
    }  # fmt: skip
    assert description.num_nodes == sum(description.ops.values())
    assert description.num_bytes == len(int8_bytes)


def test_describe_tells_types(int8_bytes, float_bytes):
    (stored,), (real,) = op_graph.describe(int8_bytes).inputs, op_graph.describe(float_bytes).inputs
    assert (stored.dtype, stored.shape) == ("int8", (1, NUM_FRAMES, NUM_MELS)) and stored.scale > 0
    assert (real.dtype, real.scale, real.zero_point) == ("float32", 0.0, 0)
    assert op_graph.describe(float_bytes).float_islands == ()


def test_multiply_accumulates_are_those_of_the_layers(int8_bytes, float_bytes):
    stem = 12 * 8 * 8 * (3 * 3) + 12 * 16 * (8 * 8)
    projections = 4 * 12 * 16 * 16
    products = 2 * (2 * 12 * 12 * 8)
    depthwise = 12 * 16 * 5
    assert op_graph.describe(int8_bytes).multiply_accumulates == stem + projections + products + depthwise + 16 * NUM_CLASSES
    assert op_graph.describe(float_bytes).multiply_accumulates == op_graph.describe(int8_bytes).multiply_accumulates


def test_bytes_of_tensors():
    shape = (2, 3, 4)
    sizes = {"int8": 1, "uint8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4, "int64": 8}
    assert {dtype: Tensor(shape, dtype).num_bytes for dtype in sizes} == {dtype: 24 * size for dtype, size in sizes.items()}
    assert Tensor((), "int32").num_bytes == 4
