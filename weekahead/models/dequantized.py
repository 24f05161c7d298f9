"""A 4-bit model in 16 bits again: how much room that takes, and the change itself."""

import logging
import math
from collections.abc import Iterator
from typing import Any

import torch

log = logging.getLogger(__name__)

_ACTIVATIONS = 1.5 * 2**30
"""Bytes for reading a prompt, and for what a memory in pieces cannot use."""
_GIB = 2**30


def dequantize(model: Any) -> None:
    """Replace each 4-bit layer of `model` by a plain one with the weights that it computes with.

    transformers' own `dequantize` gives the same weights but keeps every 4-bit layer until its end,
    and makes each weight twice: 22 GB for an 8B model, where 16 are enough.
    """
    from transformers.integrations import bitsandbytes

    library: Any = bitsandbytes
    for name in [name for name, _ in _layers_in_4bit(model)]:
        layer = model.get_submodule(name)
        with torch.device("meta"):
            plain = torch.nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
        weight = library.dequantize_bnb_weight(layer.weight).to(model.dtype)
        plain.weight = torch.nn.Parameter(weight, requires_grad=False)
        plain.bias = layer.bias
        model.set_submodule(name, plain)
    model.hf_quantizer.remove_quantization_config(model)


def room_dequantized(model: Any, cached_tokens: int) -> int:
    """For how many cached tokens the GPU of `model` has room if it holds it in 16 bits.

    Negative if the weights alone do not fit. A line of the log states the figures if there is no
    room for keys and values of `cached_tokens`.
    """
    free = torch.cuda.mem_get_info(model.device)[0]
    free += torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
    per_token = cache_bytes_per_token(model.config)
    weights = growth_bytes(model) + _ACTIVATIONS
    room = math.floor((free - weights) / per_token)
    if room < cached_tokens:
        log.info(
            "in 16 bits, which is faster, the model would need %.1f GiB more, and %.1f are free "
            "(%.1f of it for %d tokens of prompts and answers; fewer with a smaller --batch_size): "
            "it stays in 4 bits",
            (weights + cached_tokens * per_token) / _GIB,
            free / _GIB,
            cached_tokens * per_token / _GIB,
            cached_tokens,
        )
    return room


def growth_bytes(model: Any) -> float:
    """Bytes that `model` takes more in 16 bits, at the worst moment of the change."""
    sizes = [(_weights(layer), layer.weight.nbytes) for _, layer in _layers_in_4bit(model)]
    growth = sum(2 * weights - stored for weights, stored in sizes)
    return growth + 2 * max((weights for weights, _ in sizes), default=0)


def cache_bytes_per_token(config: Any) -> int:
    """Bytes of the keys and values of one token in all layers, in 16 bits."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    groups = getattr(text, "num_key_value_heads", None) or heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    return 2 * 2 * text.num_hidden_layers * groups * head_size


def _layers_in_4bit(model: Any) -> Iterator[tuple[str, Any]]:
    from bitsandbytes.nn.modules import Linear4bit

    for name, module in model.named_modules():
        if isinstance(module, Linear4bit):
            yield name, module


def _weights(layer: Any) -> int:
    return layer.in_features * layer.out_features
