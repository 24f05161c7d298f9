"""The number format that this machine computes in, decided once for training and evaluation."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_NATIVE_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""CPU flags (x86 and Arm) of bf16 products in hardware; without one, bf16 is slower than fp32."""

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""Mode -> the torch name of its number format."""


@dataclass(frozen=True)
class Precision:
    """`mode` is bf16, fp16 or fp32; `device` is cuda or cpu; `reason` is for a person to read."""

    mode: str
    device: str
    reason: str

    @property
    def dtype(self) -> str:
        """The torch name of the mode."""
        return DTYPES[self.mode]

    def trainer_flags(self) -> dict[str, bool]:
        """The three fields of TrainingArguments that this decision settles.

        They are set before the arguments are parsed: SFTConfig turns bf16 on by default, and raises
        while parsing if the machine has none.
        """
        return {
            "bf16": self.mode == "bf16",
            "fp16": self.mode == "fp16",
            "use_cpu": self.device == "cpu",
        }


def choose_precision() -> Precision:
    """bf16, fp16 or fp32, by what the hardware really supports.

    On CUDA, bf16 needs compute capability 8.0: torch.cuda.is_bf16_supported() says yes to a T4 too,
    where bf16 is emulated and slow. Of several GPUs the weakest decides. An accelerate config for
    the CPU decides for the CPU, with or without a GPU: accelerate computes there in any case.
    """
    import torch

    config_says_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    if config_says_cpu or not torch.cuda.is_available():
        cause = "the accelerate config says CPU" if config_says_cpu else "no CUDA device"
        reason = f"{cause}; {platform.machine()} CPU"
        if _native_bf16(_cpu_flags()):
            return Precision("bf16", "cpu", f"{reason} with bf16 products")
        return Precision("fp32", "cpu", f"{reason} without bf16 products")
    gpus = [
        (torch.cuda.get_device_capability(index), torch.cuda.get_device_name(index))
        for index in range(torch.cuda.device_count())
    ]
    (major, minor), name = min(gpus)
    reason = f"{name} has compute capability {major}.{minor}; bf16 needs 8.0"
    if (major, minor) >= (8, 0):
        return Precision("bf16", "cuda", reason)
    return Precision("fp16", "cuda", f"{reason}, so fp16 with adapter weights in fp32")


def _native_bf16(flags: set[str]) -> bool:
    return bool(flags & _NATIVE_BF16)


def _cpu_flags() -> set[str]:
    """The CPU's feature flags; empty if the system does not list them (macOS, Windows)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    flags: set[str] = set()
    for line in lines:
        if line.startswith(("flags", "Features")):
            flags.update(line.split())
    return flags
