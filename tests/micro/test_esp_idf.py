"""ESP32 applications against ESP-IDF's own headers, which fakes stand in for elsewhere.

KSER_ESP_IDF_DIR names a checkout of ESP-IDF, KSER_ESP_MQTT_DIR one of esp-mqtt, which ESP-IDF 6 no longer holds. Debian has
no compiler for an ESP32: that for Arm reads the headers of the RISC-V chip and checks types and names, and makes no code.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from kser.files import write_tree
from tests.micro import small_model, toolchain

IDF, MQTT = (Path(os.environ.get(name, "none")) for name in ("KSER_ESP_IDF_DIR", "KSER_ESP_MQTT_DIR"))
REASON = toolchain.missing("arm-none-eabi-g++") or toolchain.missing_tflm()
if not (IDF / "components").is_dir():
    REASON = REASON or "KSER_ESP_IDF_DIR names no folder of ESP-IDF"
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

CHIP = "esp32c3"
BUILDS = {"listening": (), "answering a PC": ("-DKSER_SERIAL=1",), "testing itself": ("-DKSER_SELFTEST=1",)}
# Of other chips, and of C libraries, which the compiler has its own of.
OTHERS = ("linux", "xtensa", "newlib", "esp_libc", "esp_stdio", "picolibc", "vfs", "mbedtls", "bt")


def include_folders() -> list[Path]:
    """Folders of headers that a build for the chip may see."""
    root = IDF / "components"
    folders = {path.parent for path in root.rglob("*.h") if _is_seen(path.relative_to(root).parts)}
    roots = {Path(*folder.parts[: folder.parts.index("include") + 1]) for folder in folders if "include" in folder.parts}
    kernel = root / "freertos"
    more = [
        *(kernel / "FreeRTOS-Kernel" / part for part in ("include/freertos", "portable/riscv/include/freertos")),
        *(kernel / "config" / part for part in ("include/freertos", "riscv/include")),
        *(root / "esp_rom" / CHIP, root / "soc" / CHIP / "register", root / "hal" / "platform_port" / "include"),
        *(path for path in (root / "esp_hw_support" / "include").iterdir() if path.is_dir()),
        root / "lwip" / "port" / "include",
    ]
    return sorted(roots) + more


def _is_seen(parts: tuple[str, ...]) -> bool:
    chips = [part for part in parts if part.startswith("esp32")]
    return not set(parts) & {*OTHERS, "test_apps", "host_test"} and all(chip == CHIP for chip in chips)


@pytest.fixture(scope="module")
def command(tmp_path_factory) -> list:
    headers = tmp_path_factory.mktemp("headers")
    for name in ("esp_newlib.h", "esp_libc.h"):  # of the C library's component, the rest of which is left out
        for path in (IDF / "components").rglob(name):
            (headers / name).write_bytes(path.read_bytes())
    folders = [toolchain.HERE / "esp_idf", headers, *include_folders(), MQTT / "include"]
    chip = ["-D__riscv=1", "-DESP_PLATFORM=1", "-include", "sdkconfig.h"]
    language = ["-std=gnu++20", "-fpermissive", "-w", "-fsyntax-only"]  # the headers' own errors are of the compiler
    return ["arm-none-eabi-g++", "-mcpu=cortex-m4", *language, *chip, *(f"-I{f}" for f in folders), *toolchain.tflm_flags()]


def check(command: list, project: Path, source: Path, flags: tuple[str, ...] = ()) -> None:
    own = [f"-I{project / folder}" for folder in toolchain.ESP_IDF.headers]
    toolchain.check([*command, *own, *flags, source])


# Pins of an ESP32-S3 that the other chip has not.
PINS = ("-DGPIO_NUM_41=GPIO_NUM_4", "-DGPIO_NUM_42=GPIO_NUM_5")


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("board", ["esp32c3", "xiao_esp32s3"])
def test_the_application_is_written_for_these_headers(command, board, build, tmp_path):
    project = tmp_path / board
    write_tree(str(project), small_model.project_files(board))
    for source in sorted((project / "main").glob("*.cpp")):
        check(command, project, source, (*PINS, *BUILDS[build]))


HAS_MQTT = (MQTT / "include" / "mqtt_client.h").is_file()


@pytest.mark.skipif(not HAS_MQTT, reason="KSER_ESP_MQTT_DIR names no folder of esp-mqtt")
def test_the_example_for_home_assistant_is_too(command, tmp_path):
    project = tmp_path / CHIP
    write_tree(str(project), small_model.project_files(CHIP))
    example, main = project / "examples" / "mqtt", project / "main" / "main.cpp"
    for path in example.iterdir():
        (project / "main" / path.name).write_bytes(path.read_bytes())
    include, call = re.findall(r"```cpp\n(.*?)```", (example / "README.md").read_text(), re.DOTALL)
    text, place = main.read_text(), "  if (application.SetUp())"
    assert text.count(place) == 1
    main.write_text(include + text.replace(place, call + place))
    for source in (main, project / "main" / "mqtt.cpp"):
        check(command, project, source)
