"""Which nodes kser's own kernels take, and which of them do their work in one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kser.boards.catalog import OWN_OPS, find_board
from kser.boards.cost_model import NODE_INSTRUCTIONS, instructions
from kser.boards.own_kernels import OWN, is_taken, kernels_of, swish_gates, table_blocks
from kser.tflite.op_graph import Node, Tensor
from tests.measured_network import op

KERNELS = find_board("nano33ble").library.kernels
IMAGE = (1, 8, 8, 4)


def swish(**changes) -> tuple[Node, Node]:
    x, gate = Tensor(IMAGE, scale=0.5), Tensor(IMAGE, scale=1 / 256, zero_point=-128)
    return Node("LOGISTIC", (x,), (gate,)), Node("MUL", (x, gate), (Tensor(IMAGE, scale=0.25),), **changes)


def test_every_op_has_its_memory():
    assert set(OWN) == OWN_OPS


@pytest.mark.parametrize(
    ("taken", "node"),
    [
        (True, op("CONV_2D", IMAGE, IMAGE, (4, 3, 3, 4))),
        (False, op("CONV_2D", IMAGE, IMAGE, (4, 3, 3, 2))),
        (True, op("DEPTHWISE_CONV_2D", (1, 1, 8, 4), (1, 1, 8, 4), (1, 1, 5, 4))),
        (False, op("DEPTHWISE_CONV_2D", (1, 1, 8, 8), (1, 1, 8, 4), (1, 1, 5, 8))),
        (False, op("DEPTHWISE_CONV_2D", IMAGE, IMAGE, (1, 3, 3, 4))),
        (False, op("DEPTHWISE_CONV_2D", (1, 1, 4, 4), (1, 1, 8, 4), (1, 1, 5, 4), strides=(1, 2))),
        (False, op("BATCH_MATMUL", (4, 4), (4, 4), (4, 4), adj_x=True)),
        (False, op("CONV_2D", IMAGE, IMAGE)),
        (True, op("FULLY_CONNECTED", (1, 8), (1, 4), (8, 4))),
        (False, op("FULLY_CONNECTED", (1, 8), (1, 4), (1, 8, 4))),
        (False, Node("FULLY_CONNECTED", (Tensor((1, 4)), Tensor((8, 4), "int4")), (Tensor((1, 8)),))),
        (True, Node("PAD", (Tensor(IMAGE), Tensor((4, 2), "int32", constant=True)), (Tensor(IMAGE),))),
        (False, Node("PAD", (Tensor(IMAGE), Tensor((4, 2), "int32")), (Tensor(IMAGE),))),
        (False, Node("PAD", (Tensor(IMAGE), Tensor((4, 2), "int64", constant=True)), (Tensor(IMAGE),))),
    ],
)
def test_what_a_kernel_does_not_take_is_left_to_the_library(taken, node):
    assert is_taken(node) == taken
    assert kernels_of([node, op("ADD", IMAGE, IMAGE, IMAGE)], KERNELS).own == OWN_OPS - (set() if taken else {node.op})


def test_a_float_node_leaves_its_op_to_the_library():
    floats = Node("ADD", (Tensor(IMAGE, "float32"),) * 2, (Tensor(IMAGE, "float32"),))
    assert kernels_of([floats, op("ADD", IMAGE, IMAGE, IMAGE)], KERNELS).own == OWN_OPS - {"ADD"}


def test_a_swish_is_one_lookup():
    logistic, mul = swish()
    assert swish_gates([logistic, mul], OWN_OPS) == {id(logistic.outputs[0])}
    assert len(table_blocks([logistic, mul], OWN_OPS)) == 1
    together = instructions([logistic, mul], KERNELS)
    assert together.assumed == 2 * NODE_INSTRUCTIONS and together.measured == 4 * 256


def test_a_gate_that_something_else_reads_or_that_gates_another_value_is_computed():
    logistic, mul = swish()
    also = Node("RESHAPE", (logistic.outputs[0],), (Tensor((256,)),))
    other = replace(mul, inputs=(Tensor(IMAGE), mul.inputs[1]))
    for nodes in ((logistic, mul, also), (logistic, other), swish(activation=True), (logistic,)):
        assert swish_gates(nodes, OWN_OPS) == frozenset()
    assert swish_gates((logistic, mul), OWN_OPS - {"MUL"}) == frozenset()
