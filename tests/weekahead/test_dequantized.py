"""4-bit models in 16 bits again."""

import copy

import pytest
import torch

from weekahead.models import dequantized
from weekahead.models.dequantized import (
    cache_bytes_per_token,
    dequantize,
    growth_bytes,
    room_dequantized,
)
from weekahead.models.loading import NF4, load_base, resolve_revision


@pytest.fixture(scope="module")
def in_4_bits(small):
    from dataclasses import replace

    base = replace(resolve_revision(small.base), dtype="bfloat16", quantization=NF4)
    return load_base(base)


def test_the_weights_are_those_of_the_library(in_4_bits):
    ours, theirs = copy.deepcopy(in_4_bits), copy.deepcopy(in_4_bits)
    dequantize(ours)
    theirs = theirs.dequantize()
    assert type(ours.model.layers[0].mlp.up_proj) is torch.nn.Linear
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, expected[name]), name
    assert not hasattr(ours.config, "quantization_config")


def test_no_two_layers_are_held_in_both_forms(in_4_bits, monkeypatch):
    """The library's way keeps all 4-bit layers until its end."""
    import weakref

    from transformers.integrations import bitsandbytes

    model = copy.deepcopy(in_4_bits)
    seen: list[weakref.ref] = []
    alive: list[int] = []
    make = bitsandbytes.dequantize_bnb_weight

    def watched(weight, *rest):
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(weight))
        return make(weight, *rest)

    monkeypatch.setattr(bitsandbytes, "dequantize_bnb_weight", watched)
    dequantize(model)
    assert len(alive) == 14 and max(alive) <= 1


def test_growth_is_what_the_weights_take_more(in_4_bits):
    model = copy.deepcopy(in_4_bits)
    before = sum(parameter.nbytes for parameter in model.parameters())
    expected = growth_bytes(model)
    largest = max(layer.in_features * layer.out_features for _, layer in layers(model))
    dequantize(model)
    after = sum(parameter.nbytes for parameter in model.parameters())
    assert expected - 2 * largest == pytest.approx(after - before, rel=0.01)


def layers(model):
    return list(dequantized._layers_in_4bit(model))


def test_an_8b_model_caches_131_kb_per_token():
    """Llama-3.1-8B: 32 layers, 8 groups of 128, keys and values of 2 bytes."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, hidden_size=4096
    )
    assert cache_bytes_per_token(config) == 131_072


@pytest.mark.parametrize(("free_gib", "tokens", "fits"), [(24, 10, True), (1, 10, False)])
def test_room_counts_weights_cache_and_reading(
    in_4_bits, monkeypatch, caplog, free_gib, tokens, fits
):
    """The GPU's figures are given, since no test machine has one."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_gib * 2**30, 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    with caplog.at_level("INFO"):
        assert (room_dequantized(in_4_bits, tokens) >= tokens) is fits
    assert ("--batch_size" in caplog.text) is not fits


def test_a_large_batch_keeps_the_model_in_4_bits(in_4_bits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * 2**30, 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    per_token = cache_bytes_per_token(in_4_bits.config)
    assert 2**30 < room_dequantized(in_4_bits, 0) * per_token < 3 * 2**30
