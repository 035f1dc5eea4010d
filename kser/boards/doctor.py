"""Will this model run on that board? Ops, types, memory and time of any .tflite against a board of kser.boards.catalog.

The verdict:
  "does not run"  an op without a kernel, a type the kernel refuses, a kernel that computes wrongly, a model that TFLM
                  refuses or crashes on, more RAM or flash than there is, or an inference that even at the fast end of its
                  estimate takes longer than the time between two decisions;
  "tight"         more than 85 % of RAM or flash, a real-time factor above 0.8, or a warning (float islands, ...);
  "fits"          otherwise.

The arena is counted allocation by allocation, as the library used on that board makes them: see `kser.arena`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from kser.boards.arena_layouts import LAYOUTS
from kser.boards.catalog import Board, find_board
from kser.boards.cost_model import Band, front_end_instructions, instructions, milliseconds, sketch_ram_bytes
from kser.boards.cost_model import Estimate as InstructionEstimate
from kser.boards.inspection import Findings, Measurement, inspect, measure
from kser.boards.memory_planner import board_bytes, with_margin
from kser.boards.op_support import Problem, check
from kser.boards.own_kernels import kernels_of
from kser.config import SAMPLE_RATE_HZ, FeatureConfig, SmoothingConfig
from kser.errors import ConfigError, ModelFileError
from kser.tflite.sandbox import Sandbox, SandboxError

FITS, TIGHT, DOES_NOT_RUN = "fits", "tight", "does not run"
VERDICTS = (FITS, TIGHT, DOES_NOT_RUN)
TIGHT_MEMORY, TIGHT_TIME = 0.85, 0.8


@dataclass(frozen=True)
class Figures:
    """A model on a board. Milliseconds and real-time factor are bands; None is what could not be found out.

    Attributes:
      assumed_share: share of the instructions whose cost was never measured.
      arena_bytes: that the model needs on the board; `host_arena_bytes` as measured here.
      ring_samples: of the buffer that takes in what the microphone brings while the model runs; 0 without kser's metadata.
      ram_bytes: of the firmware project: arena with its margin, ring, front end and stack; without kser's metadata, of arena
        and stack. free_ram_bytes: what the board has for them; likewise flash, for model and library.
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
    ring_samples: int
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
    decision_ms: float | None = None,
    name: str = "The model",
    sandbox: Sandbox | None = None,
) -> tuple[Diagnosis, ...]:
    """Diagnoses a model for each of the boards named. Its bytes are parsed and run in a child process only.

    Args:
      decision_ms: milliseconds between two decisions; None: the model's own, by its metadata, or else the default.

    Raises:
      ConfigError: there is no such board, or `decision_ms` is not positive.
      ModelFileError: no TensorFlow Lite model, or a damaged one.
    """
    if decision_ms is not None and not decision_ms > 0:
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


def _diagnoses(
    model_bytes: bytes, boards: Sequence[str], decision_ms: float | None, name: str, measured: dict
) -> list[dict]:
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


# --- Memory -----------------------------------------------------------------------------------------------------------

# What waits beside an inference: a block of the microphone's driver, and the frames that are made of what has waited.
RING_SLACK_MS = 64
SMALLEST_RING = 2048
SAMPLE_BYTES = 2
# Of the example on an emulated Cortex-M4F, from main through an inference.
STACK_BYTES = 1300


def _arena_bytes(findings: Findings, board: Board) -> int | None:
    measured = findings.measurement
    if measured.failure:
        return None
    own = kernels_of(findings.nodes, board.library.kernels).own
    layout = LAYOUTS[board.library.arena]
    return board_bytes(findings.nodes, layout, own, measured.eval_tensors, measured.arena_bytes)


def ring_samples(longest_ms: float, free_bytes: float) -> int:
    """The power of two that holds what comes during an inference, as far as there is RAM for it."""
    wanted = 1 << math.ceil(math.log2((longest_ms + RING_SLACK_MS) * SAMPLE_RATE_HZ / 1000))
    fitting = 1 << int(math.log2(max(1, free_bytes / SAMPLE_BYTES)))
    return max(SMALLEST_RING, min(wanted, fitting))


