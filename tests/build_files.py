"""Reads the BUILD files, and writes their deps anew from the imports: `python -m tests.build_files --write`.

Starlark's statements are Python's, so a BUILD file is run as Python, with rules that only record how they are called.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from tests.imports import PYTHON_FOLDERS, ROOT, imported_modules, module_file, module_of, package_label, python_files

UPDATE = "run `.venv/bin/python -m tests.build_files --write`"
CC_FOLDERS = ("deploy", "tests")
CC_SUFFIXES = (".h", ".cc", ".cpp")
BUILTIN_RULES = ("alias", "exports_files", "filegroup", "package", "test_suite")

LIBRARY = '''"""{docstring}"""

load("@rules_python//python:defs.bzl", "py_library")

package(default_visibility = ["//visibility:public"])

py_library(
    name = "{name}",
    srcs = glob(["*.py"]),
    deps = [],
)
'''
MODULE = """
py_library(
    name = "{name}",
    srcs = ["{name}.py"],
    deps = [],
)
"""
TESTS = """load("//tests:defs.bzl", "kser_tests")

package(default_visibility = ["//visibility:public"])

kser_tests(
    name = "{name}",
    srcs = glob(["*.py"]),
    deps = [],
)
"""


@dataclass(frozen=True)
class Target:
    """One call of a rule; `srcs` are paths from the root, `deps` labels with package and name."""

    rule: str
    label: str
    srcs: tuple[str, ...]
    deps: tuple[str, ...]
    attributes: dict

    @property
    def package(self) -> str:
        return self.label[2:].partition(":")[0]

    @property
    def is_testonly(self) -> bool:
        return self.rule in ("py_test", "test_suite") or self.attributes.get("testonly", False)


# BUILD files.


def cc_files() -> list[str]:
    """Every C++ file of the tree, relative to the root."""
    return sorted(_relative(p) for top in CC_FOLDERS for p in (ROOT / top).rglob("*") if p.suffix in CC_SUFFIXES)


def build_files() -> list[str]:
    """Every BUILD file, relative to the root, the root's own first."""
    below = {_relative(p) for top in (*PYTHON_FOLDERS, *CC_FOLDERS) for p in (ROOT / top).rglob("BUILD")}
    return ["BUILD", *sorted(below)]


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read_targets() -> list[Target]:
    """The targets of all BUILD files, as their macros make them."""
    return [target for path in build_files() for target in _read_package(path.rpartition("/")[0])]


def owners(targets: Iterable[Target]) -> dict[str, str]:
    """The label that brings each Python source."""
    return {src: target.label for target in targets for src in target.srcs if src.endswith(".py")}


def _read_package(folder: str) -> list[Target]:
    targets: list[Target] = []
    _run(ROOT / folder / "BUILD", _scope(folder, targets))
    return targets


def _scope(folder: str, targets: list[Target]) -> dict:
    def recorder(rule: str) -> Callable:
        return lambda *_, **attributes: targets.append(_target(folder, rule, attributes))

    def load(file: str, *names: str) -> None:
        if file.startswith("@"):
            scope.update({name: recorder(name) for name in names})
        else:
            loaded = _scope(folder, targets)
            _run(ROOT / file[2:].replace(":", "/"), loaded)
            scope.update({name: loaded[name] for name in names})

    scope = {rule: recorder(rule) for rule in BUILTIN_RULES}
    scope |= {"glob": lambda include, exclude=(): _glob(folder, include, exclude), "load": load}
    scope["native"] = SimpleNamespace(**scope, package_name=lambda: folder)
    return scope


def _run(path: Path, scope: dict) -> None:
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), scope)


def _target(folder: str, rule: str, attributes: dict) -> Target:
    sources = [*attributes.get("srcs", ()), *attributes.get("hdrs", ())]
    return Target(
        rule=rule,
        label=f"//{folder}:{attributes.get('name', '')}",
        srcs=tuple(src if ":" in src else f"{folder}/{src}".lstrip("/") for src in sources),
        deps=tuple(absolute(dep, folder) for dep in attributes.get("deps", ())),
        attributes=attributes,
    )


def _glob(folder: str, include: list[str], exclude: Iterable[str] = ()) -> list[str]:
    """Files of the folder and of those below it that are no packages of their own."""
    base = ROOT / folder
    found, left_out = ({p for pattern in patterns for p in base.glob(pattern)} for patterns in (include, exclude))
    return sorted(p.relative_to(base).as_posix() for p in found - left_out if p.is_file() and package_of(p) == base)


def package_of(path: Path) -> Path:
    """The nearest folder around a file that has a BUILD file."""
    return next(folder for folder in path.parents if (folder / "BUILD").is_file())


def absolute(label: str, folder: str) -> str:
    """`:name` in `folder` and `//kser/audio` as `//folder:name` and `//kser/audio:audio`; of other repositories as it is."""
    if label.startswith("@") or (label.startswith("//") and ":" in label):
        return label
    return f"//{folder}{label}" if label.startswith(":") else f"{label}:{label.rpartition('/')[2]}"


def short(label: str, folder: str) -> str:
    """The inverse of `absolute`, as buildifier writes it."""
    package, _, name = label.partition(":")
    if package == f"//{folder}":
        return f":{name}"
    return package if package.rpartition("/")[2] == name else label


# What they should say.


def expected_deps(target: Target, owner_of: dict[str, str]) -> set[str]:
    """Labels that a target needs: for what its sources import, or for the module that it starts."""
    if target.label == "//kser:kser":
        return {label for src, label in owner_of.items() if src.startswith("kser/") and not src.startswith("kser/cli/")}
    if target.rule == "py_test":
        return {owner_of[target.attributes["args"][0]], "//tests:conftest", "@pypi//pytest"}
    if "main_module" in target.attributes:
        return _labels(target.attributes["main_module"], owner_of) - {"//kser:init"}
    sources = [src for src in target.srcs if (ROOT / src).is_file()]
    modules = set().union(*(imported_modules(src) | {module_of(src)} for src in sources))
    return {label for module in modules for label in _labels(module, owner_of)} - {target.label}


