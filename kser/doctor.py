"""Will this model run on that board? Ops, types, memory and time of any .tflite against a board of kser.boards.

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
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from kser import tflite
from kser.boards import OWN_OPS, Board, Kernels, find_board
from kser.config import FeatureConfig, from_dict
from kser.cost import (
    Band,
    Node,
    Tensor,
    front_end_instructions,
    front_end_ram_bytes,
    graph_nodes,
    instructions,
    milliseconds,
    multiply_accumulates,
    printable,
)
from kser.cost import Estimate as InstructionEstimate
from kser.errors import ConfigError, ModelFileError
from kser.examine import ExaminationError, Examiner, Limits

FITS, TIGHT, DOES_NOT_RUN = "fits", "tight", "does not run"
VERDICTS = (FITS, TIGHT, DOES_NOT_RUN)
TIGHT_MEMORY, TIGHT_TIME = 0.85, 0.8
DEFAULT_DECISION_MS = 500.0

# No board has more flash, and a .tflite is a flatbuffer, whose offsets end at 2 GB.
MAX_MODEL_BYTES = 64 << 20
MAX_NAMES = 3
COSTLY_SHARE = 0.2


@dataclass(frozen=True)
class Problem:
    """What is wrong, where in the model, what to do. `severity` is "fatal", "warning", or "hint", which costs no verdict."""

    severity: str
    what: str
    where: str
    fix: str


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


@dataclass(frozen=True)
class Measurement:
    """What the host's TFLM told.

    Attributes:
      failure: why the model does not load or run there; "" where it does. The bytes are 0 then.
      arena_bytes: smallest arena it loads in; a small model needs more to load than it keeps.
      eval_tensors: tensors TFLM keeps a TfLiteEvalTensor of.
    """

    failure: str = ""
    arena_bytes: int = 0
    eval_tensors: int = 0


@dataclass(frozen=True)
class Findings:
    """What there is to know of a model without a board; `features` are None for models without kser's metadata."""

    num_bytes: int
    nodes: tuple[Node, ...]
    multiply_accumulates: int
    float_islands: tuple[str, ...]
    num_graphs: int
    features: FeatureConfig | None
    measurement: Measurement


# --- Examination ------------------------------------------------------------------------------------------------------


