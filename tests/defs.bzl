"""Tests of one folder, run by pytest file by file."""

load("@rules_python//python:defs.bzl", "py_library", "py_test")

def kser_tests(name, srcs, deps, data = [], tags = []):
    """A library `name` of a folder's Python files, a test for each test_*.py among them, and a suite `tests` of these.

    Args:
      name: of the library, which other folders' tests import helpers from.
      srcs: the folder's Python files.
      deps: what any of them imports.
      data: files that the tests read.
      tags: of the tests.
    """
    py_library(name = name, testonly = True, srcs = srcs, data = data, deps = deps)
    for src in srcs:
        if src.startswith("test_"):
            py_test(
                name = src[:-len(".py")],
                args = [native.package_name() + "/" + src],
                main_module = "pytest",
                tags = tags,
                deps = [":" + name, "//tests:conftest", "@pypi//pytest"],
            )
    native.test_suite(name = "tests")
