from __future__ import annotations

import re

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from kser.boards import catalog
from kser.boards.catalog import ARDUINO, BOARDS, LIBRARIES, UPSTREAM, find_board
from kser.errors import ConfigError
from kser.tflite import interpreter, model_file

CODES = {name: code for code, name in model_file.OP_NAMES.items()}
NO_KERNEL = "REDUCE_PROD"


def two_ops(name: str, custom: bool = False) -> bytes:
    """The op and after it one that TFLM lacks: it stops at the first it does not find, and prepares neither."""
    codes = []
    for op in (name, NO_KERNEL):
        code = schema.OperatorCodeT()
        code.builtinCode = CODES["CUSTOM"] if custom and op == name else CODES[op]
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        code.customCode = name if custom and op == name else None
        codes.append(code)
    model, graph = schema.ModelT(), schema.SubGraphT()
    graph.tensors = [_tensor(), _tensor()]
    graph.inputs, graph.outputs = np.array([0], np.int32), np.array([1], np.int32)
    graph.operators = [_operator(0, name), _operator(1, NO_KERNEL)]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, codes, [graph], [schema.BufferT()]
    return model_file.pack(model)


def _tensor() -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = "t", np.array([1, 4], np.int32), schema.TensorType.INT8, 0
    return tensor


def _operator(index: int, name: str) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex = index
    operator.inputs, operator.outputs = np.array([0], np.int32), np.array([1], np.int32)
    if name == "VAR_HANDLE":
        operator.builtinOptionsType, operator.builtinOptions = (
            schema.BuiltinOptions.VarHandleOptions,
            schema.VarHandleOptionsT(),
        )
        operator.builtinOptions.sharedName = "v"
    return operator


def has_kernel(name: str, custom: bool = False) -> bool:
    """Whether the TFLM installed here finds a kernel for it."""
    with interpreter.captured_log() as log:
        with pytest.raises(RuntimeError) as error:
            interpreter.tflm.Interpreter.from_bytes(two_ops(name, custom), arena_size=1 << 16)
        told = f"{log()}{error.value}"
    if custom:
        return NO_KERNEL in told
    (missing,) = re.findall(r"Didn't find op for builtin opcode '(\w+)'", told)
    return missing == NO_KERNEL


def test_upstreams_ops_are_those_of_the_tflm_installed_here():
    names = set(CODES) - {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES", NO_KERNEL}
    assert {name for name in names if has_kernel(name)} == UPSTREAM.ops


def test_upstreams_custom_ops_are_in_the_tflm_installed_here():
    assert {name for name in UPSTREAM.custom_ops if not has_kernel(name, custom=True)} == set()
    assert not has_kernel("NoSuchOp", custom=True)


def test_the_arduino_libraries_lack_what_they_are_known_to_lack():
    assert ARDUINO.ops < UPSTREAM.ops and "BATCH_MATMUL" not in ARDUINO.ops
    assert not ARDUINO.per_channel_dense and UPSTREAM.per_channel_dense
    assert "GELU" not in UPSTREAM.ops | catalog.OWN_OPS


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: f"{library.name}-{library.kernels.name}")
def test_libraries_speak_of_ops_they_have(library):
    assert library.ops <= set(CODES)
    assert set(library.types) | set(library.versions) | library.kernels.optimised <= library.ops
    assert library.kernels.own <= catalog.OWN_OPS <= set(CODES)
    assert catalog.OWN_OPS - library.kernels.own <= library.ops  # whatever is left to the library, it has
    known_types = {name.lower() for name in model_file.TYPE_NAMES.values()}
    assert all(types and types <= known_types for types in library.types.values())


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_boards_are_of_this_world(board):
    assert BOARDS[board.name] is board and find_board(board.name) is board
    assert 0 < board.free_ram_bytes < board.ram_bytes <= 1 << 20
    assert board.library.code_bytes < board.free_flash_bytes < board.flash_bytes <= 16 << 20
    low, high = board.cycles_per_instruction
    assert 0 < low < high and 16 <= board.clock_mhz <= 1000
    assert any(board.library.ops == library.ops for library in LIBRARIES)


def test_the_boards_asked_for_are_there():
    assert {"nano33ble", "esp32", "esp32s3", "portenta_h7", "rp2040", "generic_m4"} <= set(BOARDS)


def test_unknown_board_is_refused():
    with pytest.raises(ConfigError, match="no board 'uno'; known: nano33ble, "):
        find_board("uno")
