"""What answers the rows: this process in batches, or a server."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from data_pipeline.dataset.load import EvalData
from eval.generation.batched import batched
from eval.generation.endpoint import ask_endpoint, request_bodies
from weekahead.distributed import Process
from weekahead.files import Row
from weekahead.models.chat_format import render_prompt_ids, stop_token_ids
from weekahead.models.decoding import OnAnswers, SamplingParams
from weekahead.models.loading import Adapter, Base, load_for_generation, load_tokenizer
from weekahead.models.precision import Precision

BACKENDS = ("batched", "endpoint")
PROMPTS = ("chat", "text", "ids")
Answer = Callable[[Collection[int], OnAnswers, Process], None]
"""Answers the rows of these numbers, keeping each answer as it comes."""


@dataclass(frozen=True)
class Backend:
    """What answers. `model` and `prompt` are an endpoint's: its name there, and the form the prompt is sent in."""

    name: str = "batched"
    model: str | None = None
    prompt: str = "chat"

    def __post_init__(self) -> None:
        if self.name not in BACKENDS or self.prompt not in PROMPTS:
            raise ValueError(
                f"backend {self.name!r}, prompt {self.prompt!r}; expected one of {BACKENDS}, {PROMPTS}"
            )
        if (self.name == "endpoint") != (self.model is not None):
            raise ValueError(
                f"--model is {self.model!r}; --backend endpoint needs the name a server knows, others none"
            )

    def facts(self) -> Row:
        """For manifests."""
        endpoint = {"model": self.model, "prompt": self.prompt} if self.name == "endpoint" else {}
        return {"name": self.name, **endpoint}


def prepare(
    backend: Backend,
    base: Base,
    adapter: Adapter | None,
    precision: Precision,
    data: EvalData,
    how: SamplingParams,
) -> tuple[str, Answer]:
    """A word for how the model is put together, and what answers; the model is loaded, or the requests made.

    Raises ValueError naming the row for one that does not render, before a model is loaded.
    """
    if backend.name == "endpoint":
        tokenizer = None if backend.prompt == "chat" else load_tokenizer(base)
        bodies = request_bodies(str(backend.model), backend.prompt, data.rows, how, tokenizer)

        def ask(missing: Collection[int], keep: OnAnswers, share: Process) -> None:
            if share.world_size > 1:
                raise ValueError(
                    "--backend endpoint is one process; ask for more at once with --batch_size"
                )
            some = len(missing) < len(bodies)
            ask_endpoint(
                {i: bodies[i] for i in sorted(missing)}, how.batch_size, keep, answered=some
            )

        return f"served as {backend.model}", ask
    tokenizer = load_tokenizer(base)
    prompts = [_prompt(tokenizer, row) for row in data.rows]
    model, form = load_for_generation(base, adapter, precision)

    def answer(missing: Collection[int], keep: OnAnswers, share: Process) -> None:
        ends = stop_token_ids(tokenizer)
        batched(model, tokenizer, prompts, missing, ends, how, keep, (share.rank, share.world_size))

    return form, answer


def _prompt(tokenizer: Any, row: Row) -> list[int]:
    try:
        return render_prompt_ids(tokenizer, row["prompt"])
    except ValueError as error:
        raise ValueError(f"row {row['id']}: {error}") from None
