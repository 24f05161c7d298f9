"""Whether a model is small enough for this machine, by what can be known without torch."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from weekahead.models.families import FAMILIES

_SMALL = 3_000_000_000
"""Weights that a CPU can still train or answer with in a tolerable time."""
_BYTES_4BIT, _BYTES_16BIT = 0.65, 2.0
"""Per weight: NF4 with its constants and what stays in 16 bits, and 16 bits."""
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
            f"{size} and {reason}: too slow to be of use; take MODEL=smollm2, or a machine with a "
            "GPU (16 GB for the recipes named _t4)"
        )
    needed = parameters * (_BYTES_4BIT if in_4bit else _BYTES_16BIT)
    largest = max(gpus)
    if largest and needed > largest:
        raise ValueError(
            f"{size}, which take {needed / 1e9:.0f} GB, and the largest GPU has "
            f"{largest / 1e9:.0f} GB; take a larger GPU, load_in_4bit: true, or MODEL=smollm2"
        )


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
