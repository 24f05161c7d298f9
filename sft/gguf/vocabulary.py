"""What a GGUF file states about a tokenizer: byte-level BPE as llama.cpp reads it.

llama.cpp has no splitting rules in its files: it knows those of published tokenizers by name. So a
tokenizer can only be written if its rules are one of those.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weekahead.models.chat_format import chat_format_of

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
"""Values of `tokenizer.ggml.token_type`."""
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BY_PATTERN = {_WORDS % r"\p{N}{1,3}": "llama-bpe", _WORDS % r"\p{N}": "qwen2"}
"""The pattern that splits texts into words -> llama.cpp's name for it."""
_REMEDY = (
    "export FORM=merged and convert that folder with convert_hf_to_gguf.py of a newer llama.cpp"
)

JsonMap = Mapping[str, Any]


@dataclass(frozen=True)
class Vocabulary:
    """The entries `tokenizer.*` of a GGUF file."""

    splitting: str
    """llama.cpp's name for the rules that split texts into words."""
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str]
    bos_id: int | None
    eos_id: int
    pad_id: int
    template: str
    """The chat template. It writes the BOS token itself, so the runtime must not add one."""


def read_vocabulary(tokenizer: Any, size: int) -> Vocabulary:
    """The vocabulary of `tokenizer`, with unused entries up to `size`, the rows of the embedding.

    Raises ValueError if llama.cpp would split texts otherwise, or if a token has no row.
    """
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    splitting = _splitting(stored)
    added = {token["id"]: token for token in stored["added_tokens"]}
    names = {index: token for token, index in tokenizer.get_vocab().items()}
    if max(names) >= size:
        raise ValueError(f"the tokenizer has token {max(names)}, the model only {size} rows")
    ids = range(size)
    chat = chat_format_of(tokenizer)
    return Vocabulary(
        splitting=splitting,
        tokens=[names.get(index, f"[PAD{index}]") for index in ids],
        types=[_token_type(added.get(index), known=index in names) for index in ids],
        merges=[_merge(pair) for pair in stored["model"]["merges"]],
        bos_id=tokenizer.bos_token_id,
        eos_id=tokenizer.eos_token_id,
        pad_id=tokenizer.pad_token_id,
        template=chat.template,
    )


def _token_type(added: JsonMap | None, *, known: bool) -> int:
    if added:
        return _CONTROL if added["special"] else _USER_DEFINED
    return _NORMAL if known else _UNUSED


def _merge(pair: str | Sequence[str]) -> str:
    return pair if isinstance(pair, str) else " ".join(pair)


def _splitting(stored: JsonMap) -> str:
    """llama.cpp's name for the rules of a stored tokenizer. Raises ValueError if it has none."""
    kind, steps = stored["model"]["type"], _steps(stored["pre_tokenizer"])
    kinds = [step["type"] for step in steps]
    name = ""
    if kinds == ["Split", "ByteLevel"]:
        name = _BY_PATTERN.get(steps[0]["pattern"].get("Regex"), "")
    elif kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"]:
        name = "smollm"
    elif kinds == ["ByteLevel"]:
        name = "gpt-2"
    # The bytes' own rules come after the pattern's, or not at all.
    last = {"add_prefix_space": False, "use_regex": kinds[:1] != ["Split"]}
    known = name and last.items() <= {"use_regex": True, **steps[-1]}.items()
    if kind != "BPE" or not known:
        raise ValueError(
            f"llama.cpp has no name for how this tokenizer ({kind}) splits texts "
            f"({', '.join(kinds) or 'not at all'}); {_REMEDY}"
        )
    return name


def _steps(pre_tokenizer: JsonMap | None) -> Sequence[JsonMap]:
    if pre_tokenizer is None:
        return []
    return pre_tokenizer.get("pretokenizers", [pre_tokenizer])
