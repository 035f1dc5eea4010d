"""This computer as a board: what a project's generated memory is where firmware is linked with the package xmos-ai-tools.

Its TFLM is one of 64 bits, without TF_LITE_STATIC_MEMORY and with reference kernels, so no board's arena would do.
"""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

from kser.boards import arena_layouts, doctor, inspection, own_kernels
from kser.boards.arena_layouts import HOST
from kser.boards.catalog import find_board
from kser.firmware import project
from tests.micro import small_model

# Sizes of its structs as g++ tells them from its headers; kernels that boards leave to their library are much as HOST's.
_LAYOUT = replace(HOST, objects=(72, 72, 72, 16), node=88, tensor=112)
# Those of kser's kernels that hold a pointer, likewise.
_WITH_POINTERS = ("BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MUL")
_OWN = {op: replace(own_kernels.OWN[op], data=24) for op in _WITH_POINTERS}
_TABLE_BYTES = 280


def memory_header(board: str) -> str:
    """kser_memory.h of the small model, for the board's project on this computer."""
    own = find_board(board)
    host = replace(own, library=replace(own.library, arena="host"))
    model_bytes = small_model.model_bytes()
    findings = inspection.inspect(model_bytes, inspection.measure(model_bytes))
    with (
        mock.patch.dict(arena_layouts.LAYOUTS, host=_LAYOUT),
        mock.patch.dict(own_kernels.OWN, _OWN),
        mock.patch.object(own_kernels, "TABLE_BYTES", _TABLE_BYTES),
    ):
        figures = doctor.diagnose(findings, host).figures
    return project.model_sources(model_bytes, host, figures)["kser_memory.h"]
