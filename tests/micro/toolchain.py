"""Compilers and emulators for the firmware in deploy/kser_micro, and programs built and run with them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.micro import tflm_headers

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parent.parent / "deploy" / "kser_micro" / "src"
# What needs nothing but a C++ compiler.
CORE_SOURCES = tuple(
    LIBRARY / f"{name}.cpp" for name in ("complex_fft", "feature_stream", "feature_window", "log_mel", "score_smoother")
)
# What the application needs beside it, likewise.
SHELL_SOURCES = tuple(LIBRARY / f"{name}.cpp" for name in ("json_line", "microphone_check"))
CLASSIFIER_SOURCE = LIBRARY / "emotion_classifier.cpp"
SERIAL_SOURCES = (LIBRARY / "serial_frame.cpp", LIBRARY / "serial_link.cpp")
KERNEL_SOURCES = tuple(sorted((LIBRARY / "kernels").glob("*.cpp")))
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
NO_DOUBLES = "-Wdouble-promotion"  # of the library alone: tests compute in double on purpose
OPTIMISED = ("-O2",)
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
NO_TYPE_INFORMATION = ("-fno-sanitize=vptr",)  # the package's TFLM has none
# As a sketch is built.
BARE_METAL = ("-Os", "-fno-exceptions", "-fno-rtti", "-ffunction-sections", "-fdata-sections", "-fno-threadsafe-statics")
# An ESP32-C3's processor. Debian has no C++ library for bare RISC-V: the headers are those for Arm, of the same version.
RISC_V = ("--specs=picolibc.specs", "-march=rv32imc", "-mabi=ilp32", "-nostdinc++")
CXX_HEADERS = Path("/usr/include/newlib/c++")
GEMMLOWP = Path("/usr/include/gemmlowp")
CMSIS_FFT = (
    *(f"TransformFunctions/{name}" for name in ("arm_cfft_f32", "arm_cfft_radix8_f32", "arm_bitreversal2")),
    *(f"CommonTables/{name}" for name in ("arm_common_tables", "arm_const_structs")),
)
CORTEX_M0PLUS = ("-mcpu=cortex-m0plus", "-mthumb")
# Virtual nanoseconds of an instruction: a power of two below the period of either board's SysTick.
ICOUNT_SHIFT = 3


@dataclass(frozen=True)
class Board:
    """An emulated Cortex-M: QEMU's name, the processor's flags, and its clock in virtual nanoseconds."""

    machine: str
    flags: tuple[str, ...]
    clock_ns: float


BOARDS = {
    "M4F": Board("mps2-an386", ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), 40.0),
    "M55": Board("mps3-an547", ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"), 31.25),
}


def missing(*tools: str) -> str:
    """The tools among `tools` that are not installed, as a reason to skip; empty if all are there."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def _compile(command: Iterable, output: Path) -> Path:
    done = subprocess.run([*map(str, command), "-o", str(output)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def check(command: Iterable) -> None:
    """Asserts that a compiler accepts what it is given."""
    _compile(command, Path("unused"))


def _includes(directories: Iterable[Path]) -> list[str]:
    return [f"-I{directory}" for directory in (*directories, LIBRARY, HERE)]


def host_program(output: Path, settings: Path, sources: Iterable[Path], flags: Iterable = SANITIZERS) -> Path:
    """A program for this computer; `settings` is the directory of the generated headers."""
    return _compile(["g++", "-std=c++14", "-O1", "-g", *WARNINGS, *_includes([settings]), *sources, *flags], output)


def check_library(output: Path, settings: Path, std: str) -> None:
    """Compiles each source that needs no TFLM on its own, as strictly as can be."""
    flags = [f"-std={std}", *WARNINGS, NO_DOUBLES, "-fno-exceptions", *_includes([settings])]
    for source in (*CORE_SOURCES, *SHELL_SOURCES):
        _compile(["g++", *flags, "-c", source], output)


def tflm_directory() -> Path | None:
    """The package xmos-ai-tools, which carries a TFLM to link against, or None."""
    found = importlib.util.find_spec("xmos_ai_tools")
    return Path(found.origin).parent if found else None


def missing_tflm() -> str:
    """Why no program can be linked against TFLM on this computer, as a reason to skip; empty if one can."""
    if tflm_directory() is None:
        return "not installed: xmos-ai-tools, whose TFLM firmware is linked against"
    return "" if GEMMLOWP.is_dir() else "not installed: libgemmlowp-dev, whose fixedpoint.h TFLM includes"


def tflm_program(
    output: Path, settings: Path, sources: Iterable[Path], flags: Iterable = SANITIZERS, objects: Iterable[Path] = ()
) -> Path:
    """A program for this computer with TFLM; `settings` is the directory of the generated headers."""
    objects = [*_host_objects(output.parent, settings, sources, flags), *objects]
    return _compile(["g++", *objects, *flags, *NO_TYPE_INFORMATION, *_link_tflm()], output)


def kernel_objects(directory: Path, flags: Iterable = SANITIZERS) -> list[Path]:
    """Object files of the int8 kernels, for any model; -DKSER_KERNEL_ADD=0 leaves one to TFLM."""
    return _host_objects(directory, directory, KERNEL_SOURCES, flags)


def serial_board(directory: Path, kernels: Iterable[Path], flags: Iterable = SANITIZERS) -> Path:
    """A board in the serial mode: serial_board.cc, the whole firmware, TFLM.

    Args:
      directory: holds all generated files, and gets the program.
      kernels: `kernel_objects` of the same flags.
    """
    sources = [HERE / "serial_board.cc", directory / "kser_model.cc", CLASSIFIER_SOURCE, *SERIAL_SOURCES, *CORE_SOURCES]
    return tflm_program(directory / "board", directory, sources, flags, kernels)


def _host_objects(directory: Path, settings: Path, sources: Iterable[Path], flags: Iterable) -> list[Path]:
    command = ["g++", "-std=c++17", "-O1", *WARNINGS, *_includes([settings]), *tflm_flags(), *flags, *NO_TYPE_INFORMATION]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda source: _host_object(command, source, directory / f"{source.stem}.o"), sources))


