"""Debian's Bazel analyses every target. It does so offline, for stand-ins take the place of what Bazel would fetch."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import build_files
from tests.imports import PYTHON_FOLDERS, ROOT

# The name under which Debian's package bazel-bootstrap installs Bazel 4.2: others start by fetching rules.
BAZEL = shutil.which("bazel-4")

PYTHON_RULES = """
PythonInfo = provider()

def _library(ctx):
    return [PythonInfo()]

def _program(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(program, "", is_executable = True)
    return [DefaultInfo(executable = program)]

_ATTRIBUTES = {
    "srcs": attr.label_list(allow_files = [".py"]),
    "data": attr.label_list(allow_files = True),
    "deps": attr.label_list(providers = [PythonInfo]),
    "main_module": attr.string(),
}

py_library = rule(implementation = _library, attrs = _ATTRIBUTES)
py_binary = rule(implementation = _program, attrs = _ATTRIBUTES, executable = True)
py_test = rule(implementation = _program, attrs = _ATTRIBUTES, test = True)
"""
CC_RULES = """
CcInfo = provider()

def _library(ctx):
    return [CcInfo()]

cc_library = rule(
    implementation = _library,
    attrs = {
        "srcs": attr.label_list(allow_files = [".cc", ".cpp"]),
        "hdrs": attr.label_list(allow_files = [".h"]),
        "deps": attr.label_list(providers = [CcInfo]),
    },
)

# Bazel's own tools load these.
def cc_toolchain(**_):
    pass

def cc_toolchain_suite(**_):
    pass
"""
LOCKED_PACKAGE = """load("@rules_python//python:defs.bzl", "py_library")

py_library(
    name = "{name}",
    visibility = ["//visibility:public"],
)
"""
COVERAGE_TOOLS = """package(default_visibility = ["//visibility:public"])

filegroup(name = "coverage_report_generator")

filegroup(name = "lcov_merger")
"""


def _write_files(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def _write_stand_ins(folder: Path) -> list[str]:
    """Repositories of the names that the tree loads from; returns the options that put them in."""
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    packages = [name.lower().replace("-", "_") for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)]
    repositories = {
        "rules_python": {"python/BUILD": "", "python/defs.bzl": PYTHON_RULES},
        "rules_cc": {"cc/BUILD": "", "cc/defs.bzl": CC_RULES},
        "pypi": {f"{name}/BUILD": LOCKED_PACKAGE.format(name=name) for name in packages},
        "remote_coverage_tools": {"BUILD": COVERAGE_TOOLS},
    }
    for name, files in repositories.items():
        _write_files(folder / name, {"WORKSPACE": "", **files})
    return [f"--override_repository={name}={folder / name}" for name in repositories]


def _link_tree(folder: Path) -> None:
    """Bazel 4 wants a WORKSPACE file at the root, which the tree itself does without."""
    _write_files(folder, {"WORKSPACE": 'workspace(name = "kser")\n'})
    for name in ("BUILD", "pyproject.toml", "deploy", *PYTHON_FOLDERS):
        (folder / name).symlink_to(ROOT / name)


@pytest.mark.skipif(BAZEL is None, reason="needs Debian's Bazel: apt-get install bazel-bootstrap")
def test_bazel_analyses_every_target(tmp_path):
    _link_tree(tmp_path / "kser")
    manual = [t.label for t in build_files.read_targets() if "manual" in t.attributes.get("tags", ())]
    assert manual
    completed = subprocess.run(
        [BAZEL, "--batch", f"--output_user_root={tmp_path / 'output'}", "build", "--nobuild", "--noshow_progress"]
        + [*_write_stand_ins(tmp_path / "stand_ins"), "--", "//...", *manual],
        cwd=tmp_path / "kser",
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stderr
    assert re.search(r"Analyzed \d+ targets", completed.stderr)
