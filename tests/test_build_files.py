"""BUILD covers the tree and agrees with its imports, the layers hold, and the packaging files agree with each other."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kser

ROOT = Path(__file__).resolve().parent.parent
FIRST_PARTY = ("kser", "tests", "benchmarks")

# Lowest first. A module imports from its own layer and those below, and the model's side never from the data's.
BASE_LAYERS = (("kser", "errors"), ("atomic", "board_link", "config", "metrics", "threads"))
DATA_LAYERS = (
    ("audio", "features", "augment", "sound_augment"),
    ("board_features", "datasets"),
    ("scan",),
    ("feature_cache", "manifest", "beam_scan"),
    ("pipeline", "prepare"),
)
MODEL_LAYERS = (
    ("inference", "layers"),
    ("backbones", "graph"),
    ("fold", "linear", "deploy"),
    ("quantize",),
    ("convert", "tflite", "boards", "compress"),
    ("cost", "examine", "guarded", "parity", "arena", "lowering", "sketch"),
    ("findings", "checks", "doctor"),
    ("fit",),
)
TOP_LAYERS = (
    ("rundir", "evaluate"),
    ("report", "teachers", "train"),
    ("export", "firmware", "material", "predict"),
    ("project",),
    ("board_parity", "preview", "workflow"),
    ("cli",),
)
LAYERS = BASE_LAYERS + DATA_LAYERS + MODEL_LAYERS + TOP_LAYERS
LAYER_OF = {part: index for index, layer in enumerate(LAYERS) for part in layer}
DATA_PARTS = {part for layer in DATA_LAYERS[1:] for part in layer}
MODEL_PARTS = {part for layer in MODEL_LAYERS for part in layer}

# Import names that are not the package's name.
PACKAGE_OF = {"absl": "absl_py", "google": "protobuf", "serial": "pyserial", "sklearn": "scikit_learn"}
# Only benchmarks compare with librosa, which brings threadpoolctl, and ask for it where it is missing; locking it would lock
# 20 packages.
NOT_LOCKED = {"librosa", "threadpoolctl"}


@dataclass(frozen=True)
class Target:
    """A BUILD rule's call."""

    rule: str
    name: str
    srcs: tuple[str, ...]
    deps: tuple[str, ...]
    args: tuple[str, ...]


def read_targets() -> dict[str, Target]:
    """The targets of BUILD that have sources, by name. Starlark's calls are Python's."""
    statements = ast.parse((ROOT / "BUILD").read_text(encoding="utf-8")).body
    targets = [_target(s.value) for s in statements if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)]
    with_sources = [t for t in targets if t.srcs]
    assert len({t.name for t in with_sources}) == len(with_sources), "two targets of one name"
    return {t.name: t for t in with_sources}


def _target(call: ast.Call) -> Target:
    values = {k.arg: k.value for k in call.keywords}
    lists = {name: _literal_list(values.get(name)) for name in ("srcs", "hdrs", "deps", "args")}
    lists["srcs"] += lists.pop("hdrs")
    name = ast.literal_eval(values["name"]) if "name" in values else ""
    return Target(rule=call.func.id, name=name, **lists)


def _literal_list(node) -> tuple[str, ...]:
    return tuple(ast.literal_eval(node)) if isinstance(node, ast.List) else ()


def python_files() -> list[str]:
    """Every Python file of the library, the tests and the benchmarks, relative to the root."""
    return sorted(str(path.relative_to(ROOT)) for top in FIRST_PARTY for path in (ROOT / top).rglob("*.py"))


def cc_files() -> list[str]:
    """Every C++ file of the tree, relative to the root."""
    folders = [ROOT / top for top in ("deploy", "tests")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".h", ".cc", ".cpp")]
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def module_file(module: str) -> str | None:
    """The file of a module of this tree, or None."""
    stem = module.replace(".", "/")
    return next((name for name in (f"{stem}.py", f"{stem}/__init__.py") if (ROOT / name).is_file()), None)


