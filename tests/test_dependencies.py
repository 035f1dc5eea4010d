"""docs/dependencies.md says what setup.py says: every direct dependency, and why it is one."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
REASONED = re.compile(r'((?:^ +# .*\n)+) +"(.+)",\n', re.MULTILINE)
EXTRA = re.compile(r'^    "(\w+)": \[\n(.*?)^    \],\n', re.MULTILINE | re.DOTALL)


def block(name: str) -> str:
    """The lines of a list or dict of setup.py."""
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    return re.search(rf"^{name} = [\[{{]\n(.*?)^[\]}}]\n", text, re.MULTILINE | re.DOTALL)[1]


def table(lines: str) -> str:
    """A row for each requirement, with the comment above it."""
    found = REASONED.findall(lines)
    assert len(found) == len(re.findall('^ +"[^"]+",$', lines, re.MULTILINE)), "a requirement without a reason"
    reasons = {Requirement(text).name: " ".join(re.findall("# (.+)", comment)) for comment, text in found}
    return "\n".join(["| package | why |", "|---|---|", *(f"| {name} | {reason} |" for name, reason in reasons.items())])


def test_each_dependency_is_justified():
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    sections = [table(block("INSTALL_REQUIRES"))]
    sections += [f"## kser[{name}]\n\n{table(lines)}" for name, lines in EXTRA.findall(block("EXTRAS_REQUIRE"))]
    assert len(sections) == 4
    assert page[page.index("| package") :] == "\n\n".join(sections) + "\n"
