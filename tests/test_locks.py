"""What pins and ranges say of versions agrees, and covers what kser imports."""

from __future__ import annotations

import ast
import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kser
from tests import build_files, imports
from tests.imports import ROOT


def read_lock(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(r.name): r for r in requirements}


def pinned_version(requirement: Requirement) -> str:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==" and "*" not in specifier.version, f"{requirement} is not pinned"
    return specifier.version


@pytest.fixture(scope="module")
def setup_constants() -> dict:
    """The literal constants of setup.py by name."""
    statements = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
    constants = {s.targets[0].id: s.value for s in statements if isinstance(s, ast.Assign)}
    return {name: ast.literal_eval(constants[name]) for name in ("INSTALL_REQUIRES", "EXTRAS_REQUIRE")}


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


def test_third_party_deps_are_locked():
    locked = {"@pypi//" + name.replace("-", "_") for name in read_lock("requirements-dev.lock")}
    assert {dep for target in build_files.read_targets() for dep in target.deps if dep.startswith("@")} <= locked


def test_what_kser_imports_is_required_by_setup(setup_constants):
    files = [path for path in imports.python_files() if path.startswith("kser/")]
    labels = {imports.package_label(module) for path in files for module in imports.imported_modules(path)} - {None}
    imported = {canonicalize_name(label.removeprefix("@pypi//")) for label in labels}
    required = setup_constants["INSTALL_REQUIRES"] + setup_constants["EXTRAS_REQUIRE"]["beam"]
    assert imported <= {canonicalize_name(Requirement(text).name) for text in required}