def read_model_file(path: str) -> bytes:
    """The bytes of a file that may be a model; not more of it than a model can have.

    Raises:
      ModelFileError: missing, unreadable, or too long.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_MODEL_BYTES:
        raise ModelFileError(f"{path} is longer than {MAX_MODEL_BYTES >> 20} MB: no board here has flash for such a model.")
    return content


def examine(
    model_bytes: bytes,
    boards: Sequence[str],
    decision_ms: float = DEFAULT_DECISION_MS,
    name: str = "The model",
    examiner: Examiner | None = None,
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
    if examiner is None:
        with Examiner(Limits()) as own:
            return examine(model_bytes, boards, decision_ms, name, own)
    try:
        measured = examiner.run(_measure, model_bytes, name)
    except ExaminationError as error:
        measured = asdict(Measurement(failure=f"it {error}"))
    try:
        found = examiner.run(_diagnoses, model_bytes, tuple(boards), decision_ms, name, measured)
    except ExaminationError as error:
        raise ModelFileError(f"{name} is damaged: reading it {error}.") from error
    return tuple(map(_diagnosis, found))


def _diagnoses(model_bytes: bytes, boards: Sequence[str], decision_ms: float, name: str, measured: dict) -> list[dict]:
    findings = find(model_bytes, Measurement(**measured), name)
    return [asdict(diagnose(findings, find_board(board), decision_ms)) for board in boards]


def _diagnosis(values: dict) -> Diagnosis:
    """The inverse of `asdict`."""
    bands = ("inference_ms", "front_end_ms", "real_time_factor")
    figures = {key: Band(**value) if key in bands and value else value for key, value in values["figures"].items()}
    problems = tuple(Problem(**problem) for problem in values["problems"])
    return Diagnosis(values["board"], values["verdict"], problems, Figures(**figures))


def find(model_bytes: bytes, measurement: Measurement, name: str = "The model") -> Findings:
    """Reads a model's graph and metadata. For bytes nobody vouches for, use `examine`.

    Raises:
      ModelFileError: no TensorFlow Lite model.
    """
    model = tflite.parse(model_bytes, name)
    nodes = graph_nodes(model)
    return Findings(
        num_bytes=len(model_bytes),
        nodes=nodes,
        multiply_accumulates=multiply_accumulates(nodes),
        float_islands=_float_islands(model, nodes),
        num_graphs=len(model.subgraphs),
        features=_features(model_bytes),
        measurement=measurement,
    )


def _float_islands(model, nodes: Sequence[Node]) -> tuple[str, ...]:
    """Names of float tensors computed inside a model whose inputs are integers."""
    graph = model.subgraphs[0]
    inputs = () if graph.inputs is None else graph.inputs
    if any(tflite.TYPE_NAMES.get(graph.tensors[i].type, "").startswith("FLOAT") for i in inputs):
        return ()
    return tuple(t.name for node in nodes for t in node.outputs if t.dtype.startswith("float"))


def _features(model_bytes: bytes) -> FeatureConfig | None:
    try:
        return from_dict(FeatureConfig, tflite.read_metadata(model_bytes)["features"])
    except (ModelFileError, ConfigError, KeyError):
        return None


def measure(model_bytes: bytes, name: str = "The model") -> Measurement:
    """Loads and runs a model in the host's TFLM. For bytes nobody vouches for, use `examine`.

    Raises:
      ModelFileError: no TensorFlow Lite model.
    """
    model = tflite.parse(model_bytes, name)
    with tflite.captured_log() as log:
        try:
            used, eval_tensors = _load_and_run(model_bytes, model, log)
            return Measurement("", _smallest_arena(model_bytes, used), eval_tensors)
        except (RuntimeError, ValueError, TypeError) as error:
            return Measurement(failure=_reason(log() or str(error)))


def _measure(model_bytes: bytes, name: str) -> dict:
    return asdict(measure(model_bytes, name))


def _load_and_run(model_bytes: bytes, model, log: Callable[[], str]) -> tuple[int, int]:
    """Bytes of arena in use, and the number of TfLiteEvalTensors, once it has run on zeros."""
    interpreter = tflite.open_tflm(model_bytes)
    graph = model.subgraphs[0]
    for position, index in enumerate(() if graph.inputs is None else graph.inputs):
        tensor = graph.tensors[index]
        dtype = tflite.TYPE_NAMES.get(tensor.type, "").lower()
        shape = () if tensor.shape is None else tuple(tensor.shape)
        interpreter.set_input(np.zeros(shape, dtype), position)
    interpreter.invoke()
    interpreter.print_allocations()
    used = re.search(r"Arena allocation total (\d+) bytes", log())
    tensors = re.search(r"'TfLiteEvalTensor data' used .* for (\d+) ", log())
    if not (used and tensors):
        raise RuntimeError("it does not tell its allocations")
    return int(used[1]), int(tensors[1])


def _smallest_arena(model_bytes: bytes, used: int) -> int:
    def loads(arena_bytes: int) -> bool:
        try:
            tflite.open_tflm(model_bytes, arena_bytes)
        except RuntimeError:
            return False
        return True

    return tflite.smallest_that_loads(used, loads)


def _reason(log: str) -> str:
    """The first complaint in TFLM's log, as the end of a sentence."""
    if re.search(r"Failed to (allocate|resize) .*missing: \d+|Too many buffers", log):
        return f"it needs an arena of more than {tflite.DEFAULT_ARENA_BYTES >> 20} MB"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"TFLM says '{printable(lines[0]).rstrip('.')}'" if lines else "TFLM does not say why"


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
    measured on both sides took 59 264 bytes here and 49 108 on a Cortex-M4; tests/test_cost.py derives the latter.
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

    tables = {needs(node) for node in nodes if node.op in _TABLE_BYTES and node.outputs and _runs_in_own(node, kernels)}
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
    checks = (_missing_ops, _types, _wrong_results, _loading, _graph_warnings, _hints)
    problems = [problem for check in checks for problem in check(findings, board)]
    problems += [*_memory(figures, board), *_time(figures, board)]
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


