"""Searches sizes of the backbones that fit a board, by predicted arena, time and flash; nothing is trained or converted.

kser.boards.search.candidates has the predictions and the choice.
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
    """The part of a board's memory and time that a network may use.

    Attributes:
      ram_bytes: for arena, ring, front end and stack; at most the RAM with which bin/doctor's verdict is still "fits".
      latency_ms: for one inference, by the middle of its estimate.
      decision_ms: time between two decisions; front end and inference take at most TIGHT_TIME of it.
    """

    board: Board
    ram_bytes: float
    latency_ms: float
    decision_ms: float

    def shares(self, figures: Figures) -> dict[str, float]:
        """The share of each part of the budget that a network uses; it fits if all are at most 1."""
        return {
            "RAM": figures.ram_bytes / self.ram_bytes,
            "flash": figures.flash_bytes / (TIGHT_MEMORY * figures.free_flash_bytes),
            "inference": figures.inference_ms.middle / self.latency_ms,
            "real time": figures.real_time_factor.middle / TIGHT_TIME,
        }


@dataclass(frozen=True)
class Fit:
    """The result of a search: the candidates on the Pareto frontier (see `frontier`), and the best one."""

    budget: Budget
    tried: int
    frontier: tuple[Candidate, ...]
    best: Candidate


def make_budget(board_name: str, ram_kb: float | None, latency_ms: float | None, decision_ms: float) -> Budget:
    """A budget in the units of the flags; None: what the board and the time between decisions allow.

    Raises:
      ConfigError: there is no such board, or a part of the budget is not positive or exceeds what the others allow.
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
    """Tries sizes of the backbones until they are too large, and keeps the best.

    Args:
      backbones: in order of preference: the first backbone with a network that fits is chosen.
      features: the front end; the search varies the hop.
      model_settings: settings of ModelConfig that replace those of the preset.
      jobs: number of processes.
      progress: called with the number of families of networks done, and of all.

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
    """The backbones whose ops the board's library supports."""
    problems = {name: _missing_kernels(board, base_config(name, settings), features, num_classes) for name in backbones}
    runnable = [name for name, problem in problems.items() if problem is None]
    if not runnable:
        problem = problems[backbones[0]]
        raise ConfigError(f"No {' or '.join(backbones)} runs on {board.title}: {problem.what}; {problem.fix}.")
    return runnable


def _missing_kernels(board: Board, model: ModelConfig, features: FeatureConfig, num_classes: int) -> Problem | None:
    """The first reason, other than memory and time, why a network does not run on the board."""
    roomy = dataclasses.replace(board, ram_bytes=1 << 40, flash_bytes=1 << 40, clock_mhz=1e6)
    diagnosis = diagnose(predict(model, features, num_classes)[0], roomy)
    return diagnosis.problems[0] if diagnosis.verdict == DOES_NOT_RUN else None


# --- Families ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """Networks that differ only in width and depth, smaller ones first."""

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
    """The candidates of a family. Networks at least as large in every size as one that does not fit are skipped, because
    arena, time and flash grow with width and depth."""
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
    """A `map` over so many processes; they are forks, so nothing is imported again, and they do not run TensorFlow."""
    if jobs == 1:
        yield map
        return
    with multiprocessing.get_context("fork").Pool(jobs, _ignore_interrupts) as pool:
        yield pool.imap


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent terminates them


def _nothing_fits(budget: Budget, tried: Sequence[Candidate]) -> str:
    """The error message: the network closest to the budget, and the limits it exceeds."""
    nearest = min(tried, key=lambda c: c.load)
    figures = nearest.figures
    needs = {
        "RAM": f"{figures.ram_bytes / KIB:.1f} kB of RAM of the {budget.ram_bytes / KIB:.1f} allowed",
        "flash": f"{figures.flash_bytes / KIB:.0f} kB of flash of {figures.free_flash_bytes / KIB:.0f}",
        "inference": f"{figures.inference_ms.middle:.0f} ms per inference of the {budget.latency_ms:.0f} allowed",
        "real time": f"{figures.real_time_factor.middle:.0%} of the {budget.decision_ms:g} ms between two decisions",
    }
    broken = [needs[name] for name, share in budget.shares(figures).items() if share > 1]
    return f"No network fits {budget.board.title}: the closest one, {describe(nearest)}, takes {' and '.join(broken)}."
