"""The BUILD files hold every source once, say what it imports, and hold nothing that Bazel refuses."""

from __future__ import annotations

import ast
import dataclasses
import os
from collections import Counter

import pytest

from tests import build_files, imports
from tests.build_files import UPDATE, Target
from tests.imports import ROOT


@pytest.fixture(scope="module")
def targets() -> list[Target]:
    return build_files.read_targets()


@pytest.fixture(scope="module")
def python_targets(targets) -> list[Target]:
    return [t for t in targets if t.rule.startswith("py_")]


def test_every_source_is_in_exactly_one_target(targets):
    sources = Counter(src for t in targets for src in t.srcs if t.rule.startswith(("py_", "cc_")))
    files = Counter(set(imports.python_files() + build_files.cc_files()))
    assert sources - files == Counter(), "of two targets, or of none of this tree's folders"
    assert files - sources == Counter(), f"in no target; {UPDATE}"


def test_deps_are_the_imports(targets, python_targets):
    owner_of = build_files.owners(targets)
    wrong = {t.label for t in python_targets if set(t.deps) != build_files.expected_deps(t, owner_of)}
    assert wrong == set(), f"deps are not the imports; {UPDATE}"


def test_update_changes_nothing():
    """The files are as `--write` writes them; else two who write them would undo each other's lines."""
    assert build_files.updated() == {}, UPDATE


def test_every_test_file_has_a_target_that_runs_it(targets):
    run = Counter(t.attributes["args"][0] for t in targets if t.rule == "py_test")
    assert run == Counter(filter(imports.is_test, imports.python_files()))


def test_every_program_has_a_target_that_runs_it(targets):
    run = {t.attributes["main_module"] for t in targets if t.rule == "py_binary"}
    assert run == {module for path, module in _programs().items() if path.startswith(("kser/", "benchmarks/"))}


def _programs() -> dict[str, str]:
    """Module names of the files that can be run, by path."""
    paths = imports.python_files()
    runnable = [path for path in paths if '\nif __name__ == "__main__":' in (ROOT / path).read_text(encoding="utf-8")]
    return {path: imports.module_of(path) for path in runnable}


def test_the_suite_has_every_folder_of_tests(targets):
    (suite,) = (t for t in targets if t.label == "//:tests")
    suites = [build_files.absolute(label, "") for label in suite.attributes["tests"]]
    assert sorted(suites) == build_files.expected_suites(targets), UPDATE


def test_bazel_would_refuse_nothing(targets):
    assert build_files.refusals(targets) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"label": "//kser:errors"}, "there twice"),
        ({"deps": ("//kser:nothing",)}, "nowhere"),
        ({"deps": ("//tests:helpers",)}, "not testonly"),
        ({"deps": ("//kser:errors", "//kser:errors")}, "twice"),
        ({"deps": ("//kser:new",)}, "circle"),
        ({"srcs": ("kser/nothing.py",)}, "not its package's"),
        ({"srcs": ("kser/audio/reading.py",)}, "not its package's"),
    ],
)
def test_refused(changes, complaint):
    old = Target("py_library", "//kser:errors", srcs=("kser/errors.py",), deps=(), attributes={})
    helpers = Target("py_library", "//tests:helpers", srcs=(), deps=(), attributes={"testonly": True})
    new = dataclasses.replace(old, **{"label": "//kser:new", "srcs": (), **changes})
    (sentence,) = build_files.refusals([old, helpers, new])
    assert complaint in sentence


def test_every_command_has_launcher_and_entry_point():
    commands = {path[len("kser/cli/") : -len(".py")] for path in _programs() if path.startswith("kser/cli/")}
    launchers = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "bin").iterdir()}
    assert {n for n, text in launchers.items() if f'/_run" {n} "$@"' in text} == commands
    statements = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
    (named,) = (s.value for s in statements if isinstance(s, ast.Assign) and s.targets[0].id == "COMMANDS")
    assert set(ast.literal_eval(named)) == commands


@pytest.mark.parametrize("path", sorted((ROOT / "bin").iterdir()) + [ROOT / ".ci" / "run"], ids=lambda p: p.name)
def test_scripts_are_executable(path):
    assert os.access(path, os.X_OK)
