"""The kernels against those of TFLM: the library they are linked with, and the tflite-micro wheel."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from kser.audio import reading
from kser.audio.log_mel import log_mel_numpy
from kser.config import FeatureConfig
from kser.export.convert import to_int8_tflite
from kser.export.rewrites import deploy_model
from kser.models.presets import BACKBONES, build_model, preset
from kser.tflite import interpreter, model_file, op_graph
from tests.micro import kernels_host as host
from tests.micro import toolchain
from tests.micro.kernels_host import OWN_OPS, RefusedError, Spec, one_op

pytestmark = pytest.mark.skipif(bool(host.missing_tool()), reason=host.missing_tool())

NUM_MODELS = 60
INT8_TYPE = schema.TensorType.INT8
ACTIVATION = schema.ActivationFunctionType
ACTIVATIONS = (ACTIVATION.NONE, ACTIVATION.NONE, ACTIVATION.RELU, ACTIVATION.RELU6, ACTIVATION.RELU_N1_TO_1)


@pytest.fixture(scope="session")
def tflm(tmp_path_factory):
    """TFLM with the kernels, under the sanitizers."""
    folder = tmp_path_factory.mktemp("kernels")
    runner = host.HostTFLM(host.build_runner(folder), folder / "log.txt")
    yield runner
    runner.close()


# --- Random models of one op


def scale(random, low: float = -10, high: float = 0) -> float:
    return float(np.float32(2 ** random.uniform(low, high)))


def zero_point(random) -> int:
    """Anywhere, and often where it is at an end or in the middle."""
    return int(random.choice([-128, 127, 0, random.integers(-128, 128)]))


def spec(random, shape, low: float = -10, high: float = 0) -> Spec:
    return Spec(tuple(shape), scale(random, low, high), zero_point(random))


def options(kind: str, **fields):
    result = getattr(schema, f"{kind}OptionsT")()
    for name, value in fields.items():
        setattr(result, name, value)
    return result


def shape_of(random, rank: int | None = None, most: int = 9) -> list[int]:
    return [int(size) for size in random.integers(1, most, rank or random.integers(1, 5))]


def lookup(op: str, output_scale: float | None, output_zero_point: int | None):
    def make(random) -> bytes:
        source = spec(random, shape_of(random), -14, 3)
        factor = output_scale or source.scale * scale(random, -1, 4)
        target = Spec(source.shape, factor, zero_point(random) if output_zero_point is None else output_zero_point)
        return one_op(op, [source], target)

    return make


def softmax(random) -> bytes:
    source = spec(random, [*shape_of(random, 2), int(random.integers(1, 200))], -16, 2)
    beta = float(random.choice([1.0, 1.0, 0.3, 4.0]))
    return one_op("SOFTMAX", [source], Spec(source.shape, 1 / 256, -128), options("Softmax", beta=beta))


def l2_normalization(random) -> bytes:
    source = spec(random, [*shape_of(random, 2), int(random.integers(1, 100))])
    return one_op("L2_NORMALIZATION", [source], Spec(source.shape, 1 / 128, 0), options("L2Norm"))


def mean(random) -> bytes:
    shape = shape_of(random, 4)
    axes = [[3], [-1], [2], [1], [0], [1, 2], [2, 3], [2, 1], [0, 1, 2, 3], [-2]][random.integers(10)]
    reduced = {axis % 4 for axis in axes}
    keep = bool(random.integers(2))
    source = spec(random, shape)
    sizes = [1 if i in reduced else size for i, size in enumerate(shape) if keep or i not in reduced]
    target = Spec(tuple(sizes), source.scale * scale(random, -4, 1), zero_point(random))
    if random.integers(4) == 0:
        target = Spec(tuple(sizes), source.scale, source.zero_point)
    return one_op("MEAN", [source, Spec((len(axes),), values=tuple(axes))], target, options("Reducer", keepDims=keep))


def broadcast(random, rank: int = 4) -> tuple[list[int], list[int], list[int]]:
    """Two shapes, maybe of different ranks, and what they broadcast to."""
    shape = shape_of(random, rank, 7)
    a, b = list(shape), list(shape)
    for axis in range(rank):
        kind = random.integers(5)
        if kind < 2:
            (a, b)[kind][axis] = 1
    if random.integers(3) == 0:
        b = b[random.integers(rank) :]
        a = [size if axis < rank - len(b) else a[axis] for axis, size in enumerate(shape)]
    return a, b, [max(pair) for pair in zip(a, [1] * (rank - len(b)) + b, strict=True)]


def elementwise(op: str, kind: str, output_scale):
    def make(random) -> bytes:
        a, b, shape = broadcast(random) if random.integers(3) else 3 * (shape_of(random),)
        first = spec(random, a)
        second = spec(random, b) if random.integers(3) else Spec(tuple(b), first.scale, zero_point(random))
        target = Spec(tuple(shape), output_scale(random, first.scale, second.scale), zero_point(random))
        activation = int(random.choice(ACTIVATIONS))
        return one_op(op, [first, second], target, options(kind, fusedActivationFunction=activation))

    return make


def of_sum(random, a: float, b: float) -> float:
    return max(a, b) * scale(random, -9, 8)


def of_product(random, a: float, b: float) -> float:
    return a * b * scale(random, -6, 12)


def pad(random) -> bytes:
    shape = shape_of(random)
    pairs = random.integers(0, 4, (len(shape), 2)) * random.integers(0, 2, (len(shape), 2))
    source = spec(random, shape)
    target = Spec(tuple(map(int, shape + pairs.sum(1))), source.scale, source.zero_point)
    paddings = Spec(pairs.shape, values=tuple(pairs.ravel().tolist()))
    return one_op("PAD", [source, paddings], target, options("Pad"))


MODELS = {
    "LOGISTIC": lookup("LOGISTIC", 1 / 256, -128),
    "TANH": lookup("TANH", 1 / 128, 0),
    "HARD_SWISH": lookup("HARD_SWISH", None, None),
    "SOFTMAX": softmax,
    "L2_NORMALIZATION": l2_normalization,
    "MEAN": mean,
    "ADD": elementwise("ADD", "Add", of_sum),
    "SUB": elementwise("SUB", "Sub", of_sum),
    "MUL": elementwise("MUL", "Mul", of_product),
    "PAD": pad,
}


def inputs_of(model_bytes: bytes, random, num_runs: int = 4) -> np.ndarray:
    """Of every int8 value once, evenly drawn, of few values, and of the ends only."""
    graph = model_file.parse(model_bytes).subgraphs[0]
    size = sum(int(np.prod(graph.tensors[i].shape)) for i in graph.inputs)
    draws = [
        np.resize(random.permutation(256), size) - 128,
        random.integers(-128, 128, size),
        random.integers(-3, 4, size),
        random.choice([-128, 127], size),
    ]
    return np.array([draws[i % len(draws)] for i in range(num_runs)], np.int8)


@pytest.mark.parametrize("op", MODELS)
def test_a_kernel_gives_the_bits_of_the_librarys_and_of_the_wheels(tflm, op):
    random = np.random.default_rng(OWN_OPS.index(op))
    for _ in range(NUM_MODELS):
        model_bytes = MODELS[op](random)
        inputs = inputs_of(model_bytes, random)
        own = tflm.run(model_bytes, inputs, [op])
        np.testing.assert_array_equal(own.outputs, tflm.run(model_bytes, inputs, []).outputs)
        np.testing.assert_array_equal(own.outputs, host.run_wheel(model_bytes, inputs))


# --- BATCH_MATMUL, which only the wheel has


def matmul(random, adj_y: bool) -> bytes:
    """Batches of either side may be repeated, or left out."""
    rows, columns, depth = (int(size) for size in random.integers(1, 40, 3))
    batches = [int(size) for size in random.integers(1, 4, random.integers(0, 4))]
    left, right = list(batches), list(batches)
    for axis in range(len(batches)):
        (left, right)[random.integers(2)][axis] = int(random.choice([1, batches[axis]]))
    cut = int(random.integers(0, len(batches) + 1)) if random.integers(3) == 0 else 0
    result = [max(pair) for pair in zip(left, [1] * cut + right[cut:], strict=True)]
    first = spec(random, [*left, rows, depth], -8, -2)
    second = spec(random, [*right[cut:], *((columns, depth) if adj_y else (depth, columns))], -8, -2)
    target = Spec((*result, rows, columns), first.scale * second.scale * scale(random, -2, 14), zero_point(random))
    return one_op("BATCH_MATMUL", [first, second], target, options("BatchMatMul", adjX=False, adjY=adj_y))


@pytest.mark.parametrize("adj_y", [True, False])
def test_batch_matmul_gives_the_wheels_bits(tflm, adj_y):
    random = np.random.default_rng(int(adj_y))
    for _ in range(NUM_MODELS):
        model_bytes = matmul(random, adj_y)
        inputs = inputs_of(model_bytes, random)
        np.testing.assert_array_equal(tflm.run(model_bytes, inputs).outputs, host.run_wheel(model_bytes, inputs))


# --- FULLY_CONNECTED and CONV_2D, whose weights have a scale for each channel or one for all


def weights(random, shape, per_channel: bool, zero_points=(0,), axis: int = 0) -> Spec:
    """Constants; some channels, along that axis, are much weaker than others, or of zeros."""
    values = random.integers(-127, 128, shape)
    np.moveaxis(values, axis, 0)[random.integers(shape[axis])] *= random.integers(2)
    scales = tuple(scale(random, -12, -2) for _ in range(shape[axis] if per_channel else 1))
    return Spec(tuple(shape), scales, int(random.choice(zero_points)), tuple(values.ravel().tolist()), INT8_TYPE, axis)


def bias(random, source: Spec, matrix: Spec, channels: int) -> Spec:
    """Small, of the size of sums, or so large that a sum leaves what the fast multiplication bears."""
    largest = int(random.choice([1, 1 << 12, 1 << 18, 1 << 28, 3 << 29]))
    scales = tuple(source.scale * np.array(matrix.scale))
    return Spec((channels,), scales, values=tuple(random.integers(-largest, largest, channels).tolist()))


def scaled_output(random, source: Spec, weight: Spec, depth: int, shape) -> Spec:
    """From far below to far above what sums of the products come to."""
    factor = source.scale * max(weight.scale) * depth**0.5
    return Spec(tuple(shape), factor * scale(random, -3, 12), zero_point(random))


def fully_connected(random, per_channel: bool) -> bytes:
    lead = shape_of(random, int(random.integers(1, 4)), 7)
    channels, depth = (int(size) for size in random.integers(1, 70, 2))
    source = spec(random, [*lead, depth], -8, -2)
    matrix = weights(random, (channels, depth), per_channel, (0,) if per_channel else (0, 0, -7, 127))
    target = scaled_output(random, source, matrix, depth, [*lead, channels])
    inputs = [source, matrix, *([bias(random, source, matrix, channels)] if random.integers(4) else [])]
    activation = int(random.choice(ACTIVATIONS))
    return one_op("FULLY_CONNECTED", inputs, target, options("FullyConnected", fusedActivationFunction=activation))


def conv_2d(random, per_channel: bool) -> bytes:
    """Of any stride and dilation; filters may be larger than an image that is padded."""
    channels, filters = int(random.choice([1, 1, 2, 3, 4, 8, 11])), int(random.integers(1, 20))
    return convolution(random, "CONV_2D", (channels, filters), per_channel, *random.integers(1, 5, 2), False)


def depthwise_conv_2d(random, per_channel: bool) -> bytes:
    """Often along one axis, as the backbones have it."""
    channels, along = int(random.integers(1, 20)), bool(random.integers(3))
    kernel = (1, random.integers(1, 20)) if along else random.integers(1, 5, 2)
    return convolution(random, "DEPTHWISE_CONV_2D", (channels, channels), per_channel, *kernel, along)


def convolution(random, op: str, channels, per_channel: bool, height: int, width: int, along: bool) -> bytes:
    same, kernel = bool(random.integers(2)), np.array([height, width])
    stride, dilation = (np.array([1, 1]) if along else random.integers(1, most, 2) for most in (4, 3))
    reach = (kernel - 1) * dilation + 1
    size = random.integers(1, 24, 2) if same else reach + random.integers(0, 8, 2)
    places = -(-size // stride) if same else (size - reach) // stride + 1
    lead = [int(random.integers(1, 3))]
    source = spec(random, [*lead, *map(int, size), channels[0]], -8, -2)
    depthwise = op == "DEPTHWISE_CONV_2D"
    shape = (1, *map(int, kernel), channels[1]) if depthwise else (channels[1], *map(int, kernel), channels[0])
    matrix = weights(random, shape, per_channel, axis=3 if depthwise else 0)
    depth = int(np.prod(kernel)) * (1 if depthwise else channels[0])
    target = scaled_output(random, source, matrix, depth, [*lead, *map(int, places), channels[1]])
    names = ("strideH", "strideW", "dilationHFactor", "dilationWFactor")
    choices = dict(zip(names, map(int, (*stride, *dilation)), strict=True)) | ({"depthMultiplier": 1} if depthwise else {})
    choices["padding"] = schema.Padding.SAME if same else schema.Padding.VALID
    choices["fusedActivationFunction"] = int(random.choice(ACTIVATIONS))
    kind = options("DepthwiseConv2D" if depthwise else "Conv2D", **choices)
    return one_op(op, [source, matrix, bias(random, source, matrix, channels[1])], target, kind)


@pytest.mark.parametrize("make", [fully_connected, conv_2d, depthwise_conv_2d])
@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_give_the_bits_of_the_reference_kernels(tflm, make, per_channel):
    """Of LiteRT's; of the library's TFLM too, which has no scale for each channel of a FULLY_CONNECTED."""
    random = np.random.default_rng(per_channel)
    op = make.__name__.upper()
    for _ in range(3 * NUM_MODELS):
        model_bytes = make(random, per_channel)
        inputs = inputs_of(model_bytes, random)
        own = tflm.run(model_bytes, inputs, [op])
        np.testing.assert_array_equal(own.outputs, host.run_litert(model_bytes, inputs))
        if not (per_channel and op == "FULLY_CONNECTED"):
            np.testing.assert_array_equal(own.outputs, tflm.run(model_bytes, inputs, []).outputs)


# --- Tables


def two_logistics(first: Spec, second: Spec) -> bytes:
    """The sum of the LOGISTIC of two inputs."""
    between, result = Spec(first.shape, 1 / 256, -128), Spec(first.shape, 1 / 128, -128)
    nodes = [("LOGISTIC", [0], 2, None), ("LOGISTIC", [1], 3, None), ("ADD", [2, 3], 4, options("Add"))]
    return host.model_of(nodes, [first, second, between, between, result], 2)


def test_nodes_of_equal_quantization_share_a_table(tflm):
    random = np.random.default_rng(0)
    same, other = Spec((1, 64), 0.05, 3), Spec((1, 64), 0.06, 3)
    arenas = []
    for specs in ((same, same), (same, other), (same, same)):
        model_bytes = two_logistics(*specs)
        inputs = inputs_of(model_bytes, random)
        reply = tflm.run(model_bytes, inputs)
        np.testing.assert_array_equal(reply.outputs, host.run_wheel(model_bytes, inputs))
        arenas.append(reply.arena_bytes)
    # What another table takes: 256 bytes and what says whose they are. The last model finds none of the first one's.
    assert 256 <= arenas[1] - arenas[0] <= 256 + 64 and arenas[2] == arenas[0]


# --- Nodes that do their work in one

SWISH_OPS = ("LOGISTIC", "MUL", "ADD")


def swish(random, kind: str) -> bytes:
    """x, its LOGISTIC and their product; or what looks like it and is none."""
    shape = tuple(shape_of(random))
    x, gate = spec(random, shape, -7, -1), Spec(shape, 1 / 256, -128)
    y, last = (spec(random, shape, -8, 0) for _ in range(2))
    product = options("Mul", fusedActivationFunction=ACTIVATION.RELU if kind == "with ReLU" else ACTIVATION.NONE)
    logistic = ("LOGISTIC", [0], 1, None)
    if kind == "gate times value":
        return host.model_of([logistic, ("MUL", [1, 0], 2, product)], [x, gate, y], 1)
    if kind == "gate read by another":
        nodes = [logistic, ("MUL", [0, 1], 2, product), ("ADD", [1, 2], 3, options("Add"))]
        return host.model_of(nodes, [x, gate, y, last], 1)
    if kind == "of the square":
        return host.model_of([logistic, ("MUL", [1, 1], 2, product)], [x, gate, y], 1)
    if kind == "of another value":
        nodes = [("ADD", [0, 0], 2, options("Add")), logistic, ("MUL", [2, 1], 3, product)]
        return host.model_of(nodes, [x, gate, y, last], 1)
    return host.model_of([logistic, ("MUL", [0, 1], 2, product)], [x, gate, y], 1)


SWISHES = ("value times gate", "gate times value", "with ReLU", "gate read by another", "of the square", "of another value")


@pytest.mark.parametrize("kind", SWISHES)
def test_a_swish_and_what_looks_like_it_give_the_bits_of_the_single_nodes(tflm, kind):
    random = np.random.default_rng(3)
    for _ in range(NUM_MODELS // 4):
        model_bytes = swish(random, kind)
        inputs = inputs_of(model_bytes, random)
        own = tflm.run(model_bytes, inputs, SWISH_OPS)
        np.testing.assert_array_equal(own.outputs, tflm.run(model_bytes, inputs, []).outputs)
        np.testing.assert_array_equal(own.outputs, host.run_wheel(model_bytes, inputs))


@pytest.mark.parametrize("kind, tensors", [("value times gate", 2), ("with ReLU", 3)])
def test_the_gate_of_a_swish_takes_no_memory(tflm, kind, tensors):
    large = Spec((1, 64, 1024), 0.05)
    product = options("Mul", fusedActivationFunction=ACTIVATION.RELU if kind == "with ReLU" else ACTIVATION.NONE)
    specs = [large, Spec(large.shape, 1 / 256, -128), Spec(large.shape, 0.04)]
    model_bytes = host.model_of([("LOGISTIC", [0], 1, None), ("MUL", [0, 1], 2, product)], specs, 1)
    arena = tflm.run(model_bytes, np.zeros((1, large.elements)), SWISH_OPS).arena_bytes
    assert tensors * large.elements < arena < tensors * large.elements + 4096


def test_a_gate_that_is_an_output_stays(tflm):
    shape = (2, 31)
    specs = [Spec(shape, 0.04, -3), Spec(shape, 0.03, 5), Spec(shape, 1 / 256, -128)]
    nodes = [("LOGISTIC", [0], 2, None), ("MUL", [0, 2], 1, options("Mul"))]
    model_bytes = host.model_of(nodes, specs, 1)
    inputs = inputs_of(model_bytes, np.random.default_rng(0))
    own = tflm.run(model_bytes, inputs, SWISH_OPS)
    np.testing.assert_array_equal(own.outputs, host.run_wheel(model_bytes, inputs))


# --- What the kernels refuse

INT8, INT16 = Spec((2, 3, 4), 0.1), Spec((2, 3, 4), 0.1, dtype=schema.TensorType.INT16)
STRIDES = options("Conv2D", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
DEPTHWISE_STRIDES = options("DepthwiseConv2D", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1, depthMultiplier=2)
WEIGHTS = Spec((4, 4), 0.1, values=(1,) * 16, dtype=INT8_TYPE)
FOUR, INT8_3, IMAGE, FOUR_TWICE = (Spec(shape, 0.1) for shape in ((2, 3, 4), (2, 3, 3), (1, 2, 3, 4), (1, 2, 3, 8)))
FILTERS = Spec((3, 1, 1, 4), 0.1, values=(1,) * 12, dtype=INT8_TYPE)
TWICE = Spec((1, 1, 1, 8), 0.1, values=(1,) * 8, dtype=INT8_TYPE, axis=3)


@pytest.mark.parametrize(
    "op, inputs, output, choices, reason",
    [
        ("LOGISTIC", [INT16], INT16, None, "must be int8"),
        ("TANH", [INT16], INT16, None, "must be int8"),
        ("SOFTMAX", [INT16], INT16, options("Softmax", beta=1.0), "must be int8"),
        ("SOFTMAX", [INT8], INT8, options("Softmax", beta=1.0), "scale must be 1/256"),
        ("L2_NORMALIZATION", [INT8], INT8, options("L2Norm"), "scale must be 1/128"),
        ("MEAN", [INT16, Spec((1,), values=(1,))], INT16, options("Reducer"), "must be int8"),
        ("MEAN", [INT8, Spec((2,), values=(0, 2))], Spec((3,), 0.1), options("Reducer"), "axes must be neighbours"),
        ("MEAN", [INT8, Spec((1,), values=(3,))], INT8, options("Reducer"), "no such axis"),
        (
            "MEAN",
            [INT8, Spec((1,), dtype=schema.TensorType.INT32)],
            INT8,
            options("Reducer"),
            "axes must be int32 constants",
        ),
        ("ADD", [INT16, INT16], INT16, options("Add"), "must be int8"),
        ("ADD", [INT8, INT8], Spec(INT8.shape, 1e-9), options("Add"), "output's scale is too small"),
        ("SUB", [INT8, Spec((2, 2, 4), 0.1)], INT8, options("Sub"), "do not broadcast"),
        ("MUL", [INT8, INT8], Spec(INT8.shape, 1e-9), options("Mul"), "output's scale is too small"),
        ("PAD", [INT16, Spec((3, 2), values=(0,) * 6)], INT16, options("Pad"), "must be int8"),
        ("PAD", [INT8, Spec((2, 2), values=(0,) * 4)], INT8, options("Pad"), "two for each axis"),
        ("PAD", [INT8, Spec((3, 2), values=(0, 1, 0, 0, 0, 0))], INT8, options("Pad"), "shapes do not fit"),
        ("FULLY_CONNECTED", [INT16, WEIGHTS], INT16, options("FullyConnected"), "must be int8"),
        ("FULLY_CONNECTED", [INT8, WEIGHTS, Spec((3,), values=(0,) * 3)], FOUR, options("FullyConnected"), "bias must be"),
        ("FULLY_CONNECTED", [INT8, WEIGHTS], INT8_3, options("FullyConnected"), "shapes do not fit"),
        ("FULLY_CONNECTED", [INT8, WEIGHTS], FOUR, options("FullyConnected", weightsFormat=1), "shuffled weights"),
        ("CONV_2D", [INT8, WEIGHTS], FOUR, options("Conv2D"), "must have four axes"),
        ("CONV_2D", [IMAGE, FILTERS], IMAGE, STRIDES, "shapes do not fit"),
        ("CONV_2D", [IMAGE, Spec((4, 1, 1, 2), values=(1,) * 8, dtype=INT8_TYPE)], IMAGE, STRIDES, "groups of channels"),
        ("DEPTHWISE_CONV_2D", [IMAGE, TWICE], FOUR_TWICE, DEPTHWISE_STRIDES, "several filters for a channel"),
        ("BATCH_MATMUL", [INT16, INT16], Spec((2, 3, 3), dtype=INT16.dtype), options("BatchMatMul", adjY=True), "be int8"),
        ("BATCH_MATMUL", [INT8, INT8], Spec((2, 4, 4)), options("BatchMatMul", adjX=True), "adj_x is not supported"),
        ("BATCH_MATMUL", [INT8, INT8], Spec((2, 3, 4)), options("BatchMatMul"), "shapes do not fit"),
        ("BATCH_MATMUL", [INT8, INT8], Spec((2, 3, 3), 1e-8), options("BatchMatMul", adjY=True), "scale is too small"),
    ],
)
def test_what_a_kernel_cannot_do_is_refused_with_a_reason(tflm, op, inputs, output, choices, reason):
    with pytest.raises(RefusedError, match=f"kser's {op}: .*{reason}"):
        tflm.run(one_op(op, inputs, output, choices), np.zeros((1, 1)))


# --- Switches, standards, and other versions of TFLM


def fake_tflm(folder, version: int) -> list[str]:
    """Flags to compile with stand-ins for the headers of TFLM: names and namespaces of early 2023, or of 2026."""
    headers = ("micro/kernels/kernel_util.h", "micro/micro_log.h", "micro/micro_op_resolver.h", "schema/schema_generated.h")
    for name in headers:
        header = folder / "tensorflow" / "lite" / name
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text('#include "fake_tflm.h"\n')
    folders = [f"-I{folder}", f"-I{host.RUNNER.parent}", f"-I{host.KERNELS}"]
    strict = [*toolchain.WARNINGS, toolchain.NO_DOUBLES, "-fno-exceptions", "-fno-rtti"]
    return ["-std=c++14", *strict, f"-DKSER_FAKE_TFLM={version}", *folders]


@pytest.mark.parametrize("op", OWN_OPS)
def test_a_kernel_that_is_switched_off_is_not_linked(op, tmp_path):
    flags = [*fake_tflm(tmp_path, 2026), f"-DKSER_KERNEL_{op}=0"]
    subprocess.run(["g++", *flags, "-c", str(host.KERNELS / "op_resolver.cpp"), "-o", "o"], cwd=tmp_path, check=True)
    symbols = subprocess.run(["nm", "-u", "o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    needed = set(re.findall(r"N4kser\d+(k\w+)E", symbols))
    names = {"L2_NORMALIZATION": "kL2Normalization", "BATCH_MATMUL": "kBatchMatMul"}
    assert names.get(op, "k" + op.title().replace("_", "")) not in needed and len(needed) == len(OWN_OPS) - 1


@pytest.mark.parametrize("version", [2023, 2026])
def test_the_kernels_compile_with_older_and_newer_tflm(version, tmp_path):
    sources = map(str, sorted(host.KERNELS.glob("*.cpp")))
    subprocess.run(["g++", *fake_tflm(tmp_path, version), "-fsyntax-only", *sources], check=True)


@pytest.mark.skipif(shutil.which("arm-none-eabi-g++") is None, reason="no arm-none-eabi-g++")
def test_the_kernels_compile_for_a_board(tmp_path):
    """As C++14, for a processor on which int32_t is long; what looks into tensors with the short ones that boards have."""
    board = ["arm-none-eabi-g++", "-mcpu=cortex-m4", "-mthumb", "-fsyntax-only"]
    sources = map(str, sorted(host.KERNELS.glob("*.cpp")))
    subprocess.run([*board, *fake_tflm(tmp_path, 2026), *sources], check=True)
    short = ["-std=c++14", *toolchain.WARNINGS, toolchain.NO_DOUBLES, *toolchain.tflm_flags(), "-DTF_LITE_STATIC_MEMORY"]
    subprocess.run([*board, *short, host.KERNELS / "tflm.cpp"], check=True)


# --- Whole networks

NUM_CLIPS = 24
FEATURES = FeatureConfig(clip_seconds=1.0)


@pytest.fixture(scope="module")
def speech(speech_data_dir) -> np.ndarray:
    """(NUM_CLIPS, num_frames, num_mels) log-mel of RAVDESS clips of different speakers, each of mean 0 and deviation 1."""
    files = sorted((speech_data_dir / "ravdess_16k_flac").rglob("*.flac"))
    clips = [reading.load(str(file)) for file in files[:: len(files) // NUM_CLIPS][:NUM_CLIPS]]
    logs = np.array([log_mel_numpy(reading.fix_clip(clip, FEATURES), FEATURES) for clip in clips])
    return ((logs - logs.mean()) / logs.std()).astype(np.float32)


def int8_model(backbone: str, clips: np.ndarray) -> bytes:
    """An untrained network, as bin/fold_and_convert makes it."""
    model = build_model(preset(backbone, "micro"), FEATURES, 8)
    return to_int8_tflite(deploy_model(model, clips).model, clips)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_networks_give_the_librarys_and_the_wheels_logits(tflm, speech, backbone):
    model_bytes = int8_model(backbone, speech)
    description = op_graph.describe(model_bytes)
    inputs = interpreter.quantize(speech, description.inputs[0]).reshape(NUM_CLIPS, -1)
    own, library = tflm.run(model_bytes, inputs), tflm.run(model_bytes, inputs, ["BATCH_MATMUL"])
    np.testing.assert_array_equal(own.outputs, library.outputs)
    # The library multiplies the scales of a FULLY_CONNECTED in float32, the wheel in double: rarely a value is another.
    wheel = host.run_wheel(model_bytes, inputs)
    assert np.mean(np.all(own.outputs == wheel, axis=1)) >= 0.9
    assert own.num_nodes == description.num_nodes and len(np.unique(wheel, axis=0)) > NUM_CLIPS / 2
    # The tables: a kilobyte for each SOFTMAX, 256 bytes for each LOGISTIC, where no two share one, and their owners.
    tables = 1024 * description.ops["SOFTMAX"] + 256 * description.ops.get("LOGISTIC", 0)
    assert own.arena_bytes < library.arena_bytes + 1.2 * tables + 2048
