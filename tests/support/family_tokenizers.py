"""One tokenizer per model family, for tests.

The vocabularies are the true ones, but no package carries that of Qwen: its own is byte-level,
without merges, with the special tokens of the family.
"""

from collections.abc import Callable
from typing import Any

from tests.support.llama_tokenizer import llama_tokenizer
from tests.support.tiny import ROOT
from weekahead.models.chat_format import apply_chat_format, chat_format
from weekahead.models.embedded import DEFAULT_OUT, ensure_embedded


def smollm2_tokenizer():
    """The tokenizer of the embedded base, which is converted if it is not there yet."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(ensure_embedded(ROOT / DEFAULT_OUT))


def deepseek_tokenizer():
    """Llama's vocabulary with the special tokens of R1-Distill."""
    return llama_tokenizer(deepseek=True)


def chatml_tokenizer():
    """A byte-level vocabulary with the special tokens of the ChatML families."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=names[1], eos_token=names[2])


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "smollm2": smollm2_tokenizer,
    "llama": llama_tokenizer,
    "deepseek": deepseek_tokenizer,
    "qwen": chatml_tokenizer,
}
"""What makes the tokenizer of each family, without a chat format."""
WITHOUT_TRUE_VOCABULARY = frozenset(("qwen",))
"""Families whose tokenizer here counts other tokens than the published one."""


def family_tokenizer(name: str) -> Any:
    """The tokenizer of family `name` with its chat format. Raises KeyError for any other name."""
    return apply_chat_format(TOKENIZERS[name](), chat_format(name))
