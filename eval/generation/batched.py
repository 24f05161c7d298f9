"""Answers of a model in this process, batch by batch."""

from collections.abc import Collection, Sequence
from typing import Any

from weekahead.models.decoding import OnAnswers, SamplingParams, decode, plan_batches


def batched(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    missing: Collection[int],
    stops: Sequence[int],
    how: SamplingParams,
    keep: OnAnswers,
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
