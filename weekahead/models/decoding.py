"""Batched greedy or sampled decoding, and the plan of its batches."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Decoding:
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
class Generation:
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


Keep = Callable[[list[tuple[int, Generation]]], None]
"""Takes answers by row number as soon as they are there, and has them on the disk when it returns."""


def plan_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Row numbers in batches, longest prompt first: little padding, and too large a batch fails at once.

    The plan depends on the rows alone, so a resumed run cuts the same batches and gets the same answers.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def batched(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    missing: Collection[int],
    stops: Sequence[int],
    how: Decoding,
    keep: Keep,
    share: tuple[int, int] = (0, 1),
) -> None:
    """Answer the rows of `missing`, batch by batch; `share` (k, n) takes every n-th batch of the plan from k on.

    The plan covers all `prompts`, and a batch that lacks one answer is generated whole again: rounding in 16
    bits depends on the batch, so only a whole one gives a resumed or a shared run the answers of an
    undisturbed one. A batch samples by its number, for the same reason.
    """
    from transformers import set_seed

    rank, of = share
    for number, batch in list(
        enumerate(plan_batches([len(prompt) for prompt in prompts], how.batch_size))
    )[rank::of]:
        if not any(i in missing for i in batch):
            continue
        set_seed(how.seed + number)
        answers = zip(
            batch, decode(model, tokenizer, [prompts[i] for i in batch], stops, how), strict=True
        )
        keep([(i, answer) for i, answer in answers if i in missing])


def decode(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[int],
    how: Decoding,
) -> list[Generation]:
    """One `Generation` for each prompt (token ids), generated as one batch."""
    start = time.perf_counter()
    answers = decode_ids(model, tokenizer, prompts, stops, how)
    seconds = (time.perf_counter() - start) / len(prompts)
    return [
        Generation(tokenizer.decode(ids, skip_special_tokens=True), len(ids), reason, seconds)
        for ids, reason in answers
    ]


def decode_ids(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[int],
    how: Decoding,
) -> list[tuple[list[int], str]]:
    """The token ids of each answer up to and with its stop token, and "stop" or "length"."""
    import torch

    from weekahead.models.prefill import left_padded, prefill

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