def _where(nodes: Iterable[Node]) -> str:
    """How many nodes, and the names of the first few, which are those of their outputs."""
    nodes = list(nodes)
    names = [node.outputs[0].name if node.outputs else node.op for node in nodes[:MAX_NAMES]]
    more = f" and {len(nodes) - len(names)} more" if len(nodes) > len(names) else ""
    return f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}: {', '.join(names)}{more}"


def _by_op(nodes: Iterable[Node]) -> Iterator[tuple[str, list[Node]]]:
    grouped: dict[str, list[Node]] = {}
    for node in nodes:
        grouped.setdefault(node.op, []).append(node)
    return iter(grouped.items())


_OWN_KERNEL = "bring a kernel in an op resolver of your own, or choose a board whose library has it"
_MISSING_FIXES = {
    "GELU": "train with relu, swish or hard_swish (--activation); no TFLM has GELU",
    "ERF": "train with relu, swish or hard_swish (--activation); no TFLM has GELU",
    "BATCH_MATMUL": "convert to int8 throughout, for which kser brings a kernel (without adj_x); ESP-IDF's TFLM has all",
    "REDUCE_PROD": "convert with batch 1 and fixed shapes, which leaves no shape to compute",
}


def _has_kernel(node: Node, board: Board) -> bool:
    """In the library, or one of kser's own, which take int8 alone and no adj_x."""
    library = board.library
    if node.custom:
        return node.op in library.custom_ops
    return node.op in library.ops or (node.op in OWN_OPS and node.dtype == "int8" and not node.adj_x)


def _missing_ops(findings: Findings, board: Board) -> Iterator[Problem]:
    library = board.library
    for op, nodes in _by_op(n for n in findings.nodes if not _has_kernel(n, board)):
        kind = "custom op " if nodes[0].custom else ""
        fix = _MISSING_FIXES.get(op, f"express it by other ops, or {_OWN_KERNEL}")
        if op.startswith("Flex"):
            fix = "convert with TensorFlow Lite's builtin ops alone (no SELECT_TF_OPS)"
        yield Problem("fatal", f"{library.title} has no kernel for {kind}{op}", _where(nodes), fix)


def _types(findings: Findings, board: Board) -> Iterator[Problem]:
    library = board.library

    def refused(node: Node) -> bool:
        return node.op in library.types and node.dtype not in library.types[node.op]

    for op, nodes in _by_op(filter(refused, findings.nodes)):
        takes = ", ".join(sorted(library.types[op]))
        what = f"{op} on {nodes[0].dtype}, which its kernel in {library.title} refuses (it takes {takes})"
        yield Problem("fatal", what, _where(nodes), "convert to int8 throughout, or replace the op")
    hybrid = [n for n in findings.nodes if n.op in _WEIGHTED and _is_hybrid(n)]
    if hybrid:
        what = "integer weights on float activations (dynamic-range quantization), which TFLM does not run"
        yield Problem("fatal", what, _where(hybrid), "convert with representative data, to int8 throughout")
    newer = (n for n in findings.nodes if not n.custom and n.version > library.versions.get(n.op, n.version))
    for op, nodes in _by_op(newer):
        what = f"{op} of version {nodes[0].version}; {library.title} was written for versions up to {library.versions[op]}"
        fix = "compare its outputs on the board with those here: TFLM checks no versions and ignores what it does not know"
        yield Problem("warning", what, _where(nodes), fix)


_WEIGHTED = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "BATCH_MATMUL"})


def _second(node: Node) -> Tensor | None:
    return node.inputs[1] if len(node.inputs) > 1 else None


