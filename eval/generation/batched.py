"""Answers of a model in this process, batch by batch."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from weekahead.distributed import Process
from weekahead.models.decoding import OnAnswers, SamplingParams, decode, plan_batches


def cached_tokens(prompts: Sequence[Sequence[int]], sampling: SamplingParams) -> int:
    """The most tokens, of prompts and answers, that one batch keeps keys and values of."""
    longest = max((len(prompt) for prompt in prompts), default=0) + sampling.max_new_tokens
    return min(sampling.batch_size, len(prompts)) * longest


@dataclass(frozen=True)
class BatchDecoder:
    """A loaded model and how it answers."""

    model: Any
    tokenizer: Any
    stop_token_ids: Sequence[int]
    """Without one, every answer is as long as allowed."""
    sampling: SamplingParams

    def answer(
        self,
        prompts: Sequence[Sequence[int]],
        on_answers: OnAnswers,
        *,
        missing: Collection[int] | None = None,
        process: Process | None = None,
    ) -> None:
        """Answer the prompts (token ids) numbered in `missing`, by default all of them.

        Of several processes each takes every n-th batch of the plan, from its rank on. The plan
        covers all `prompts`, and a batch that lacks one answer is generated whole again: rounding
        in 16 bits depends on the batch, so only a whole one gives a resumed or a shared run the
        answers of an undisturbed one. A batch samples by its number, for the same reason.
        """
        from transformers import set_seed

        wanted = range(len(prompts)) if missing is None else missing
        process = process or Process()
        plan = plan_batches([len(prompt) for prompt in prompts], self.sampling.batch_size)
        for number in range(process.rank, len(plan), process.world_size):
            batch = plan[number]
            if not any(index in wanted for index in batch):
                continue
            set_seed(self.sampling.seed + number)
            batch_prompts = [prompts[index] for index in batch]
            completions = decode(
                self.model, self.tokenizer, batch_prompts, self.stop_token_ids, self.sampling
            )
            answers = zip(batch, completions, strict=True)
            on_answers([(index, completion) for index, completion in answers if index in wanted])
