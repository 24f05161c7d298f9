"""The Llama-3 tokenizer of these tests against Meta's own class and the published ids."""

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


LLAMA_IDS = {
    "<|begin_of_text|>": 128000,
    "<|end_of_text|>": 128001,
    "<|finetune_right_pad_id|>": 128004,
    "<|reserved_special_token_2|>": 128005,
    "<|start_header_id|>": 128006,
    "<|eot_id|>": 128009,
    "<|python_tag|>": 128010,
    "<|reserved_special_token_247|>": 128255,
}
DEEPSEEK_IDS = {
    "<｜begin▁of▁sentence｜>": 128000,
    "<｜end▁of▁sentence｜>": 128001,
    "<|finetune_right_pad_id|>": 128004,
    "<｜User｜>": 128011,
    "<｜Assistant｜>": 128012,
    "<think>": 128013,
    "</think>": 128014,
    "<|reserved_special_token_8|>": 128016,
}


@pytest.mark.parametrize(("deepseek", "ids"), [(False, LLAMA_IDS), (True, DEEPSEEK_IDS)])
def test_special_tokens_have_the_published_ids(deepseek, ids):
    tokenizer = llama_tokenizer(deepseek=deepseek)
    assert tokenizer.convert_tokens_to_ids(list(ids)) == list(ids.values())
    assert len(tokenizer) == 128256
