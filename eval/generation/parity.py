"""Whether a server answers a few prompts as the model here does, and whether the adapter matters.

The reference is greedy, one prompt at a time, in this process. The server agrees if its text is the
same, or if each token where it parts is a tie: there the server's own token lies within the
tolerance of the best, so that rounding decides, and the reference goes on from the server's token.
Where the server stops, the reference must stop too. If it states log-probabilities, that of the
first token must lie within the tolerance as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from eval.generation.endpoint import RequestPlan, ask_endpoint, request_bodies, stop_texts
from eval.generation.parting import (
    LocalAnswer,
    Parting,
    Reference,
    ServedModel,
    find_parting,
    local_answers,
)
from eval.generation.prompts import prompt_ids
from weekahead.models.decoding import Completion, SamplingParams
from weekahead.models.loading import Adapter, Base, load_for_generation, load_tokenizer
from weekahead.models.precision import Precision
from weekahead.schema.manifests import JsonObject
from weekahead.schema.rows import DatasetRow, user_text

MOST_TIES = 2
"""Of one answer: rounding seldom decides a token, and never one after another."""
_COUNTED_TOO = 2
"""Tokens by which two counts of the same prompt may differ: of its beginning and its end."""


@dataclass(frozen=True)
class Compared:
    """One prompt: whether the server answers it alike, whether the adapter changes its answer."""

    id: str
    parting: Parting | None
    """None if the texts are the same."""
    gap: float | None
    """Distance (nats) between the first token's log-probabilities; None if none is stated."""
    adapter_matters: bool | None
    """Whether the base's tokens or its first log-probability differ; None without an adapter."""
    like_base: bool
    """Whether the server's answer differs from the reference and is the base's."""
    other_ending: bool = False
    """Whether one of two equal texts ended by itself, as it says, and the other did not."""
    prompt_tokens: tuple[int, int] | None = None
    """Of the prompt here and as the server counts them, if they differ."""

    @property
    def same(self) -> bool:
        """Whether the two texts are equal."""
        return self.parting is None

    def is_tie(self, tolerance: float) -> bool:
        """Whether all tokens of the server lie within the tolerance (nats) of the best."""
        if self.parting is None or self.parting.margin is None:
            return False
        return self.parting.margin <= tolerance

    def agrees(self, tolerance: float) -> bool:
        """Whether the server agrees, ties allowed."""
        if self.other_ending or (self.gap is not None and self.gap > tolerance):
            return False
        if self.prompt_tokens and abs(self.prompt_tokens[0] - self.prompt_tokens[1]) > _COUNTED_TOO:
            return False
        if self.parting and self.parting.ties > MOST_TIES:
            return False
        return self.same or self.is_tie(tolerance)


def compare(
    rows: Sequence[DatasetRow],
    base: Base,
    adapter: Adapter | None,
    precision: Precision,
    served: ServedModel,
) -> list[Compared]:
    """Answer `rows` here and there, and on the base alone if there is an adapter.

    Raises ValueError, OSError or RuntimeError if one of them cannot answer.
    """
    tokenizer = load_tokenizer(base)
    prompts = [prompt_ids(tokenizer, row) for row in rows]
    model, _ = load_for_generation(base, adapter, precision)
    references = local_answers(model, tokenizer, prompts, served.max_new_tokens)
    answers = served_answers(served, rows, base, tokenizer)
    partings = [
        find_parting(Reference(model, tokenizer, prompt, served), reference, answer)
        for prompt, reference, answer in zip(prompts, references, answers, strict=True)
    ]
    base_answers: Sequence[LocalAnswer | None] = [None] * len(rows)
    if adapter:
        del model  # a GPU need not hold both
        model, _ = load_for_generation(base, None, precision)
        base_answers = local_answers(model, tokenizer, prompts, served.max_new_tokens)
    ids = [row["id"] for row in rows]
    compared = map(compare_one, ids, references, answers, partings, base_answers)
    counted = [answer.prompt_tokens for answer in answers]
    return list(map(_with_prompt_size, compared, map(len, prompts), counted))


def _with_prompt_size(compared: Compared, here: int, there: int | None) -> Compared:
    return compared if there in (None, here) else replace(compared, prompt_tokens=(here, there))


def compare_one(
    row_id: str,
    reference: LocalAnswer,
    answer: Completion,
    parting: Parting | None,
    base_answer: LocalAnswer | None,
) -> Compared:
    """The comparison of one prompt's answers; `base_answer` is None if there is no adapter."""
    gap = adapter_matters = None
    if answer.first_logprob is not None:
        gap = abs(answer.first_logprob - reference.first_logprob)
    if base_answer:
        same_ids = base_answer.ids == reference.ids
        adapter_matters = not same_ids or base_answer.first_logprob != reference.first_logprob
    endings = {reference.finish_reason, answer.finish_reason}
    return Compared(
        id=row_id,
        parting=parting,
        gap=gap,
        adapter_matters=adapter_matters,
        like_base=bool(base_answer and parting and answer.text == base_answer.text),
        other_ending=parting is None and endings == {"stop", "length"},
    )


