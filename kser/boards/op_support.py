"""Whether a board's library supports a model's ops, types and graph: each problem with its place and its fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kser.boards.catalog import OWN_OPS, Board
from kser.boards.cost_model import instructions
from kser.boards.inspection import Findings
from kser.boards.own_kernels import is_taken, kernels_of
from kser.tflite.op_graph import Node, Tensor

MAX_NAMES = 3
COSTLY_SHARE = 0.2


@dataclass(frozen=True)
class Problem:
    """What is wrong, where in the model, how to fix it. `severity` is "fatal", "warning", or "hint" (verdict unchanged)."""

    severity: str
    what: str
    where: str
    fix: str


def check(findings: Findings, board: Board) -> Iterator[Problem]:
    """All problems except those of memory and time, which `doctor.diagnose` adds."""
    for find_problems in (_missing_ops, _types, _wrong_results, _loading, _graph_warnings, _hints):
        yield from find_problems(findings, board)


def _where(nodes: Iterable[Node]) -> str:
    """The number of nodes, and the names of the first few (those of their outputs)."""
    nodes = list(nodes)
    names = [node.outputs[0].name if node.outputs else node.op for node in nodes[:MAX_NAMES]]
    more = f" and {len(nodes) - len(names)} more" if len(nodes) > len(names) else ""
    return f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}: {', '.join(names)}{more}"


def _by_op(nodes: Iterable[Node]) -> Iterator[tuple[str, list[Node]]]:
    grouped: dict[str, list[Node]] = {}
    for node in nodes:
        grouped.setdefault(node.op, []).append(node)
    return iter(grouped.items())


_OWN_KERNEL = "add your own kernel to the op resolver, or choose a board whose library has it"
_MISSING_FIXES = {
    "GELU": "train with relu, swish or hard_swish (--activation); no TFLM has GELU",
    "ERF": "train with relu, swish or hard_swish (--activation); no TFLM has GELU",
    "BATCH_MATMUL": "convert to int8 throughout, for which kser has a kernel (without adj_x); ESP-IDF's TFLM supports all",
    "TFLM_DECODE": "use the model without compression",
    "REDUCE_PROD": "convert with batch 1 and fixed shapes, so that no shape is computed at run time",
}


def _has_kernel(node: Node, board: Board) -> bool:
    """Whether the library has the kernel, or kser does, whose own kernels take int8 alone."""
    library = board.library
    if node.custom:
        return node.op in library.custom_ops
    return node.op in library.ops or (node.op in OWN_OPS and is_taken(node))


def _missing_ops(findings: Findings, board: Board) -> Iterator[Problem]:
    library = board.library
    for op, nodes in _by_op(n for n in findings.nodes if not _has_kernel(n, board)):
        kind = "custom op " if nodes[0].custom else ""
        fix = _MISSING_FIXES.get(op, f"replace it by other ops, or {_OWN_KERNEL}")
        if op.startswith("Flex"):
            fix = "convert with TensorFlow Lite's builtin ops only (no SELECT_TF_OPS)"
        yield Problem("fatal", f"{library.title} has no kernel for {kind}{op}", _where(nodes), fix)


def _types(findings: Findings, board: Board) -> Iterator[Problem]:
    library = board.library

    def refused(node: Node) -> bool:
        return node.op in library.types and node.dtype not in library.types[node.op]

    for op, nodes in _by_op(filter(refused, findings.nodes)):
        takes = ", ".join(sorted(library.types[op]))
        what = f"{op} on {nodes[0].dtype}, which its kernel in {library.title} does not support (it supports {takes})"
        yield Problem("fatal", what, _where(nodes), "convert to int8 throughout, or replace the op")
    hybrid = [n for n in findings.nodes if n.op in _WEIGHTED and _is_hybrid(n)]
    if hybrid:
        what = "integer weights with float activations (dynamic-range quantization), which TFLM does not support"
        yield Problem("fatal", what, _where(hybrid), "convert with representative data, to int8 throughout")
    newer = (n for n in findings.nodes if not n.custom and n.version > library.versions.get(n.op, n.version))
    for op, nodes in _by_op(newer):
        what = f"{op} of version {nodes[0].version}; {library.title} was written for versions up to {library.versions[op]}"
        fix = "compare outputs on the board with those here: TFLM ignores op versions and options it does not know"
        yield Problem("warning", what, _where(nodes), fix)


_WEIGHTED = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "BATCH_MATMUL"})


def _second(node: Node) -> Tensor | None:
    return node.inputs[1] if len(node.inputs) > 1 else None


def _is_hybrid(node: Node) -> bool:
    weights = _second(node)
    return node.dtype == "float32" and weights is not None and weights.dtype in ("int8", "int4", "uint8")


def _wrong_results(findings: Findings, board: Board) -> Iterator[Problem]:
    """Kernels that run but compute wrong results."""
    library, own = board.library, kernels_of(findings.nodes, board.library.kernels).own
    dense = [n for n in findings.nodes if n.op == "FULLY_CONNECTED" and n.op not in own and _second(n) is not None]
    per_channel = [n for n in dense if _second(n).num_scales > 1]
    if per_channel and not library.per_channel_dense:
        what = f"Dense weights with a scale per channel: {library.title} silently uses the first scale for all channels"
        fix = "convert with one scale per Dense kernel (disable per-channel quantization for dense layers)"
        yield Problem("fatal", what, _where(per_channel), fix)
    shifted = [n for n in dense if not _second(n).constant and _second(n).zero_point != 0]
    if shifted and library.kernels.optimised:
        what = "FULLY_CONNECTED with computed weights that have a zero point, which optimised kernels ignore"
        yield Problem("fatal", what, _where(shifted), "make the range of that tensor symmetric, or use BATCH_MATMUL")
    sums = [n for n in findings.nodes if n.op == "SUM" and n.dtype == "int16"]
    if sums:
        yield Problem("fatal", "SUM over int16, which TFLM computes wrongly", _where(sums), "use a mean instead")


def _loading(findings: Findings, board: Board) -> Iterator[Problem]:
    if findings.measurement.failure:
        what = f"the model does not run in TensorFlow Lite Micro on this computer: {findings.measurement.failure}"
        fix = "replace the op it names, or fix the other problems; until then the arena is unknown"
        if any(node.dtype == "int16" for node in findings.nodes):
            fix = "write norms as c * rsqrt(mean(c * c) + epsilon) with c = x - mean(x), whose ops have int16 kernels"
        yield Problem("fatal", what, "the whole model", fix)


def _graph_warnings(findings: Findings, board: Board) -> Iterator[Problem]:
    if findings.float_islands:
        shown = ", ".join(findings.float_islands[:MAX_NAMES])
        fix = (
            "rewrite these ops (x * x for a square, swish for GELU); conversion with integer ops only reports them as errors"
        )
        what = f"float islands: {len(findings.float_islands)} float tensors inside an integer model"
        yield Problem("warning", what, shown, fix)
    dynamic = [n for n in findings.nodes if any(t.dynamic or any(s < 0 for s in t.shape) for t in n.outputs)]
    if dynamic:
        what = "dynamic shapes, which TFLM fixes to those at conversion"
        yield Problem("warning", what, _where(dynamic), "convert with batch 1 and a fixed number of frames")


def _hints(findings: Findings, board: Board) -> Iterator[Problem]:
    kernels = kernels_of(findings.nodes, board.library.kernels)
    products = [n for n in findings.nodes if n.op == "BATCH_MATMUL" and not n.adj_y and n.op not in kernels.own]
    if products:
        what = "BATCH_MATMUL without adj_y: TFLM permanently keeps a transposed copy of the right operand"
        yield Problem("hint", what, _where(products), "write the product with transpose_b=True; the results are identical")
    logistic = [n for n in findings.nodes if n.op in ("LOGISTIC", "TANH") and n.op not in kernels.own]
    part, total = (instructions(nodes, kernels, board.fpu).total for nodes in (logistic, findings.nodes))
    if logistic and part > COSTLY_SHARE * total:
        what = f"{part / total:.0%} of the instructions are LOGISTIC and TANH, which no library optimises"
        yield Problem("hint", what, _where(logistic), "train with relu or hard_swish, or convert to int8")
    if findings.num_graphs > 1:
        what = f"{findings.num_graphs - 1} subgraphs besides the main one; each is counted as run once"
        yield Problem("hint", what, "IF, WHILE or CALL_ONCE", "unroll loops if the time matters")
