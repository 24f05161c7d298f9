"""The true Llama-3 tokenizer for tests: the vocabulary in the PyPI package `llama-models`.

The package's own class numbers a few special tokens differently from the published Llama 3.1
checkpoints (it names 128005 and 128011), so they are listed here as the checkpoints have them.
"""

import importlib.util
from functools import cache
from pathlib import Path

import pytest

FIRST_SPECIAL, SPECIALS = 128000, 256
_NAMED = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    4: "<|finetune_right_pad_id|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
}
# DeepSeek-R1-Distill-Llama-8B renames these and keeps the rest (its tokenizer_config.json).
_DEEPSEEK = {
    0: "<｜begin▁of▁sentence｜>",
    1: "<｜end▁of▁sentence｜>",
    11: "<｜User｜>",
    12: "<｜Assistant｜>",
    13: "<think>",
    14: "</think>",
    15: "<｜▁pad▁｜>",
}


def model_file() -> Path:
    """The vocabulary file inside the installed package; the test is skipped without it."""
    spec = importlib.util.find_spec("llama_models")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(
            "the package llama-models, which carries the Llama-3 tokenizer, is not installed"
        )
    return Path(spec.submodule_search_locations[0]) / "llama3" / "tokenizer.model"


def special_tokens(deepseek: bool) -> list[str]:
    """The 256 special tokens in the order of their ids, from 128000 on."""
    reserved = iter(range(SPECIALS))
    llama = [
        _NAMED.get(i) or f"<|reserved_special_token_{next(reserved)}|>" for i in range(SPECIALS)
    ]
    return [_DEEPSEEK.get(i, token) for i, token in enumerate(llama)] if deepseek else llama


@cache
def _vocabulary() -> str:
    from transformers.convert_slow_tokenizer import TikTokenConverter

    return TikTokenConverter(vocab_file=str(model_file())).converted().to_str()


@cache
def llama_tokenizer(deepseek: bool = False):
    """The tokenizer of Llama-3.1-8B, or of DeepSeek-R1-Distill-Llama-8B, as published."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    names = special_tokens(deepseek)
    backend = Tokenizer.from_str(_vocabulary())
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    # The published tokenizers put a BOS before every text: the trap of a second one.
    backend.post_processor = TemplateProcessing(
        single=f"{names[0]}:0 $A:0", special_tokens=[(names[0], FIRST_SPECIAL)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=names[0], eos_token=names[1], model_max_length=131072
    )
