"""Whether a model is small enough for this machine, by what can be known without torch."""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from weekahead.models.families import FAMILIES

_SMALL = 3_000_000_000
"""Weights that a CPU can still train or answer with in a tolerable time."""
_BYTES_4BIT, _BYTES_16BIT = 0.65, 2.0
"""Per weight: NF4 with its constants and what stays in 16 bits, and 16 bits."""
_GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")
_SIZE_IN_NAME = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,2})?)[bB](?![a-zA-Z])")
_HIDDEN = ("", "-1", "NoDevFiles")


def check_model_fits(model: str, *, in_4bit: bool, on_cpu: bool) -> None:
    """Check that this machine can hold a base; one whose size is not known passes.

    Raises ValueError with the alternatives, before anything is downloaded.
    """
    parameters = parameters_of(model)
    if parameters is None or parameters <= _SMALL:
        return
    size = f"{model} has {parameters / 1e9:.1f} billion weights"
    gpus = gpu_memory()
    if on_cpu or not gpus:
        reason = "the accelerate config says CPU" if gpus else "this machine shows no GPU"
        raise ValueError(
            f"{size} and {reason}: too slow to be of use; take MODEL=smollm2 here, or a GPU (16 GB "
            "for the recipes named _t4): jobs/colab_t4.ipynb, jobs/slurm.sh, jobs/sky.yaml or "
            "jobs/hf_job.py"
        )
    needed = parameters * (_BYTES_4BIT if in_4bit else _BYTES_16BIT)
    largest = max(gpus)
    if largest and needed > largest:
        raise ValueError(
            f"{size}, which take {needed / 1e9:.0f} GB, and the largest GPU has "
            f"{largest / 1e9:.0f} GB; take a larger GPU, load_in_4bit: true, or MODEL=smollm2"
        )


def check_free_memory(needed: int, what: str) -> None:
    """Check that `needed` bytes of memory are free, within the limit of a container.

    Raises ValueError naming `what` needs it, and the remedy. Where neither can be read, it passes.
    """
    free = free_memory()
    if free is not None and free < needed:
        raise ValueError(
            f"{what} needs {needed / _GIB:.1f} GiB of memory and {free / _GIB:.1f} GiB are free; "
            "close other programs, or take a larger machine or container"
        )


def free_memory() -> int | None:
    """Bytes of memory that a new program may use; None if that cannot be read."""
    found: list[int] = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError):  # "max" is no limit
        limit = int(_CGROUP.joinpath("memory.max").read_text(encoding="ascii"))
        used = int(_CGROUP.joinpath("memory.current").read_text(encoding="ascii"))
        found.append(limit - used + _file_cache())
    return min(found, default=None)


def _file_cache() -> int:
    """Bytes of the container's use that are files, which make room when it is needed."""
    lines = _CGROUP.joinpath("memory.stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.split()[0] == "file")


def parameters_of(model: str) -> int | None:
    """The weights of a base: of a family, of a local folder by its files, else as its name says.

    None if none of these tells.
    """
    family = {family.hub_id: family.parameters for family in FAMILIES.values()}.get(model)
    if family is not None:
        return family
    folder = Path(model)
    if folder.is_dir():
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        return size // 2 if size else None
    match = _SIZE_IN_NAME.search(model.rpartition("/")[2].replace("-", " ").replace("_", " "))
    return int(float(match[1]) * 1e9) if match else None


def gpu_memory() -> list[int]:
    """Bytes of memory of each GPU that a process here would see; 0 if that is not known.

    NVIDIA's device files count, so that a driver without nvidia-smi still shows its cards.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in _HIDDEN:
        return []
    devices = [
        *Path("/dev").glob("nvidia[0-9]*"),
        *Path("/dev").glob("dxg"),
        *Path("/dev").glob("kfd"),
    ]
    return _asked() or [0] * len(devices)


def _asked() -> list[int]:
    """What nvidia-smi says; empty without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = answer.stdout.split() if answer.returncode == 0 else []
    return [int(line) * 2**20 if line.isdigit() else 0 for line in lines]
