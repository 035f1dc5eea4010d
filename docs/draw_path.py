"""Draws docs/path.svg, the picture at the head of the README: `python docs/draw_path.py` after a change here."""

from __future__ import annotations

import math
from pathlib import Path

WIDTH, HEIGHT, STEP, BOX = 960, 250, 160, 128
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; text-anchor: middle }
  .small { font-size: 11px; fill: #57606a } .where { font-size: 12px; font-weight: 600; fill: #57606a }
  .box { fill: #ffffff; stroke: #8c959f } .line { stroke: #57606a; fill: none; stroke-width: 1.6 }
  .mark { fill: #0969da } .faint { fill: #0969da; opacity: 0.35 } .extra { fill: #bf8700 }
  .band { fill: #8c959f; opacity: 0.12 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small, .where { fill: #9198a1 } .box { fill: #161b22; stroke: #6e7681 }
    .line { stroke: #9198a1 } .mark, .faint { fill: #4493f8 } .extra { fill: #d29922 }
  }
"""
STEPS = (
    ("recording", "16 kHz, 2.5 s"),
    ("log-mel", "247 frames x 40 bands"),
    ("train with HRF", "W = W1 W2"),
    ("fold", "one kernel W again"),
    ("int8 .tflite", "97 kB for micro"),
    ("board", "a label every 0.5 s"),
)


def rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2"/>'


def wave(x: float, y: float) -> str:
    points = (f"{x + t:.0f},{y + 22 * math.exp(-(((t - 48) / 30) ** 2)) * math.sin(t * 1.1):.1f}" for t in range(0, 97, 2))
    return f'<polyline class="line" points="{" ".join(points)}"/>'


def log_mel(x: float, y: float) -> str:
    cells = ((column, row) for column in range(8) for row in range(5))
    loud = {(c, r): math.sin(1.3 * c) + math.cos(1.7 * r - c / 2) > 0 for c, r in cells}
    return "".join(rect(x + 12 * c, y - 24 + 10 * r, 11, 9, "mark" if on else "faint") for (c, r), on in loud.items())


def factors(x: float, y: float) -> str:
    """Two kernels, W1 wide and W2 narrow, where a Dense layer has one."""
    return rect(x + 2, y - 20, 52, 40, "extra") + rect(x + 66, y - 26, 26, 52, "mark")


def kernel(x: float, y: float) -> str:
    return rect(x + 30, y - 20, 36, 40, "mark")


def integers(x: float, y: float) -> str:
    return "".join(rect(x + 12 + 18 * (i % 4), y - 20 + 14 * (i // 4), 15, 11, "mark") for i in range(12))


def board(x: float, y: float) -> str:
    pins = "".join(rect(x + 16 + 9 * i, y + side, 4, 6, "mark") for i in range(8) for side in (-24, 18))
    return f'<rect class="line" x="{x + 10}" y="{y - 18}" width="76" height="36" rx="3"/>{pins}'


DRAWINGS = (wave, log_mel, factors, kernel, integers, board)


def step(number: int, title: str, note: str, drawing) -> str:
    left, top = 16 + STEP * number, 62
    centre = left + BOX / 2
    arrow = f'<path class="line" d="M{left + BOX + 4} 120 h22 m-6 -5 l6 5 l-6 5"/>' if number + 1 < len(STEPS) else ""
    return (
        f'<rect class="box" x="{left}" y="{top}" width="{BOX}" height="116" rx="8"/>'
        f"{drawing(left + 16, 120)}{arrow}"
        f'<text x="{centre}" y="{top + 136}">{title}</text><text class="small" x="{centre}" y="{top + 153}">{note}</text>'
    )


def where(first: int, last: int, text: str) -> str:
    """A band behind some steps that says where they run."""
    left, right = 8 + STEP * first, 24 + STEP * last + BOX
    return (
        f'<rect class="band" x="{left}" y="18" width="{right - left}" height="222" rx="10"/>'
        f'<text class="where" x="{(left + right) / 2}" y="42">{text}</text>'
    )


def picture() -> str:
    """The SVG's text."""
    steps = "\n".join(step(n, *names, drawing) for n, (names, drawing) in enumerate(zip(STEPS, DRAWINGS, strict=True)))
    title = "A recording becomes log-mel, trains a network with HRF, which is folded, made int8 and runs on a board."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n"
        f"{where(0, 4, 'on your computer')}\n{where(5, 5, 'on its own')}\n{steps}\n</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("path.svg").write_text(picture(), encoding="utf-8")