def _is_hybrid(node: Node) -> bool:
    weights = _second(node)
    return node.dtype == "float32" and weights is not None and weights.dtype in ("int8", "int4", "uint8")


def _wrong_results(findings: Findings, board: Board) -> Iterator[Problem]:
    """Kernels that run and compute something else."""
    library = board.library
    dense = [n for n in findings.nodes if n.op == "FULLY_CONNECTED" and _second(n) is not None]
    per_channel = [n for n in dense if _second(n).num_scales > 1]
    if per_channel and not library.per_channel_dense:
        what = f"Dense weights with a scale per channel: {library.title} silently computes all channels with the first's"
        fix = "convert with one scale per Dense kernel (disable per-channel quantization for dense layers)"
        yield Problem("fatal", what, _where(per_channel), fix)
    shifted = [n for n in dense if not _second(n).constant and _second(n).zero_point != 0]
    if shifted and library.kernels.optimised:
        what = "FULLY_CONNECTED on computed weights with a zero point, which optimised kernels ignore"
        yield Problem("fatal", what, _where(shifted), "make the range of that tensor symmetric, or use BATCH_MATMUL")
    sums = [n for n in findings.nodes if n.op == "SUM" and n.dtype == "int16"]
    if sums:
        yield Problem("fatal", "SUM over int16, which TFLM computes wrongly", _where(sums), "use a mean instead")


def _loading(findings: Findings, board: Board) -> Iterator[Problem]:
    if findings.measurement.failure:
        what = f"the model does not run in TensorFlow Lite Micro on this computer: {findings.measurement.failure}"
        fix = "replace the op it names, or mend the problems beside this one; the arena is unknown until then"
        if any(node.dtype == "int16" for node in findings.nodes):
            fix = "write norms as c * rsqrt(mean(c * c) + epsilon) with c = x - mean(x), the form whose int16 kernels run"
        yield Problem("fatal", what, "the whole model", fix)


def _graph_warnings(findings: Findings, board: Board) -> Iterator[Problem]:
    if findings.float_islands:
        shown = ", ".join(findings.float_islands[:MAX_NAMES])
        fix = "rewrite these ops (x * x for a square, swish for GELU); converting for integer ops alone refuses them at once"
        what = f"float islands: {len(findings.float_islands)} float tensors inside an integer model"
        yield Problem("warning", what, shown, fix)
    dynamic = [n for n in findings.nodes if any(t.dynamic or any(s < 0 for s in t.shape) for t in n.outputs)]
    if dynamic:
        what = "dynamic shapes, which TFLM takes as they were when converted"
        yield Problem("warning", what, _where(dynamic), "convert with batch 1 and a fixed number of frames")


def _runs_in_own(node: Node, kernels: Kernels) -> bool:
    return node.op in kernels.own and node.dtype == "int8"


def _hints(findings: Findings, board: Board) -> Iterator[Problem]:
    kernels = board.library.kernels
    products = [n for n in findings.nodes if n.op == "BATCH_MATMUL" and not n.adj_y and not _runs_in_own(n, kernels)]
    if products:
        what = "BATCH_MATMUL without adj_y: TFLM keeps a transposed copy of the right operand for good"
        yield Problem("hint", what, _where(products), "write the product with transpose_b=True; the bits are the same")
    logistic = [n for n in findings.nodes if n.op in ("LOGISTIC", "TANH") and not _runs_in_own(n, kernels)]
    part, total = (instructions(nodes, kernels, board.fpu).total for nodes in (logistic, findings.nodes))
    if logistic and part > COSTLY_SHARE * total:
        what = f"{part / total:.0%} of the instructions are LOGISTIC and TANH, which no library optimises"
        yield Problem("hint", what, _where(logistic), "train with relu or hard_swish, or convert to int8")
    if findings.num_graphs > 1:
        what = f"{findings.num_graphs - 1} subgraphs beside the main one; each is counted as run once"
        yield Problem("hint", what, "IF, WHILE or CALL_ONCE", "unroll loops if the time matters")


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
