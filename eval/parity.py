"""Check on a few prompts that another backend answers as this process does, and that the adapter matters at all.

    python -m eval.parity --config recipes/llama.yaml --adapter outputs/llama --dataset data/datasets/mine \\
        --prompts 8 --against endpoint --model llama

The reference is greedy, one prompt at a time, in this process. Another backend agrees where its text is the same,
or parts from it at a token where the two best candidates lie within the tolerance: a tie, which rounding decides.
Where it gives log-probabilities, that of the first token must lie within the tolerance too.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data_pipeline.dataset.load import eval_rows
from eval.generation.backends import PROMPTS
from eval.generation.endpoint import ask_endpoint, request_bodies
from weekahead.cli import model_arguments
from weekahead.files import Row, load_env
from weekahead.models.chat_format import render_prompt_ids, stop_token_ids
from weekahead.models.decoding import Completion, SamplingParams, decode_ids
from weekahead.models.loading import (
    Base,
    load_for_generation,
    load_tokenizer,
    resolve_base_and_adapter,
)
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import read_recipe
from weekahead.tracking.gpu import check_torch_sees_gpu

TOLERANCE = {"fp32": 1e-3, "bf16": 0.25, "fp16": 0.05}
"""In nats. In 16 bits a logit near 20 is itself rounded to 0.125 (bf16) or 0.016 (fp16)."""


@dataclass(frozen=True)
class Local:
    """The reference: an answer's ids, text and why it ended, and the log-probability of its first token (nats)."""

    ids: list[int]
    text: str
    reason: str
    logprob: float


@dataclass(frozen=True)
class Compared:
    """One prompt: whether the other backend answers it alike, and whether the adapter changes its answer."""

    id: str
    same: bool
    parts_at: int | None
    """The token at which the two texts part."""
    margin: float | None
    """There, how much likelier (nats) the reference's token is than the runner-up; None if past its end."""
    gap: float | None
    """Distance (nats) between the first token's log-probabilities; None where the other tells none."""
    adapter_matters: bool | None
    """Whether the base's tokens or its first log-probability are others; None where there is no adapter."""
    like_base: bool
    """Whether the other backend's answer differs from the reference and is the base's."""

    def agrees(self, tolerance: float) -> bool:
        """Whether the other backend agrees, ties allowed."""
        tie = self.margin is not None and self.margin <= tolerance
        return (self.same or tie) and (self.gap is None or self.gap <= tolerance)


def local_answers(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], ends: list[int], size: int
) -> list[Local]:
    """The reference answers, `size` new tokens at most, one prompt at a time."""
    how, found = SamplingParams(size, batch_size=1), []
    for prompt in prompts:
        ((ids, reason),) = decode_ids(model, tokenizer, [prompt], ends, how)
        first = float(next_logprobs(model, prompt)[ids[0]])
        found.append(Local(ids, tokenizer.decode(ids, skip_special_tokens=True), reason, first))
    return found


def next_logprobs(model: Any, ids: list[int]) -> Any:
    """Log-probabilities (nats) of every token after `ids`, in fp32."""
    import torch

    with torch.inference_mode():
        return (
            model(input_ids=torch.tensor([ids], device=model.device))
            .logits[0, -1]
            .float()
            .log_softmax(-1)
        )


def parting(tokenizer: Any, ours: Local, theirs: str) -> int | None:
    """The position in the reference's tokens at which another text parts from it; None past its end."""
    for place in range(len(ours.ids)):
        text = tokenizer.decode(ours.ids[: place + 1], skip_special_tokens=True).rstrip("�")
        if not theirs.startswith(text):
            return place
    return len(ours.ids) - 1 if ours.reason == "stop" else None


def margin_at(model: Any, ids: list[int]) -> float:
    """How much likelier (nats) the best token after `ids` is than the second."""
    best, second = next_logprobs(model, ids).topk(2).values.tolist()
    return best - second


def compare(
    args: argparse.Namespace, rows: Sequence[Row], base: Base, adapter: Any, precision: Precision
) -> list[Compared]:
    """Answer `rows` here and there, and on the base alone where there is an adapter.

    Raises ValueError, OSError or RuntimeError where one of them cannot answer.
    """
    tokenizer = load_tokenizer(base)
    ends = stop_token_ids(tokenizer)
    prompts = [render_prompt_ids(tokenizer, row["prompt"]) for row in rows]
    model, _ = load_for_generation(base, adapter, precision)
    ours = local_answers(model, tokenizer, prompts, ends, args.max_new_tokens)
    theirs = _asked(args, rows, tokenizer)
    places = [
        None if a.text == b.text else parting(tokenizer, a, b.text)
        for a, b in zip(ours, theirs, strict=True)
    ]
    margins = [
        None if at is None else margin_at(model, prompt + one.ids[:at])
        for at, prompt, one in zip(places, prompts, ours, strict=True)
    ]
    plain: list[Local] | None = None
    if adapter:
        del model  # a card need not hold both
        model, _ = load_for_generation(base, None, precision)
        plain = local_answers(model, tokenizer, prompts, ends, args.max_new_tokens)
    return [
        Compared(
            id=rows[i]["id"],
            same=ours[i].text == theirs[i].text,
            parts_at=places[i],
            margin=margins[i],
            gap=None if (told := theirs[i].first_logprob) is None else abs(told - ours[i].logprob),
            adapter_matters=(plain[i].ids, plain[i].logprob) != (ours[i].ids, ours[i].logprob)
            if plain
            else None,
            like_base=plain is not None and theirs[i].text == plain[i].text != ours[i].text,
        )
        for i in range(len(rows))
    ]


