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
        sys.exit("pytorch" in CANNOT and "--index-url" in arguments)
else:
    sys.exit(1)
"""
FAKE_UV = '#!/bin/sh\necho "uv $*" >> asked\nexit {status}\n'
PIP = ".venv/bin/python -m pip --disable-pip-version-check install --quiet"
UV = "uv pip install --python .venv/bin/python"
TORCH = "torch==2.13.0"
INDEX = "--index-url https://download.pytorch.org/whl"
CPU = f"{TORCH} {INDEX}/cpu"
FAKE_UNAME = "#!/bin/sh\n[ $1 = -s ] && echo {system} || echo {machine}\n"
FAKE_DF = "#!/bin/sh\necho head\necho disk 1 1 {kibibytes} 1% /\n"
# An old driver does not know the field compute_cap.
FAKE_SMI = """#!/bin/sh
[ "{lines}" ] || {{ echo NVIDIA-SMI has failed; exit 9; }}
case $1 in *compute_cap*) [ "{knows_capability}" = True ] || exit 2 ;; esac
printf '%b' '{lines}'
"""
LOCKED = "--require-hashes --no-deps -r"
RANGE = "3.11.5 to 3.14 needed"


class Machine:
    """A folder with setup.sh and what it reads; its PATH has only the fakes and a few tools."""

    def __init__(self, folder: Path):
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for tool in ("sh", "rm", "mkdir", "ln", "grep", "touch", "cat", "find"):
            (self.bin / tool).symlink_to(shutil.which(tool))
        for name in ("setup.sh", "requirements.txt", "requirements.lock", "requirements-dev.lock"):
            shutil.copy(ROOT / name, folder / name)
        self._program("python3", FAKE_PYTHON.format(python=sys.executable, folder=str(folder)))
        self.have(version="3.12.1")
        self.be("Linux", "x86_64")
        self.has_disk(50)

    def be(self, system, machine):
        """What `uname` says."""
        self._program("uname", FAKE_UNAME.format(system=system, machine=machine))

    def has_disk(self, gibibytes):
        self._program("df", FAKE_DF.format(kibibytes=gibibytes * 2**20))

    def has_gpus(self, *lines, knows_capability=True):
        """What `nvidia-smi` says, one line per GPU; without lines it fails."""
        text = "".join(f"{line}\\n" for line in lines)
        self._program("nvidia-smi", FAKE_SMI.format(lines=text, knows_capability=knows_capability))

    def has_slurm(self):
        self._program("sbatch", "#!/bin/sh\n")

    def _program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def have(self, version="3.12.1", cannot="", uv_status=None):
        """Its Python, what that cannot do (`venv`, `ensurepip`, `pip`), the exit status of uv."""
        (self.folder / "version").write_text(version)
        (self.folder / "cannot").write_text(cannot)
        if uv_status is not None:
            self._program("uv", FAKE_UV.format(status=uv_status))

    def setup(self, *arguments, python="python3", **more):
        environment = {"PATH": str(self.bin), "PYTHON": python, **more}
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


def test_another_python_than_that_of_the_venv_is_refused(machine):
    assert machine.setup().returncode == 0
    machine._program("python3.12", "#!/bin/sh\necho Python 3.12.9\n")
    for more in ("", "dev"):
        result = machine.setup(*more.split(), python="python3.12")
        assert result.returncode == 1 and len(machine.asked()) == 2
        assert "PYTHON=python3.12 is Python 3.12.9, and .venv has Python 3.12.1" in result.stderr
        assert "remove .venv, or leave PYTHON out" in result.stderr
    assert "python9 not found" in machine.setup(python="python9").stderr
    assert machine.setup(python="").returncode == 0


def test_torch_comes_first_and_the_rest_from_the_lock(machine):
    assert machine.setup().returncode == 0
    assert machine.asked() == [f"{PIP} {CPU}", f"{PIP} {LOCKED} requirements.lock"]


def test_uv_installs_the_lock_if_it_is_there(machine):
    machine.have(uv_status=0)
    assert machine.setup().returncode == 0
    assert machine.asked() == [f"{PIP} {CPU}", f"{UV} {LOCKED} requirements.lock"]


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


@pytest.mark.parametrize("words", [("dev", "--dry-run"), ("--dry-run", "dev"), ("", "")])
def test_more_than_one_argument_is_refused(machine, words):
    result = machine.setup(*words)
    assert result.returncode == 1 and "expected at most one argument" in result.stderr
    assert machine.asked() == []


def test_without_ensurepip_the_pythons_own_pip_is_used(machine):
    machine.have(cannot="ensurepip")
    assert machine.setup().returncode == 0
    pip = "python3 -m pip --python .venv/bin/python --disable-pip-version-check install --quiet"
    assert machine.asked() == [f"{pip} {CPU}", f"{pip} {LOCKED} requirements.lock"]


def test_uv_installs_all_if_there_is_no_pip(machine):
    machine.have(cannot="ensurepip pip", uv_status=0)
    assert machine.setup().returncode == 0
    assert machine.asked() == [f"{UV} {CPU}", f"{UV} {LOCKED} requirements.lock"]


def test_without_pip_and_uv_the_remedy_is_named(machine):
    machine.have(cannot="ensurepip pip")
    result = machine.setup()
    assert result.returncode == 1 and "neither pip nor uv found; install one" in result.stderr


def test_without_a_venv_the_running_python_is_used(machine):
    """uv refuses the Python of a system, so pip does it; a second call knows its own link."""
    machine.have(cannot="venv", uv_status=0)
    for _ in range(2):
        result = machine.setup(TORCH="auto")
        assert result.returncode == 0
    assert (machine.folder / ".venv/bin/python").resolve() == machine.bin / "python3"
    assert machine.asked() == [f"{PIP} {CPU}", f"{PIP} {LOCKED} requirements.lock"] * 2


DEFAULT, CUDA_126 = "CUDA 13 build", "CUDA 12.6 build"


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        (["580.65.06, 9.0"], f"{DEFAULT} (NVIDIA driver 580.65.06)"),
        (["595.10, 12.0", "595.10, 7.5"], DEFAULT),
        (["550.54.15, 7.5"], f"{CUDA_126} (NVIDIA driver 550.54.15; CUDA 13 needs 580)"),
        (["525.60.13, 8.0"], CUDA_126),
        (["580.65.06, 6.0"], f"{CUDA_126} (NVIDIA driver 580.65.06; a GPU of capability 6.0 has"),
        (["580.65.06, 9.0", "580.65.06, 7.0"], CUDA_126),
        (["580.65.06, [N/A]"], DEFAULT),
        (["No devices were found"], "CPU build (no NVIDIA driver)"),
        ([], "CPU build (no NVIDIA driver)"),
    ],
)
def test_the_build_fits_driver_and_cards(machine, gpus, words):
    machine.has_gpus(*gpus)
    result = machine.setup("--dry-run")
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"setup: {TORCH} {words}")
    assert machine.asked() == [] and not (machine.folder / ".venv").exists()


@pytest.mark.parametrize(
    ("gpus", "error"),
    [
        (["515.65.01, 8.6"], "driver 515.65.01 is too old, 525 or newer needed; install 580"),
        (["470.57, 8.6"], "driver 470.57 is too old"),
        (["550.54, 3.7"], "compute capability 3.7, 5.0 or newer needed; take TORCH=cpu"),
    ],
)
def test_what_no_build_serves_is_refused(machine, gpus, error):
    machine.has_gpus(*gpus, knows_capability="470" not in gpus[0])
    for arguments in ([], ["--dry-run"]):
        result = machine.setup(*arguments)
        assert result.returncode == 1 and error in result.stderr
    assert machine.asked() == [] and not (machine.folder / ".venv").exists()
    assert "CPU build" in machine.setup("--dry-run", TORCH="cpu").stdout


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "CPU build (no NVIDIA driver)"),
        ({"SLURM_JOB_ID": "17"}, f"{DEFAULT} (no NVIDIA driver here, but SLURM"),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, f"{DEFAULT} (no NVIDIA driver here, but the env"),
        ({"NVIDIA_VISIBLE_DEVICES": "void", "CUDA_VERSION": "12.4"}, "CPU build"),
        ({"CUDA_VERSION": "12.4.1"}, f"{DEFAULT} (no NVIDIA driver here, but the env"),
        ({"TORCH": "cu126"}, f"{CUDA_126} (TORCH=cu126 asks for it)"),
        ({"TORCH": "cpu", "CUDA_VERSION": "13"}, "CPU build (TORCH=cpu asks for it)"),
    ],
)
def test_without_a_driver_the_environment_decides(machine, variables, words):
    assert f"{TORCH} {words}" in machine.setup("--dry-run", **variables).stdout


def test_a_login_node_gets_the_build_of_its_nodes(machine):
    machine.has_slurm()
    assert f"{DEFAULT} (no NVIDIA driver here, but SLURM" in machine.setup("--dry-run").stdout


def test_a_mac_with_an_intel_processor_is_sent_to_docker(machine):
    machine.be("Darwin", "x86_64")
    for arguments in ([], ["--dry-run"]):
        result = machine.setup(*arguments)
        assert result.returncode == 1 and machine.asked() == []
        assert "docker build -t weekahead ." in result.stderr and "6 GiB" in result.stderr
        assert "jobs/colab_t4.ipynb" in result.stderr
    assert (ROOT / "Dockerfile").exists()
    machine.be("Darwin", "arm64")
    assert "macOS build (macOS on Apple silicon)" in machine.setup("--dry-run").stdout
    assert machine.setup().returncode == 0 and machine.asked()[0] == f"{PIP} {TORCH}"


def test_an_unknown_choice_or_system_is_refused(machine):
    result = machine.setup(TORCH="cuda")
    assert result.returncode == 1 and "TORCH is cuda; expected auto, cpu, cu126" in result.stderr
    result = machine.setup(TORCH="keep")
    assert result.returncode == 1 and "TORCH=keep, but .venv has no torch" in result.stderr
    machine.be("MINGW64_NT-10.0", "x86_64")
    assert "on Windows take WSL" in machine.setup().stderr and machine.asked() == []


def test_the_cpu_index_may_be_out_of_reach(machine):
    """Then the default index is asked, and the user is told what that may bring."""
    assert machine.setup().returncode == 0
    machine.have(cannot="pytorch")
    shutil.rmtree(machine.folder / ".venv")
    (machine.folder / "asked").unlink()
    result = machine.setup()
    assert result.returncode == 0, result.stderr
    assert machine.asked()[:2] == [f"{PIP} {CPU}", f"{PIP} {TORCH}"]
    assert "whl/cpu cannot be used; taking the default index" in result.stderr


def test_no_other_build_takes_the_place_of_cuda_126(machine):
    """The default build would not run on such a driver."""
    machine.have(cannot="pytorch")
    machine.has_gpus("550.54.15, 7.5")
    result = machine.setup()
    assert result.returncode == 1 and "no CUDA 12.6 build from" in result.stderr
    assert machine.asked() == [f"{PIP} {TORCH} {INDEX}/cu126"]


def test_a_full_disk_is_told_before_anything_is_downloaded(machine):
    machine.has_disk(2)
    result = machine.setup()
    assert result.returncode == 1 and "2 GiB free on this disk, 3 GiB needed" in result.stderr
    assert machine.asked() == []


def test_a_second_call_does_nothing(machine):
    assert "takes up to 3 GiB" in machine.setup().stdout
    asked = machine.asked()
    later = (machine.folder / ".venv/ready").stat().st_mtime + 10
    os.utime(machine.folder / ".venv/ready", (later, later))
    assert machine.setup().stdout == "setup: .venv is up to date\n" and machine.asked() == asked
    os.utime(machine.folder / "requirements.lock", (later + 10, later + 10))
    assert machine.setup().returncode == 0 and machine.asked() == asked * 2


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
