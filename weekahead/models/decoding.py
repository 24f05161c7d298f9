"""Batched greedy or sampled decoding, and the plan of its batches."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


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
                f"max_new_tokens {self.max_new_tokens}, batch_size {self.batch_size}, "
                f"temperature {self.temperature}: the first two must be at least 1, "
                "the third 0 (greedy) or more"
            )


@dataclass(frozen=True)
class Completion:
    """One answer. What an endpoint does not state is None."""

    text: str
    new_tokens: int | None
    """The stop token counts."""
    finish_reason: str | None
    """"stop", "length", or a word of the server's."""
    seconds: float
    """Amortized: over the answers of a process they add up to the time it took."""
    latency: float | None = None
    """Seconds from the request to its whole answer; None if the row had no request of its own."""
    first_logprob: float | None = None
    """Log-probability (nats) of the first token, if it was asked for."""
    prompt_tokens: int | None = None
    """As an endpoint counts the prompt."""
    served_model: str | None = None
    """The model that answered, as an endpoint names it."""
    left_out: tuple[str, ...] = ()
    """Parameters of the request that an endpoint refused: the answer came without them."""


OnAnswers = Callable[[list[tuple[int, Completion]]], None]
"""Takes answers by row number as soon as they exist; they are on the disk when it returns."""


OnText = Callable[[str], None]
"""Takes an answer's next piece of text while it is written."""


def plan_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Row numbers in batches, the longest prompts first.

    That needs little padding, and too large a batch fails at once. The plan depends on the rows
    alone, so a resumed run cuts the same batches and gets the same answers.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def decode(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stop_token_ids: Sequence[int],
    sampling: SamplingParams,
    on_text: OnText | None = None,
) -> list[Completion]:
    """One completion for each prompt (token ids), generated as one batch.

    `on_text` gets the answer to a single prompt piece by piece, as soon as each is a whole word.
    """
    start = time.perf_counter()
    answers = decode_ids(model, tokenizer, prompts, stop_token_ids, sampling, on_text)
    seconds = (time.perf_counter() - start) / len(prompts)
    return [
        Completion(tokenizer.decode(ids, skip_special_tokens=True), len(ids), reason, seconds)
        for ids, reason in answers
    ]


def decode_ids(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stop_token_ids: Sequence[int],
    sampling: SamplingParams,
    on_text: OnText | None = None,
) -> list[tuple[list[int], str]]:
    """The token ids of each answer up to and with its stop token, and "stop" or "length"."""
    import torch

    from weekahead.models.prefill import prefill

    ids, mask = left_padded(prompts, tokenizer.pad_token_id, model.device)
    with torch.inference_mode():
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=prefill(model, prompts, sampling.max_new_tokens + 1),
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=list(stop_token_ids),
            pad_token_id=tokenizer.pad_token_id,
            streamer=_streamer(tokenizer, on_text) if on_text else None,
            **_sampling_arguments(sampling.temperature),
        )
    answers = output[:, ids.shape[1] :].tolist()  # waits for the device
    return [_until_stop(answer, stop_token_ids) for answer in answers]


def _sampling_arguments(temperature: float) -> dict[str, Any]:
    if not temperature:
        return {"do_sample": False}
    # From all tokens, as an endpoint does; the library's own default is the likeliest 50.
    return {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}


def _streamer(tokenizer: Any, on_text: OnText) -> Any:
    """What `generate` tells each new token of its only prompt."""
    from transformers import TextStreamer

    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    streamer.on_finalized_text = lambda text, stream_end=False: on_text(text)  # noqa: ARG005
    return streamer


def _until_stop(ids: list[int], stop_token_ids: Sequence[int]) -> tuple[list[int], str]:
    """The ids up to and with the first stop token, and "stop" or "length"."""
    for index, token in enumerate(ids):
        if token in stop_token_ids:
            return ids[: index + 1], "stop"
    return ids, "length"


def left_padded(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Any, Any]:
    """Token ids as one tensor (rows, longest row), padded on the left, and its mask of 0 and 1."""
    import torch

    width = max(map(len, rows))
    ids = [[pad] * (width - len(row)) + list(row) for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
