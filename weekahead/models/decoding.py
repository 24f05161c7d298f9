"""Batched greedy or sampled decoding, and the plan of its batches."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True)
class SamplingParams:
    """How answers are written. A `temperature` of 0 is greedy."""

    max_new_tokens: int = 512
    batch_size: int = 16
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.batch_size < 1 or self.temperature < 0:
            raise ValueError(
                f"max_new_tokens {self.max_new_tokens}, batch_size {self.batch_size}, temperature {self.temperature}: "
                "the first two must be at least 1, the third 0 (greedy) or more"
            )


@dataclass(frozen=True)
class Completion:
    """One answer: its raw text, the tokens it took (the stop token counts), why it ended, and its seconds.

    `seconds` is amortized: over the answers of a process they add up to the time it took. What an endpoint
    does not tell is None.
    """

    text: str
    new_tokens: int | None
    finish_reason: str | None
    seconds: float
    latency: float | None = None
    """Seconds from the request to its whole answer; None where no request stands for one row."""
    first_logprob: float | None = None
    """Log-probability (nats) of the first token, where it was asked for and told."""


OnAnswers = Callable[[list[tuple[int, Completion]]], None]
"""Takes answers by row number as soon as they are there, and has them on the disk when it returns."""


def plan_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Row numbers in batches, longest prompt first: little padding, and too large a batch fails at once.

    The plan depends on the rows alone, so a resumed run cuts the same batches and gets the same answers.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def decode(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[int],
    how: SamplingParams,
) -> list[Completion]:
    """One `Generation` for each prompt (token ids), generated as one batch."""
    start = time.perf_counter()
    answers = decode_ids(model, tokenizer, prompts, stops, how)
    seconds = (time.perf_counter() - start) / len(prompts)
    return [
        Completion(tokenizer.decode(ids, skip_special_tokens=True), len(ids), reason, seconds)
        for ids, reason in answers
    ]


def decode_ids(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[int],
    how: SamplingParams,
) -> list[tuple[list[int], str]]:
    """The token ids of each answer up to and with its stop token, and "stop" or "length"."""
    import torch

    ids, mask = left_padded(prompts, tokenizer.pad_token_id, model.device)
    # From all tokens, as an endpoint does; the library's own default is the likeliest 50.
    whole = {"do_sample": True, "temperature": how.temperature, "top_k": 0, "top_p": 1.0}
    sampling = whole if how.temperature else {"do_sample": False}
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=prefill(model, prompts, how.max_new_tokens + 1),
            max_new_tokens=how.max_new_tokens,
            eos_token_id=list(stops),
            pad_token_id=tokenizer.pad_token_id,
            **sampling,
        )
    return [
        _until_stop(row, stops) for row in out[:, ids.shape[1] :].tolist()
    ]  # also waits for the device


def _until_stop(ids: list[int], stops: Sequence[int]) -> tuple[list[int], str]:
    """The ids up to and with the first stop token, and "stop" or "length"."""
    end = next((i for i, token in enumerate(ids) if token in stops), None)
    return (ids, "length") if end is None else (ids[: end + 1], "stop")


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
