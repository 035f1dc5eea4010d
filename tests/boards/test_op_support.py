"""Ops, types and graphs that a board's library does not run, or not well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from kser.boards import doctor, op_support
from kser.boards.catalog import BOARDS, find_board
from kser.boards.inspection import Measurement
from kser.tflite.op_graph import Tensor
from tests.boards.diagnoses import changed, computed, fatal, on, with_node


def test_missing_product_of_the_arduino_libraries_is_found(findings, monkeypatch):
    monkeypatch.setattr(op_support, "OWN_OPS", frozenset())
    diagnosis = doctor.diagnose(findings, find_board("nano33ble"))
    assert diagnosis.verdict == "does not run"
    (problem,) = [p for p in diagnosis.problems if p.severity == "fatal"]
    assert "Arduino" in problem.what and "BATCH_MATMUL" in problem.what
    assert problem.where.startswith("2 nodes: ") and "kser has a kernel" in problem.fix
    assert diagnosis.problems[0] is problem


def test_own_kernels_close_the_gap(findings):
    assert fatal(doctor.diagnose(findings, find_board("nano33ble"))) == []


@pytest.mark.parametrize("changes", [{"inputs": (Tensor((4, 4), "float32"),) * 2}, {"adj_x": True}])
def test_own_kernels_do_not_take_every_product(findings, changes):
    node = replace(computed("BATCH_MATMUL", "int8", Tensor((4, 4))), **changes)
    (problem,) = fatal(doctor.diagnose(with_node(findings, node), find_board("nano33ble")))
    assert "no kernel for BATCH_MATMUL" in problem
    assert fatal(doctor.diagnose(with_node(findings, node), find_board("generic_m4"))) == []


@pytest.mark.parametrize("board", ["esp32", "nano33ble", "generic_m4"])
def test_gelu_runs_nowhere(gelu_bytes, board):
    diagnosis = on(board, gelu_bytes)
    assert diagnosis.verdict == "does not run" and diagnosis.figures.arena_bytes is None
    problem = next(p for p in diagnosis.problems if "no kernel for GELU" in p.what)
    assert "--activation" in problem.fix
    assert any("the op GELU is missing" in what for what in fatal(diagnosis))


def test_unknown_custom_op_is_named(model_bytes):
    def customize(model):
        code = next(c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.SOFTMAX)
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "FlexErf"

    diagnosis = on("generic_m4", changed(model_bytes, customize))
    assert diagnosis.verdict == "does not run"
    problem = next(p for p in diagnosis.problems if "no kernel for custom op FlexErf" in p.what)
    assert "SELECT_TF_OPS" in problem.fix


def test_dense_per_channel_is_wrong_where_the_library_ignores_it_and_computes_it(model_bytes, monkeypatch):
    def per_channel(model):
        graph = model.subgraphs[0]
        is_dense = schema.BuiltinOperator.FULLY_CONNECTED
        dense = next(op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == is_dense)
        weights = graph.tensors[dense.inputs[1]]
        count = weights.shape[0]
        weights.quantization.scale = np.resize(weights.quantization.scale, count)
        weights.quantization.zeroPoint = np.zeros(count, np.int64)

    content = changed(model_bytes, per_channel)
    for board in ("nano33ble", "esp32"):
        assert on(board, content).verdict == on(board, model_bytes).verdict != "does not run"
    board = find_board("nano33ble")
    library = replace(board.library, kernels=replace(board.library.kernels, own=frozenset()))
    monkeypatch.setitem(BOARDS, "nano33ble", replace(board, library=library))
    assert any("silently uses the first scale" in what for what in fatal(on("nano33ble", content)))


@pytest.mark.parametrize(
    "node, board, words",
    [
        (computed("HARD_SWISH", "int16"), "nano33ble", "HARD_SWISH on int16, which its kernel in Arduino"),
        (computed("SUM", "int16"), "esp32", "SUM over int16"),
        (computed("FULLY_CONNECTED", "float32", Tensor((4, 4), "int8", constant=True)), "esp32", "dynamic-range"),
        (computed("FULLY_CONNECTED", "int8", Tensor((4, 4), zero_point=3)), "generic_m55", "a zero point"),
        (computed("REDUCE_PROD", "int8"), "generic_m4", "no kernel for REDUCE_PROD"),
    ],
)
def test_kernels_that_refuse_or_compute_wrongly_are_fatal(findings, node, board, words):
    before, after = (doctor.diagnose(found, find_board(board)) for found in (findings, with_node(findings, node)))
    (added,) = set(after.problems) - set(before.problems)
    assert added.severity == "fatal" and words in added.what and added.where == "1 node: y" and added.fix
    assert after.verdict == "does not run"


def test_compressed_weights_run_in_recent_tflm_only(findings):
    compressed = with_node(findings, computed("TFLM_DECODE", "int8", custom=True))
    assert fatal(doctor.diagnose(compressed, find_board("generic_m4"))) == []
    problems = doctor.diagnose(compressed, find_board("nano33ble")).problems
    assert any("no kernel for custom op TFLM_DECODE" in p.what and "without compression" in p.fix for p in problems)


def test_a_version_newer_than_the_kernels_is_a_warning(findings):
    node = computed("FULLY_CONNECTED", "int8", Tensor((4, 4), constant=True), version=12)
    diagnosis = doctor.diagnose(with_node(findings, node), find_board("nano33ble"))
    assert any(p.severity == "warning" and "FULLY_CONNECTED of version 12" in p.what for p in diagnosis.problems)
    assert not any("version" in p.what for p in doctor.diagnose(findings, find_board("nano33ble")).problems)


def test_names_cannot_steer_a_terminal(model_bytes):
    def rename(model):
        for tensor in model.subgraphs[0].tensors:
            tensor.name = "a\x1b[2J\n" + 999 * "b"

    found = doctor.inspect(changed(model_bytes, rename), Measurement("", 10_000, 40))
    product = next(node for node in found.nodes if node.op == "BATCH_MATMUL")
    transposed = with_node(found, replace(product, adj_x=True))
    where = doctor.diagnose(transposed, find_board("nano33ble")).problems[0].where
    assert "b" in where and where.isprintable() and len(where) < 600


def test_float_islands_and_open_shapes_make_it_tight(model_bytes):
    def leave_an_island(model):
        graph = model.subgraphs[0]
        transpose = schema.BuiltinOperator.TRANSPOSE
        moved = next(op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == transpose)
        graph.tensors[moved.inputs[0]].type = schema.TensorType.FLOAT32
        graph.tensors[graph.operators[0].outputs[0]].shapeSignature = np.array([-1, 24, 16, 1], np.int32)

    found = doctor.inspect(changed(model_bytes, leave_an_island), Measurement("", 10_000, 40))
    assert len(found.float_islands) == 1
    diagnosis = doctor.diagnose(found, find_board("generic_m4"))
    warnings = [p.what for p in diagnosis.problems if p.severity == "warning"]
    assert diagnosis.verdict == "tight" and len(warnings) == 2
    assert warnings[0].startswith("float islands: 1 ") and warnings[1].startswith("dynamic shapes")


def test_a_product_that_keeps_a_copy_is_a_hint(findings):
    product = computed("BATCH_MATMUL", "int8", Tensor((1, 4)))
    diagnosis = doctor.diagnose(with_node(findings, product), find_board("generic_m55"))
    assert any(p.severity == "hint" and "adj_y" in p.what and p.where == "1 node: y" for p in diagnosis.problems)
    for board, nodes in (("generic_m55", ()), ("generic_m4", (product,))):  # kser's own kernel keeps none
        problems = doctor.diagnose(with_node(findings, *nodes), find_board(board)).problems
        assert not any("adj_y" in problem.what for problem in problems)
