"""The arena planned here against TensorFlow Lite Micro's own account of it."""

from __future__ import annotations

import numpy as np
import pytest

from kser.boards.arena_layouts import LAYOUTS
from kser.boards.catalog import LIBRARIES, OWN_OPS, find_board
from kser.boards.memory_planner import Buffer, board_bytes, buffers, needed_bytes, planned_bytes, with_margin
from kser.boards.search import candidates
from kser.export import convert
from kser.tflite import interpreter, model_file
from kser.tflite.op_graph import Node, Tensor, graph_nodes, tensors_of
from tests import measured_arenas, toy_model
from tests.random_networks import converted, random_network


def test_a_buffer_takes_the_lowest_place_that_is_free_while_it_lives():
    assert planned_bytes([]) == 0
    # One after the other share a place, at the same time they lie side by side.
    assert planned_bytes([Buffer(64, 0, 1), Buffer(32, 2, 3)]) == 64
    assert planned_bytes([Buffer(64, 0, 2), Buffer(32, 2, 3)]) == 96
    # 96 goes first and to the bottom, 64 on top of it, 48 beside 64 at the bottom again, 32 finds the gap between them.
    wanted = [Buffer(96, 0, 1), Buffer(64, 1, 2), Buffer(48, 2, 3), Buffer(32, 2, 3)]
    assert planned_bytes(wanted) == 160


def test_a_gap_too_small_is_passed_over():
    # 16 bytes are left below 64, which had to lie above what lived at its beginning.
    below, above = Buffer(80, 0, 1), Buffer(64, 1, 3)
    assert planned_bytes([below, above, Buffer(48, 2, 3), Buffer(40, 3, 3)]) == 184


def test_activations_live_from_the_op_that_writes_them_to_the_last_that_reads_them():
    x, kept, y = (Tensor((1, size), name=name) for size, name in ((10, "x"), (20, "kept"), (40, "y")))
    weights = Tensor((20, 10), constant=True)
    nodes = [
        Node("FULLY_CONNECTED", (x, weights, None), (kept,)),
        Node("LOGISTIC", (kept,), (y,)),
        Node("MUL", (y, kept), (Tensor((1, 20)),)),
    ]
    assert buffers(nodes) == [Buffer(16, 0, 1), Buffer(32, 1, 3), Buffer(48, 2, 3), Buffer(32, 3, 3)]
    assert len(tensors_of(nodes)) == 5


@pytest.fixture(scope="module")
def model_bytes() -> bytes:
    return convert.to_int8_tflite(toy_model.toy_model(), toy_model.features(4))


def test_tflm_takes_what_is_planned(model_bytes):
    """The head to the byte; all of it but for what the wheel's compiler would have to tell."""
    nodes = graph_nodes(model_file.parse(model_bytes))
    assert planned_bytes(buffers(nodes)) == interpreter.TFLMRunner(model_bytes).arena().head
    assert 0 <= needed_bytes(nodes) - interpreter.smallest_arena_bytes(model_bytes) <= 128


def test_a_small_network_needs_more_to_load_than_it_keeps(model_bytes):
    assert needed_bytes(graph_nodes(model_file.parse(model_bytes))) > interpreter.TFLMRunner(model_bytes).arena().total


# --- Boards -----------------------------------------------------------------------------------------------------------

# On each board's library, the ops that are left to it.
WEIGHTED = "FULLY_CONNECTED CONV_2D DEPTHWISE_CONV_2D"
BETTER = {
    **dict.fromkeys(("arduino", "upstream"), ""),
    "upstream_mve": f"ADD BATCH_MATMUL PAD {WEIGHTED}",
    "esp_nn_s3": f"ADD {WEIGHTED}",
}


def needed_on(library: str, nodes, num_tensors: int | None = None) -> int:
    own = OWN_OPS - frozenset(BETTER[library].split())
    return needed_bytes(nodes, LAYOUTS[library], own, num_tensors)


def drawn(backbone: str, seed: int):
    """Settings, number of classes and the generator for the weights of a network that was measured."""
    rng = np.random.default_rng(seed)
    settings = random_network(rng, backbone)
    return *settings, int(rng.integers(2, 9)), rng


@pytest.mark.parametrize("backbone, seed, measured", [(*row[:2], row[2:]) for row in measured_arenas.RANDOM])
def test_a_prediction_is_what_was_measured_on_boards(backbone, seed, measured):
    """The converter keeps an index constant twice now and then, a tensor of 12 bytes that a prediction does not see."""
    model, features, num_classes, _ = drawn(backbone, seed)
    nodes = candidates.predict(model, features, num_classes)[0].nodes
    for library, bytes_needed in zip(measured_arenas.LIBRARIES, measured, strict=True):
        told = needed_on(library, nodes)
        assert told == pytest.approx(bytes_needed, rel=0.001) and bytes_needed <= with_margin(told) <= 1.03 * bytes_needed


@pytest.mark.parametrize("backbone, seed", [("conformer", 0), ("convtransformer", 0), ("speechformer", 18)])
def test_of_a_converted_network_it_is_told_to_the_byte(backbone, seed):
    model, features, num_classes, rng = drawn(backbone, seed)
    parsed = model_file.parse(converted(model, features, num_classes, rng))
    (measured,) = (row[2:] for row in measured_arenas.RANDOM if row[:2] == (backbone, seed))
    nodes, num_tensors = graph_nodes(parsed), len(parsed.subgraphs[0].tensors)
    assert tuple(needed_on(library, nodes, num_tensors) for library in measured_arenas.LIBRARIES) == measured


def test_boards_name_the_layouts_that_were_measured():
    assert {library.arena for library in LIBRARIES} <= set(LAYOUTS)
    for name, board in (("arduino", "nano33ble"), ("upstream", "generic_m4"), ("upstream_mve", "generic_m55")):
        library = find_board(board).library
        assert library.arena == name and library.kernels.own == OWN_OPS - frozenset(BETTER[name].split())
    library = find_board("esp32s3").library
    assert library.arena == "esp_nn_s3" and library.kernels.own == OWN_OPS - frozenset(BETTER["esp_nn_s3"].split())


def test_an_op_that_is_not_described_takes_what_it_takes_here():
    x, y = Tensor((1, 8)), Tensor((1, 8))
    nodes = [Node("LEAKY_RELU", (x,), (y,))]
    layout = LAYOUTS["arduino"]
    without = needed_bytes(nodes, layout)
    assert board_bytes(nodes, layout, (), 2, needed_bytes(nodes) + 100) == without + 112
    assert board_bytes(nodes, layout, (), 2, needed_bytes(nodes) - 100) == without
    # Described, it is not counted twice.
    dense = [Node("FULLY_CONNECTED", (x, Tensor((8, 8), constant=True), None), (y,))]
    assert board_bytes(dense, layout, (), 3, needed_bytes(dense)) == needed_bytes(dense, layout, (), 3)


def test_the_margin_is_a_64th_in_whole_steps():
    assert with_margin(64_000) == 65_024 and with_margin(1) == 64
    assert 0 <= with_margin(54_304) - 54_304 * 65 / 64 < 64


# --- ESP-NN's and CMSIS-NN's formulas for convolutions that no backbone has

CONVOLUTION = Tensor((1, 10, 20, 8))


def scratch(library: str, op: str, source: Tensor, kernel: tuple[int, ...], output: tuple[int, ...], **options) -> tuple:
    node = Node(op, (source, Tensor(kernel, constant=True)), (Tensor(output),), **options)
    return tuple(LAYOUTS[library].kernels[op].scratch(node))
