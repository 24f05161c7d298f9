"""Check on a few prompts that a server answers as this process does, and that the adapter matters.

    python -m eval.parity --config recipes/llama.yaml --adapter outputs/llama \\
        --dataset data/datasets/mine --prompts 8 --against endpoint --model llama

The reference is greedy, one prompt at a time, in this process. The server agrees if its text is the
same, or parts from it at a token where the two best candidates lie within the tolerance: a tie,
which rounding decides. If it states log-probabilities, that of the first token must lie within the
tolerance too.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipeline.dataset.load import load_dataset
from eval.generation.endpoint import ask_endpoint, request_bodies
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
from weekahead.schema.rows import DatasetRow
from weekahead.tracking.gpu import check_torch_sees_gpu

TOLERANCE = {"fp32": 1e-3, "bf16": 0.25, "fp16": 0.05}
"""In nats. In 16 bits a logit near 20 is itself rounded to 0.125 (bf16) or 0.016 (fp16)."""


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
    """How the server is asked."""

    name: str
    """What it knows the model by."""
    prompt_form: str = "chat"
    max_new_tokens: int = 64


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
    """Where the server's text parts from the reference."""

    index: int | None
    """Of the reference's token there; None if the texts part past its end."""
    margin: float | None
    """How much likelier (nats) the best token there is than the second; None past the end."""


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

    @property
    def same(self) -> bool:
        """Whether the two texts are equal."""
        return self.parting is None

    def is_tie(self, tolerance: float) -> bool:
        """Whether the texts part where the two best tokens lie within the tolerance (nats)."""
        if self.parting is None or self.parting.margin is None:
            return False
        return self.parting.margin <= tolerance

    def agrees(self, tolerance: float) -> bool:
        """Whether the server agrees, ties allowed."""
        if self.gap is not None and self.gap > tolerance:
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
    answers = served_answers(served, rows, tokenizer)
    partings = [
        find_parting(model, tokenizer, prompt, reference, answer.text)
        for prompt, reference, answer in zip(prompts, references, answers, strict=True)
    ]
    base_answers: Sequence[LocalAnswer | None] = [None] * len(rows)
    if adapter:
        del model  # a GPU need not hold both
        model, _ = load_for_generation(base, None, precision)
        base_answers = local_answers(model, tokenizer, prompts, served.max_new_tokens)
    ids = [row["id"] for row in rows]
    return list(map(compare_one, ids, references, answers, partings, base_answers))


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
    return Compared(
        id=row_id,
        parting=parting,
        gap=gap,
        adapter_matters=adapter_matters,
        like_base=bool(base_answer and parting and answer.text == base_answer.text),
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
    served: ServedModel, rows: Sequence[DatasetRow], tokenizer: Any
) -> list[Completion]:
    """The server's answers, with log-probabilities if it takes requests for them.

    Raises ValueError if it refuses a row.
    """
    try:
        return _ask(served, rows, tokenizer, logprobs=True)
    except ValueError:
        # Refused again if the log-probabilities were not the reason.
        return _ask(served, rows, tokenizer, logprobs=False)


def _ask(
    served: ServedModel, rows: Sequence[DatasetRow], tokenizer: Any, *, logprobs: bool
) -> list[Completion]:
    sampling = SamplingParams(served.max_new_tokens, batch_size=len(rows))
    bodies = request_bodies(
        rows,
        model=served.name,
        prompt_form=served.prompt_form,
        sampling=sampling,
        tokenizer=tokenizer,
        logprobs=logprobs,
    )
    answers: dict[int, Completion] = {}
    ask_endpoint(dict(enumerate(bodies)), at_once=len(rows), on_answers=answers.update)
    refused = [rows[i]["id"] for i in answers if answers[i].finish_reason == "refused"]
    if refused:
        raise ValueError(
            f"the endpoint refuses {', '.join(refused)}; take other --prompts, or shorter rows"
        )
    return [answers[i] for i in range(len(rows))]


def find_parting(
    model: Any, tokenizer: Any, prompt: list[int], reference: LocalAnswer, text: str
) -> Parting | None:
    """Where `text` parts from the reference; None if it is the same."""
    if text == reference.text:
        return None
    index = parting_index(tokenizer, reference, text)
    if index is None:
        return Parting(None, None)
    logprobs = next_logprobs(model, prompt + reference.ids[:index])
    best, second = logprobs.topk(2).values.tolist()
    return Parting(index, best - second)


def parting_index(tokenizer: Any, reference: LocalAnswer, text: str) -> int | None:
    """The index of the reference's token at which `text` parts from it; None past its end."""
    for index in range(len(reference.ids)):
        begin = tokenizer.decode(reference.ids[: index + 1], skip_special_tokens=True)
        if not text.startswith(begin.rstrip("�")):
            return index
    return len(reference.ids) - 1 if reference.finish_reason == "stop" else None


def parity_verdict(compared: Sequence[Compared], tolerance: float) -> tuple[int, str]:
    """Exit code and sentence: 0 all agree, 1 some differ or the adapter changes nothing."""
    count = len(compared)
    apart = [prompt for prompt in compared if not prompt.agrees(tolerance)]
    if apart and all(prompt.like_base for prompt in apart):
        return (
            1,
            f"differ: {len(apart)} of {count} answers are the base's; is the adapter loaded there?",
        )
    if apart:
        return 1, f"differ: {len(apart)} of {count} answers, beyond ties of {tolerance:g} nats"
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


def parity_table(compared: Sequence[Compared], tolerance: float) -> str:
    """One line per prompt; a dash stands for what there is not."""
    effects = {True: "changes it", False: "changes nothing", None: "-"}
    lines = [f"{'id':<24} {'text':<20} {'margin there':>12} {'first log-prob':>14}  adapter"]
    for prompt in compared:
        text, margin = "same", None
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


def run(options: ParityOptions) -> int:
    """Compare what the flags name and print the table and the verdict."""
    check_torch_sees_gpu()
    if options.prompts < 1:
        raise ValueError(f"--prompts is {options.prompts}; expected at least 1")
    if not options.model:
        raise ValueError(
            "--model is missing; --against endpoint needs the name a server knows the model by"
        )
    precision = choose_precision()
    tolerance = TOLERANCE[precision.mode] if options.tolerance is None else options.tolerance
    recipe = read_recipe(options.config)
    base, adapter = resolve_base_and_adapter(recipe, options.adapter, precision)
    rows = load_dataset(options.dataset).split(options.split).rows[: options.prompts]
    served = ServedModel(options.model, options.endpoint_prompt, options.max_new_tokens)
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
