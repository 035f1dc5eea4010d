"""The arena planned here against TensorFlow Lite Micro's own account of it."""

from __future__ import annotations

import pytest

from kser import convert, tflite
from kser.arena import Buffer, buffers, needed_bytes, planned_bytes, tensors_of
from kser.cost import Node, Tensor, graph_nodes
from tests import toy_model


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
    nodes = graph_nodes(tflite.parse(model_bytes))
    assert planned_bytes(buffers(nodes)) == tflite.TFLMRunner(model_bytes).arena().head
    assert 0 <= needed_bytes(nodes) - tflite.smallest_arena_bytes(model_bytes) <= 128


def test_a_small_network_needs_more_to_load_than_it_keeps(model_bytes):
    assert needed_bytes(graph_nodes(tflite.parse(model_bytes))) > tflite.TFLMRunner(model_bytes).arena().total
