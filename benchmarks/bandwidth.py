"""How fast a GPU could generate if it did nothing but read.

Every step reads all weights and the whole cache.
"""

import re
from typing import Any

BYTES_PER_SECOND = {
    r"\bT4\b": 320e9,
    r"\bA100.*80GB": 2.039e12,
    r"\bH100\b(?!.*(PCIe|NVL))": 3.35e12,
    r"\bH200\b(?!.*NVL)": 4.8e12,
}
"""Memory bandwidth of NVIDIA's data sheets, by a pattern of the GPU's name."""


def bandwidth_of(card: str | None) -> float | None:
    """Bytes per second that the memory of a GPU gives; None for one that is not in the table."""
    rates = [rate for pattern, rate in BYTES_PER_SECOND.items() if re.search(pattern, card or "")]
    return rates[0] if rates else None


def most_tokens_per_second(
    config: Any, weight_bytes: int, context: float, batch_size: int, rate: float
) -> float:
    """Tokens per second that reading alone allows, prefill left out.

    A step reads the weights once and, for each of `batch_size` rows, keys and values of `context`
    tokens on average, two bytes each; it gives `batch_size` tokens. `rate` is in bytes per second.
    """
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cache = 2 * config.num_hidden_layers * config.num_key_value_heads * head * 2 * context
    return batch_size * rate / (weight_bytes + batch_size * cache)
