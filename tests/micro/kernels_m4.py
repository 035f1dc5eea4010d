"""Builds and runs kernels_cost.cpp here and on a Cortex-M that QEMU emulates, instruction by instruction."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parents[1] / "deploy" / "kser_micro" / "src" / "kernels"
# The arithmetic, without what makes ops of TFLM out of it.
SOURCES = [
    *(KERNELS / f"{name}.cpp" for name in ("convolution", "depthwise", "elementwise", "l2_normalization", "lookup")),
    *(KERNELS / f"{name}.cpp" for name in ("matrix_product", "mean", "pad", "quantize", "softmax", "tables", "two_rows")),
]
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", f"-I{KERNELS}")
BARE = (
    "-mthumb",
    "-fno-exceptions",
    "-fno-rtti",
    "--specs=nano.specs",
    "--specs=nosys.specs",
    "-nostartfiles",
    "-Wl,--gc-sections",
    "-Wl,--no-warn-rwx-segments",
)
TIMEOUT_SECONDS = 120


def missing_tool() -> str | None:
    """What is needed for the emulated board and not there, None if nothing."""
    needed = ("g++", "arm-none-eabi-g++", "qemu-system-arm")
    return next((f"no {tool}" for tool in needed if shutil.which(tool) is None), None)


@dataclass(frozen=True)
class Board:
    """A machine of QEMU's and the compiler's flags for its processor."""

    machine: str
    flags: tuple[str, ...]


M4F = Board("mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"))
# Without the DSP instructions: the kernels in plain C++.
M3 = Board("mps2-an385", ("-mcpu=cortex-m3",))


@dataclass(frozen=True)
class Figure:
    """One kernel at one shape: units of work (elements or multiply-accumulates), instructions, checksum of the output."""

    kernel: str
    shape: str
    work: int
    instructions: int
    checksum: int

    @property
    def terms(self) -> int:
        """Of a matrix op: products in one sum."""
        return int(re.findall(r"\d+", self.shape)[-1])

    @property
    def cost(self) -> float:
        """Instructions for a unit of work."""
        return self.instructions / self.work


def run_on_host(folder: Path, standard: str = "c++17") -> list[Figure]:
    """The figures of this computer; it counts no instructions."""
    program = folder / "kernels_cost"
    command = ["g++", f"-std={standard}", "-O2", *WARNINGS, *map(str, SOURCES), str(HERE / "kernels_cost.cpp")]
    subprocess.run([*command, "-o", str(program)], check=True)
    return _figures(subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout)


def run_on_board(folder: Path, board: Board = M4F) -> list[Figure]:
    """The figures of an emulated board."""
    program = folder / "kernels_cost.elf"
    sources = [*SOURCES, HERE / "kernels_cost.cpp", HERE / "kernels_start.cpp"]
    command = ["arm-none-eabi-g++", *board.flags, "-std=c++17", "-O2", *WARNINGS, *BARE, f"-T{HERE / 'kernels.ld'}"]
    # Newlib's stubs of system calls warn when they are linked, though nothing calls them.
    subprocess.run([*command, *map(str, sources), "-o", str(program)], check=True, stderr=subprocess.DEVNULL)
    emulator = ["qemu-system-arm", "-M", board.machine, "-nographic", "-icount", "shift=0"]
    emulator += ["-semihosting-config", "enable=on,target=native", "-kernel", str(program)]
    done = subprocess.run(emulator, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    return _figures(done.stderr)


def _figures(text: str) -> list[Figure]:
    rows = [line.split() for line in text.splitlines()]
    return [Figure(kernel, shape, int(work), int(count), int(checksum)) for kernel, shape, work, count, checksum in rows]
