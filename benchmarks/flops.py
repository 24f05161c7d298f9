"""How much arithmetic a training row needs, what the machine is, and what its GPU can do."""

import os
import platform
import re
from pathlib import Path
from typing import Any, TypedDict

COMPLETION_SHARE = 0.2
"""Of a row's tokens; the rest is prompt. About what the public rows have."""
PEAK_TFLOPS = {r"\bT4\b": 65.0, r"\bA100\b": 312.0, r"\bH[12]00\b(?!.*(PCIe|NVL))": 989.0}
"""Dense fp16 or bf16 tensor peaks of NVIDIA's data sheets, by a pattern of the GPU's name."""


def flops_per_row(config: Any, adapter_parameters: int, length: int) -> float:
    """FLOPs that one row of `length` tokens needs, forward and backward, without recomputation.

        4 N T + 4 H C + 6 A T + 6 L D T^2

    N: weights of the frozen linear layers (2 forward, 2 for the gradient through them, none for
    their own), H: of the output head, on the C completion tokens alone, A: adapter weights (2
    forward, 4 backward). Attention of L layers of width D: 12 L D T^2 as in PaLM (Chowdhery et al.
    2022, appendix B), half of it for the causal mask (Dao, FlashAttention-2, 2023, section 4.1).
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    head = model.get_output_embeddings().weight.numel()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    linear = sum(layer.weight.numel() for layer in layers) - head
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    weights = (
        4 * linear * length
        + 4 * head * round(COMPLETION_SHARE * length)
        + 6 * adapter_parameters * length
    )
    return weights + 6 * config.num_hidden_layers * width * length**2


def peak_of(card: str | None, mode: str) -> float | None:
    """Peak TFLOP/s of a GPU in 16-bit numbers; None for a CPU, fp32 and a GPU not in the table."""
    if card is None or mode == "fp32":
        return None
    return next((peak for pattern, peak in PEAK_TFLOPS.items() if re.search(pattern, card)), None)


class Machine(TypedDict):
    """What a benchmark ran on."""

    cpu: str
    cores: int | None
    threads: int
    """Of torch."""
    card: str | None
    """The GPU's name; null without one."""
    card_memory_bytes: int | None


def machine() -> Machine:
    """The machine that this process runs on."""
    import torch

    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "card": gpu.name if gpu else None,
        "card_memory_bytes": gpu.total_memory if gpu else None,
    }
