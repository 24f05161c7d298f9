"""Attention with grouped heads on GPUs that have no fused kernel for them.

Below compute capability 8.0 (T4, V100, P100) torch has one fused kernel, and it takes no grouped
heads: transformers' `sdpa` then falls back to the kernel that keeps all scores, 12 bytes per head
and pair of tokens. With keys and values expanded to all heads the fused kernel works; the values
are the same. The copies are 2 x (heads - groups) x head size x 2 bytes per token and layer.
"""

from types import SimpleNamespace
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, masking_utils
from transformers.integrations import sdpa_attention

from weekahead.hardware.cards import FUSED_GROUPED_HEADS

EXPANDED = "sdpa_expanded"
"""The name under which transformers knows this attention."""
_sdpa: Any = sdpa_attention
_masks: Any = masking_utils


def expand_heads_if_needed(model: Any, capability: float | None) -> None:
    """Let `model` expand its grouped heads if its `sdpa` has no fused kernel for them here.

    `capability` is that of the GPU, None on a CPU. A model with another attention stays as it is.
    """
    config = model.config.get_text_config()
    grouped = getattr(config, "num_key_value_heads", None) not in (None, config.num_attention_heads)
    unfused = capability is not None and capability < FUSED_GROUPED_HEADS
    if grouped and unfused and config._attn_implementation == "sdpa":
        model.set_attn_implementation(EXPANDED)


def capability_here() -> float | None:
    """The compute capability of this process's GPU, such as 7.5; None without one."""
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return major + minor / 10


def expanded_attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **more: Any
) -> Any:
    """What transformers' `sdpa` computes, with keys and values repeated to all heads.

    `query` is (rows, heads, tokens, head size), `key` and `value` (rows, groups, tokens, head
    size). Returns (rows, tokens, heads, head size), and None for the scores.
    """
    shared_by = query.shape[1] // key.shape[1]
    # The library repeats or groups them itself if the module states groups.
    ungrouped: Any = SimpleNamespace(is_causal=getattr(module, "is_causal", True))
    return _sdpa.sdpa_attention_forward(
        ungrouped,
        query,
        _sdpa.repeat_kv(key, shared_by),
        _sdpa.repeat_kv(value, shared_by),
        attention_mask,
        **more,
    )


_attentions: Any = AttentionInterface
_attentions.register(EXPANDED, expanded_attention)
_mask_makers: Any = AttentionMaskInterface
_mask_makers.register(EXPANDED, _masks.sdpa_mask)
