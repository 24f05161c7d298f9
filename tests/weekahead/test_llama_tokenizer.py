"""The Llama-3 tokenizer of these tests against Meta's own class, and against the ids of the published one."""

import pytest

from tests.support.llama_tokenizer import llama_tokenizer


@pytest.mark.parametrize("text", [
    "Up by 1-2%\n\n1. 12345 shares at $1,234.56",
    "\n\n1. Sales\n  indented\t tab \r\n end ",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>",
    "### Response:\n[Positive Developments]:\n",
    "naïve café – 株価 上昇 🚀🚀 AT&T's don't",
    " " * 40 + "x" * 300,
])  # fmt: skip
def test_converted_llama_tokenizer_encodes_as_metas_own(text):
    own = pytest.importorskip("llama_models.llama3.tokenizer").Tokenizer.get_instance()
    ids = llama_tokenizer().encode(text, add_special_tokens=False)
    assert ids == own.encode(text, bos=False, eos=False, allowed_special="all")
    assert llama_tokenizer().encode(text) == own.encode(
        text, bos=True, eos=False, allowed_special="all"
    )
    assert llama_tokenizer().decode(ids) == text


def test_special_tokens_have_the_published_ids():
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>",
             "<|start_header_id|>", "<|eot_id|>", "<|python_tag|>", "<|reserved_special_token_247|>"]  # fmt: skip
    ids = [128000, 128001, 128004, 128005, 128006, 128009, 128010, 128255]
    assert llama_tokenizer().convert_tokens_to_ids(names) == ids
    names = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<|finetune_right_pad_id|>", "<｜User｜>",
             "<｜Assistant｜>", "<think>", "</think>", "<|reserved_special_token_8|>"]  # fmt: skip
    ids = [128000, 128001, 128004, 128011, 128012, 128013, 128014, 128016]
    assert llama_tokenizer(deepseek=True).convert_tokens_to_ids(names) == ids
    assert len(llama_tokenizer()) == len(llama_tokenizer(deepseek=True)) == 128256
