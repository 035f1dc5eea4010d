"""The documents' pictures are what their scripts draw today."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_the_picture_of_the_path_is_drawn_by_its_script():
    drawn = runpy.run_path(str(DOCS / "draw_path.py"))["picture"]()
    assert (DOCS / "path.svg").read_text(encoding="utf-8") == drawn
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
