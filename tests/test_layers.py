"""kser's packages import downwards only, and load nothing that they do not need."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from docs import draw_architecture
from tests import imports
from tests.layers import LAYERS, NOT_FOR, ONLY_IN, part_of, rank

PARTS = [part for layer in LAYERS for part in layer]
FILES = [path for path in imports.python_files() if path.startswith("kser/")]
MODULES = [imports.module_of(path) for path in FILES]

# Imports groups of modules one after the other, and prints after each what Python has loaded by then.
LOADED = """
import importlib, json, sys
for group in json.loads(sys.argv[1]):
    for module in group:
        importlib.import_module(module)
    print(json.dumps(sorted(sys.modules)))
"""


def modules_of(*parts: str, without: tuple[str, ...] = ()) -> list[str]:
    return [module for module in MODULES if part_of(module) in parts and module not in without]


def test_the_table_has_every_package_once():
    assert sorted(PARTS) == sorted({part_of(module) or module for module in MODULES} - {"kser"})


@pytest.mark.parametrize("part", PARTS)
def test_imports_go_down(part):
    allowed = {p for p in PARTS if rank(p) < rank(part)} - NOT_FOR.get(part, set()) | {part, ""}
    paths = [path for path, module in zip(FILES, MODULES, strict=True) if part_of(module) == part]
    pairs = [(path, imported) for path in paths for imported in sorted(imports.imported_modules(path))]
    assert [f"{path} imports {imported}" for path, imported in pairs if part_of(imported) not in allowed] == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_library_is_imported_only_where_it_belongs(library):
    users = [f"{module}." for path, module in zip(FILES, MODULES, strict=True) if library in _top_names(path)]
    assert users, "nothing imports it"
    assert [user for user in users if not user.startswith(tuple(f"{module}." for module in ONLY_IN[library]))] == []


def _top_names(path: str) -> set[str]:
    return {name.split(".")[0] for name in imports.imported_names(path)}


@pytest.fixture(scope="module")
def loaded() -> tuple[set[str], set[str]]:
    """What is loaded with the networks and their export, and then with all that is below the boards."""
    # The export of a run directory measures a run, which knows its corpus; Beam is an extra that pip installs on demand.
    conversion = modules_of("models", "export", without=("kser.export.run_exporter",))
    rest = modules_of(*PARTS[: PARTS.index("boards")], without=("kser.audio.preview", "kser.datasets.beam_scan"))
    arguments = [sys.executable, "-c", LOADED, json.dumps([conversion, rest])]
    completed = subprocess.run(arguments, cwd=imports.ROOT, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    first, second = completed.stdout.splitlines()
    return set(json.loads(first)), set(json.loads(second))


def test_conversion_loads_no_corpus(loaded):
    assert "kser.export.fold" in loaded[0]
    assert {module for module in loaded[0] if part_of(module) == "datasets"} == set()


def test_nothing_below_loads_doctor_search_or_plots(loaded):
    assert "kser.training.trainer" in loaded[1]
    upper = {module for module in loaded[1] if part_of(module) in PARTS[PARTS.index("boards") :]}
    assert upper | {"matplotlib"} & loaded[1] == set()


def test_the_picture_is_drawn_from_the_table():
    drawn = draw_architecture.picture()
    stored = (imports.ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert stored == drawn, "run `.venv/bin/python -m docs.draw_architecture`"
    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.get("class") == "name"]
    assert sorted(texts) == sorted(PARTS)


def test_the_page_names_files_that_exist():
    page = (imports.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:kser|deploy|tests|bin|docs)/[\w./]*)`", page)
    assert paths
    assert [path for path in paths if not (imports.ROOT / path).exists()] == []
