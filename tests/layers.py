"""Which package may import which. docs/draw_architecture.py draws this table, tests/test_layers.py holds kser to it."""

from __future__ import annotations

# Lowest first: a package imports from layers below its own. The package `kser` itself is below all of them, for what it
# imports, it imports only when it is asked for.
LAYERS = (
    ("errors",),
    ("config", "files", "progress"),
    ("audio", "models"),
    ("datasets",),
    ("training", "tflite"),
    ("export",),
    ("boards",),
    ("boards.search",),
    ("api", "firmware", "plots"),
    ("workflow",),
    ("cli",),
)

# What a package does without, though it is below.
NOT_FOR = {"export": {"datasets"}}

# Libraries that only these may import.
ONLY_IN = {"absl": ("kser.cli",), "matplotlib": ("kser.plots", "kser.audio.preview")}


def rank(part: str) -> int:
    """The layer of a package, from 0."""
    return next(index for index, layer in enumerate(LAYERS) if part in layer)


def part_of(module: str) -> str:
    """The entry of the table that has a module: boards.search for kser.boards.search.lowering; "" where none has it."""
    top, *names = module.split(".")
    candidates = [".".join(names[:depth]) for depth in range(len(names), 0, -1)] if top == "kser" else []
    return next((part for part in candidates if any(part in layer for layer in LAYERS)), "")