def _asked(args: argparse.Namespace, rows: Sequence[Row], tokenizer: Any) -> list[Completion]:
    """The endpoint's answers, with log-probabilities where it takes requests for them."""

    def ask(logprobs: bool) -> list[Completion]:
        found: dict[int, Completion] = {}
        how = SamplingParams(args.max_new_tokens, batch_size=len(rows))
        bodies = request_bodies(args.model, args.endpoint_prompt, rows, how, tokenizer, logprobs)
        ask_endpoint(dict(enumerate(bodies)), how.batch_size, found.update)
        if refused := [rows[i]["id"] for i, one in found.items() if one.finish_reason == "refused"]:
            raise ValueError(
                f"the endpoint refuses {', '.join(refused)}; take other --prompts, or shorter rows"
            )
        return [found[i] for i in range(len(rows))]

    try:
        return ask(logprobs=True)
    except ValueError:
        return ask(logprobs=False)  # refused again if it was not for the log-probabilities


def verdict(found: Sequence[Compared], tolerance: float) -> tuple[int, str]:
    """Exit code and sentence: 0 all agree, 1 some differ or the adapter changes nothing."""
    apart = [one for one in found if not one.agrees(tolerance)]
    if apart and all(one.like_base for one in apart):
        return (
            1,
            f"differ: {len(apart)} of {len(found)} answers are the base's; is the adapter loaded there?",
        )
    if apart:
        return 1, f"differ: {len(apart)} of {len(found)} answers, beyond ties of {tolerance:g} nats"
    matters = [one.adapter_matters for one in found if one.adapter_matters is not None]
    if matters and not any(matters):
        return (
            1,
            f"the two agree, but the adapter changes none of {len(found)} answers: is it the trained one?",
        )
    ties = sum(not one.same for one in found)
    told = sum(one.gap is not None for one in found)
    changed = f"; the adapter changes {sum(matters)}" if matters else ""
    return (
        0,
        f"agree: {len(found)} prompts, {ties} of them ties, log-probabilities told for {told}{changed}",
    )


def table(found: Sequence[Compared], tolerance: float) -> str:
    """One line a prompt; a dash is what there is not."""
    lines = [f"{'id':<24} {'text':<20} {'margin there':>12} {'first log-prob':>14}  adapter"]
    for one in found:
        tie = one.margin is not None and one.margin <= tolerance
        text = "same" if one.same else f"{'tie' if tie else 'differs'} at token {one.parts_at}"
        margin, gap = (f"{x:.2g}" if x is not None else "-" for x in (one.margin, one.gap))
        matters = {True: "changes it", False: "changes nothing", None: "-"}[one.adapter_matters]
        lines.append(f"{one.id:<24} {text:<20} {margin:>12} {gap:>14}  {matters}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 agree, 1 differ, 2 cannot be checked."""
    parser = model_arguments(__doc__, out=None)
    parser.add_argument("--split", help="split to take the prompts from (default: test)")
    parser.add_argument("--prompts", type=int, default=8, help="how many")
    parser.add_argument("--against", choices=("endpoint",), required=True)
    parser.add_argument(
        "--model", help="the name that the endpoint knows the model (or its adapter) by"
    )
    parser.add_argument("--endpoint_prompt", choices=PROMPTS, default="chat")
    parser.add_argument("--max_new_tokens", type=int, default=64)
    parser.add_argument(
        "--tolerance", type=float, help="nats (default: 0.001 in fp32, 0.25 in bf16, 0.05 in fp16)"
    )
    args = parser.parse_args(argv)
    try:
        load_env()
        check_torch_sees_gpu()
        if args.prompts < 1:
            raise ValueError(f"--prompts is {args.prompts}; expected at least 1")
        if not args.model:
            raise ValueError(
                "--model is missing; --against endpoint needs the name a server knows the model by"
            )
        precision = choose_precision()
        tolerance = TOLERANCE[precision.mode] if args.tolerance is None else args.tolerance
        base, adapter = resolve_base_and_adapter(read_recipe(args.config), args.adapter, precision)
        rows = eval_rows(args.dataset, args.split).rows[: args.prompts]
        found = compare(args, rows, base, adapter, precision)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"eval.parity: cannot be checked: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    code, sentence = verdict(found, tolerance)
    print(f"{table(found, tolerance)}\n{sentence}")
    return code


if __name__ == "__main__":
    sys.exit(main())
