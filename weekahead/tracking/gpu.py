"""NVIDIA cards through NVML, without W&B and without torch: what they do now, and whether torch sees them.

NVML counts cards in the order of the bus and knows nothing of CUDA_VISIBLE_DEVICES; both are handled here.
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Gpu = dict[str, Any]


def read_gpus() -> tuple[list[Gpu] | None, str | None]:
    """The cards this process may use, as (cards, None), or (None, why there are none).

    Each card has `index` (as in nvidia-smi), `name`, `utilization_percent` (0 to 100, over the driver's last
    sample period), `memory_used_bytes`, `memory_total_bytes`, `power_watts` and `temperature_celsius`. What the
    driver cannot tell is None and never 0: a MIG slice, for one, has no utilization.
    """
    pynvml, reason = _nvml()
    if pynvml is None:
        return None, reason
    try:
        handles = _visible_handles(pynvml)
    except pynvml.NVMLError as error:
        return None, str(error)
    if not handles:
        return (
            None,
            f"no card is visible (CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')!r})",
        )
    return [_read(pynvml, handle) for handle in handles], None


def _nvml() -> tuple[Any, str | None]:
    """The initialized `pynvml` module, or None and the reason.

    It is not shut down again: repeated initialization only counts up, while a true one takes up to a second.
    """
    try:
        import pynvml
    except ImportError:
        return None, "the package nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, str(error)
    return pynvml, None


def _visible_handles(pynvml: Any) -> list[Any]:
    cards = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    uuids = [_ask(pynvml, pynvml.nvmlDeviceGetUUID, card) or "" for card in cards]
    chosen = visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES"), uuids)
    return [cards[c] if isinstance(c, int) else pynvml.nvmlDeviceGetHandleByUUID(c) for c in chosen]


def visible_devices(setting: str | None, uuids: Sequence[str]) -> list[int | str]:
    """The devices that a value of CUDA_VISIBLE_DEVICES leaves visible, by CUDA's own rules.

    `setting` holds indices or UUIDs (a UUID may be cut short); None means all. The first entry that is no
    device hides itself and all after it, which is why "-1" hides everything. Returned are positions in
    `uuids`, and the UUIDs of MIG slices as they stand.
    """
    if setting is None:
        return list(range(len(uuids)))
    found: list[int | str] = []
    for entry in (part.strip() for part in setting.split(",")):
        matches = [
            i for i, uuid in enumerate(uuids) if entry.startswith("GPU-") and uuid.startswith(entry)
        ]
        if entry.isdecimal() and int(entry) < len(uuids):
            found.append(int(entry))
        elif entry.startswith("MIG-"):
            found.append(entry)
        elif len(matches) == 1:
            found.append(matches[0])
        else:
            break
    return found


def _read(pynvml: Any, handle: Any) -> Gpu:
    name = _ask(pynvml, pynvml.nvmlDeviceGetName, handle)
    use = _ask(pynvml, pynvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _ask(pynvml, pynvml.nvmlDeviceGetMemoryInfo, handle)
    milliwatts = _ask(pynvml, pynvml.nvmlDeviceGetPowerUsage, handle)
    return {
        "index": _ask(pynvml, pynvml.nvmlDeviceGetIndex, handle),
        "name": name.decode() if isinstance(name, bytes) else name,
        "utilization_percent": None if use is None else use.gpu,
        "memory_used_bytes": None if memory is None else memory.used,
        "memory_total_bytes": None if memory is None else memory.total,
        "power_watts": None if milliwatts is None else milliwatts / 1000,
        "temperature_celsius": _ask(
            pynvml, pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
        ),
    }


def _ask(pynvml: Any, question: Callable[..., Any], *words: Any) -> Any:
    """The driver's answer, or None where it has none."""
    try:
        return question(*words)
    except pynvml.NVMLError:
        return None


def driver_version() -> str | None:
    """The version of the NVIDIA driver, or None where no driver answers."""
    pynvml, _ = _nvml()
    version = None if pynvml is None else _ask(pynvml, pynvml.nvmlSystemGetDriverVersion)
    return version.decode() if isinstance(version, bytes) else version


def check_torch_sees_gpu() -> None:
    """Stop where an NVIDIA card is at hand but torch cannot use it; working on the CPU must be a choice.

    That choice is CUDA_VISIBLE_DEVICES set to nothing. A card on the bus that no driver answers for is only
    warned about, because a container shows the bus of its host.
    Raises RuntimeError naming card, driver, build of torch and remedy.
    """
    cards, reason = read_gpus()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles")
    nodes = [] if hidden else sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    if not cards and not nodes:
        if not hidden and (on_bus := _cards_on_bus()):
            log.warning(
                "NVIDIA card %s is on the bus but no driver answers (%s): on CPU", on_bus, reason
            )
        return
    import torch

    if torch.cuda.is_available():
        return
    card = (
        ", ".join(str(card["name"]) for card in cards or [])
        or f"{', '.join(nodes)} (NVML: {reason})"
    )
    build = f"torch {torch.__version__} " + (
        f"for CUDA {torch.version.cuda}" if torch.version.cuda else "(no CUDA)"
    )
    remedy = (
        "update the driver, restart the machine after an update, or install a torch build for an older CUDA"
        if torch.version.cuda
        else "install a build with CUDA (https://pytorch.org/get-started/locally)"
    )
    raise RuntimeError(
        f"an NVIDIA card is present but torch sees none. Card: {card}; driver: {driver_version() or 'none'}; "
        f"build: {build}; torch says: {_why_no_cuda(torch)}. Remedy: {remedy}; "
        "or set CUDA_VISIBLE_DEVICES= (empty) to work on the CPU by choice"
    )


def _why_no_cuda(torch: Any) -> str:
    try:
        torch.cuda.init()
    except (
        AssertionError,
        RuntimeError,
    ) as error:  # what torch raises without CUDA in the build, or in the driver
        return str(error).partition("\n")[0]
    return "nothing"


def _cards_on_bus() -> list[str]:
    """Bus addresses of NVIDIA display and compute devices (vendor 0x10de, class 0x03xx), on Linux."""
    return [
        device.name
        for device in sorted(Path("/sys/bus/pci/devices").glob("*"))
        if _text(device / "vendor") == "0x10de" and _text(device / "class").startswith("0x03")
    ]


def _text(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
