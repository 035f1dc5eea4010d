"""The Python files of the tree and what they import, read without importing any."""

from __future__ import annotations

import ast
import functools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_FOLDERS = ("kser", "tests", "benchmarks", "docs")

# Import names that are not the package's name.
PACKAGE_OF = {"absl": "absl_py", "google": "protobuf", "serial": "pyserial", "sklearn": "scikit_learn"}
# Only benchmarks compare with librosa, and ask for it where it is missing; locking it would lock 20 packages.
NOT_LOCKED = {"librosa"}


def python_files() -> list[str]:
    """Every Python file of the tree but setup.py, relative to the root."""
    return sorted(path.relative_to(ROOT).as_posix() for top in PYTHON_FOLDERS for path in (ROOT / top).rglob("*.py"))


def is_test(path: str) -> bool:
    return path.startswith("tests/") and Path(path).name.startswith("test_")


@functools.cache
def imported_names(path: str) -> set[str]:
    """Dotted names of all that the file imports, wherever in it: `from a import b` is a.b, be it module or function.

    What kser/__init__.py imports inside its functions is loaded when it is asked for, and needs `kser` itself.
    """
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    nodes = tree.body if path == "kser/__init__.py" else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def imported_modules(path: str) -> set[str]:
    """Like `imported_names`, with the module in place of the things imported from a module of this tree."""
    names = imported_names(path)
    return {n.rpartition(".")[0] if n.split(".")[0] in PYTHON_FOLDERS and not module_file(n) else n for n in names}


def module_file(module: str) -> str | None:
    """The file of a module of this tree, or None."""
    stem = module.replace(".", "/")
    return next((name for name in (f"{stem}.py", f"{stem}/__init__.py") if (ROOT / name).is_file()), None)


def module_of(path: str) -> str:
    """The module that a file is: kser/audio/__init__.py is kser.audio."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def package_label(module: str) -> str | None:
    """The label of the locked package that has a module, or None for modules of Python's own or of this tree."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in NOT_LOCKED or top in PYTHON_FOLDERS:
        return None
    return f"@pypi//{PACKAGE_OF.get(top, top)}"
