"""Will this model run on that board? Ops, types, memory and time of any .tflite against a board of kser.boards.catalog.

The verdict:
  "does not run"  an op without a kernel, a type the kernel refuses, a kernel that computes wrongly, a model that TFLM
                  refuses or crashes on, more RAM or flash than there is, or an inference that even at the fast end of its
                  estimate takes longer than the time between two decisions;
  "tight"         more than 85 % of RAM or flash, a real-time factor above 0.8, or a warning (float islands, ...);
  "fits"          otherwise.

The arena is measured in the host's TFLM and corrected for the board's pointers: see `board_arena_bytes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from kser.boards.catalog import Board, Kernels, find_board
from kser.boards.cost_model import Band, front_end_instructions, front_end_ram_bytes, instructions, milliseconds
from kser.boards.cost_model import Estimate as InstructionEstimate
from kser.boards.inspection import Findings, Measurement, inspect, measure
from kser.boards.op_support import Problem, check, runs_in_own_kernel
from kser.errors import ConfigError, ModelFileError
from kser.tflite.op_graph import Node
from kser.tflite.sandbox import Sandbox, SandboxError

FITS, TIGHT, DOES_NOT_RUN = "fits", "tight", "does not run"
VERDICTS = (FITS, TIGHT, DOES_NOT_RUN)
TIGHT_MEMORY, TIGHT_TIME = 0.85, 0.8
DEFAULT_DECISION_MS = 500.0


@dataclass(frozen=True)
class Figures:
    """A model on a board. Milliseconds and real-time factor are bands; None is what could not be found out.

    Attributes:
      assumed_share: share of the instructions whose cost was never measured.
      arena_bytes: on the board; `host_arena_bytes` as measured here.
      ram_bytes: arena and front end; free_ram_bytes: what the board has for them; likewise flash, for model and library.
      front_end_ms: for the frames between two decisions; None without kser's metadata.
      real_time_factor: front end and inference as a share of the time between two decisions.
    """

    model_bytes: int
    nodes: int
    multiply_accumulates: int
    instructions: float
    assumed_share: float
    inference_ms: Band
    front_end_ms: Band | None
    decision_ms: float
    real_time_factor: Band
    host_arena_bytes: int | None
    arena_bytes: int | None
    ram_bytes: int | None
    free_ram_bytes: int
    flash_bytes: int
    free_flash_bytes: int


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on a model on a board, with its reasons, the worst first."""

    board: str
    verdict: str
    problems: tuple[Problem, ...]
    figures: Figures

    def __str__(self) -> str:
        """The verdict, what the model takes of the board, and every problem with its fix, a line each."""
        figures = self.figures
        ram = "unknown" if figures.ram_bytes is None else figures.ram_bytes
        ms, factor = figures.inference_ms, figures.real_time_factor
        lines = [
            f"{find_board(self.board).title}: {self.verdict}",
            f"RAM {ram} of {figures.free_ram_bytes} bytes, flash {figures.flash_bytes} of {figures.free_flash_bytes} bytes",
            f"inference {ms.middle:.0f} ms ({ms.low:.0f} to {ms.high:.0f}), "
            f"{factor.middle:.0%} of the {figures.decision_ms:g} ms between decisions",
        ]
        return "\n".join(lines + [f"{p.severity}: {p.what}, {p.where}; fix: {p.fix}" for p in self.problems])


# --- Examination ------------------------------------------------------------------------------------------------------


def examine(
    model_bytes: bytes,
    boards: Sequence[str],
    decision_ms: float = DEFAULT_DECISION_MS,
    name: str = "The model",
    sandbox: Sandbox | None = None,
) -> tuple[Diagnosis, ...]:
    """Diagnoses a model for each of the boards named. Its bytes are parsed and run in a child process only.

    Raises:
      ConfigError: there is no such board, or `decision_ms` is not positive.
      ModelFileError: no TensorFlow Lite model, or a damaged one.
    """
    if not decision_ms > 0:
        raise ConfigError(f"decision_ms must be above 0, not {decision_ms:g}.")
    for board in boards:
        find_board(board)
    if sandbox is None:
        with Sandbox() as own:
            return examine(model_bytes, boards, decision_ms, name, own)
    try:
        measured = sandbox.run(_measure, model_bytes, name)
    except SandboxError as error:
        measured = asdict(Measurement(failure=f"it {error}"))
    try:
        found = sandbox.run(_diagnoses, model_bytes, tuple(boards), decision_ms, name, measured)
    except SandboxError as error:
        raise ModelFileError(f"{name} is damaged: reading it {error}.") from error
    return tuple(map(diagnosis_of, found))


