"""A model of transformers as a GGUF file, for llama.cpp, Ollama and what is built on them.

Tensors are written one after another in the model's own number format (vectors in float32, as
llama.cpp wants them), so that no second copy of the model is held. What the file must state is
taken from convert_hf_to_gguf.py of llama.cpp; what was written is read back and compared.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sft.gguf.vocabulary import Vocabulary, read_vocabulary


@dataclass(frozen=True)
class _Architecture:
    name: str
    """In GGUF."""
    interleaved: bool = False
    """Whether llama.cpp rotates neighbouring rows of a head in queries and keys, not halves."""


_ARCHITECTURES = {
    "llama": _Architecture("llama", interleaved=True),
    "qwen2": _Architecture("qwen2"),
    "qwen3": _Architecture("qwen3"),
}
"""`model_type` of transformers -> how llama.cpp has it."""
_ROPES = {"llama": ("default", "llama3")}
"""The kinds of rotary embedding beside the default that can be written."""
_REMEDY = "export FORM=merged and convert that folder with convert_hf_to_gguf.py of llama.cpp"


@dataclass(frozen=True)
class GgufTitle:
    """What the file says about where it comes from."""

    name: str
    licence: str | None
    """The Hub's identifier."""
    base: str | None
    """The Hub id of the base."""


def check_can_be_gguf(config: Any, tokenizer: Any) -> None:
    """Raise ValueError if llama.cpp would compute something else, or nothing, from such a model."""
    if config.model_type not in _ARCHITECTURES:
        raise ValueError(
            f"a model of type {config.model_type} cannot be written as GGUF here (expected one of "
            f"{', '.join(_ARCHITECTURES)}); {_REMEDY}"
        )
    rope = _rope(config)["rope_type"]
    if rope not in _ROPES.get(config.model_type, ("default",)):
        raise ValueError(f"the rotary embedding {rope} cannot be written as GGUF here; {_REMEDY}")
    if getattr(config, "use_sliding_window", False):
        raise ValueError(f"a sliding window of attention cannot be written as GGUF here; {_REMEDY}")
    read_vocabulary(tokenizer, config.vocab_size)


def write_gguf(path: Path, model: Any, tokenizer: Any, title: GgufTitle) -> None:
    """Write `model`, whose weights are in one number format of 16 or 32 bits, to `path`.

    Raises the errors of `check_can_be_gguf`, ValueError for a tensor that GGUF has no name for, and
    OSError for a disk that gets full.
    """
    from gguf import GGUFWriter

    check_can_be_gguf(model.config, tokenizer)
    tensors = dict(_named(model))
    writer = GGUFWriter(path, _ARCHITECTURES[model.config.model_type].name)
    try:
        _state_title(writer, title)
        _state_shape(writer, model)
        _state_vocabulary(writer, read_vocabulary(tokenizer, model.config.vocab_size))
        for name, tensor in tensors.items():
            values, kind = _stored(tensor)
            writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, tensor in tensors.items():
            writer.write_tensor_data(_stored(_in_order(name, tensor, model.config))[0])
    except OSError as error:
        if error.errno is None:  # numpy states how much it wrote, not why no more
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
    finally:
        writer.close()


def check_gguf(path: Path, model: Any, tokenizer: Any) -> int:
    """Read a file back and compare it with what was to be written; the number of tensors.

    Raises ValueError naming the first tensor, or entry of the vocabulary, that is not the model's.
    """
    from gguf import GGUFReader
    from gguf.quants import dequantize

    from weekahead.models.embedded import unpermute

    reader = GGUFReader(path)
    expected = dict(_named(model))
    heads = _interleaved_heads(model.config)
    found = {tensor.name: tensor for tensor in reader.tensors}
    if found.keys() != expected.keys():
        raise ValueError(f"{path} lacks {min(expected.keys() - found.keys(), default='nothing')}")
    for name, tensor in found.items():
        values = dequantize(tensor.data, tensor.tensor_type)
        kind = name.split(".")[-2]
        if kind in heads:
            values = unpermute(values, heads[kind])
        if not np.array_equal(values, expected[name].float().cpu().numpy()):
            raise ValueError(f"{path}: {name} is not what was written; is the disk sound?")
    vocabulary = read_vocabulary(tokenizer, model.config.vocab_size)
    for key in ("tokens", "merges"):
        field = reader.fields.get(f"tokenizer.ggml.{key}")  # an empty list is not written
        if (field.contents() if field else []) != list(getattr(vocabulary, key)):
            raise ValueError(f"{path}: the {key} are not what was written; is the disk sound?")
    return len(found)


