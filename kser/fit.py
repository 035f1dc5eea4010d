"""Which network fits a board? Sizes of the backbones with arena, time and flash of each, none of them trained or converted.

A network's graph is sketched from its settings, rewritten as for deployment, lowered to the ops of its .tflite, and judged
as kser.doctor judges a converted model. benchmarks/fit.py holds the predictions against conversions.

How well a network will recognize is not predicted. Its capacity stands in for that: the geometric mean of its parameters and
its multiply-accumulates. Parameters alone would favour the fewest frames, multiply-accumulates alone the widest stem. Frames
and depth are given up last: as long as a network of the parameters and layers of `micro` fits, none of less is chosen, and
none at a coarser hop than it needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kser.arena import needed_bytes, tensors_of
from kser.backbones import BACKBONES, PRESETS, preset
from kser.boards import KIB, Board, find_board
from kser.config import FeatureConfig, ModelConfig
from kser.cost import multiply_accumulates
from kser.deploy import DEPLOY_PASSES
from kser.doctor import DOES_NOT_RUN, TIGHT_MEMORY, TIGHT_TIME, Figures, Findings, Measurement, Problem, diagnose
from kser.errors import ConfigError
from kser.lowering import file_bytes, lower
from kser.sketch import sketch

BASE_PRESET = "micro"
# kser's metadata in a .tflite: settings, labels and origin, and for each mel band a mean and a deviation.
METADATA_BYTES, MEL_METADATA_BYTES = 990, 40

# The grid. Heads keep the width they have in the preset; sizes rise, so that what is too large ends a search upwards.
HOPS_MS = (10.0, 16.0, 20.0)
WIDTHS = {"conformer": (16, 24, 32, 48, 64, 96), "speechformer": (12, 24, 36, 48)}
FFN_FACTORS = {"conformer": (2.0, 4.0), "speechformer": (0.5, 1.0)}
NUM_LAYERS = (1, 2, 3, 4, 5, 8)
STEMS = ((8, 16), (16, 32))
STAGE_LAYERS = ((1, 1, 1, 1), (1, 2, 2, 1), (2, 2, 2, 1), (2, 2, 4, 4))
STAGE_WIDENINGS = ((1, 1, 1), (1, 2, 1))


@dataclass(frozen=True)
class Budget:
    """What a network may take of a board.

    Attributes:
      ram_bytes: for arena, ring, front end and stack; at most what leaves the board's RAM fit by bin/doctor's measure.
      latency_ms: for an inference, in the middle of its estimate.
      decision_ms: between two decisions; front end and inference take at most TIGHT_TIME of it.
    """

    board: Board
    ram_bytes: float
    latency_ms: float
    decision_ms: float

    def shares(self, figures: Figures) -> dict[str, float]:
        """How much of each part of the budget a network takes; up to 1 it fits."""
        return {
            "RAM": figures.ram_bytes / self.ram_bytes,
            "flash": figures.flash_bytes / (TIGHT_MEMORY * figures.free_flash_bytes),
            "inference": figures.inference_ms.middle / self.latency_ms,
            "real time": figures.real_time_factor.middle / TIGHT_TIME,
        }


@dataclass(frozen=True)
class Candidate:
    """A network with its deployed parameters and its figures on the board; `load`: the largest share of the budget."""

    model: ModelConfig
    features: FeatureConfig
    parameters: int
    figures: Figures
    load: float

    @property
    def fits(self) -> bool:
        return self.load <= 1

    @property
    def capacity(self) -> float:
        return math.sqrt(self.parameters * self.figures.multiply_accumulates)

    @property
    def preset(self) -> str:
        """The name of the preset with these sizes, if there is one."""
        return next((name for (_, name), config in PRESETS.items() if config == self.model), "")


@dataclass(frozen=True)
class Fit:
    """What a search found: those of the candidates tried that lie on the frontier (see `frontier`), and the best."""

    budget: Budget
    tried: int
    frontier: tuple[Candidate, ...]
    best: Candidate


def make_budget(board_name: str, ram_kb: float | None, latency_ms: float | None, decision_ms: float) -> Budget:
    """A budget in the units of the flags; None is what the board and the time between decisions allow.

    Raises:
      ConfigError: there is no such board, or a part of the budget is not positive or beyond what the others allow.
    """
    board = find_board(board_name)
    for name, value in (("ram_kb", ram_kb), ("latency_ms", latency_ms), ("decision_ms", decision_ms)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name} must be above 0, not {value:g}.")
    if latency_ms is not None and latency_ms > decision_ms:
        raise ConfigError(
            f"latency_ms ({latency_ms:g}) is more than the {decision_ms:g} ms between two decisions (--decision_ms)."
        )
    free = TIGHT_MEMORY * board.free_ram_bytes
    ram = free if ram_kb is None else min(free, ram_kb * KIB)
    return Budget(board, ram, TIGHT_TIME * decision_ms if latency_ms is None else latency_ms, decision_ms)


def predict(model: ModelConfig, features: FeatureConfig, num_classes: int) -> tuple[Findings, int]:
    """What examining the converted network would find, and the parameters it is deployed with.

    Raises:
      KserError: the settings make no network, or none that converts to int8.
    """
    graph = sketch(model, features, num_classes)
    for rewrite in DEPLOY_PASSES.values():
        graph = rewrite(graph)
    nodes = lower(graph)
    findings = Findings(
        num_bytes=file_bytes(nodes) + METADATA_BYTES + MEL_METADATA_BYTES * features.num_mels,
        nodes=nodes,
        multiply_accumulates=multiply_accumulates(nodes),
        float_islands=(),
        num_graphs=1,
        features=features,
        measurement=Measurement("", needed_bytes(nodes), len(tensors_of(nodes))),
    )
    return findings, sum(weights.size for layer in graph for weights in layer.weights)


def search(
    budget: Budget,
    backbones: Sequence[str] = tuple(BACKBONES),
    features: FeatureConfig = FeatureConfig(),  # noqa: B008 (frozen)
    hops_ms: Sequence[float] = HOPS_MS,
    model_settings: Mapping = {},  # noqa: B006 (never changed)
    num_classes: int = 8,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fit:
    """Tries the sizes of the backbones, up to where they are too large, and keeps the best.

    Args:
      backbones: the order is that of preference: the best network is one of the first backbone that fits at all.
      features: the front end, but for the hop.
      model_settings: settings of ModelConfig to have in place of the preset's.
      jobs: processes.
      progress: told how many of the families of networks are done.

    Raises:
      ConfigError: nothing fits, or the board has no kernels for any of the backbones.
    """
    hops_ms = [hop for hop in hops_ms if hop <= features.window_ms] or [features.window_ms]
    families = [
        _Family(budget, tuple(models), dataclasses.replace(features, hop_ms=hop), num_classes)
        for backbone in _runnable(budget.board, backbones, features, model_settings, num_classes)
        for hop, models in itertools.product(hops_ms, grid(backbone, model_settings))
    ]
    found: list[Candidate] = []
    with _workers(jobs) as run:
        for done, candidates in enumerate(run(explore, families), 1):
            found += candidates
            progress(done, len(families))
    fitting = [candidate for candidate in found if candidate.fits]
    if not fitting:
        raise ConfigError(_nothing_fits(budget, found))
    first = next(name for name in backbones if any(c.model.backbone == name for c in fitting))
    base = _base(first, model_settings)
    _, parameters = predict(base, features, num_classes)
    best = choose([c for c in fitting if c.model.backbone == first], parameters, depth(base))
    return Fit(budget, len(found), tuple(frontier(fitting)), best)


def _runnable(
    board: Board, backbones: Sequence[str], features: FeatureConfig, settings: Mapping, num_classes: int
) -> list[str]:
    """The backbones whose ops the board's library has."""
    problems = {name: _missing_kernels(board, _base(name, settings), features, num_classes) for name in backbones}
    runnable = [name for name, problem in problems.items() if problem is None]
    if not runnable:
        problem = problems[backbones[0]]
        raise ConfigError(f"No {' or '.join(backbones)} runs on {board.title}: {problem.what}; {problem.fix}.")
    return runnable


