"""The prefill cache: answers are those that the library generates from a padded batch."""

from types import SimpleNamespace

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from weekahead.models.decoding import SamplingParams, decode_ids
from weekahead.models.prefill import prefill

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
PROMPTS = [[5, 6, 7], list(range(10, 31)), [90, 3], [1, 2, 3, 4, 5, 6, 7, 8]]
PAD = 0


def model_of(name):
    torch.manual_seed(1)
    kinds = {"llama": (LlamaForCausalLM, LlamaConfig), "qwen": (Qwen2ForCausalLM, Qwen2Config)}
    made, config = kinds[name]
    return made(config(**SIZES)).eval()


def padded(model, prompts, new):
    """Greedy ids of a left-padded batch, as the library's own generate makes them."""
    width = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=new,
        do_sample=False,
        eos_token_id=96,
        pad_token_id=PAD,
    )
    return out[:, width:].tolist()


@pytest.mark.parametrize("name", ["llama", "qwen"])
@pytest.mark.parametrize("new", [1, 2, 40])
def test_it_generates_what_a_padded_batch_does(name, new):
    model = model_of(name)
    ours = [
        ids
        for ids, _ in decode_ids(
            model, SimpleNamespace(pad_token_id=PAD), PROMPTS, [96], SamplingParams(new)
        )
    ]
    theirs = padded(model, PROMPTS, new)
    assert ours == [row[: len(ids)] for ids, row in zip(ours, theirs, strict=True)]
    assert len({tuple(ids) for ids in ours}) == len(PROMPTS) or new == 1
    assert max(map(len, ours)) == new


@torch.inference_mode()
def test_the_cache_holds_all_but_the_last_tokens():
    """They stand on the right, they do not depend on the batch, and there is room for more."""
    model = model_of("llama")
    cache, alone = prefill(model, PROMPTS, 4), prefill(model, PROMPTS[:1], 4)
    assert cache is not None and alone is not None and cache.get_seq_length() == 20
    keys = cache.layers[2].keys
    assert keys.shape == (4, 2, 20, 8)
    assert torch.equal(keys[0, :, 18:], alone.layers[2].keys[0]) and not keys[0, :, :18].any()
    new = torch.ones(4, 2, 1, 8)
    assert cache.layers[2].update(new, new)[0].shape == (4, 2, 21, 8)
    assert torch.equal(cache.layers[2].keys[:, :, 20:], new) and torch.equal(
        cache.layers[2].keys[:, :, :20], keys
    )


@torch.inference_mode()
def test_what_the_cache_cannot_hold_is_left_to_the_library():
    """A prompt of one token, and a model with a sliding window."""
    assert prefill(model_of("llama"), [[3], [4, 5]], 4) is None
    torch.manual_seed(1)
    sliding = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=8)).eval()
    assert prefill(sliding, PROMPTS, 4) is None
    ours = [
        ids
        for ids, _ in decode_ids(
            sliding, SimpleNamespace(pad_token_id=PAD), PROMPTS, [96], SamplingParams(6)
        )
    ]
    assert ours == [
        row[: len(ids)] for ids, row in zip(ours, padded(sliding, PROMPTS, 6), strict=True)
    ]
