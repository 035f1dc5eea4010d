"""The firmware as an Arduino library and as a component of ESP-IDF: the files agree with the tree and with kser."""

from __future__ import annotations

import re

import pytest

import kser
from tests.micro import toolchain

LIBRARY = toolchain.LIBRARY.parent
ARDUINO_FIELDS = ["name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"]


@pytest.fixture
def properties():
    lines = (LIBRARY / "library.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_arduino_finds_all_fields(properties):
    assert all(properties[field] for field in ARDUINO_FIELDS)
    assert properties["architectures"] == "*" and properties["depends"] == "Chirale_TensorFLowLite"
    assert (toolchain.LIBRARY / properties["includes"]).is_file()


def test_versions_are_ksers(properties):
    assert properties["version"] == kser.__version__
    assert f'version: "{kser.__version__}"\n' in (LIBRARY / "idf_component.yml").read_text()
    assert f'kVersion[] = "{kser.__version__}";' in (toolchain.LIBRARY / "serial_link.h").read_text()


def test_the_component_requires_what_its_manifest_fetches():
    manifest, cmake = ((LIBRARY / name).read_text() for name in ("idf_component.yml", "CMakeLists.txt"))
    # ESP-NN is fetched at a fixed version for esp-tflite-micro, which requires it; the component itself does not use it.
    used = set(re.findall(r"espressif/([\w-]+)", manifest)) - {"esp-nn"}
    assert used == set(re.findall(r"REQUIRES ([\w-]+)", cmake))
    assert re.search(r'espressif/esp-nn: "==\d+\.\d+\.\d+"', manifest)


@pytest.mark.parametrize("path", sorted(toolchain.LIBRARY.glob("*.h")), ids=lambda path: path.name)
def test_headers_are_guarded_by_their_name(path):
    guard = re.sub(r"\W", "_", path.name).upper() + "_"
    guard = guard if guard.startswith("KSER_") else f"KSER_{guard}"
    text = path.read_text()
    assert f"#ifndef {guard}\n#define {guard}\n" in text and text.endswith(f"#endif  // {guard}\n")


def test_no_source_includes_a_board():
    for path in [*toolchain.LIBRARY.glob("*.h"), *toolchain.LIBRARY.glob("*.cpp")]:
        assert not re.search(r'#include [<"](Arduino|PDM|freertos/|driver/|esp_)', path.read_text()), path