def _labels(module: str, owner_of: dict[str, str]) -> set[str]:
    """The targets of a module and of the packages around it, which Python imports first."""
    top, *rest = module.split(".")
    if top not in PYTHON_FOLDERS:
        return {package_label(module)} - {None}
    assert module_file(module), f"no file of this tree is the module {module}"
    parents = [".".join([top, *rest[:depth]]) for depth in range(len(rest) + 1)]
    return {owner_of[file] for file in map(module_file, parents) if file}


def expected_suites(targets: Iterable[Target]) -> list[str]:
    """The suites that the root's `tests` consists of."""
    return sorted(t.label for t in targets if t.rule == "test_suite" and t.package)


def refusals(targets: list[Target]) -> list[str]:
    """What Bazel would refuse, a sentence each."""
    by_label = {t.label: t for t in targets}
    named = [t.label for t in targets if not t.label.endswith(":")]
    return [
        *(f"{label} is there twice" for label in sorted({label for label in named if named.count(label) > 1})),
        *(sentence for target in targets for sentence in _wrong_deps(target, by_label)),
        *(f"{t.label} has {src}, which is not its package's" for t in targets for src in t.srcs if _is_foreign(src, t)),
        *_circle(targets),
    ]


def _wrong_deps(target: Target, by_label: dict[str, Target]) -> list[str]:
    local = [dep for dep in target.deps if dep.startswith("//")]
    missing = [dep for dep in local if dep not in by_label]
    testonly = [dep for dep in local if dep in by_label and by_label[dep].is_testonly and not target.is_testonly]
    return [
        *(f"{target.label} depends on {dep}, which is nowhere" for dep in missing),
        *(f"{target.label} is not testonly and depends on {dep}, which is" for dep in testonly),
        *(f"{target.label} names {dep} twice" for dep in sorted(set(target.deps)) if target.deps.count(dep) > 1),
    ]


def _is_foreign(src: str, target: Target) -> bool:
    """Whether a source is missing, or belongs to another package than its target's."""
    return ":" not in src and not ((ROOT / src).is_file() and package_of(ROOT / src) == ROOT / target.package)


def _circle(targets: list[Target]) -> list[str]:
    try:
        graphlib.TopologicalSorter({t.label: t.deps for t in targets}).prepare()
    except graphlib.CycleError as error:
        return ["a circle: " + " <- ".join(error.args[1])]
    return []


# Writing.


def write() -> None:
    """Adds packages, test folders and modules beside the packages that are new, then brings all lists up to date."""
    for folder in sorted({str(Path(path).parent) for path in python_files()}):
        _add_build_file(folder)
    for path in sorted(set(python_files()) - set(owners(read_targets()))):
        with (ROOT / path).with_name("BUILD").open("a", encoding="utf-8") as file:
            file.write(MODULE.format(name=Path(path).stem))
    for path, text in updated().items():
        (ROOT / path).write_text(text, encoding="utf-8")


def _add_build_file(folder: str) -> None:
    path, template = ROOT / folder / "BUILD", TESTS if folder.startswith("tests/") else LIBRARY
    if not path.exists():
        initial = ROOT / folder / "__init__.py"
        docstring = ast.get_docstring(ast.parse(initial.read_text("utf-8"))) if initial.exists() else folder
        path.write_text(template.format(name=path.parent.name, docstring=docstring.splitlines()[0]), encoding="utf-8")


def updated() -> dict[str, str]:
    """The BUILD files that are out of date, with the text they should have."""
    targets = read_targets()
    owner_of = owners(targets)
    lists = {t.label: ("deps", expected_deps(t, owner_of)) for t in targets if t.rule.startswith("py_")}
    lists["//:tests"] = ("tests", expected_suites(targets))
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in build_files()}
    new_texts = {path: _with_lists(text, path.rpartition("/")[0], lists) for path, text in texts.items()}
    return {path: text for path, text in new_texts.items() if text != texts[path]}


def _with_lists(text: str, folder: str, lists: dict[str, tuple[str, Iterable[str]]]) -> str:
    """A BUILD file's text with `lists`, by label a keyword and its labels, in place of those that are there."""
    # From the end, so that what is replaced moves nothing that is still to be replaced.
    for name, values in reversed([call for statement in ast.parse(text).body for call in _call(statement)]):
        keyword, labels = lists.get(f"//{folder}:{name}", ("", ()))
        if keyword in values:
            text = _replace(text, values[keyword], _sorted_labels(labels, folder))
    return text


def _call(statement: ast.stmt) -> list[tuple[str, dict[str, ast.expr]]]:
    """The statement's name and keywords, if it is a call of a rule that has a name."""
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return []
    values = {k.arg: k.value for k in statement.value.keywords}
    return [(ast.literal_eval(values["name"]), values)] if "name" in values else []


def _sorted_labels(labels: Iterable[str], folder: str) -> list[str]:
    return sorted((short(label, folder) for label in labels), key=lambda s: (":/@".index(s[0]), s.replace(":", "!")))


def _replace(text: str, node: ast.expr, labels: list[str]) -> str:
    lines = text.splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    several = "[\n" + "".join(f'        "{label}",\n' for label in labels) + "    ]"
    return text[:start] + (several if len(labels) > 1 else str(labels).replace("'", '"')) + text[end:]


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.build_files --write")
    write()
