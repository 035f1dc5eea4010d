"""Which network fits a board? Sizes of the backbones with arena, time and flash of each, none of them trained or converted.

kser.boards.search.candidates tells what is predicted of a network and which one is chosen.
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

from kser.boards.catalog import KIB, Board, find_board
from kser.boards.doctor import DOES_NOT_RUN, TIGHT_MEMORY, TIGHT_TIME, Figures, Problem, diagnose
from kser.boards.search.candidates import Candidate, choose, describe, frontier, predict
from kser.boards.search.grid import HOPS_MS, base_config, depth, grid, no_smaller
from kser.config import FeatureConfig, ModelConfig
from kser.errors import ConfigError
from kser.models.presets import BACKBONES


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
        Family(budget, tuple(models), dataclasses.replace(features, hop_ms=hop), num_classes)
        for backbone in _runnable(budget.board, backbones, features, model_settings, num_classes)
        for hop, models in itertools.product(hops_ms, grid(backbone, model_settings))
    ]
    found = _explore_all(families, jobs, progress)
    fitting = [candidate for candidate in found if candidate.fits]
    if not fitting:
        raise ConfigError(_nothing_fits(budget, found))
    first = next(name for name in backbones if any(c.model.backbone == name for c in fitting))
    base = base_config(first, model_settings)
    _, parameters = predict(base, features, num_classes)
    best = choose([c for c in fitting if c.model.backbone == first], parameters, depth(base))
    return Fit(budget, len(found), tuple(frontier(fitting)), best)


def _runnable(
    board: Board, backbones: Sequence[str], features: FeatureConfig, settings: Mapping, num_classes: int
) -> list[str]:
    """The backbones whose ops the board's library has."""
    problems = {name: _missing_kernels(board, base_config(name, settings), features, num_classes) for name in backbones}
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


# --- Families ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """Networks that differ in width and depth only, the smaller ones first."""

    budget: Budget
    models: tuple[ModelConfig, ...]
    features: FeatureConfig
    num_classes: int


def _explore_all(families: Sequence[Family], jobs: int, progress: Callable[[int, int], None]) -> list[Candidate]:
    found: list[Candidate] = []
    with _workers(jobs) as run:
        for done, candidates in enumerate(run(explore, families), 1):
            found += candidates
            progress(done, len(families))
    return found


def explore(family: Family) -> list[Candidate]:
    """The candidates of a family, none that is no smaller in any size than one that is too large already: arena, time and
    flash rise with width and depth."""
    found: list[Candidate] = []
    for model in family.models:
        too_large = (c.model for c in found if not c.fits)
        if not any(no_smaller(model, other) for other in too_large):
            found.append(_candidate(family, model))
    return found


def _candidate(family: Family, model: ModelConfig) -> Candidate:
    budget = family.budget
    findings, parameters = predict(model, family.features, family.num_classes)
    figures = diagnose(findings, budget.board, budget.decision_ms).figures
    return Candidate(model, family.features, parameters, figures, max(budget.shares(figures).values()))


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