def _host_object(command: Iterable, source: Path, target: Path) -> Path:
    command = list(map(str, command))
    return _compile([*command, *tflm_headers.include_flags(command, source, tflm_flags()), "-c", source], target)


def _link_tflm() -> list:
    library = tflm_directory() / "xinterpreters" / "libs" / "linux" / "xtflm_python.so"
    return [library, f"-Wl,-rpath,{library.parent}"]


def tflm_flags() -> list:
    """For the package's TFLM, which has its classes in a namespace of its own."""
    include = tflm_directory() / "runtime" / "include"
    return ["-Dtflite=tflite_micro", f"-isystem{include}", f"-isystem{GEMMLOWP}"]


def host_library(output: Path, settings: Path, flags: Iterable[str] = ()) -> Path:
    """The core as a shared object for Python."""
    flags = ["-std=c++17", "-O2", "-shared", "-fPIC", *flags]
    return _compile(["g++", *flags, *WARNINGS, *_includes([settings]), HERE / "core_api.cc", *CORE_SOURCES], output)


def _objects(directory: Path, settings: Path, compiler: Iterable, sources: Iterable[Path]) -> list[Path]:
    command = [*compiler, "-std=c++14", *BARE_METAL, *WARNINGS, NO_DOUBLES, *_includes([settings]), "-c"]
    return [_compile([*command, source], directory / f"{source.stem}.o") for source in sources]


def cortex_m_objects(directory: Path, settings: Path, flags: Iterable[str], sources=CORE_SOURCES) -> list[Path]:
    """The core's object files for a Cortex-M, in `directory`."""
    return _objects(directory, settings, ["arm-none-eabi-g++", *flags], sources)


def classifier_size(directory: Path, settings: Path, board: Board) -> Size:
    """Of the classifier on a board: its own code, and an instance, TFLM's interpreter included, as zeroed data."""
    flags = [*board.flags, *tflm_flags(), "-DTF_LITE_STATIC_MEMORY"]
    return size(cortex_m_objects(directory, settings, flags, [CLASSIFIER_SOURCE, HERE / "classifier_ram.cc"]))


def risc_v_objects(directory: Path, settings: Path) -> list[Path]:
    """The core's object files for RISC-V, in `directory`."""
    (headers,) = CXX_HEADERS.iterdir()
    borrowed = ["-isystem", headers, "-isystem", headers / "arm-none-eabi" / "thumb" / "nofp"]
    return _objects(directory, settings, ["riscv64-unknown-elf-g++", *RISC_V, *borrowed], CORE_SOURCES)