def _missing_kernels(board: Board, model: ModelConfig, features: FeatureConfig, num_classes: int) -> Problem | None:
    """The first reason, beside memory and time, why a network does not run on the board."""
    roomy = dataclasses.replace(board, ram_bytes=1 << 40, flash_bytes=1 << 40, clock_mhz=1e6)
    diagnosis = diagnose(predict(model, features, num_classes)[0], roomy)
    return diagnosis.problems[0] if diagnosis.verdict == DOES_NOT_RUN else None


def _base(backbone: str, settings: Mapping) -> ModelConfig:
    return dataclasses.replace(preset(backbone, BASE_PRESET), **settings)


# --- The grid ---------------------------------------------------------------------------------------------------------


def grid(backbone: str, settings: Mapping = {}) -> Iterator[list[ModelConfig]]:  # noqa: B006 (never changed)
    """Families of sizes of one backbone; in each a network that is no smaller in any size than another comes after it."""
    base = _base(backbone, settings)
    if backbone == "speechformer":
        shared, depths = [{"stage_widening": widening} for widening in STAGE_WIDENINGS], STAGE_LAYERS
    else:
        shared, depths = [{"stem_channels": stem} for stem in STEMS], NUM_LAYERS
    depth_name = "stage_layers" if backbone == "speechformer" else "num_layers"
    for common in shared:
        sizes = itertools.product(depths, _of(WIDTHS, backbone), _of(FFN_FACTORS, backbone))
        yield [_sized(base, width, factor, {**common, depth_name: depth}) for depth, width, factor in sizes]


