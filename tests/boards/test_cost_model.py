"""The cost model against the totals measured on emulated boards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kser.audio.log_mel import feature_code
from kser.boards import cost_model
from kser.boards.catalog import CMSIS_NN, MVE, OWN_OPS, REFERENCE, find_board
from kser.boards.cost_model import (
    SKETCH_BYTES,
    Estimate,
    front_end_instructions,
    instructions,
    milliseconds,
    node_instructions,
    sketch_ram_bytes,
)
from kser.config import FeatureConfig
from kser.export import convert
from kser.tflite import model_file, op_graph
from kser.tflite.op_graph import Node, Tensor, graph_nodes, multiply_accumulates
from tests import toy_model
from tests.measured_network import (
    MEASURED_M4,
    MEASURED_M55,
    NORMS,
    PROTOTYPES,
    ROW,
    SCALES,
    TABLES,
    dense,
    network,
    op,
    same,
)


@pytest.mark.parametrize("form, tables, num_nodes, reference, cmsis", MEASURED_M4)
def test_measured_totals_of_an_m4_are_predicted(form, tables, num_nodes, reference, cmsis, monkeypatch):
    monkeypatch.setattr(cost_model, "_OWN", PROTOTYPES)
    nodes = network(*form)
    assert abs(len(nodes) - num_nodes) <= 6  # a converter's odd RESHAPE or QUANTIZE
    for kernels, measured in ((REFERENCE, reference), (CMSIS_NN, cmsis)):
        estimate = instructions(nodes, replace(kernels, own=TABLES if tables else frozenset()))
        assert estimate.total / 1e6 == pytest.approx(measured, rel=0.15)
        low, high = estimate.band
        assert low <= measured * 1e6 <= high


@pytest.mark.parametrize("form, measured", MEASURED_M55)
def test_measured_totals_of_an_m55_are_met(form, measured):
    assert instructions(network(*form), MVE).total / 1e6 == pytest.approx(measured, rel=0.15)


def test_the_total_that_gave_the_factor_of_mve_is_met(monkeypatch):
    monkeypatch.setattr(cost_model, "_OWN", PROTOTYPES)
    assert instructions(network("l2"), replace(MVE, own=TABLES)).total / 1e6 == pytest.approx(5.26, rel=0.02)


def test_the_network_written_down_is_the_one_measured():
    nodes = network("keras")
    assert len(nodes) == 182 and len(network("centred")) == 152
    assert multiply_accumulates(nodes) / 1e6 == pytest.approx(2.92, abs=0.01)
    kinds = {kind: sum((node_instructions(n, CMSIS_NN) for n in nodes if n.op == kind), Estimate()).total for kind in TABLES}
    # By kind as measured: LOGISTIC 11.7 M, SOFTMAX 10.5 M.
    assert kinds == {"LOGISTIC": pytest.approx(11.7e6, rel=0.02), "SOFTMAX": pytest.approx(10.5e6, rel=0.02)}
    norms = instructions(10 * NORMS["keras"], CMSIS_NN).total
    assert norms == pytest.approx(10.1e6, rel=0.05)


@pytest.mark.parametrize(
    "node, reference, cmsis",
    [
        (dense(32, 32), 8.8, 2.8),
        (dense(128, 32), 7.4, 1.8),
        (op("FULLY_CONNECTED", (50, 32), (50, 32), (32, 32)), 8.8, 3.5),
        (op("CONV_2D", (1, 50, 1, 32), (1, 50, 1, 32), (32, 1, 1, 32)), 10.3, 2.8),
        (op("BATCH_MATMUL", (4, 50, 50), (4, 50, 8), (4, 50, 8), adj_y=True), 15.7, 8.7),
        (op("BATCH_MATMUL", (4, 50, 50), (4, 32, 50), (4, 32, 50), adj_x=True), 10.6, 3.7),
        (op("DEPTHWISE_CONV_2D", ROW, ROW, (1, 1, 15, 32)), 35, 11),
    ],
)
def test_costs_per_multiply_accumulate_are_those_measured(node, reference, cmsis):
    macs = multiply_accumulates([node])
    for kernels, measured in ((REFERENCE, reference), (CMSIS_NN, cmsis)):
        assert node_instructions(node, kernels).measured / macs == pytest.approx(measured, rel=0.001)


def person_detection() -> list[Node]:
    """TFLM's example: MobileNet v1 0.25 on 96x96 grey pixels, 7.2 M multiply-accumulates; the head is left out."""
    size, channels = 48, 8
    nodes = [op("DEPTHWISE_CONV_2D", (1, 48, 48, 8), (1, 96, 96, 1), (1, 3, 3, 8))]
    for stride, wider in [(1, 16), (2, 32), (1, 32), (2, 64), (1, 64), (2, 128), *5 * [(1, 128)], (2, 256), (1, 256)]:
        before, size = (1, size, size, channels), size // stride
        nodes.append(op("DEPTHWISE_CONV_2D", (1, size, size, channels), before, (1, 3, 3, channels)))
        nodes.append(op("CONV_2D", (1, size, size, wider), nodes[-1].outputs[0].shape, (wider, 1, 1, channels)))
        channels = wider
    return nodes


