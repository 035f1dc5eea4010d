"""Draws docs/architecture.svg from the table in tests/layers.py: `python -m docs.draw_architecture` when either changed."""

from __future__ import annotations

from pathlib import Path

from tests.layers import LAYERS, NOT_FOR

WIDTH, LEFT, ROW, BOX, GAP = 960, 84, 56, 44, 12
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .name { font-size: 14px; font-weight: 600; fill: #24292f } .side { text-anchor: middle }
  .pill-text { font-size: 11px; text-anchor: middle; fill: #9a6700 } .pill { fill: none; stroke: #bf8700 }
  .box { fill: #ffffff; stroke: #8c959f } .line { stroke: #57606a; fill: none; stroke-width: 1.6 }
  .ground { fill: #eaeef2; stroke: #8c959f } .top { fill: #ddf4ff; stroke: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .name { fill: #e6edf3 } .pill-text, .pill { fill: #d29922 } .pill { fill: none; stroke: #bf8700 }
    .box { fill: #161b22; stroke: #6e7681 } .line { stroke: #9198a1 }
    .ground { fill: #2a313c; stroke: #6e7681 } .top { fill: #121d2f; stroke: #4493f8 }
  }
"""
NOTES = {
    "errors": "the exceptions that become a sentence",
    "config": "settings, frozen and checked",
    "files": "files that appear whole or not at all",
    "progress": "how far long work is",
    "audio": "sound to log-mel, augmentation",
    "models": "Keras layers, HRF, backbones, presets",
    "datasets": "corpora: clips with labels and speakers; splits, manifests, the feature cache",
    "training": "batches, training, run directories, scores",
    "tflite": "what is in a .tflite file, and running it",
    "export": "fold, rewrites, quantization, conversion, proofs",
    "boards": "what boards have, and whether a model runs there: ops, memory, milliseconds",
    "boards.search": "the largest network that a board has memory and time for, found without training any",
    "api": "what `import kser` gives",
    "firmware": "C++ projects, the serial line",
    "plots": "confusion matrices, frontiers",
    "workflow": "the jobs, from files to files: train a run, evaluate it, convert it, predict with it",
    "cli": "one module a command: flags, a call, a printed block",
}
GROUND, TOP = {"errors", "config", "files", "progress"}, {"cli"}


def pill(right: float, top: float, text: str) -> str:
    return (
        f'<rect class="pill" x="{right - 96}" y="{top + 11}" width="84" height="22" rx="11"/>'
        f'<text class="pill-text" x="{right - 54}" y="{top + 26}">{text}</text>'
    )


def box(part: str, left: float, top: float, width: float) -> str:
    kind = "ground" if part in GROUND else "top" if part in TOP else "box"
    mark = pill(left + width, top, "no " + ", ".join(sorted(NOT_FOR[part]))) if part in NOT_FOR else ""
    return (
        f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{BOX}" rx="8"/>'
        f'<text class="name" x="{left + 14}" y="{top + 19}">{part}</text>'
        f'<text x="{left + 14}" y="{top + 35}">{NOTES[part]}</text>{mark}'
    )


def row(layer: tuple[str, ...], top: float) -> str:
    width = (WIDTH - LEFT - GAP * len(layer)) / len(layer)
    return "".join(box(part, LEFT + (width + GAP) * index, top, width) for index, part in enumerate(layer))


def arrow(height: float) -> str:
    """Which way imports go."""
    end = height - 24
    return (
        f'<path class="line" d="M42 24 V{end} m-6 -8 l6 8 l6 -8"/>'
        f'<text class="side" transform="translate(28 {height / 2}) rotate(-90)">imports</text>'
    )


def picture() -> str:
    """The SVG's text."""
    height = ROW * len(LAYERS) + GAP
    rows = "\n".join(row(layer, GAP + ROW * number) for number, layer in enumerate(reversed(LAYERS)))
    title = "The packages of kser in layers; each imports only from layers below its own."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n{arrow(height)}\n{rows}\n</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(picture(), encoding="utf-8")