def _diagnoses(model_bytes: bytes, boards: Sequence[str], decision_ms: float, name: str, measured: dict) -> list[dict]:
    findings = inspect(model_bytes, Measurement(**measured), name)
    return [asdict(diagnose(findings, find_board(board), decision_ms)) for board in boards]


def diagnosis_of(values: dict) -> Diagnosis:
    """The diagnosis that `asdict` made these values of."""
    bands = ("inference_ms", "front_end_ms", "real_time_factor")
    figures = {key: Band(**value) if key in bands and value else value for key, value in values["figures"].items()}
    problems = tuple(Problem(**problem) for problem in values["problems"])
    return Diagnosis(values["board"], values["verdict"], problems, Figures(**figures))


def _measure(model_bytes: bytes, name: str) -> dict:
    return asdict(measure(model_bytes, name))


# --- Arena ------------------------------------------------------------------------------------------------------------

# What TFLM's structs take less on a 32-bit processor, counted from their members with TF_LITE_STATIC_MEMORY (the wheel
# prints the 64-bit sizes, and compiling the headers for 32 bits confirms the halves): NodeAndRegistration 64 -> 32,
# TfLiteEvalTensor 24 -> 12, and for each of the model's inputs and outputs a TfLiteTensor 64 -> 40 with its quantization
# 24 -> 12 and a pointer to it 8 -> 4.
_NODE, _EVAL_TENSOR, _PORT = 32, 12, 40
# The interpreter's own objects (allocators, planner, subgraph table): 488 bytes here, nearly all of it pointers and sizes.
_OBJECTS = 244
# Kernels whose data hold pointers; their sizes are rounded up to 16 bytes on both sides, which leaves one step.
_WITH_POINTERS = frozenset(
    "FULLY_CONNECTED CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV SOFTMAX LOG_SOFTMAX BATCH_MATMUL CONCATENATION SVDF".split()
)
_KERNEL_DATA = 16
# CMSIS-NN's scratch buffers and their handles: 50.1 kB where the reference kernels took 49.1.
_OPTIMISED_SHARE = 0.02


def board_arena_bytes(host_bytes: int, eval_tensors: int, ops: Sequence[str], num_ports: int = 2) -> int:
    """Bytes of arena on a 32-bit board with reference kernels, from those on this 64-bit computer.

    Activations and scratch buffers are the same; bookkeeping holds pointers half as long. The network of 182 nodes that was
    measured on both sides took 59 264 bytes here and 49 108 on a Cortex-M4; tests/boards/test_cost_model.py derives the
    latter.
    """
    pointers = _KERNEL_DATA * sum(op in _WITH_POINTERS for op in ops)
    excess = _NODE * len(ops) + _EVAL_TENSOR * eval_tensors + _PORT * num_ports + _OBJECTS + pointers
    return max(0, host_bytes - excess)


# The tables of kser's own kernels, and what is kept of each to be found again.
_TABLE_BYTES = {"LOGISTIC": 256, "TANH": 256, "HARD_SWISH": 256, "SOFTMAX": 1024}
_TABLE_OWNER = 32


def own_table_bytes(nodes: Iterable[Node], kernels: Kernels) -> int:
    """Bytes of arena on a board for the tables of kser's own kernels, which nodes of equal quantization share."""

    def needs(node: Node) -> tuple:
        ends = (node.inputs[0], node.outputs[0]) if node.op == "HARD_SWISH" else node.inputs[:1]
        return node.op, *((t.scale, t.zero_point if node.op != "SOFTMAX" else 0) for t in ends if t is not None)

    tables = {
        needs(node) for node in nodes if node.op in _TABLE_BYTES and node.outputs and runs_in_own_kernel(node, kernels)
    }
    return sum(_TABLE_BYTES[op] + _TABLE_OWNER for op, *_ in tables)