@pytest.mark.parametrize("board, measured_ms", [("esp32", 380), ("esp32c3", 426), ("esp32s3", 54)])
def test_what_espressif_measured_of_person_detection_is_in_the_band(board, measured_ms):
    """With ESP-NN, as the readme of esp-tflite-micro gives it. Of the three only the ESP32-S3's set no end of a band."""
    kernels = replace(find_board(board).library.kernels, own=frozenset())
    band = milliseconds(instructions(person_detection(), kernels), find_board(board))
    assert band.low < measured_ms < band.high < 5 * band.low


def test_only_equal_shapes_get_an_optimised_sum():
    assert node_instructions(same("ADD"), CMSIS_NN).measured == 81 * 1600
    assert node_instructions(op("ADD", ROW, ROW, SCALES), CMSIS_NN).measured == 105 * 1600
    assert node_instructions(same("ADD"), REFERENCE).measured == 88 * 1600


def test_own_kernels_take_as_much_as_was_measured():
    """By benchmarks/kernels.py; between the lengths of rows that the costs were fitted to."""
    own = replace(CMSIS_NN, own=OWN_OPS)
    image, short = (1, 1, 62, 64), (1, 1, 247, 5)
    measured = [
        (op("LOGISTIC", image, image), 4.0),
        (op("SOFTMAX", short, short), 47.8 + 20_200 / 1235),
        (op("SOFTMAX", (1, 1, 50, 9), (1, 1, 50, 9)), 37.3 + 20_200 / 450),
        (op("L2_NORMALIZATION", image, image), 16.9),
        (op("MEAN", (1, 64), image), 5.3 * 62),
        (op("ADD", image, image, image), 33.0),
        (op("SUB", image, image, (64,)), 34.3),
        (op("MUL", image, image, (64,)), 26.6),
        (op("BATCH_MATMUL", (1, 4, 62, 62), (1, 4, 62, 16), (1, 4, 62, 16), adj_y=True), 2.27 * 16),
        (op("FULLY_CONNECTED", (1, 62, 64), (1, 62, 64), (64, 64)), 1.32 * 64),
        (op("FULLY_CONNECTED", (13, 17), (13, 30), (17, 30)), 2.48 * 30),
        (op("DEPTHWISE_CONV_2D", (1, 1, 62, 64), (1, 1, 62, 64), (1, 1, 15, 64)), 3.31 * 15),
    ]
    for node, instructions_per_output in measured:
        estimate = node_instructions(node, own)
        assert estimate.measured / node.outputs[0].elements == pytest.approx(instructions_per_output, rel=0.05), node.op
    assert set(cost_model._OWN) == set(cost_model._OWN_PLAIN) == OWN_OPS


def test_own_kernels_take_more_in_plain_cpp_and_less_than_the_reference():
    own, plain = (replace(REFERENCE, own=OWN_OPS, dsp=dsp) for dsp in (True, False))
    product = op("BATCH_MATMUL", (4, 62, 62), (4, 62, 32), (4, 62, 32), adj_y=True)
    for node in (product, same("L2_NORMALIZATION", count=1), op("SOFTMAX", (62, 62), (62, 62)), same("ADD"), same("MUL")):
        costs = [node_instructions(node, kernels).measured for kernels in (own, plain, REFERENCE)]
        assert costs == sorted(set(costs)), node.op
    assert node_instructions(product, plain).measured / multiply_accumulates([product]) == pytest.approx(3.83)


def test_own_kernels_are_for_int8_alone():
    floats = Node("SOFTMAX", (Tensor(ROW, "float32"),), (Tensor(ROW, "float32"),))
    assert node_instructions(floats, replace(REFERENCE, own=OWN_OPS)) == node_instructions(floats, REFERENCE)


