"""The probability of the twelve bins after "Prediction:": one shared prefix, twelve continuations.

Each continuation is written as in an answer, with its line end: " Up by 1-2%\\n". The line end
belongs to it because a tokenizer may join it to the "%" (Llama 3 does): without it a model trained
on answers would be asked for a token that it never saw there. The log-probability of a continuation
is the sum over all its tokens, which is the probability of that text. "more than 5%" has more
tokens and gets no credit for them: a mean per token would be the probability of nothing.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from weekahead.models.chat_format import Messages, render_prompt_ids, render_row_ids
from weekahead.schema.rows import BinProbabilities, Message
from weekahead.task.answer import HEADERS, parse_answer
from weekahead.task.labels import BINS, direction_of
from weekahead.task.thoughts import find_thoughts

CONTINUATIONS: dict[str, str] = {label: f" {label.capitalize()}\n" for label in BINS}
DIRECT_PREFIX = f"{HEADERS[2]}\nPrediction:"
"""An answer that begins at once with its prediction."""
_LABEL_BEFORE = re.compile(r"prediction[\W_]{0,16}$", re.IGNORECASE)
_REACH = 32
"""Characters of text before a prediction that can hold its label."""


@dataclass(frozen=True)
class Choices:
    """Token ids of texts to choose from: what all begin with, and how each goes on."""

    shared: list[int]
    tails: list[list[int]]

    @classmethod
    def from_texts(cls, texts: Sequence[Sequence[int]], *, before: Sequence[int] = ()) -> "Choices":
        """The choice between tokenized `texts`, all after the tokens `before`.

        What the texts have in common is shared. Raises StopIteration if one text is the beginning
        of all others.
        """
        columns = enumerate(zip(*texts, strict=False))
        length = next(index for index, tokens in columns if len(set(tokens)) > 1)
        tails = [list(text[length:]) for text in texts]
        return cls([*before, *texts[0][:length]], tails)


def own_prefix(generation: str | None) -> str | None:
    """A generated answer up to its own prediction, without white space at its end.

    None if no prediction can be read. Of several copies it ends in the first that states what the
    parser read, after any closed thought.
    """
    answer = parse_answer(generation or "")
    if not generation or not answer.valid:
        return None
    closed = find_thoughts(generation).closed
    start = closed[-1][1] if closed else 0
    for match in re.finditer(re.escape(answer.prediction), generation[start:]):
        end = start + match.start()
        if _LABEL_BEFORE.search(generation[max(0, end - _REACH) : end]):
            return generation[:end].rstrip()
    return None


def choices(tokenizer: Any, prompt_ids: Sequence[int], prefix: str) -> Choices:
    """The twelve answers that begin with `prefix`, as tokens after a prompt.

    Prefix and continuation are tokenized as one text, since a tokenizer may join the end of one to
    the start of the other.
    """
    texts = [prefix + text for text in CONTINUATIONS.values()]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return Choices.from_texts(encoded, before=prompt_ids)


def check_as_in_a_row(tokenizer: Any, prompt: Messages) -> None:
    """Check that the direct answers are tokenized after `prompt` as in a whole training row.

    Raises ValueError naming the first bin of which a tokenizer joins an end to what is beside it:
    the model would be asked for tokens that it never saw there.
    """
    asked = choices(tokenizer, render_prompt_ids(tokenizer, prompt), DIRECT_PREFIX)
    for (label, text), tail in zip(CONTINUATIONS.items(), asked.tails, strict=True):
        ids = [*asked.shared, *tail]
        answer: Message = {"role": "assistant", "content": f"{DIRECT_PREFIX}{text}Analysis: Yes."}
        before, after = render_row_ids(tokenizer, prompt, [answer])
        whole = [*before, *after][: len(ids)]
        if whole != ids:
            at = next(
                n for n, pair in enumerate(zip(whole, ids, strict=False)) if len(set(pair)) > 1
            )
            raise ValueError(
                f"{label!r} is tokenized otherwise in a training row: "
                f"{tokenizer.decode(whole[at : at + 4])!r}, alone "
                f"{tokenizer.decode(ids[at : at + 4])!r}; its likelihood would be that of another "
                "text, so this base cannot be scored by eval.likelihood"
            )


def log_probabilities(model: Any, batch: Sequence[Choices], pad: int) -> list[list[float]]:
    """The log-probability (natural log) of each tail after its shared tokens, one list per row.

    The shared tokens go through the model once, padded on the left with `pad`. The tails then go
    through as one packed tree on that cache, under a mask that lets each token see the shared ones
    and those before it in its tails, so no cache is copied twelve times. What several tails begin
    with is read once: read apart, it would differ in the rounding of 16 bits, and the tails could
    add up to more than 1. Needs an attention that takes such a mask (sdpa or eager, not flash).
    Logits are in the model's precision, their softmax in float32.
    """
    import torch

    from weekahead.models.decoding import left_padded

    with torch.inference_mode():
        ids, seen = left_padded([row.shared for row in batch], pad, model.device)
        prefix = model(
            input_ids=ids,
            attention_mask=seen,
            position_ids=(seen.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
        )
        beginnings = [_beginnings(row) for row in batch]
        packed = _pack(batch, beginnings, seen, pad, model.dtype)
        tails = model(
            input_ids=packed.ids,
            attention_mask=packed.mask,
            position_ids=packed.positions,
            past_key_values=prefix.past_key_values,
            use_cache=True,
        )
        first = prefix.logits[:, -1].float().log_softmax(-1)
        logs = tails.logits.float().log_softmax(-1)
        sums: list[list[float]] = []
        for index, row in enumerate(batch):
            starts = first[index, [tail[0] for tail in row.tails]].tolist()
            places, followers = _steps(row, beginnings[index])
            sums.append(_sums(row, starts, logs[index, places, followers].tolist()))
    return sums


def bin_probabilities(row_id: str, logs: Sequence[float]) -> BinProbabilities:
    """What the model gives to the twelve bins, from the natural logarithms in the order of BINS.

    `mass` is the probability of all twelve texts before it is made 1. Raises ValueError that names
    the row if a logarithm is not finite.
    """
    if not all(map(math.isfinite, logs)):
        raise ValueError(
            f"row {row_id}: the model gives no finite probability ({logs[0]} for {BINS[0]!r}); an "
            "overflow of fp16, or a damaged adapter: score on a machine with bf16 or fp32"
        )
    largest = max(logs)
    weights = [math.exp(value - largest) for value in logs]
    total = math.fsum(weights)
    probs = {label: weight / total for label, weight in zip(BINS, weights, strict=True)}
    up = math.fsum(p for label, p in probs.items() if direction_of(label) > 0)
    return {
        "logprobs": dict(zip(BINS, logs, strict=True)),
        "probs": probs,
        "up": min(1.0, up),
        "mass": math.fsum(map(math.exp, logs)),
    }


def _sums(row: Choices, starts: Sequence[float], steps: Sequence[float]) -> list[float]:
    """Each tail's first log-probability and those of its packed steps, added up."""
    sums: list[float] = []
    begin = 0
    for start, tail in zip(starts, row.tails, strict=True):
        end = begin + len(tail) - 1
        sums.append(math.fsum([start, *steps[begin:end]]))
        begin = end
    return sums