def imported_names(path: str) -> set[str]:
    """Dotted names of all that the file imports, wherever in it: `from a import b` is a.b, be it module or function."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def imported_modules(path: str) -> set[str]:
    """Like `imported_names`, with the module in place of the things imported from a module of this tree."""
    names = imported_names(path)
    return {n.rpartition(".")[0] if n.split(".")[0] in FIRST_PARTY and not module_file(n) else n for n in names}


def expected_deps(path: str, owners: dict[str, str]) -> set[str]:
    """Labels that the target of this file needs; `owners` are the targets' names by source file."""
    deps = {_label(module, owners) for module in imported_modules(path)} - {None}
    if path.startswith("kser/"):
        deps.add(":kser")  # The package itself, which is imported first.
    if is_test(path):
        deps |= {":conftest", "@pypi//pytest"}
    return deps - {":" + owners[path]}


def _label(module: str, owners: dict[str, str]) -> str | None:
    top = module.partition(".")[0]
    if top in FIRST_PARTY:
        assert module_file(module), f"no file of this tree is the module {module}"
        return ":" + owners[module_file(module)]
    if top in sys.stdlib_module_names or top in NOT_LOCKED:
        return None
    return f"@pypi//{PACKAGE_OF.get(top, top)}"


def is_test(path: str) -> bool:
    return path.startswith("tests/") and Path(path).name.startswith("test_")


def expected_rule(path: str) -> str:
    if is_test(path):
        return "py_test"
    return "py_binary" if path in command_files().values() or path.startswith("benchmarks/") else "py_library"


def command_files() -> dict[str, str]:
    """The modules of kser.cli that are programs, by name."""
    modules = sorted((ROOT / "kser" / "cli").glob("*.py"))
    return {p.stem: str(p.relative_to(ROOT)) for p in modules if 'if __name__ == "__main__":' in p.read_text("utf-8")}


def part_of(module: str) -> str:
    """What ARCHITECTURE calls kser.datasets.corpus: datasets."""
    return (module.split(".") + ["kser"])[1]


def read_lock(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(r.name): r for r in requirements}


def pinned_version(requirement: Requirement) -> str:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==" and "*" not in specifier.version, f"{requirement} is not pinned"
    return specifier.version


@pytest.fixture(scope="module")
def targets() -> dict[str, Target]:
    return read_targets()


@pytest.fixture(scope="module")
def owners(targets) -> dict[str, str]:
    return {src: target.name for target in targets.values() for src in target.srcs}


@pytest.fixture(scope="module")
def setup_constants() -> dict:
    """The literal constants of setup.py by name."""
    statements = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
    constants = {s.targets[0].id: s.value for s in statements if isinstance(s, ast.Assign)}
    return {name: ast.literal_eval(constants[name]) for name in ("COMMANDS", "INSTALL_REQUIRES", "EXTRAS_REQUIRE")}


def test_every_python_file_is_in_exactly_one_target(targets):
    python_srcs = Counter(s for t in targets.values() for s in t.srcs if s.endswith(".py"))
    assert python_srcs == Counter(python_files())


def test_every_cc_file_is_in_exactly_one_target(targets):
    cc_srcs = Counter(s for t in targets.values() if t.rule.startswith("cc_") for s in t.srcs)
    assert cc_srcs == Counter(cc_files())


def test_every_source_exists(targets):
    assert [s for t in targets.values() for s in t.srcs if not (ROOT / s).is_file()] == []


def test_rules_fit_their_sources(targets):
    rules = {src: target.rule for target in targets.values() for src in target.srcs if src.endswith(".py")}
    assert rules == {path: expected_rule(path) for path in rules}


def test_every_py_test_runs_its_own_file(targets):
    py_tests = [t for t in targets.values() if t.rule == "py_test"]
    assert py_tests
    assert [t.name for t in py_tests if t.args != t.srcs] == []


def test_every_local_dep_exists(targets):
    labels = {dep for target in targets.values() for dep in target.deps if dep.startswith(":")}
    assert labels - {":" + name for name in targets} == set()


def test_deps_are_the_imports(targets, owners):
    python_targets = [t for t in targets.values() if t.rule.startswith("py_")]
    expected = {t.name: set().union(*(expected_deps(s, owners) for s in t.srcs)) - {f":{t.name}"} for t in python_targets}
    assert {t.name: set(t.deps) for t in python_targets} == expected
    assert [t.name for t in python_targets if len(t.deps) != len(set(t.deps))] == []


