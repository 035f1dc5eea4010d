"""The kernels against those of TFLM: the library they are linked with, and the tflite-micro wheel."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from tests.micro import kernels_host as host
from tests.micro.kernels_host import OWN_OPS, Refused, Spec, one_op

pytestmark = pytest.mark.skipif(host.missing_tool() is not None, reason=str(host.missing_tool()))

NUM_MODELS = 60
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
    return a, b, [max(pair) for pair in zip(a, [1] * (rank - len(b)) + b)]


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
}


def inputs_of(model_bytes: bytes, random, num_runs: int = 4) -> np.ndarray:
    """Of every int8 value once, evenly drawn, of few values, and of the ends only."""
    graph = host.tflite.parse(model_bytes).subgraphs[0]
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
