"""bin/_setup and setup.py, with a stand-in for Python that makes environments and runs pip at no cost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import kser

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = "3.10, 3.11 or 3.12"

# Appends every `venv` and `pip install` to $CALLS. $STALL names a file: while it exists, pip hangs (and says it has begun).
STAND_IN = r"""#!/usr/bin/env bash
case "$*" in
  --version) echo "Python 3.11.0" ;;
  *"-m venv "*) echo venv >>"$CALLS"; mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python" ;;
  *"-m pip "*)
    echo "pip ${@: -1}" >>"$CALLS"
    echo "PIP_USER=$PIP_USER PIP_TARGET=${PIP_TARGET-} PYTHONHOME=${PYTHONHOME-} PYTHONPATH=${PYTHONPATH-}" >"$CALLS.env"
    echo "output of pip"
    if [[ -e $STALL ]]; then touch "$STALL.begun"; while [[ -e $STALL ]]; do sleep 0.05; done; fi
    [[ ! -e $FAIL ]]
    ;;
esac
"""


class Tree:
    """A copy of what bin/_setup reads, with the stand-in as the only python3 on PATH."""

    def __init__(self, root: Path):
        self.root = root / "repository"
        self.tools = root / "tools"
        self.calls_file, self.stall, self.fail = (root / name for name in ("calls", "stall", "fail"))
        for name in ("bin/_setup", "requirements.lock", "requirements-dev.lock", "setup.py"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        self.tools.mkdir()
        self.add_tool("python3", STAND_IN)

    def add_tool(self, name: str, script: str) -> None:
        (self.tools / name).write_text(script)
        (self.tools / name).chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        files = {"CALLS": self.calls_file, "STALL": self.stall, "FAIL": self.fail}
        hidden = os.pathsep.join([str(self.tools), str(self._system_tools())])
        return {"PATH": hidden, **{name: str(path) for name, path in files.items()}}

    def _system_tools(self) -> Path:
        """A folder of links to the tools bin/_setup calls, so that no real Python is in reach."""
        folder = self.tools.parent / "system"
        folder.mkdir(exist_ok=True)
        for name in "bash cat cp dirname env flock mkdir mv readlink rm sha256sum sleep tail touch uname".split():
            if not (folder / name).exists():
                (folder / name).symlink_to(shutil.which(name))
        return folder

    def start(self, *args: str) -> subprocess.Popen:
        command = [str(self.root / "bin" / "_setup"), *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment, text=True, start_new_session=True, **pipes)

    def setup(self, *args: str) -> subprocess.CompletedProcess:
        process = self.start(*args)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def calls(self) -> list[str]:
        """What the stand-in did since the last call, in short: `venv`, or the file or folder given to `pip install`."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return [line.replace(str(self.root), "ROOT") for line in lines]

    def stall_pip(self) -> subprocess.Popen:
        """A set-up that hangs inside pip."""
        self.stall.touch()
        process = self.start()
        begun = Path(f"{self.stall}.begun")
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        begun.unlink()
        return process


RUNTIME_CALLS = ["venv", "pip ROOT/requirements.lock", "pip ROOT"]


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path)


def test_first_start_installs_and_second_does_nothing(tree):
    first, calls = tree.setup(), tree.calls()
    assert (first.returncode, first.stdout, calls) == (0, "", RUNTIME_CALLS)
    assert first.stderr.count("\n") == 1
    second = tree.setup()
    assert (second.returncode, second.stdout, second.stderr, tree.calls()) == (0, "", "", [])


def test_settings_for_other_programs_have_no_influence(tree, monkeypatch):
    theirs = {"PIP_USER": "1", "PIP_TARGET": "/else", "PYTHONHOME": "/nowhere", "PYTHONPATH": "/theirs"}
    monkeypatch.setattr(Tree, "environment", {**tree.environment, **theirs})
    assert tree.setup().returncode == 0
    assert Path(f"{tree.calls_file}.env").read_text() == "PIP_USER=0 PIP_TARGET= PYTHONHOME= PYTHONPATH=\n"


def test_dev_adds_to_the_runtime_environment(tree):
    tree.setup()
    tree.calls()
    assert tree.setup("dev").returncode == 0
    assert tree.calls() == ["pip ROOT/requirements-dev.lock"]
    tree.setup()
    assert tree.calls() == []


