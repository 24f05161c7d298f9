"""Checkpoints with random weights of known shapes, to measure a model that is not downloaded.

    python -m benchmarks.shapes --shape llama8b --out /dev/shm/base --tokenizer FOLDER

writes a base folder that every command takes; its tokenizer is a copy of another model's (default:
the embedded one), so a recipe for it says `turn_format: smollm2`.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weekahead.cli import new_parser, option, run_with_options
from weekahead.locks import check_writable
from weekahead.models.embedded import DEFAULT_OUT, ensure_embedded

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


@dataclass(frozen=True)
class ShapesOptions:
    """The flags of benchmarks.shapes."""

    shape: str = option(choices=tuple(SHAPES), help="whose sizes the base has")
    out: Path = option(help="folder to write; it must not exist")
    tokenizer: Path | None = option(None, help="folder with the tokenizer to copy")


def run(options: ShapesOptions) -> int:
    """Write the base folder and print its path."""
    if options.out.exists():
        raise ValueError(f"--out {options.out} exists; remove it, or name another folder")
    check_writable(options.out.parent)
    tokenizer = options.tokenizer or ensure_embedded(DEFAULT_OUT)
    files = [tokenizer / name for name in ("tokenizer.json", "tokenizer_config.json")]
    for file in files:
        if not file.is_file():
            raise ValueError(f"--tokenizer {tokenizer} has no {file.name}; name another folder")
    write_checkpoint(SHAPES[options.shape], options.out, "bfloat16")
    for file in files:
        shutil.copy(file, options.out)
    print(options.out)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 written, 2 an error, 130 interrupted."""
    parser = new_parser(__doc__, "benchmarks.shapes")
    return run_with_options("benchmarks.shapes", parser, ShapesOptions, run, argv)


if __name__ == "__main__":
    sys.exit(main())
