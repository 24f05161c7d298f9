"""Batched greedy or sampled decoding, and the plan of its batches."""

import time
from collections.abc import Sequence
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

    `seconds` is the batch's time divided by its rows: amortized, not what one reader would wait.
    """

    text: str
    new_tokens: int
    finish_reason: str
    seconds: float


def plan_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Row numbers in batches, longest prompt first: little padding, and too large a batch fails at once.

    The plan depends on the rows alone, so a resumed run cuts the same batches and gets the same answers.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def decode(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], stops: Sequence[int], how: Decoding) -> list:
    """One `Generation` for each prompt (token ids), generated as one left-padded batch."""
    import torch

    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    sampling = {"do_sample": True, "temperature": how.temperature} if how.temperature else {"do_sample": False}
    start = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=how.max_new_tokens,
            eos_token_id=list(stops),
            pad_token_id=pad,
            **sampling,
        )
    answers = [_until_stop(row, stops) for row in out[:, width:].tolist()]  # also waits for the device
    seconds = (time.perf_counter() - start) / len(prompts)
    return [
        Generation(tokenizer.decode(answer, skip_special_tokens=True), len(answer), reason, seconds)
        for answer, reason in answers
    ]


def _until_stop(ids: list[int], stops: Sequence[int]) -> tuple[list[int], str]:
    """The ids up to and with the first stop token, and "stop" or "length"."""
    end = next((i for i, token in enumerate(ids) if token in stops), None)
    return (ids, "length") if end is None else (ids[: end + 1], "stop")
