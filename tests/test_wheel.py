"""What pip installs is whole: the wheel, made from the sdist, in an environment of its own, used from an empty directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import kser

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
NOT_SHIPPED = (
    ".git",
    ".venv*",
    "*.egg-info",
    "build",
    "dist",
    "runs",
    "__pycache__",
    ".pytest_cache",
    ".ruff_cache",
    "bazel-*",
)
# As small as a network can be that is trained, converted and decides.
SMALL = ("--num_layers=1", "--num_heads=2", "--hidden_dim=8", "--stem_channels=4,4", "--clip_seconds=0.6", "--hop_ms=32")

pytestmark = pytest.mark.skipif(
    not all((ROOT / name).is_file() for name in PACKAGING), reason="the tree is laid without what packages are made of"
)


def run(*command, **options) -> str:
    """What the command prints, its status being 0."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """Made as `python -m build --sdist` does, from a copy of the tree: it writes beside what it reads."""
    directory = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, directory / "tree", ignore=shutil.ignore_patterns(*NOT_SHIPPED), symlinks=True)
    script = f"from setuptools.build_meta import build_sdist; build_sdist({str(directory)!r})"
    run(sys.executable, "-c", script, cwd=directory / "tree")
    return directory / f"kser-{kser.__version__}.tar.gz"


@pytest.fixture(scope="module")
def wheel(sdist) -> Path:
    """Made of nothing but the sdist."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", sdist.parent, sdist)
    return sdist.parent / f"kser-{kser.__version__}-py3-none-any.whl"


@dataclass(frozen=True)
class Installed:
    """An environment that holds the wheel, and an empty directory to work in."""

    environment: Path
    directory: Path

    def __call__(self, command: str, *arguments) -> str:
        return run(*self._call(command, *arguments), **self._surroundings())

    def complaint(self, command: str, *arguments) -> str:
        """What the command says on stderr when it refuses."""
        done = subprocess.run(
            self._call(command, *arguments), stderr=subprocess.PIPE, text=True, check=False, **self._surroundings()
        )
        assert done.returncode == 1, done
        return done.stderr

    def commands(self) -> list[str]:
        return sorted(path.name for path in (self.environment / "bin").glob("kser-*"))

    def _call(self, command: str, *arguments) -> list[str]:
        return [str(self.environment / "bin" / command), *map(str, arguments)]

    def _surroundings(self) -> dict:
        own = {"HOME": str(self.directory), "KSER_CACHE_DIR": str(self.directory / "cache")}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KSER_", "TF_"))}
        return {"cwd": self.directory, "env": {**clean, **own}}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Installed:
    """The packages kser needs are those of this environment, by reference: of their own they take minutes (see .ci/run).

    A .pth file adds their folder to the path without obeying what it says of editable installs: nothing leads to this tree.
    """
    environment = tmp_path_factory.mktemp("installed") / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "--python",
        python,
        "install",
        "--no-deps",
        wheel,
    )
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    installed = Installed(environment, tmp_path_factory.mktemp("empty"))
    where = installed("python", "-c", "import kser; print(kser.__file__)").strip()
    assert Path(where) == site / "kser" / "__init__.py"
    return installed


def test_the_sdist_is_the_tree(sdist):
    try:
        listed = run("git", "-C", ROOT, "ls-files").splitlines()
    except (OSError, AssertionError):
        pytest.skip("not a git checkout, so nothing says what belongs to the tree")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in listed if (ROOT / name).is_file()} - inside == set()
    assert [name for name in inside if name.endswith((".pyc", ".stamp")) or name.startswith((".git/", ".venv"))] == []


def test_the_wheel_holds_the_firmware_and_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"kser-{kser.__version__}.dist-info/METADATA").decode("utf-8")
    files = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    # Bazel's files speak of the tree, which a wheel is not.
    firmware = {f"kser/{path.relative_to(ROOT).as_posix()}" for path in files if path.name != "BUILD"}
    assert firmware and firmware - names == set()
    assert {"kser/py.typed", "kser/datasets/checksums.npz"} <= names
    assert {name.split("/")[0] for name in names} == {"kser", f"kser-{kser.__version__}.dist-info"}
    assert metadata.partition("\n\n")[2] == (ROOT / "README.md").read_text(encoding="utf-8")
    assert "Classifier: Typing :: Typed" in metadata and "Keywords: " in metadata


def test_help_lists_the_flags_of_every_command(installed):
    assert len(installed.commands()) >= 10
    for command in installed.commands():
        text = installed(command, "--help")
        assert f"\nUsage: {command} [--flag=value ...]" in text
        assert text.count("\n  --") >= 2 and "bin/" not in text, text


def test_messages_name_the_command_that_was_called(installed):
    assert installed.complaint("kser-doctor") == "Error: kser-doctor needs one .tflite file, not 0.\n"
    said = installed.complaint("kser-predict", "clip.wav")
    assert said == "Error: kser-predict needs --model, a .tflite written by kser-fold-and-convert.\n"


def test_from_training_to_a_project_and_a_verdict(installed):
    corpus = ("--dataset=synthetic", "--data_dir=corpus")
    installed("kser-train", *corpus, *SMALL, "--preset=micro", "--epochs=1", "--run_dir=run")
    board = "--board=nano33ble"
    told = installed("kser-fold-and-convert", "--run_dir=run", "--representative_clips=20", board, "--deploy_dir=firmware")
    assert "project for nano33ble written to firmware" in told
    sketch = installed.directory / "firmware" / "speech_emotion"
    shell, library = ROOT / "deploy" / "arduino" / "common", ROOT / "deploy" / "kser_micro" / "src"
    for copied, source in (
        (sketch / "speech_emotion.ino", shell / "speech_emotion" / "speech_emotion.ino"),
        (sketch / "src" / "kser_micro" / "log_mel.cpp", library / "log_mel.cpp"),
    ):
        assert copied.read_bytes() == source.read_bytes()
    clip = next((installed.directory / "corpus").rglob("*.wav"))
    assert installed("kser-predict", "--model=run/model.tflite", clip).startswith(f"{clip}\t")
    assert "on Arduino Nano 33 BLE" in installed("kser-doctor", board, "run/model.tflite")