def _arena_bytes(findings: Findings, board: Board) -> int | None:
    if findings.measurement.failure:
        return None
    ops = [node.op for node in findings.nodes]
    kernels = board.library.kernels
    arena = board_arena_bytes(findings.measurement.arena_bytes, findings.measurement.eval_tensors, ops)
    return round(arena * (1 + _OPTIMISED_SHARE * bool(kernels.optimised))) + own_table_bytes(findings.nodes, kernels)


# --- Diagnosis --------------------------------------------------------------------------------------------------------


def diagnose(findings: Findings, board: Board, decision_ms: float = DEFAULT_DECISION_MS) -> Diagnosis:
    """The verdict on the findings for one board, with one decision every `decision_ms`."""
    figures = _figures(findings, board, decision_ms)
    problems = [*check(findings, board), *_memory(figures, board), *_time(figures, board)]
    problems.sort(key=lambda problem: ("fatal", "warning", "hint").index(problem.severity))
    severities = {problem.severity for problem in problems}
    verdict = DOES_NOT_RUN if "fatal" in severities else TIGHT if "warning" in severities else FITS
    return Diagnosis(board.name, verdict, tuple(problems), figures)


def _figures(findings: Findings, board: Board, decision_ms: float) -> Figures:
    features, arena = findings.features, _arena_bytes(findings, board)
    estimate = instructions(findings.nodes, board.library.kernels, board.fpu)
    inference = milliseconds(estimate, board)
    front_end = None
    if features:
        frames = decision_ms / features.hop_ms
        assumed = InstructionEstimate(assumed=frames * front_end_instructions(features, board.fpu))
        front_end = milliseconds(assumed, board)
    return Figures(
        model_bytes=findings.num_bytes,
        nodes=len(findings.nodes),
        multiply_accumulates=findings.multiply_accumulates,
        instructions=estimate.total,
        assumed_share=estimate.assumed / estimate.total if estimate.total else 0.0,
        inference_ms=inference,
        front_end_ms=front_end,
        decision_ms=decision_ms,
        real_time_factor=(inference + front_end if front_end else inference) / decision_ms,
        host_arena_bytes=findings.measurement.arena_bytes or None,
        arena_bytes=arena,
        ram_bytes=None if arena is None else arena + (front_end_ram_bytes(features) if features else 0),
        free_ram_bytes=board.free_ram_bytes,
        flash_bytes=findings.num_bytes + board.library.code_bytes,
        free_flash_bytes=board.free_flash_bytes,
    )


def _memory(figures: Figures, board: Board) -> Iterator[Problem]:
    fixes = {
        "RAM": "fewer tokens (subsample more, shorter clips), fewer nodes, a smaller preset, or a board with more RAM",
        "flash": "a smaller preset, a larger partition for the application, or a board with more flash",
    }
    needs = {"RAM": (figures.ram_bytes, figures.free_ram_bytes), "flash": (figures.flash_bytes, figures.free_flash_bytes)}
    for memory, (needed, free) in needs.items():
        if needed is not None and needed > TIGHT_MEMORY * free:
            severity = "fatal" if needed > free else "warning"
            what = f"{needed} bytes of {memory} of the {free} that {board.title} has free ({needed / free:.0%})"
            yield Problem(severity, what, "arena and front end" if memory == "RAM" else "model and library", fixes[memory])


def _time(figures: Figures, board: Board) -> Iterator[Problem]:
    factor = figures.real_time_factor
    if factor.middle <= TIGHT_TIME and factor.low <= 1:
        return
    what = f"front end and inference take {factor.middle:.2f} of the {figures.decision_ms:g} ms between decisions"
    band = f"{factor.low:.2f} to {factor.high:.2f}"
    enough = _interval_ms(figures)
    less_often = f"decide every {enough} ms or less often (--decision_ms={enough}), " if enough else ""
    fix = f"{less_often}a smaller preset, relu for swish, or a faster board"
    yield Problem("fatal" if factor.low > 1 else "warning", f"{what} ({band})", "the whole model", fix)


def _interval_ms(figures: Figures) -> int | None:
    """The shortest time between decisions, in steps of 100 ms, that is not tight; None where the front end alone is."""
    front_end = figures.front_end_ms.middle / figures.decision_ms if figures.front_end_ms else 0.0
    if front_end >= TIGHT_TIME:
        return None
    return 100 * math.ceil(figures.inference_ms.middle / (TIGHT_TIME - front_end) / 100)