def test_own_kernels_bring_the_two_block_conformer_below_12_million():
    """As its LayerNorms became L2_NORMALIZATION; 43.9 M as Keras and CMSIS-NN give it."""
    total = instructions(network("l2"), replace(CMSIS_NN, own=OWN_OPS)).total
    assert total < 12e6 and total < 0.3 * instructions(network("keras"), CMSIS_NN).total


def test_what_was_never_measured_is_marked_and_widens_the_band():
    known, unknown = instructions([same("SUB")], REFERENCE), instructions([same("ATAN2")], REFERENCE)
    assert known.measured > 10 * known.assumed and unknown.measured == 0
    for estimate, error in ((Estimate(measured=100.0), 15), (Estimate(assumed=100.0), 50)):
        assert estimate.band == (100 - error, 100 + error)
    floats = Node("MUL", (Tensor(ROW, "float32"),) * 2, (Tensor(ROW, "float32"),))
    assert node_instructions(floats, CMSIS_NN).measured == 0
    soft, hard = (node_instructions(floats, CMSIS_NN, fpu).total for fpu in (False, True))
    assert soft > 5 * hard


def test_odd_nodes_cost_little_and_break_nothing():
    odd = [
        Node("FULLY_CONNECTED", (), (Tensor((1, 4)),)),
        Node("CONV_2D", (None, None), (Tensor((1, 4)),)),
        Node("BATCH_MATMUL", (Tensor((3,)), Tensor((3,))), (Tensor((1,)),), adj_x=True),
        Node("MEAN", (), ()),
        Node("RESHAPE", (Tensor((-1, 4)),), (Tensor((-1, 2)),)),
    ]
    odd += [Node(name, (), (Tensor((1, 4)),)) for name in sorted(OWN_OPS)]
    for kernels in (CMSIS_NN, replace(CMSIS_NN, own=OWN_OPS)):
        assert 0 < instructions(odd, kernels).total < 1e5


def test_milliseconds_are_instructions_by_clock_and_cycles():
    board = find_board("nano33ble")
    band = milliseconds(Estimate(measured=64e6), board)
    low, high = board.cycles_per_instruction
    assert (band.low, band.high) == (pytest.approx(850 * low), pytest.approx(1150 * high))
    assert band.low < band.middle < band.high
    assert band.middle == pytest.approx(1000 * (low * high) ** 0.5)


def test_front_end_grows_with_its_settings():
    config = FeatureConfig()
    frame = front_end_instructions(config)
    # 512 points: 1152 butterflies of 30, windows and bands of a multiply-add each, 40 logarithms.
    assert 40e3 < frame < 80e3
    assert front_end_instructions(replace(config, window_ms=64.0)) > 1.8 * frame
    assert front_end_instructions(config, fpu=False) == 10 * frame


def test_ram_of_a_sketch_grows_with_its_window():
    config = FeatureConfig()
    of_code = feature_code(config).bits // 8
    assert sketch_ram_bytes(config) == SKETCH_BYTES + of_code * 247 * 40 + 247 + 2 * 512
    # A small input has no room for the FFT.
    small = replace(config, num_mels=16, clip_seconds=0.6, hop_ms=32.0)
    assert small.num_frames * 16 < 4 * 512
    assert sketch_ram_bytes(small) == SKETCH_BYTES + of_code * small.num_frames * 16 + small.num_frames + 2 * 512 + 4 * 512


def test_a_file_is_read_as_its_description_says():
    model_bytes = convert.to_int8_tflite(toy_model.toy_model(), toy_model.features(5))
    nodes = graph_nodes(model_file.parse(model_bytes))
    description = op_graph.describe(model_bytes)
    assert len(nodes) == description.num_nodes and {n.op for n in nodes} == set(description.ops)
    assert multiply_accumulates(nodes) == op_graph.describe(model_bytes).multiply_accumulates
    first = next(n for n in nodes if n.op == "CONV_2D")
    assert first.inputs[0].dtype == "int8" and not first.inputs[0].constant
    assert first.inputs[1].constant and first.inputs[1].num_scales == 8
    assert all(n.adj_y for n in nodes if n.op == "BATCH_MATMUL") and {n.dtype for n in nodes} == {"int8"}
    estimate = instructions(nodes, CMSIS_NN)
    assert estimate.measured > 3 * op_graph.describe(model_bytes).multiply_accumulates
