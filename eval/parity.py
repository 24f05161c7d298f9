"""Check on a few prompts that a server answers as this process does, and that the adapter matters.

    python -m eval.parity --config recipes/llama.yaml --adapter outputs/llama \\
        --dataset data/datasets/mine --prompts 8 --against endpoint --model llama

The reference is greedy, one prompt at a time, in this process. The server agrees if its text is the
same, or if each token where it parts is a tie: there the server's own token lies within the
tolerance of the best, so that rounding decides, and the reference goes on from the server's token.
Where the server stops, the reference must stop too. If it states log-probabilities, that of the
first token must lie within the tolerance as well. The longest prompt of the split is always among
the prompts: some servers cut long ones without a word.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from data_pipeline.dataset.load import load_dataset
from eval.generation.endpoint import RequestPlan, ask_endpoint, request_bodies, stop_texts
from eval.generation.prompts import PROMPT_FORMS, prompt_ids
from weekahead.cli import (
    MODEL_ERRORS,
    add_options,
    configure_logging,
    model_arguments,
    option,
    read_options,
    run_command,
)
from weekahead.models.chat_format import stop_token_ids
from weekahead.models.decoding import Completion, SamplingParams, decode_ids
from weekahead.models.loading import (
    Adapter,
    Base,
    load_for_generation,
    load_tokenizer,
    resolve_base_and_adapter,
)
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import read_recipe
from weekahead.schema.manifests import JsonObject
from weekahead.schema.rows import DatasetRow, user_text
from weekahead.tracking.gpu import check_torch_sees_gpu

TOLERANCE = {"fp32": 1e-3, "bf16": 0.25, "fp16": 0.05}
"""In nats. In 16 bits a logit near 20 is itself rounded to 0.125 (bf16) or 0.016 (fp16)."""
MOST_TIES = 2
"""Of one answer: rounding seldom decides a token, and never one after another."""
_COUNTED_TOO = 2
"""Tokens by which two counts of the same prompt may differ: of its beginning and its end."""
_CANDIDATES = 200
"""Tokens among which the server's is looked for: one farther down is no tie."""


@dataclass(frozen=True)
class ParityOptions:
    """The flags of eval.parity."""

    config: Path
    adapter: str
    dataset: str
    against: str = option(choices=("endpoint",), help="what is compared with this process")
    split: str | None = option(None, help="split to take the prompts from (default: test)")
    prompts: int = option(8, help="how many")
    model: str | None = option(
        None, help="the name that the endpoint knows the model (or its adapter) by"
    )
    endpoint_prompt: str = option("chat", choices=PROMPT_FORMS)
    max_new_tokens: int = 64
    tolerance: float | None = option(
        None, help="nats (default: 0.001 in fp32, 0.25 in bf16, 0.05 in fp16)"
    )


@dataclass(frozen=True)
class ServedModel:
    """How the server is asked, and how closely its answers are compared."""

    name: str
    """What it knows the model by."""
    prompt_form: str = "chat"
    max_new_tokens: int = 64
    tolerance: float = TOLERANCE["fp32"]
    """In nats."""


@dataclass(frozen=True)
class LocalAnswer:
    """The reference answer to one prompt."""

    ids: list[int]
    text: str
    finish_reason: str
    first_logprob: float
    """Log-probability (nats) of the first token."""


@dataclass(frozen=True)
class Parting:
    """The token at which the server's text is farthest from what the model here would write."""

    index: int | None
    """Its number in the answer; None if the texts part past the reference's end."""
    margin: float | None
    """How much likelier (nats) the best token there is than the server's; None if the server's is
    not known."""
    ties: int = 0
    """How often the server took another token that is as likely."""


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


def local_answers(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], max_new_tokens: int
) -> list[LocalAnswer]:
    """The reference answers, one prompt (token ids) at a time."""
    sampling = SamplingParams(max_new_tokens, batch_size=1)
    stop = stop_token_ids(tokenizer)
    answers: list[LocalAnswer] = []
    for prompt in prompts:
        ((ids, reason),) = decode_ids(model, tokenizer, [prompt], stop, sampling)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        answers.append(LocalAnswer(ids, text, reason, float(next_logprobs(model, prompt)[ids[0]])))
    return answers


def next_logprobs(model: Any, ids: list[int]) -> Any:
    """Log-probabilities (nats) of every token after `ids`, in fp32."""
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids], device=model.device)).logits
    return logits[0, -1].float().log_softmax(-1)


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