def test_third_party_deps_are_locked(targets):
    locked = read_lock("requirements-dev.lock")
    labels = {d.removeprefix("@pypi//") for t in targets.values() for d in t.deps if d.startswith("@pypi//")}
    assert {label for label in labels if canonicalize_name(label) not in locked} == set()


def test_targets_form_no_circle(targets):
    graph = {name: [d[1:] for d in target.deps if d.startswith(":")] for name, target in targets.items()}
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(targets)


@pytest.mark.parametrize("path", [p for p in python_files() if p.startswith("kser/")])
def test_imports_go_down_the_layers(path):
    part = part_of(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    assert part in LAYER_OF, f"say in LAYERS where {path} belongs"
    imported = {part_of(m) for m in imported_modules(path) if m.split(".")[0] == "kser"}
    assert {p for p in imported if LAYER_OF[p] > LAYER_OF[part]} == set()
    assert part not in MODEL_PARTS or not imported & DATA_PARTS


def test_only_commands_know_flags():
    below = [p for p in python_files() if p.startswith("kser/") and not p.startswith("kser/cli/")]
    assert [p for p in below if any(name.startswith("absl.flags") for name in imported_names(p))] == []


def test_every_command_has_launcher_and_entry_point(setup_constants):
    commands = set(command_files())
    launchers = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "bin").iterdir()}
    assert {n for n, text in launchers.items() if f'/_run" {n} "$@"' in text} == commands
    assert set(setup_constants["COMMANDS"]) == commands


@pytest.mark.parametrize("path", sorted((ROOT / "bin").iterdir()) + [ROOT / ".ci" / "run"], ids=lambda p: p.name)
def test_scripts_are_executable(path):
    assert os.access(path, os.X_OK)


def test_versions_agree():
    module = re.search(r'name = "kser",\n    version = "(.+)"', (ROOT / "MODULE.bazel").read_text(encoding="utf-8"))
    assert module.group(1) == kser.__version__


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_are_whole(name):
    """Each locked package's own requirements are locked too, to versions it accepts (as far as installed here)."""
    lock = read_lock(name)
    needs = [(package, need) for package, pin in lock.items() for need in _needs(package, pinned_version(pin))]
    assert needs, "none of the locked packages is installed"
    unmet = [f"{package} needs {need}" for package, need in needs if not _is_met(need, lock)]
    assert unmet == []


def _needs(package: str, version: str) -> list[Requirement]:
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return []
    if distribution.version != version:
        return []
    needs = [Requirement(text) for text in distribution.requires or []]
    return [n for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]


def _is_met(need: Requirement, lock: dict[str, Requirement]) -> bool:
    pin = lock.get(canonicalize_name(need.name))
    return pin is not None and need.specifier.contains(pinned_version(pin), prereleases=True)


def test_dev_lock_only_adds_to_the_runtime_lock():
    runtime, dev = read_lock("requirements.lock"), read_lock("requirements-dev.lock")
    assert {name: str(pin) for name, pin in dev.items() if name in runtime} == {n: str(pin) for n, pin in runtime.items()}


def test_ranges_of_setup_admit_the_pins(setup_constants):
    runtime, dev = setup_constants["INSTALL_REQUIRES"], setup_constants["EXTRAS_REQUIRE"]["dev"]
    assert [text for text in runtime if not _is_met(Requirement(text), read_lock("requirements.lock"))] == []
    assert [text for text in dev if not _is_met(Requirement(text), read_lock("requirements-dev.lock"))] == []


def test_what_kser_imports_is_required_by_setup(targets, setup_constants):
    libraries = [t for t in targets.values() if t.srcs[0].startswith("kser/")]
    imported = {canonicalize_name(d.removeprefix("@pypi//")) for t in libraries for d in t.deps if d.startswith("@pypi//")}
    required = setup_constants["INSTALL_REQUIRES"] + setup_constants["EXTRAS_REQUIRE"]["beam"]
    assert imported <= {canonicalize_name(Requirement(text).name) for text in required}