def undefined_symbols(objects: Iterable[Path]) -> str:
    """What object files for a Cortex-M ask of others, a symbol a line."""
    command = ["arm-none-eabi-nm", "--undefined-only", "--demangle", *map(str, objects)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def cmsis_fft_objects(directory: Path, cmsis_dsp: Path, board: Board) -> list[Path]:
    """The object files of CMSIS-DSP's float FFT; `cmsis_dsp` is the unpacked source, which has Include and Source."""
    command = ["arm-none-eabi-gcc", "-Os", "-w", *board.flags, *cmsis_flags(cmsis_dsp), "-c"]
    command += ["-ffunction-sections", "-fdata-sections"]
    sources = (cmsis_dsp / "Source" / f"{name}.c" for name in CMSIS_FFT)
    return [_compile([*command, source], directory / f"{source.stem}.o") for source in sources]


def cmsis_flags(cmsis_dsp: Path) -> list[str]:
    # Without the header of the processor, which the package does not carry and the float FFT does not need.
    return ["-D__GNUC_PYTHON__", *(f"-I{cmsis_dsp / name}" for name in ("Include", "PrivateInclude"))]


def cortex_m_program(
    output: Path, settings: Path, board: Board, sources: Iterable[Path], objects: Iterable[Path], extra: Iterable[str] = ()
) -> Path:
    """A program for a board with start-up code and semihosting."""
    scripts = HERE / "cortex_m"
    command = ["arm-none-eabi-g++", "-std=c++14", *BARE_METAL, *WARNINGS, *board.flags, *extra, *_includes([settings])]
    command.append("-Wno-pedantic")  # start-up code calls main
    link = ["-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,--gc-sections", f"-L{scripts}", "-T"]
    return _compile([*command, scripts / "machine.cc", *sources, *objects, *link, scripts / f"{board.machine}.ld"], output)


# As the Arduino core of a Nano 33 BLE compiles, and no fewer checks than it leaves in.
ARDUINO_CORE = ("-Os", "-funsigned-char", "-ffunction-sections", "-fdata-sections", "-w", "-DARDUINO=10819")
ARDUINO_CXX = ("-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")
ARDUINO_LIBRARY = "KSER_ARDUINO_TFLM_DIR"
ARDUINO_OBJECTS = "KSER_ARDUINO_TFLM_OBJECTS"


def missing_arduino_library() -> str:
    """Why no sketch can be linked with the Arduino library of TFLM, as a reason to skip; empty if one can."""
    tools = missing("arm-none-eabi-g++", "qemu-system-arm")
    found = (Path(os.environ.get(ARDUINO_LIBRARY, "")) / "src" / "Chirale_TensorFlowLite.h").is_file()
    return tools or ("" if found else f"{ARDUINO_LIBRARY} names no folder of Chirale_TensorFlowLite")


class ArduinoBuilder:
    """Builds projects of Arduino boards for the emulated Cortex-M4F, with the library that ARDUINO_LIBRARY names.

    The library's objects go into `directory`, or are taken from and kept in the folder that ARDUINO_OBJECTS names.
    """

    def __init__(self, directory: Path):
        self._directory, self._library = directory, Path(os.environ[ARDUINO_LIBRARY]).resolve() / "src"
        self._objects = Path(os.environ.get(ARDUINO_OBJECTS, directory / "library"))
        self._board = BOARDS["M4F"]

    def program(self, project: Path, seconds: int, flags: tuple[str, ...] = ()) -> Path:
        """A program that runs the project's sketch for so many seconds of sound."""
        fakes = HERE / "fakes" / "arduino_m4"
        own = _project_sources(project)
        sources = [*own, fakes / "board.cc", HERE / "cortex_m" / "machine.cc"]
        folders = [fakes, HERE, project / ARDUINO.library]
        more = [f"-DKSER_SECONDS={seconds}", *flags, *(f"-I{folder}" for folder in folders)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            library = list(pool.map(self._library_object, self._library_sources()))
            objects = list(pool.map(lambda source: self._object(source, self._directory / "sketch", more), sources))
        link = ["-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,--gc-sections"]
        scripts = HERE / "cortex_m"
        command = ["arm-none-eabi-g++", *self._board.flags, *objects, *library, *link, f"-L{scripts}", "-T"]
        return _compile([*command, scripts / f"{self._board.machine}.ld"], self._directory / "sketch.elf")

    def emulate(self, program: Path) -> str:
        """What a board prints."""
        return emulate(program, self._board)

    def _library_sources(self) -> list[Path]:
        return [path for path in sorted(self._library.rglob("*")) if path.suffix in (".c", ".cpp", ".cc")]

    def _library_object(self, source: Path) -> Path:
        folder = self._objects / source.relative_to(self._library).parent
        target = folder / f"{source.name}.o"
        return target if target.exists() else self._object(source, folder, [f"-I{HERE / 'fakes' / 'arduino_m4'}"])

    def _object(self, source: Path, folder: Path, more: Iterable) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        is_c = source.suffix == ".c"
        compiler = ["gcc", "-std=gnu11"] if is_c else ["g++", "-std=gnu++14", *ARDUINO_CXX, "-x", "c++"]
        command = [f"arm-none-eabi-{compiler[0]}", *compiler[1:], *self._board.flags, *ARDUINO_CORE, f"-I{self._library}"]
        command += [*more, "-c"]
        return _compile([*command, source], folder / f"{source.name}.o")


def run(program: Path) -> str:
    """What a program for this computer prints."""
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def emulate(program: Path, board: Board) -> str:
    """What a program for a board prints, time being counted by its instructions."""
    command = ["qemu-system-arm", "-machine", board.machine, "-kernel", program, "-icount", f"shift={ICOUNT_SHIFT}"]
    quiet = ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run([*map(str, command), *quiet], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout + done.stderr


def instructions(ticks: int, board: Board) -> float:
    """Instructions executed in so many ticks of `machine.h`'s counter."""
    return ticks * board.clock_ns / (1 << ICOUNT_SHIFT)


@dataclass(frozen=True)
class Size:
    """Bytes of code and constants, of initialized and of zeroed data."""

    text: int
    data: int
    bss: int


def size(objects: Iterable[Path]) -> Size:
    """Of object files or a program for a board, together."""
    done = subprocess.run(["arm-none-eabi-size", "-t", *map(str, objects)], capture_output=True, text=True, check=True)
    return Size(*map(int, re.findall(r"\d+", done.stdout.splitlines()[-1])[:3]))


def stream(program: Path, seconds: int, first_sample: int) -> dict[str, int]:
    """What stream.cc counted in so much simulated time; its checks have held."""
    done = subprocess.run([str(program), str(seconds), str(first_sample)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]
    return {name: int(number) for name, number in (line.split() for line in done.stdout.splitlines())}


@dataclass(frozen=True)
class Shell:
    """How a project's sources are compiled here: fakes of a board's headers, the project's folders of headers, its folder of
    the library, flags."""

    fake: str
    headers: tuple[str, ...]
    library: str
    flags: tuple[str, ...]


ARDUINO = Shell("arduino", (), "speech_emotion/src/kser_micro", ("-std=c++17",))
# Designated initializers are ESP-IDF's style; they leave out members.
ESP_IDF = Shell(
    *("esp_idf", ("main", "components/kser_micro/src"), "components/kser_micro/src"),
    ("-std=gnu++20", "-Wno-missing-field-initializers"),
)


class ProjectBuilder:
    """Builds programs of projects' shells on fake boards; what projects have in common is compiled once.

    Flags beside the shell's are for what includes application.h: application.cpp, alone in including kser_golden.h, and the
    sources of the shell.
    """

    def __init__(self, directory: Path):
        self._directory = directory

    def program(self, project: Path, shell: Shell, flags: tuple[str, ...] = ()) -> Path:
        own = _project_sources(project)
        sources = [*own, HERE / "fakes" / shell.fake / "board.cc"]
        headers = [path for path in sorted(project.rglob("*.h")) if path.name != "kser_golden.h"]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            objects = list(pool.map(lambda source: self._object(project, shell, source, headers, flags), sources))
        output = self._directory / hashlib.sha256(str(objects).encode()).hexdigest()
        return _compile(["g++", *SANITIZERS, *objects, *_link_tflm(), "-pthread"], output)

    def _object(self, project: Path, shell: Shell, source: Path, headers: list[Path], flags: tuple[str, ...]) -> Path:
        if source.name == "application.cpp" and flags:
            headers = [*headers, project / shell.library / "kser_golden.h"]
        elif source.parent.name == "kernels" and source.name != "op_resolver.cpp":
            # They are the same for all: of the project they see no header but their own, and none of the switches.
            shell, headers = ARDUINO, [p for p in headers if p.parent == source.parent and p.name != "switches.h"]
        is_library = project / shell.library in source.parents
        more = () if is_library and source.name != "application.cpp" else flags
        name = hashlib.sha256(f"{shell}{more}{_digest((source, *headers))}".encode()).hexdigest()
        target = self._directory / f"{name}.o"
        command = [*project_command(project, shell), *SANITIZERS, *NO_TYPE_INFORMATION, *more, "-x", "c++"]
        return target if target.exists() else _host_object(command, source, target)


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()


def _project_sources(project: Path) -> list[Path]:
    """What the board's tools compile: not the examples."""
    sources = [path for path in sorted(project.rglob("*")) if path.suffix in (".ino", ".cpp")]
    return [path for path in sources if "examples" not in path.parts]


def project_command(project: Path, shell: Shell) -> list:
    """A compiler for a project's sources, with fakes of the board's headers."""
    folders = [f"-I{HERE / 'fakes' / shell.fake}", *(f"-I{project / folder}" for folder in shell.headers)]
    return ["g++", "-Wall", "-Wextra", "-Werror", *shell.flags, "-O1", *tflm_flags(), *folders]


def check_project_sources(project: Path, shell: Shell, names: Iterable[str], flags: Iterable[str] = ()) -> None:
    """Compiles some of a project's sources, each on its own."""
    for name in names:
        _compile([*project_command(project, shell), *flags, "-fsyntax-only", "-x", "c++", project / name], Path("unused"))
