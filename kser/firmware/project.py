"""A complete firmware project of one model for one board: the shell of the board, the library, and what is generated.

Shells and library are the files of deploy/ in kser's source tree, which a wheel holds as kser/deploy (see setup.py); here is
only which of them go where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import kser
from kser.boards.catalog import Board, find_board
from kser.boards.doctor import Figures
from kser.boards.memory_planner import with_margin
from kser.boards.own_kernels import kernels_of
from kser.errors import ConfigError, KserError
from kser.export import convert
from kser.firmware import codegen
from kser.tflite import interpreter, model_file, op_graph

_PACKAGE = Path(kser.__file__).resolve().parent
# A wheel holds the folder in the package, a checkout beside it.
DEPLOY = _PACKAGE / "deploy" if (_PACKAGE / "deploy").is_dir() else _PACKAGE.parent / "deploy"
SWITCHES = "kernels/switches.h"


@dataclass(frozen=True)
class _Shell:
    """Folders of deploy/ by the folder of the project they are copied to, later ones over earlier ones, and the folder of
    the library's sources, which those of the model join."""

    folders: tuple[tuple[str, str], ...]
    sources: str
    readme: str


def _arduino(board: str, microphone: str, *more: tuple[str, str]) -> _Shell:
    """The library lies inside the sketch, where every Arduino tool compiles it without being told."""
    sources = "speech_emotion/src/kser_micro"
    shells = ("arduino/common", f"arduino/{microphone}", f"arduino/boards/{board}")
    return _Shell((*((shell, "") for shell in shells), *more, ("kser_micro/src", sources)), sources, "arduino/README.md")


def _arduino_esp32(board: str, chip: str) -> _Shell:
    """The microphone and its wires are those of the ESP-IDF project."""
    shared = ((folder, "speech_emotion") for folder in ("esp32/microphone", f"esp32/boards/{chip}/main"))
    return _arduino(board, "esp32", *shared)


def _esp32(board: str) -> _Shell:
    shells = (("esp32/common", ""), ("esp32/microphone", "main"), (f"esp32/boards/{board}", ""))
    library = "components/kser_micro"
    folders = (*shells, ("esp32/examples", "examples"), ("kser_micro", library))
    return _Shell(folders, f"{library}/src", "esp32/README.md")


def _cmake(board: str) -> _Shell:
    folders = (("cmake/common", ""), (f"cmake/boards/{board}", ""), ("kser_micro/src", "kser_micro"))
    return _Shell(folders, "kser_micro", "cmake/README.md")


_BLUETOOTH = ("arduino/examples", "examples")
_SHELLS: Mapping[str, _Shell] = {
    **{board: _arduino(board, "pdm", _BLUETOOTH) for board in ("nano33ble", "xiao_nrf52840", "portenta_h7", "nicla_vision")},
    "nano_rp2040": _arduino("nano_rp2040", "pdm"),
    **{board: _arduino(board, "i2s") for board in ("rp2040", "pico2")},
    **{board: _arduino(board, "teensy") for board in ("teensy40", "teensy41")},
    **{f"{chip}_arduino": _arduino_esp32(f"{chip}_arduino", chip) for chip in ("esp32", "esp32s3")},
    **{board: _esp32(board) for board in ("esp32", "esp32s3", "xiao_esp32s3", "esp32c3")},
    **{board: _cmake(board) for board in ("generic_m4", "generic_m55")},
}


def require_shell(board: str) -> None:
    """Raises ConfigError unless there are sources of a project for the board."""
    if board not in _SHELLS:
        raise ConfigError(f"There is no project for the board '{board}'; there is one for {', '.join(_SHELLS)}.")


def project_files(model_bytes: bytes, board: str, figures: Figures) -> dict[str, bytes]:
    """All files of the project, by relative path.

    Args:
      model_bytes: an int8 .tflite with kser's metadata.
      figures: the doctor's, for this model on this board.

    Raises:
      ConfigError: there is no project for the board.
      ModelFileError: the model is not int8, or its metadata is damaged.
    """
    require_shell(board)
    shell = _SHELLS[board]
    files = {"README.md": (DEPLOY / shell.readme).read_bytes()}
    for source, target in shell.folders:
        files |= {f"{target}/{path}".lstrip("/"): data for path, data in _folder(source).items()}
    texts = model_sources(model_bytes, find_board(board), figures)
    return files | {f"{shell.sources}/{name}": text.encode() for name, text in texts.items()}


def _folder(name: str) -> dict[str, bytes]:
    root = DEPLOY / name
    files = (p for p in sorted(root.rglob("*")) if p.is_file() and p.name != "BUILD")  # BUILD is this tree's Bazel's
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


def model_sources(model_bytes: bytes, board: Board, figures: Figures) -> dict[str, str]:
    """The generated files, by path in the folder of the library's sources."""
    metadata, description = model_file.read_metadata(model_bytes), op_graph.describe(model_bytes)
    nodes = op_graph.graph_nodes(model_file.parse(model_bytes))
    own_ops = kernels_of(nodes, board.library.kernels).own
    golden = codegen.golden_input(metadata, description)
    header, source = convert.cc_sources(model_bytes, "kser_model")
    return {
        "kser_settings.h": codegen.settings_source(metadata, description),
        "kser_resolver.h": codegen.resolver_source(description, own_ops),
        "kser_memory.h": codegen.memory_source(arena_bytes(figures), figures.ring_samples),
        "kser_golden.h": codegen.golden_source(golden, _logits(model_bytes, golden)),
        SWITCHES: codegen.switches_source((DEPLOY / "kser_micro/src" / SWITCHES).read_text(encoding="utf-8"), own_ops),
        "kser_model.h": header,
        "kser_model.cpp": source,
    }


def arena_bytes(figures: Figures) -> int:
    """The doctor's arena and a margin."""
    if figures.arena_bytes is None:
        raise KserError("How large an arena the model needs could not be found out; see bin/doctor.")
    return with_margin(figures.arena_bytes)


def _logits(model_bytes: bytes, golden: np.ndarray) -> np.ndarray:
    """(num_classes,) int8 of the golden input, by LiteRT's reference kernels: they multiply a Dense layer's scales in
    float32, as boards do, where the tflite-micro wheel does in double."""
    return interpreter.LiteRTRunner(model_bytes).invoke(golden[np.newaxis])[0]
