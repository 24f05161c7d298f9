"""Attention with grouped heads below compute capability 8.0."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from weekahead.models.attention import EXPANDED, expand_heads_if_needed


def model(groups: int, attention: str = "sdpa"):
    """A small Llama of four heads that share `groups` keys and values."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=groups,
    )
    config._attn_implementation = attention
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize(
    ("groups", "attention", "capability", "expected"),
    [
        (2, "sdpa", 7.5, EXPANDED),
        (2, "sdpa", 6.0, EXPANDED),
        (2, "sdpa", 8.0, "sdpa"),
        (2, "sdpa", 12.0, "sdpa"),
        (2, "sdpa", None, "sdpa"),
        (4, "sdpa", 7.5, "sdpa"),  # no grouped heads
        (2, "eager", 7.5, "eager"),
    ],
)
def test_heads_are_expanded_where_no_kernel_groups(groups, attention, capability, expected):
    changed = model(groups, attention)
    expand_heads_if_needed(changed, capability)
    assert changed.config._attn_implementation == expected


@pytest.mark.parametrize("padding", [0, 3])
def test_expanded_heads_give_the_same_loss_and_gradients(padding):
    plain, expanded = model(2), model(2)
    expand_heads_if_needed(expanded, 7.5)
    ids = torch.randint(0, 64, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, :padding] = 0
    for one in (plain, expanded):
        one(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
    for (name, left), right in zip(plain.named_parameters(), expanded.parameters(), strict=True):
        assert torch.allclose(left.grad, right.grad, atol=1e-6), name


def test_expanded_heads_write_the_same_answer():
    plain, expanded = model(2), model(2)
    expand_heads_if_needed(expanded, 7.5)
    ids = torch.arange(7)[None] + 5
    answers = [one.generate(ids, max_new_tokens=12, do_sample=False) for one in (plain, expanded)]
    assert torch.equal(*answers)