def _of(table: Mapping, backbone: str):
    return table.get(backbone, table["conformer"])


def _sized(base: ModelConfig, width: int, ffn_factor: float, others: Mapping) -> ModelConfig:
    heads = max(1, width * base.num_heads // base.hidden_dim)
    return dataclasses.replace(base, hidden_dim=width, num_heads=heads, ffn_dim=int(width * ffn_factor), **others)


# --- Families ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Family:
    """Networks that differ in width and depth only, the smaller ones first."""

    budget: Budget
    models: tuple[ModelConfig, ...]
    features: FeatureConfig
    num_classes: int


def explore(family: _Family) -> list[Candidate]:
    """The candidates of a family, none that is no smaller in any size than one that is too large already: arena, time and
    flash rise with width and depth."""
    found: list[Candidate] = []
    for model in family.models:
        too_large = (c.model for c in found if not c.fits)
        if not any(_no_smaller(model, other) for other in too_large):
            found.append(_candidate(family, model))
    return found


def _candidate(family: _Family, model: ModelConfig) -> Candidate:
    budget = family.budget
    findings, parameters = predict(model, family.features, family.num_classes)
    figures = diagnose(findings, budget.board, budget.decision_ms).figures
    return Candidate(model, family.features, parameters, figures, max(budget.shares(figures).values()))


def _no_smaller(model: ModelConfig, other: ModelConfig) -> bool:
    return all(a >= b for a, b in zip(_sizes(model), _sizes(other), strict=True))


def _sizes(model: ModelConfig) -> tuple[int, ...]:
    return (model.hidden_dim, model.ffn_dim, model.num_layers, *model.stage_layers)


@contextlib.contextmanager
def _workers(jobs: int) -> Iterator[Callable[[Callable, Iterable], Iterable]]:
    """A `map` over so many processes; they are forks, which need no import, and none of them runs TensorFlow."""
    if jobs == 1:
        yield map
        return
    with multiprocessing.get_context("fork").Pool(jobs, _ignore_interrupts) as pool:
        yield pool.imap


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends them


# --- The choice -------------------------------------------------------------------------------------------------------


def choose(candidates: Sequence[Candidate], parameters: int, layers: int) -> Candidate:
    """The one of most capacity at the finest hop where one has so many parameters and layers, or of all if none has."""
    whole = [c for c in candidates if c.parameters >= parameters and depth(c.model) >= layers]
    hop_ms = min((c.features.hop_ms for c in whole), default=None)
    return max((c for c in whole if c.features.hop_ms == hop_ms) if whole else candidates, key=lambda c: c.capacity)


def depth(model: ModelConfig) -> int:
    """Layers of all stages."""
    return sum(model.stage_layers) if model.backbone == "speechformer" else model.num_layers


def frontier(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other of the same backbone and hop reaches in capacity with no more time and RAM; largest first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (-c.capacity, _costs(c))):
        same = (c for c in kept if _kind(c) == _kind(candidate))
        if not any(all(a <= b for a, b in zip(_costs(c), _costs(candidate), strict=True)) for c in same):
            kept.append(candidate)
    return kept


def _kind(candidate: Candidate) -> tuple[str, float]:
    return candidate.model.backbone, candidate.features.hop_ms


def _costs(candidate: Candidate) -> tuple[float, int]:
    return candidate.figures.inference_ms.middle, candidate.figures.ram_bytes


def _nothing_fits(budget: Budget, tried: Sequence[Candidate]) -> str:
    """The sentence that tells what comes nearest, and what of the budget it breaks."""
    nearest = min(tried, key=lambda c: c.load)
    figures = nearest.figures
    needs = {
        "RAM": f"{figures.ram_bytes / KIB:.1f} kB of RAM of the {budget.ram_bytes / KIB:.1f} allowed",
        "flash": f"{figures.flash_bytes / KIB:.0f} kB of flash of {figures.free_flash_bytes / KIB:.0f}",
        "inference": f"{figures.inference_ms.middle:.0f} ms for an inference of the {budget.latency_ms:.0f} allowed",
        "real time": f"{figures.real_time_factor.middle:.0%} of the {budget.decision_ms:g} ms between two decisions",
    }
    broken = [needs[name] for name, share in budget.shares(figures).items() if share > 1]
    return f"No network fits {budget.board.title}: the nearest, {describe(nearest)}, takes {' and '.join(broken)}."


def describe(candidate: Candidate) -> str:
    """A network by its sizes, in words."""
    model, frames = candidate.model, candidate.features.num_frames
    layers = ",".join(map(str, model.stage_layers)) if model.backbone == "speechformer" else model.num_layers
    sizes = f"hidden_dim {model.hidden_dim}, ffn_dim {model.ffn_dim}, layers {layers}"
    return f"{model.backbone} with {sizes} and {frames} frames"