def test_changed_lock_means_a_new_environment(tree):
    tree.setup()
    tree.calls()
    leftover = tree.root / ".venv" / "leftover"
    leftover.touch()
    with open(tree.root / "requirements.lock", "a") as lock:
        lock.write("one-more==1.0\n")
    tree.setup()
    assert tree.calls() == RUNTIME_CALLS
    assert not leftover.exists()


def test_copied_tree_does_not_use_the_original(tree, tmp_path):
    tree.setup()
    tree.calls()
    shutil.copytree(tree.root, tmp_path / "copy")
    tree.root = tmp_path / "copy"
    tree.setup()
    assert tree.calls() == RUNTIME_CALLS


def test_killed_setup_is_done_again(tree):
    process = tree.stall_pip()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    tree.stall.unlink()
    tree.calls()
    assert tree.setup().returncode == 0
    assert tree.calls() == RUNTIME_CALLS


def test_two_at_once_install_once(tree):
    first = tree.stall_pip()
    second = tree.start()
    waiting = second.stderr.readline()
    tree.stall.unlink()
    first.communicate(timeout=60)
    second.communicate(timeout=60)
    assert waiting.startswith("Waiting")
    assert (first.returncode, second.returncode) == (0, 0)
    assert tree.calls() == RUNTIME_CALLS


def test_failing_pip_shows_its_output_and_is_tried_again(tree):
    tree.fail.touch()
    failed = tree.setup()
    assert failed.returncode == 1
    assert "output of pip" in failed.stderr and str(tree.root / ".venv" / "setup.log") in failed.stderr
    tree.fail.unlink()
    tree.calls()
    assert tree.setup().returncode == 0
    assert tree.calls() == RUNTIME_CALLS


def test_without_a_supported_python_one_sentence(tree):
    tree.add_tool("python3", "#!/usr/bin/env bash\nexit 1\n")
    failed = tree.setup()
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1 and SUPPORTED in failed.stderr
    assert not (tree.root / ".venv").exists()


def test_on_another_platform_one_sentence(tree):
    tree.add_tool("uname", "#!/usr/bin/env bash\necho Darwin arm64\n")
    failed = tree.setup()
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1 and "Darwin arm64" in failed.stderr
    assert tree.calls() == []


def test_without_ensurepip_or_apt_get_the_package_to_install_is_named(tree):
    script = '#!/usr/bin/env bash\ncase "$*" in *ensurepip*) exit 1 ;; *-venv*) echo python3.11-venv ;; esac\n'
    tree.add_tool("python3", script)
    failed = tree.setup()
    assert failed.returncode == 1
    assert "apt-get install python3.11-venv" in failed.stderr.splitlines()[-1]


def test_a_later_name_is_taken_where_python3_does_not_run(tree):
    tree.add_tool("python3", "#!/usr/bin/env bash\necho 'no such version' >&2\nexit 127\n")
    tree.add_tool("python3.10", STAND_IN)
    assert tree.setup().returncode == 0
    assert tree.calls() == RUNTIME_CALLS


# The version cannot be chosen here, so setup.py runs in a Python that pretends.
PRETEND = """
import runpy, sys, setuptools
sys.version_info = {version}
sys.argv = ["setup.py", "--version"]
runpy.run_path("setup.py", run_name="__main__")
"""


@pytest.mark.parametrize(("version", "supported"), [((3, 9, 18), False), ((3, 10, 0), True), ((3, 13, 0), False)])
def test_setup_py_names_the_supported_versions(version, supported):
    command = [sys.executable, "-c", PRETEND.format(version=version)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if supported:
        assert result.stdout.split()[-1] == kser.__version__
    else:
        assert result.returncode != 0 and "Traceback" not in result.stderr
        assert SUPPORTED in result.stderr and result.stderr.count("\n") == 1


def test_an_environment_of_someone_elses_is_left_alone(tree):
    keepsake = tree.root / ".venv" / "keepsake"
    keepsake.parent.mkdir()
    keepsake.touch()
    result = tree.setup()
    assert result.returncode == 1 and "was not made by kser" in result.stderr
    assert keepsake.exists() and tree.calls() == []
