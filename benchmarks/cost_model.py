"""The cost model's instructions against the totals measured on emulated boards that no cost was fitted to.

.venv/bin/python -m benchmarks.cost_model
"""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

from kser.boards import cost_model
from kser.boards.catalog import CMSIS_NN, MVE, REFERENCE, Kernels
from kser.boards.cost_model import instructions
from tests.measured_network import MEASURED_M4, MEASURED_M55, PROTOTYPES, TABLES, network


def deviation(form: tuple[str, ...], kernels: Kernels, measured: float) -> float:
    """Of the prediction from the total measured, in millions, as a share of it."""
    return instructions(network(*form), kernels).total / 1e6 / measured - 1


@patch.object(cost_model, "_OWN", PROTOTYPES)
def deviations() -> dict[str, list[float]]:
    """By processor and kernels, one for each form measured."""
    found: dict[str, list[float]] = {"M4, reference": [], "M4, CMSIS-NN": []}
    for form, tables, _, *measured in MEASURED_M4:
        table = TABLES if tables else frozenset()
        for kernels, total, values in zip((REFERENCE, CMSIS_NN), measured, found.values(), strict=True):
            values.append(deviation(form, replace(kernels, own=table), total))
    found["M55, CMSIS-NN"] = [deviation(form, MVE, total) for form, total in MEASURED_M55]
    return found


def main() -> None:
    print(r"| processor, kernels | forms | mean \|deviation\| | largest |")
    print("|---|---|---|---|")
    for name, values in deviations().items():
        mean, largest = sum(map(abs, values)) / len(values), max(values, key=abs)
        print(f"| {name} | {len(values)} | {mean:.1%} | {largest:+.1%} |")


if __name__ == "__main__":
    main()
