"""The probability of the twelve bins after "Prediction:": one shared prefix, twelve short continuations.

Each continuation is written as in an answer, with its line end: " Up by 1-2%\\n". The line end belongs to
it because a tokenizer may join it to the "%" (Llama 3 does): without it a model trained on answers would be
asked for a token that it never saw there. The log-probability of a continuation is the sum over all its
tokens, which is the probability of that text. "more than 5%" has more tokens and gets no credit for them:
a mean a token would be the probability of nothing.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from weekahead.task.answer import HEADERS, parse_answer
from weekahead.task.labels import BINS

CONTINUATIONS: dict[str, str] = {label: f" {label.capitalize()}\n" for label in BINS}
DIRECT_PREFIX = f"{HEADERS[2]}\nPrediction:"
"""An answer that begins at once with its prediction."""
_LABEL_BEFORE = re.compile(r"prediction[\W_]{0,16}$", re.IGNORECASE)
_REACH = 32  # characters of text before a prediction that can hold its label


@dataclass(frozen=True)
class Choices:
    """Token ids of one row: what all twelve texts begin with, and how each goes on, in the order of BINS."""

    shared: list[int]
    tails: list[list[int]]


def own_prefix(generation: str | None) -> str | None:
    """A generated answer up to its own prediction, white space taken off the end; None where none can be read.

    Of several copies it ends in the first that states what the parser read, after any closed thought.
    """
    answer = parse_answer(generation or "")
    if not generation or not answer.valid:
        return None
    start = generation.rfind("</think>") + 1
    for found in re.finditer(re.escape(answer.prediction), generation[start:]):
        end = start + found.start()
        if _LABEL_BEFORE.search(generation[max(0, end - _REACH) : end]):
            return generation[:end].rstrip()
    return None


def choices(tokenizer: Any, prompt_ids: Sequence[int], prefix: str) -> Choices:
    """The twelve answers that begin with `prefix`, as tokens after a prompt.

    Prefix and continuation are tokenized as one text, since a tokenizer may join the end of one to the
    start of the other; what the twelve have in common is then shared, whatever text it stands for.
    """
    texts = [prefix + text for text in CONTINUATIONS.values()]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    at = next(
        place for place, tokens in enumerate(zip(*encoded, strict=False)) if len(set(tokens)) > 1
    )
    return Choices([*prompt_ids, *encoded[0][:at]], [ids[at:] for ids in encoded])


def log_probabilities(model: Any, batch: Sequence[Choices], pad: int) -> list[list[float]]:
    """log p of each of a row's tails after its shared tokens (natural log), one list a row.

    The shared tokens go through the model once, padded on the left with `pad`. The tails then go through
    as one packed sequence on that cache, under a mask that lets each see the shared tokens and itself, so
    no cache is copied twelve times. Needs an attention that takes such a mask (sdpa or eager, not flash).
    Logits are in the model's precision, their softmax in float32.
    """
    import torch

    from weekahead.models.decoding import left_padded

    with torch.inference_mode():
        ids, seen = left_padded([row.shared for row in batch], pad, model.device)
        positions = (seen.cumsum(1) - 1).clamp(min=0)
        prefix = model(
            input_ids=ids,
            attention_mask=seen,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
        )
        ids, targets, positions, mask = _packed(batch, seen, pad, model.dtype)
        tails = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=prefix.past_key_values,
            use_cache=True,
        )
        first = prefix.logits[:, -1].float().log_softmax(-1)
        steps = tails.logits.float().log_softmax(-1).gather(-1, targets[..., None])[..., 0].tolist()
        starts = [
            first[place, [tail[0] for tail in row.tails]].tolist()
            for place, row in enumerate(batch)
        ]
    return [_sums(row, *logs) for row, *logs in zip(batch, starts, steps, strict=True)]


def _sums(row: Choices, starts: Sequence[float], steps: Sequence[float]) -> list[float]:
    """Each tail's first log-probability and those of its packed steps, added up."""
    sums, at = [], 0
    for start, tail in zip(starts, row.tails, strict=True):
        sums.append(math.fsum([start, *steps[at : at + len(tail) - 1]]))
        at += len(tail) - 1
    return sums


def _packed(batch: Sequence[Choices], seen: Any, pad: int, dtype: Any) -> tuple[Any, Any, Any, Any]:
    """The tails of each row, one after another: ids, the token each predicts, positions, additive 4D mask.

    The last token of a tail predicts nothing that is asked for, so it is left out of the ids.
    """
    import torch

    count = [sum(len(tail) - 1 for tail in row.tails) for row in batch]
    ids, targets, positions, owners = (
        torch.full((len(batch), max(count)), fill, device=seen.device) for fill in (pad, pad, 0, -1)
    )
    for place, row in enumerate(batch):
        packed = [
            (token, after, len(row.shared) + offset, owner)
            for owner, tail in enumerate(row.tails)
            for offset, (token, after) in enumerate(pairwise(tail))
        ]
        columns = torch.tensor(packed, device=seen.device).T
        for tensor, values in zip((ids, targets, positions, owners), columns, strict=True):
            tensor[place, : count[place]] = values
    same = (owners[:, :, None] == owners[:, None, :]).tril()
    visible = torch.cat([seen.bool()[:, None, :].expand(-1, same.shape[1], -1), same], dim=2)
    mask = torch.zeros(visible.shape, dtype=dtype, device=seen.device)
    return ids, targets, positions, mask.masked_fill(~visible, torch.finfo(dtype).min)[:, None]
