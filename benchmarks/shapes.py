"""Checkpoints with random weights of known shapes: for measuring a model that cannot be downloaded here."""

import json
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    # The sizes in the config.json of Llama-3.1-8B and of DeepSeek-R1-Distill-Llama-8B.
    "llama8b": {
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
    },
    # To try the command itself in seconds.
    "tiny": {
        "vocab_size": 49_152,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
    },
}
"""Fields of LlamaConfig; each vocabulary holds at least the embedded tokenizer's 49,152 tokens."""


def write_checkpoint(shape: dict[str, Any], folder: Path, dtype: str) -> Path:
    """Write a Llama of `shape` with random weights to `folder`, one layer at a time, and return `folder`.

    The weights are drawn on the card if there is one. Normal with deviation 0.02; norms are 1.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    config = LlamaConfig(**shape, tie_word_embeddings=False, architectures=["LlamaForCausalLM"])
    config.save_pretrained(folder)
    with torch.device("meta"):
        names = {name: weight.shape for name, weight in LlamaForCausalLM(config).named_parameters()}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(name.split(".")[2] if ".layers." in name else name, []).append(name)
    index: dict[str, str] = {}
    for number, part in enumerate(parts.values(), start=1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        weights = {name: _draw(torch, names[name], getattr(torch, dtype), device) for name in part}
        save_file(weights, str(folder / file), metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )
    return folder


def _draw(torch: Any, shape: Any, dtype: Any, device: str) -> Any:
    weight = torch.empty(shape, dtype=dtype, device=device)
    return (weight.fill_(1.0) if len(shape) == 1 else weight.normal_(std=0.02)).cpu()
