"""The keys and values of a batch's prompts, each prompt read alone: no padding is computed, and no mask slows it.

A padded batch attends under a mask, which costs a CPU twice the time of the plain causal kernel and shuts out a
card's fastest one; and a cache that grows by concatenation copies itself at every token. Here each prompt goes
through the model by itself, and what it leaves lies in one cache with room for the answers. A prompt's keys then
do not depend on its batch. On a card: not run yet.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


def left_padded(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Any, Any]:
    """Token ids as one tensor (rows, longest row), padded on the left, and 1 where a token stands."""
    width = max(map(len, rows))
    ids = [[pad] * (width - len(row)) + list(row) for row in rows]
    seen = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(seen, device=device)


class RoomyLayer(DynamicLayer):
    """One layer's keys and values, (rows, heads, room, size), of which the first `filled` places are in use."""

    def __init__(self, rows: int, room: int, like: Any) -> None:
        super().__init__()
        self.lazy_initialization(like.keys, like.values)
        self._keys, self._values = (
            one.new_zeros(rows, one.shape[1], room, one.shape[3])
            for one in (like.keys, like.values)
        )
        self.fill(0)

    def fill(self, filled: int) -> None:
        """Take the first `filled` places as used."""
        self.filled = filled
        self.keys, self.values = self._keys[:, :, :filled], self._values[:, :, :filled]

    def put(self, row: int, end: int, layer: Any) -> None:
        """Write the keys and values of one row so that they end before place `end`."""
        begin = end - layer.keys.shape[2]
        self._keys[row, :, begin:end], self._values[row, :, begin:end] = (
            layer.keys[0],
            layer.values[0],
        )

    def update(
        self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Add the keys and values of the next tokens of all rows, in place; return all that are in use."""
        begin, end = self.filled, self.filled + key_states.shape[2]
        self._keys[:, :, begin:end], self._values[:, :, begin:end] = key_states, value_states
        self.fill(end)
        return self.keys, self.values


def prefill(model: Any, prompts: Sequence[Sequence[int]], room: int) -> DynamicCache | None:
    """A cache of all prompts but their last tokens, aligned on the right, with room for `room` more tokens.

    None where the model keeps something other than plain keys and values (a sliding window, a recurrent state), or a
    prompt is a single token: such a batch is read as one, padded.
    """
    width = max(map(len, prompts)) - 1
    layers: list[Any] = []
    for row, prompt in enumerate(prompts):
        if len(prompt) < 2:
            return None
        ids = torch.tensor([list(prompt[:-1])], device=model.device)
        alone = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
        if any(type(layer) is not DynamicLayer for layer in alone.layers):
            return None
        layers = layers or [RoomyLayer(len(prompts), width + room, layer) for layer in alone.layers]
        for ours, layer in zip(layers, alone.layers, strict=True):
            ours.put(row, width, layer)
    cache = DynamicCache()
    cache.layers = layers
    for layer in layers:
        layer.fill(width)
    return cache