def served_answers(
    served: ServedModel, rows: Sequence[DatasetRow], base: Base, tokenizer: Any
) -> list[Completion]:
    """The server's answers, with log-probabilities if it takes requests for them.

    Raises ValueError if it refuses a row.
    """
    plan = RequestPlan(served.name, served.prompt_form, stop_texts(base.turn_format))
    sampling = SamplingParams(served.max_new_tokens, batch_size=len(rows))
    bodies = partial(request_bodies, rows, plan, sampling, tokenizer=tokenizer)
    try:
        return _ask(rows, bodies(logprobs=True))
    except ValueError:
        # Refused again if the log-probabilities were not the reason.
        return _ask(rows, bodies(logprobs=False))


def _ask(rows: Sequence[DatasetRow], bodies: Sequence[JsonObject]) -> list[Completion]:
    answers: dict[int, Completion] = {}
    ask_endpoint(dict(enumerate(bodies)), at_once=len(rows), on_answers=answers.update)
    refused = [rows[i]["id"] for i in answers if answers[i].finish_reason == "refused"]
    if refused:
        raise ValueError(
            f"the endpoint refuses {', '.join(refused)}; take other --prompts, or shorter rows"
        )
    return [answers[i] for i in range(len(rows))]


def parity_verdict(compared: Sequence[Compared], tolerance: float) -> tuple[int, str]:
    """Exit code and sentence: 0 all agree, 1 some differ or the adapter changes nothing."""
    count = len(compared)
    apart = [prompt for prompt in compared if not prompt.agrees(tolerance)]
    if apart:
        return 1, _difference(compared, apart, tolerance)
    changes = [prompt.adapter_matters for prompt in compared if prompt.adapter_matters is not None]
    if changes and not any(changes):
        return (
            1,
            f"the two agree, but the adapter changes none of {count} answers: is it the trained "
            "one?",
        )
    ties = sum(not prompt.same for prompt in compared)
    stated = sum(prompt.gap is not None for prompt in compared)
    changed = f"; the adapter changes {sum(changes)}" if changes else ""
    return (
        0,
        f"agree: {count} prompts, {ties} of them ties, log-probabilities stated for {stated}"
        f"{changed}",
    )


def _difference(compared: Sequence[Compared], apart: Sequence[Compared], tolerance: float) -> str:
    """How many answers differ, and what the cause may be."""
    differ = f"differ: {len(apart)} of {len(compared)} answers"
    if all(prompt.like_base for prompt in apart):
        return f"{differ} are the base's; is the adapter loaded there?"
    sentence = f"{differ}, beyond ties of {tolerance:g} nats"
    sizes = [prompt.prompt_tokens for prompt in apart if prompt.prompt_tokens]
    if sizes:
        here, there = sizes[0]
        return (
            f"{sentence}; the server counts {there} prompt tokens where here are {here}: does it "
            "have another chat template, or cut long prompts?"
        )
    if any(prompt.other_ending for prompt in apart):
        return f"{sentence}; equal texts end otherwise there: does it stop at the same token?"
    return (
        f"{sentence}; does it obey temperature 0 and a repetition penalty of 1, and load the same "
        "weights?"
    )


def parity_table(compared: Sequence[Compared], tolerance: float) -> str:
    """One line per prompt; a dash stands for what there is not."""
    effects = {True: "changes it", False: "changes nothing", None: "-"}
    lines = [f"{'id':<24} {'text':<20} {'margin there':>12} {'first log-prob':>14}  adapter"]
    for prompt in compared:
        text, margin = "other ending" if prompt.other_ending else "same", None
        if prompt.parting:
            word = "tie" if prompt.is_tie(tolerance) else "differs"
            text, margin = f"{word} at token {prompt.parting.index}", prompt.parting.margin
        lines.append(
            f"{prompt.id:<24} {text:<20} {_nats(margin):>12} {_nats(prompt.gap):>14}  "
            f"{effects[prompt.adapter_matters]}"
        )
    return "\n".join(lines)


def _nats(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def chosen_rows(rows: Sequence[DatasetRow], count: int) -> list[DatasetRow]:
    """The first `count` rows, the last of them replaced by the row with the longest prompt."""
    longest = max(rows, key=lambda row: len(user_text(row["prompt"])))
    first = list(rows[:count])
    if longest["id"] not in [row["id"] for row in first]:
        first[-1] = longest
    return first
