"""Whether GPU figures arrive during a training, why not, and the energy that they add up to."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from weekahead.schema.rows import GpuSample, SystemSample, TrainLogRow
from weekahead.tracking.gpu import in_mig_mode

_FIGURES = {
    "utilization_percent": "utilization",
    "memory_used_bytes": "memory",
    "power_watts": "power",
    "temperature_celsius": "temperature",
}
"""Key of a sample -> its word in a message."""

_REMEDIES = {
    "the package nvidia-ml-py is not installed": "run make setup",
    "NVML Shared Library Not Found": (
        "in a container, give docker run --gpus all and "
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility; else install the driver's libnvidia-ml.so.1 "
        "(nvidia-smi must work)"
    ),
    "Driver Not Loaded": "load the NVIDIA driver (nvidia-smi must work)",
    "RM has detected an NVML/RM version mismatch.": (
        "the driver was updated while it ran: restart the machine"
    ),
}
"""What NVML says (see pynvml) -> what to do."""


class GpuCheck:
    """Collects which GPU figures have arrived, and says once which have not.

    Give it to the log of a training on CUDA only: a training on the CPU expects none.
    """

    def __init__(self, after_seconds: float = 60.0) -> None:
        self._after: float | None = after_seconds
        self._arrived: set[str] = set()
        self._reason: str | None = "the driver has not answered NVML yet"

    def see(self, sample: SystemSample) -> None:
        """Take note of a sample; a thread may call it."""
        self._reason = sample["gpu_reason"]
        self._arrived |= _arrived_in(sample["gpu"] or [])

    def warning(self, seconds: float) -> str | None:
        """What to warn of `seconds` after the start: None before the time, and after the first call
        at or past it."""
        if self._after is None or seconds < self._after:
            return None
        self._after = None
        return missing_figures(self._arrived, self._reason, seconds)


def _arrived_in(gpus: Iterable[GpuSample]) -> set[str]:
    return {name for gpu in gpus for name in _FIGURES if gpu.get(name) is not None}


def missing_figures(arrived: set[str], reason: str | None, seconds: float) -> str | None:
    """A sentence on the GPU figures that have not arrived, with reason and remedy; None if all did.

    `arrived` holds keys of GpuSample; `reason` is why there was no sample, None if there was one.
    """
    missing = [word for name, word in _FIGURES.items() if name not in arrived]
    if not missing:
        return None
    goes_on = "the training goes on without them"
    if arrived or reason is None:
        why = "a MIG slice reports none" if in_mig_mode() else "the driver does not report it"
        return f"no GPU {', '.join(missing)} after {seconds:.0f} s: {why}; {goes_on}"
    remedy = _REMEDIES.get(reason)
    because = f"{reason}; {remedy}" if remedy else reason
    return f"no GPU sample after {seconds:.0f} s ({because}); {goes_on}"


def gpu_energy_wh(rows: Sequence[TrainLogRow]) -> float | None:
    """The energy of all GPUs in Wh, by the trapezoidal rule over the power in the rows of the log.

    The log's clock leaves interrupts out. None if fewer than two rows know the power.
    """
    points: dict[int, list[tuple[float, float]]] = {}
    for row in rows:
        for position, gpu in enumerate(row.get("gpu") or []):
            if gpu["power_watts"] is not None:
                points.setdefault(position, []).append((row["time"], gpu["power_watts"]))
    pairs = [pair for series in points.values() for pair in pairwise(series)]
    if not pairs:
        return None
    joules = sum((end - start) * (first + last) / 2 for (start, first), (end, last) in pairs)
    return joules / 3600
