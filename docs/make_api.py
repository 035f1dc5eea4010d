"""Writes docs/api.md from the docstrings of kser's public names.

.venv/bin/python -m docs.make_api
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import kser

WIDTH = 100
PAGE = Path(__file__).parent / "api.md"
HEAD = """\
# The Python API

This page is made of the docstrings by `python -m docs.make_api`; a test runs all of its examples. A name is public if, and
only if, it stands here.
"""
SESSION = """\
The examples below are one session, each going on from those before. `clips/` holds recordings of three labels by four
speakers, `clips/LABEL/SPEAKER/*.wav`, and this has gone before:

```python
import numpy as np
import tensorflow as tf
import kser
from kser import HRFDense
```
"""
_SECTION = re.compile(r"^(Args|Returns|Raises|Example|Attributes|Warns|Source|See also):$", re.MULTILINE)


def page() -> str:
    """The text of docs/api.md."""
    contents = "\n".join(entry(name, getattr(kser, name)) for name in kser.__all__)
    sections = [section(name, getattr(kser, name)) for name in kser.__all__]
    return "\n".join([HEAD, fenced(kser.__doc__), "", contents, "", SESSION, *sections])


def entry(name: str, item) -> str:
    """A line of the contents: the name and the first sentence of its docstring."""
    sentence = " ".join(inspect.getdoc(item).split()).partition(". ")[0].rstrip(".")
    return f"- [`kser.{name}`](#kser{name.lower()}): {sentence}."


def section(name: str, item) -> str:
    """A public name: its signature and its docstring."""
    is_error = isinstance(item, type) and issubclass(item, Exception)
    signature = "" if is_error else f"```python\n{signature_text(name, item)}\n```\n\n"
    return f"## kser.{name}\n\n{signature}{body(inspect.getdoc(item))}{fields(item)}\n"


def signature_text(name: str, item) -> str:
    """The name with its arguments, one a line where they do not fit into one; a dataclass lists its own further down."""
    if dataclasses.is_dataclass(item):
        return f"kser.{name}(**settings)"
    signature = inspect.signature(item)
    returned = "" if signature.return_annotation is signature.empty else f" -> {signature.return_annotation}"
    parts = list(_arguments(signature))
    text = f"kser.{name}({', '.join(parts)}){returned}"
    return text if len(text) <= WIDTH else f"kser.{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returned}"


def _arguments(signature: inspect.Signature) -> Iterator[str]:
    named_only = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not named_only:
            named_only = True
            yield "*"
        yield re.sub(r"^([*\w]+): '(.*?)'", r"\1: \2", str(parameter))  # annotations are kept as text


def body(text: str) -> str:
    """A docstring with its sections as lists and its example as a block that doctest can run."""
    parts = _SECTION.split(text)
    sections = (_section(title, textwrap.dedent(content.strip("\n"))) for title, content in _pairs(parts[1:]))
    return parts[0].strip() + "\n" + "".join(sections)


def _pairs(items: list[str]) -> Iterator[tuple[str, str]]:
    return zip(items[::2], items[1::2], strict=True)


def _section(title: str, content: str) -> str:
    if title == "Example":
        return f"\n```pycon\n{content.rstrip()}\n\n```\n"
    items = re.sub(r"^(\w[\w., ]*):", r"- `\1`:", content.rstrip(), flags=re.MULTILINE)
    return f"\n**{title}**\n\n{items}\n"


def fields(item) -> str:
    """The settings of a dataclass, with their meaning and default."""
    if not dataclasses.is_dataclass(item):
        return ""
    lines = [f"- `{f.name}`: {f.metadata['help']} Default: {f.default}." for f in dataclasses.fields(item)]
    return "\n**Settings**\n\n" + "\n".join(lines) + "\n"


def fenced(text: str) -> str:
    """Text whose indented parts are Python, in fences."""
    return re.sub(r"((?:^(?: {4}.*)?\n)*^ {4}.*\n)", _fence, inspect.cleandoc(text) + "\n", flags=re.MULTILINE)


def _fence(match: re.Match) -> str:
    return f"\n```python\n{textwrap.dedent(match[1]).strip()}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