_Beginnings = dict[tuple[int, ...], int]
"""What tails begin with, without their last tokens -> its place in the packed tree."""


def _beginnings(row: Choices) -> _Beginnings:
    """Each beginning once; a shorter one stands before those that go on from it.

    The last token of a tail is left out: what follows it is not asked for.
    """
    found = (tuple(tail[:length]) for tail in row.tails for length in range(1, len(tail)))
    return {beginning: place for place, beginning in enumerate(dict.fromkeys(found))}


def _steps(row: Choices, beginnings: _Beginnings) -> tuple[list[int], list[int]]:
    """(place, token that follows there) of each token of each tail but its first."""
    lengths = [(tail, length) for tail in row.tails for length in range(1, len(tail))]
    places = [beginnings[tuple(tail[:length])] for tail, length in lengths]
    return places, [tail[length] for tail, length in lengths]


class _Packed(NamedTuple):
    """The trees of the rows, each as one sequence."""

    ids: Any
    """(rows, largest tree), like the next."""
    positions: Any
    mask: Any
    """Additive, (rows, 1, largest tree, shared tokens and largest tree)."""


def _pack(
    batch: Sequence[Choices], beginnings: Sequence[_Beginnings], seen: Any, pad: int, dtype: Any
) -> _Packed:
    """The last token of each beginning; `seen` is 1 at the shared tokens."""
    import torch

    size = max(map(len, beginnings))
    ids = torch.full((len(batch), size), pad)
    positions = torch.zeros_like(ids)
    sees = torch.zeros(len(batch), size, size, dtype=torch.bool)
    for index, (row, tree) in enumerate(zip(batch, beginnings, strict=True)):
        for beginning, place in tree.items():
            ids[index, place] = beginning[-1]
            positions[index, place] = len(row.shared) + len(beginning) - 1
            before = [tree[beginning[:length]] for length in range(1, len(beginning) + 1)]
            sees[index, place, before] = True
    shared = seen.bool()[:, None, :].expand(-1, size, -1)
    visible = torch.cat([shared, sees.to(seen.device)], dim=2)
    mask = torch.zeros(visible.shape, dtype=dtype, device=seen.device)
    mask = mask.masked_fill(~visible, torch.finfo(dtype).min)
    return _Packed(ids.to(seen.device), positions.to(seen.device), mask[:, None])