def _ram(arena: int | None, features: FeatureConfig | None, longest_ms: float, board: Board) -> tuple[int, int | None]:
    """Samples of the ring, and bytes of RAM where the arena is known."""
    fixed = STACK_BYTES + (0 if arena is None else with_margin(arena)) + (sketch_ram_bytes(features) if features else 0)
    ring = ring_samples(longest_ms, TIGHT_MEMORY * board.free_ram_bytes - fixed) if features else 0
    return ring, None if arena is None else fixed + SAMPLE_BYTES * ring


# --- Diagnosis --------------------------------------------------------------------------------------------------------


def diagnose(findings: Findings, board: Board, decision_ms: float | None = None) -> Diagnosis:
    """The verdict on the findings for one board, with one decision every `decision_ms`; None: as often as the model says."""
    smoothing = findings.smoothing or SmoothingConfig()
    figures = _figures(findings, board, smoothing.decision_ms if decision_ms is None else decision_ms)
    problems = [*check(findings, board), *_memory(figures, board), *_time(figures, board)]
    problems.sort(key=lambda problem: ("fatal", "warning", "hint").index(problem.severity))
    severities = {problem.severity for problem in problems}
    verdict = DOES_NOT_RUN if "fatal" in severities else TIGHT if "warning" in severities else FITS
    return Diagnosis(board.name, verdict, tuple(problems), figures)


def _figures(findings: Findings, board: Board, decision_ms: float) -> Figures:
    features, arena = findings.features, _arena_bytes(findings, board)
    estimate = instructions(findings.nodes, kernels_of(findings.nodes, board.library.kernels), board.fpu)
    inference = milliseconds(estimate, board)
    # An inference longer than the time between decisions would fill any ring.
    ring, ram = _ram(arena, features, min(inference.high, decision_ms), board)
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
        ring_samples=ring,
        ram_bytes=ram,
        free_ram_bytes=board.free_ram_bytes,
        flash_bytes=findings.num_bytes + board.library.code_bytes,
        free_flash_bytes=board.free_flash_bytes,
    )


def _memory(figures: Figures, board: Board) -> Iterator[Problem]:
    fixes = {
        "RAM": "fewer tokens (subsample more, shorter clips), fewer nodes, a smaller preset, or a board with more RAM",
        "flash": "a smaller preset, a larger partition for the application, or a board with more flash",
    }
    places = {"RAM": "arena, ring, front end and stack", "flash": "model and library"}
    needs = {"RAM": (figures.ram_bytes, figures.free_ram_bytes), "flash": (figures.flash_bytes, figures.free_flash_bytes)}
    for memory, (needed, free) in needs.items():
        if needed is not None and needed > TIGHT_MEMORY * free:
            severity = "fatal" if needed > free else "warning"
            what = f"{needed} bytes of {memory} of the {free} that {board.title} has free ({needed / free:.0%})"
            yield Problem(severity, what, places[memory], fixes[memory])


def _time(figures: Figures, board: Board) -> Iterator[Problem]:
    factor = figures.real_time_factor
    if factor.middle <= TIGHT_TIME and factor.low <= 1:
        return
    what = f"front end and inference take {factor.middle:.2f} of the {figures.decision_ms:g} ms between decisions"
    band = f"{factor.low:.2f} to {factor.high:.2f}"
    enough = shortest_interval_ms(figures)
    less_often = f"decide every {enough} ms or less often (--decision_ms={enough}), " if enough else ""
    fix = f"{less_often}a smaller preset, relu for swish, or a faster board"
    yield Problem("fatal" if factor.low > 1 else "warning", f"{what} ({band})", "the whole model", fix)


def shortest_interval_ms(figures: Figures) -> int | None:
    """The shortest time between decisions, in steps of 100 ms, that is not tight; None where the front end alone is."""
    front_end = figures.front_end_ms.middle / figures.decision_ms if figures.front_end_ms else 0.0
    if front_end >= TIGHT_TIME:
        return None
    return 100 * math.ceil(figures.inference_ms.middle / (TIGHT_TIME - front_end) / 100)
