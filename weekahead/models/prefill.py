"""Prompts read one by one into one cache, so that a batch of unequal prompts costs no padding.

It subclasses a cache layer of transformers, which is not a stable interface. Without it
`decoding.decode_ids` reads a padded batch: delete this file and the argument there.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):
    """The keys and values of one model layer, with room for tokens to come.

    Both are tensors (rows, heads, room, head size), of which the first `filled` positions are used.
    """

    def __init__(self, rows: int, room: int, like: Any) -> None:
        """Empty tensors for `rows` rows of `room` tokens, of the type and size of layer `like`."""
        super().__init__()  # pyright: ignore[reportUnknownMemberType] - half annotated
        self.lazy_initialization(like.keys, like.values)
        _, heads, _, size = like.keys.shape
        self._all_keys: Any = like.keys.new_zeros(rows, heads, room, size)
        self._all_values: Any = like.values.new_zeros(rows, heads, room, like.values.shape[3])
        self.fill(0)

    def fill(self, filled: int) -> None:
        """Take the first `filled` positions as used."""
        self.filled = filled
        self.keys = self._all_keys[:, :, :filled]
        self.values = self._all_values[:, :, :filled]

    def put(self, row: int, end: int, layer: Any) -> None:
        """Write the keys and values of one row so that they end before position `end`."""
        begin = end - layer.keys.shape[2]
        self._all_keys[row, :, begin:end] = layer.keys[0]
        self._all_values[row, :, begin:end] = layer.values[0]

    def update(
        self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Add the keys and values of the next tokens of all rows; return all that are used."""
        begin, end = self.filled, self.filled + key_states.shape[2]
        self._all_keys[:, :, begin:end] = key_states
        self._all_values[:, :, begin:end] = value_states
        self.fill(end)
        return self.keys, self.values


def prefill(model: Any, prompts: Sequence[Sequence[int]], room: int) -> DynamicCache | None:
    """A cache of all prompts but their last tokens, aligned on the right.

    It has room for `room` tokens more. None if the model keeps something other than plain keys and
    values (a sliding window, a recurrent state), or if a prompt is a single token: such a batch is
    read as one, padded.
    """
    width = max(map(len, prompts)) - 1
    layers: list[RoomyLayer] = []
    for row, prompt in enumerate(prompts):
        if len(prompt) < 2:
            return None
        ids = torch.tensor([list(prompt[:-1])], device=model.device)
        row_cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
        if any(type(layer) is not DynamicLayer for layer in row_cache.layers):
            return None
        if not layers:
            layers = [RoomyLayer(len(prompts), width + room, layer) for layer in row_cache.layers]
        for layer, row_layer in zip(layers, row_cache.layers, strict=True):
            layer.put(row, width, row_layer)
    for layer in layers:
        layer.fill(width)
    cache: Any = DynamicCache()
    cache.layers = layers
    return cache