@dataclass(frozen=True)
class Reference:
    """The model that answers here, and the prompt (token ids) that it answers."""

    model: Any
    tokenizer: Any
    prompt: list[int]
    served: ServedModel

    @property
    def stop(self) -> list[int]:
        """Ids of the tokens that end an answer."""
        return stop_token_ids(self.tokenizer)

    def text(self, ids: list[int]) -> str:
        """The text of an answer's tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def begins(self, ids: list[int], text: str) -> bool:
        """Whether `text` begins with these tokens; the last may be a part of a character."""
        return text.startswith(self.text(ids).rstrip("\ufffd"))

    def goes_on(self, answer: LocalAnswer, index: int, token: int) -> LocalAnswer:
        """`answer` with another token at `index`, and the tokens that follow it here."""
        ids = [*answer.ids[:index], token]
        left = self.served.max_new_tokens - len(ids)
        reason = "stop" if token in self.stop else "length"
        if left > 0 and reason == "length":
            sampling, prompts = SamplingParams(left, batch_size=1), [self.prompt + ids]
            ((more, reason),) = decode_ids(self.model, self.tokenizer, prompts, self.stop, sampling)
            ids += more
        return LocalAnswer(ids, self.text(ids), reason, answer.first_logprob)


def find_parting(reference: Reference, answer: LocalAnswer, served: Completion) -> Parting | None:
    """Where the server's text is farthest from what is written here; None if it is the same.

    After a token within the tolerance the reference goes on from the server's token; the first
    token outside is the result.
    """
    worst, ties = None, 0
    while answer.text != served.text:
        index = parting_index(reference.tokenizer, answer, served.text)
        if index is None:
            return Parting(None, None, ties)
        token, margin = _served_token(reference, answer.ids[:index], served)
        if margin is None or margin > reference.served.tolerance:
            return Parting(index, margin, ties)
        if worst is None or margin > worst[1]:
            worst = (index, margin)
        ties += 1
        answer = reference.goes_on(answer, index, token)
    return Parting(*worst, ties) if worst else None


def parting_index(tokenizer: Any, reference: LocalAnswer, text: str) -> int | None:
    """The index of the reference's token at which `text` parts from it; None past its end."""
    for index in range(len(reference.ids)):
        begin = tokenizer.decode(reference.ids[: index + 1], skip_special_tokens=True)
        if not text.startswith(begin.rstrip("\ufffd")):
            return index
    return len(reference.ids) - 1 if reference.finish_reason == "stop" else None


def _served_token(
    reference: Reference, begin: list[int], served: Completion
) -> tuple[int, float | None]:
    """The server's token after the tokens `begin`, and how much likelier (nats) the best is.

    It is the likeliest of those that its text allows. If the text ends there, it is a stop token,
    unless the server says that something else ended it. Without one the margin is None.
    """
    logprobs = next_logprobs(reference.model, reference.prompt + begin)
    ended = reference.text(begin) == served.text
    if ended and served.finish_reason not in ("stop", None):
        return -1, None
    for token in logprobs.topk(min(_CANDIDATES, len(logprobs))).indices.tolist():
        if ended:
            fits = token in reference.stop
        else:
            longer = [*begin, token]
            grows = reference.text(longer) != reference.text(begin)
            fits = grows and reference.begins(longer, served.text)
        if fits:
            return token, float(logprobs.max() - logprobs[token])
    return -1, None


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


def run(options: ParityOptions) -> int:
    """Compare what the flags name and print the table and the verdict."""
    check_torch_sees_gpu()
    for name in ("prompts", "max_new_tokens"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} is {getattr(options, name)}; expected at least 1")
    if not options.model:
        raise ValueError(
            "--model is missing; --against endpoint needs the name a server knows the model by"
        )
    precision = choose_precision()
    tolerance = TOLERANCE[precision.mode] if options.tolerance is None else options.tolerance
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"--tolerance is {tolerance}; expected nats, 0 or more")
    recipe = read_recipe(options.config)
    base, adapter = resolve_base_and_adapter(recipe, options.adapter, precision)
    rows = chosen_rows(load_dataset(options.dataset).split(options.split).rows, options.prompts)
    served = ServedModel(options.model, options.endpoint_prompt, options.max_new_tokens, tolerance)
    compared = compare(rows, base, adapter, precision, served)
    code, sentence = parity_verdict(compared, tolerance)
    print(f"{parity_table(compared, tolerance)}\n{sentence}")
    return code


def new_arguments() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = model_arguments(__doc__, out=None)
    add_options(parser, ParityOptions)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 agree, 1 differ, 2 cannot be checked, 130 interrupted."""
    options = read_options(new_arguments().parse_args(argv), ParityOptions)
    configure_logging()
    return run_command("eval.parity: cannot be checked", lambda: run(options), errors=MODEL_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