def _named(model: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor that the file holds, with its name there."""
    import gguf

    architecture = _ARCHITECTURES[model.config.model_type].name
    names = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(names[architecture], model.config.num_hidden_layers)
    tied = model.config.tie_word_embeddings
    for name, tensor in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue  # llama.cpp takes the embedding
        written = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if written is None:
            raise ValueError(f"GGUF has no name for the tensor {name} of {architecture}; {_REMEDY}")
        yield written, tensor
    factors = _rope_factors(model)
    if factors is not None:
        yield "rope_freqs.weight", factors


def _in_order(name: str, tensor: Any, config: Any) -> Any:
    """`tensor` with its rows in llama.cpp's order: the inverse of `embedded.unpermute`."""
    heads = _interleaved_heads(config).get(name.split(".")[-2])
    if heads is None:
        return tensor
    half = tensor.shape[0] // heads // 2
    return tensor.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(tensor.shape)


def _interleaved_heads(config: Any) -> dict[str, int]:
    if not _ARCHITECTURES[config.model_type].interleaved:
        return {}
    return {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}


def _stored(tensor: Any) -> tuple[np.ndarray, Any]:
    """The numbers as they are written, and the type that GGUF has for them."""
    import torch
    from gguf import GGMLQuantizationType

    tensor = tensor.detach().cpu().contiguous()
    if tensor.ndim == 1:
        tensor = tensor.float()
    if tensor.dtype == torch.bfloat16:  # numpy has none
        return tensor.view(torch.int16).numpy(), GGMLQuantizationType.BF16
    return tensor.numpy(), None


def _rope(config: Any) -> dict[str, Any]:
    return config.rope_parameters


def _rope_factors(model: Any) -> Any:
    """What llama.cpp divides the rotary frequencies by; None if they are the plain ones."""
    import torch

    rope = _rope(model.config)
    if rope["rope_type"] == "default":
        return None
    size = _head_size(model.config)
    plain = rope["rope_theta"] ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    return (plain / model.model.rotary_emb.inv_freq.cpu().double()).float()


def _head_size(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _state_title(writer: Any, title: GgufTitle) -> None:
    writer.add_type("model")
    writer.add_name(title.name)
    if title.licence:
        writer.add_license(title.licence)
    if title.base:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, title.base.rsplit("/", 1)[-1])
        writer.add_base_model_repo_url(0, f"https://huggingface.co/{title.base}")


def _state_shape(writer: Any, model: Any) -> None:
    from gguf import LlamaFileType

    types = {
        "float32": LlamaFileType.ALL_F32,
        "float16": LlamaFileType.MOSTLY_F16,
        "bfloat16": LlamaFileType.MOSTLY_BF16,
    }
    config, size = model.config, _head_size(model.config)
    writer.add_file_type(types[str(model.dtype).removeprefix("torch.")])
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(_rope(config)["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _state_vocabulary(writer: Any, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.splitting)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    if vocabulary.bos_id is not None:
        writer.add_bos_token_id(vocabulary.bos_id)
    writer.add_eos_token_id(vocabulary.eos_id)
    writer.add_pad_token_id(vocabulary.pad_id)
    writer.add_add_bos_token(value=False)  # the template writes it
    writer.add_chat_template(vocabulary.template)
