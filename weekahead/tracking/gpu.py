"""NVIDIA GPUs through NVML, without W&B and torch: what they do, and whether torch sees them.

NVML counts GPUs in the order of the bus and knows nothing of CUDA_VISIBLE_DEVICES; both are handled
here.
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weekahead.schema.rows import GpuSample

log = logging.getLogger(__name__)


class GpuReading(NamedTuple):
    """The GPUs that this process may use, or why there are none: one of the two is None."""

    gpus: list[GpuSample] | None
    reason: str | None


def read_gpus() -> GpuReading:
    """What the GPUs that this process may use do now.

    A value that the driver does not know is None and never 0: a MIG slice, for one, has no
    utilization.
    """
    pynvml, reason = _nvml()
    if pynvml is None:
        return GpuReading(None, reason)
    try:
        handles = _visible_handles(pynvml)
    except pynvml.NVMLError as error:
        return GpuReading(None, str(error))
    if not handles:
        setting = os.environ.get("CUDA_VISIBLE_DEVICES")
        return GpuReading(None, f"no GPU is visible (CUDA_VISIBLE_DEVICES={setting!r})")
    return GpuReading([_read(pynvml, handle) for handle in handles], None)


def _nvml() -> tuple[Any, str | None]:
    """The initialized `pynvml` module, or None and the reason.

    It is not shut down again: repeated initialization only counts up, while a first one takes up to
    a second.
    """
    try:
        import pynvml as module  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        return None, "the package nvidia-ml-py is not installed"
    pynvml: Any = module
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, str(error)
    return pynvml, None


def _visible_handles(pynvml: Any) -> list[Any]:
    count = pynvml.nvmlDeviceGetCount()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    uuids = [_ask(pynvml, pynvml.nvmlDeviceGetUUID, handle) or "" for handle in handles]
    visible: list[Any] = []
    for device in visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES"), uuids):
        is_index = isinstance(device, int)
        visible.append(handles[device] if is_index else pynvml.nvmlDeviceGetHandleByUUID(device))
    return visible


def visible_devices(setting: str | None, uuids: Sequence[str]) -> list[int | str]:
    """The devices that a value of CUDA_VISIBLE_DEVICES leaves visible, by CUDA's own rules.

    `setting` holds indices or UUIDs (a UUID may be cut short); None means all. The first entry that
    is not a device hides itself and all after it, which is why "-1" hides everything. Returned are
    positions in `uuids`, and the UUIDs of MIG slices as they stand.
    """
    if setting is None:
        return list(range(len(uuids)))
    devices: list[int | str] = []
    for entry in setting.split(","):
        device = _device(entry.strip(), uuids)
        if device is None:
            break
        devices.append(device)
    return devices


def _device(entry: str, uuids: Sequence[str]) -> int | str | None:
    """What one entry of CUDA_VISIBLE_DEVICES names; None if it is not a device."""
    if entry.isdecimal():
        return int(entry) if int(entry) < len(uuids) else None
    if entry.startswith("MIG-"):
        return entry
    if not entry.startswith("GPU-"):
        return None
    matches = [index for index, uuid in enumerate(uuids) if uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None


def _read(pynvml: Any, handle: Any) -> GpuSample:
    name = _ask(pynvml, pynvml.nvmlDeviceGetName, handle)
    use = _ask(pynvml, pynvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _ask(pynvml, pynvml.nvmlDeviceGetMemoryInfo, handle)
    milliwatts = _ask(pynvml, pynvml.nvmlDeviceGetPowerUsage, handle)
    sensor = pynvml.NVML_TEMPERATURE_GPU
    return {
        "index": _ask(pynvml, pynvml.nvmlDeviceGetIndex, handle),
        "name": name.decode() if isinstance(name, bytes) else name,
        "utilization_percent": None if use is None else use.gpu,
        "memory_used_bytes": None if memory is None else memory.used,
        "memory_total_bytes": None if memory is None else memory.total,
        "power_watts": None if milliwatts is None else milliwatts / 1000,
        "temperature_celsius": _ask(pynvml, pynvml.nvmlDeviceGetTemperature, handle, sensor),
    }


def _ask(pynvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """The driver's answer, or None if it has none."""
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None


def in_mig_mode() -> bool:
    """Whether a GPU that this process may use is cut into MIG slices, or is such a slice."""
    pynvml, _ = _nvml()
    if pynvml is None:
        return False
    try:
        handles = _visible_handles(pynvml)
    except pynvml.NVMLError:
        return False
    return any(
        _ask(pynvml, pynvml.nvmlDeviceIsMigDeviceHandle, handle)
        or (_ask(pynvml, pynvml.nvmlDeviceGetMigMode, handle) or [0])[0]
        for handle in handles
    )


def driver_version() -> str | None:
    """The version of the NVIDIA driver, or None if no driver answers."""
    pynvml, _ = _nvml()
    if pynvml is None:
        return None
    version = _ask(pynvml, pynvml.nvmlSystemGetDriverVersion)
    return version.decode() if isinstance(version, bytes) else version


def check_torch_sees_gpu() -> None:
    """Stop if there is an NVIDIA GPU that torch cannot use: working on the CPU must be a choice.

    That choice is CUDA_VISIBLE_DEVICES set to nothing. A GPU on the bus that no driver answers for
    only gives a warning, because a container shows the bus of its host.
    Raises RuntimeError naming GPU, driver, build of torch and remedy.
    """
    gpus, reason = read_gpus()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles")
    nodes = [] if hidden else sorted(map(str, Path("/dev").glob("nvidia[0-9]*")))
    if not gpus and not nodes:
        on_bus = [] if hidden else _gpus_on_bus()
        if on_bus:
            log.warning(
                "NVIDIA GPU %s is on the bus but no driver answers (%s): on CPU", on_bus, reason
            )
        return
    import torch

    if torch.cuda.is_available():
        return
    names = ", ".join(str(gpu["name"]) for gpu in gpus or [])
    gpu_text = names or f"{', '.join(nodes)} (NVML: {reason})"
    raise RuntimeError(
        f"an NVIDIA GPU is present but torch sees none. GPU: {gpu_text}; "
        f"driver: {driver_version() or 'none'}; {_build_and_remedy(torch)}; "
        "or set CUDA_VISIBLE_DEVICES= (empty) to work on the CPU by choice"
    )


def _build_and_remedy(torch: Any) -> str:
    build, remedy = (
        "(no CUDA)",
        "install a build with CUDA (https://pytorch.org/get-started/locally)",
    )
    if torch.version.cuda:
        build = f"for CUDA {torch.version.cuda}"
        remedy = (
            "update the driver, restart the machine after an update, or install a torch build for "
            "an older CUDA"
        )
    return (
        f"build: torch {torch.__version__} {build}; torch says: {_why_no_cuda(torch)}. "
        f"Remedy: {remedy}"
    )


def _why_no_cuda(torch: Any) -> str:
    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:  # without CUDA in the build, or in the driver
        return str(error).partition("\n")[0]
    return "nothing"


def _gpus_on_bus() -> list[str]:
    """Bus addresses of NVIDIA GPUs (vendor 0x10de, class 0x03xx: display and 3D), on Linux."""
    return [
        device.name
        for device in sorted(Path("/sys/bus/pci/devices").glob("*"))
        if _text(device / "vendor") == "0x10de" and _text(device / "class").startswith("0x03")
    ]


def _text(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
