"""Checkpoints with random weights of known shapes, to measure a model that is not downloaded."""

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
    """Write a Llama of `shape` with random weights to `folder`, layer by layer; return `folder`.

    The weights are drawn on the GPU if there is one: normal with deviation 0.02; norms are 1.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    config = LlamaConfig(**shape, tie_word_embeddings=False, architectures=["LlamaForCausalLM"])
    config.save_pretrained(folder)
    with torch.device("meta"):
        parameters = LlamaForCausalLM(config).named_parameters()
    shapes = {name: weight.shape for name, weight in parameters}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    files: dict[str, list[str]] = {}
    for name in shapes:
        layer = name.split(".")[2] if ".layers." in name else name
        files.setdefault(layer, []).append(name)
    index: dict[str, str] = {}
    for number, names in enumerate(files.values(), start=1):
        file = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        weights = {name: _draw(shapes[name], getattr(torch, dtype), device) for name in names}
        save_file(weights, str(folder / file), metadata={"format": "pt"})
        index |= dict.fromkeys(names, file)
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def _draw(shape: Any, dtype: Any, device: str) -> Any:
    import torch

    weight = torch.empty(shape, dtype=dtype, device=device)
    return (weight.fill_(1.0) if len(shape) == 1 else weight.normal_(std=0.02)).cpu()
