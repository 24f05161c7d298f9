"""What a model says of companies: an answer in words, and the probabilities of the twelve bins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from data_pipeline.dataset.load import EvalData
from eval.generation.backends import BackendOptions, Endpoint, GenerationJob
from eval.generation.batched import cached_tokens
from eval.generation.prompts import prompt_ids
from eval.likelihoods.continuations import (
    DIRECT_PREFIX,
    Choices,
    bin_probabilities,
    check_as_in_a_row,
    choices,
    log_probabilities,
    own_prefix,
)
from eval.likelihoods.served import served_log_probabilities
from weekahead.models.chat_format import stop_token_ids
from weekahead.models.decoding import Completion, OnText, SamplingParams, decode
from weekahead.models.loading import Adapter, Base, load_for_generation, load_tokenizer
from weekahead.models.precision import Precision
from weekahead.schema.rows import DatasetRow


@dataclass(frozen=True)
class Said:
    """What a model says of one company and week."""

    answer: str | None
    """As it came; None if none was asked for."""
    probabilities: dict[str, float] | None
    """Of the twelve bins, adding up to 1; None if a server does not give them."""
    after: Literal["own", "direct"] | None
    """own: after the answer's own sections; direct: the prediction was asked for at once."""
    why_none: str | None = None
    """Why there are no probabilities."""


OnSaid = Callable[[int, Said], None]
"""Takes what is said of the row with this number, as soon as it is complete."""


class Model(Protocol):
    """What forecasts rows without label and reference, such as `inputs.unlabeled_row` makes."""

    def forecast(
        self, rows: Sequence[DatasetRow], on_said: OnSaid, on_text: OnText | None = None
    ) -> None:
        """Pass on what is said of each row; `on_text` gets the answers while they are written.

        Raises ValueError or OSError for a row that does not render, and for a model that cannot be
        loaded or asked.
        """
        ...


Load = Callable[[Base, Adapter | None, Precision, int], tuple[Any, str]]
"""As `load_for_generation`."""


@dataclass(frozen=True)
class LocalModel:
    """A model in this process. It is loaded when it is asked."""

    base: Base
    adapter: Adapter | None
    precision: Precision
    sampling: SamplingParams
    """With a batch size of 1 no forecast depends on what else is asked."""
    with_text: bool = True
    at_once: bool = False
    """Whether the bins are asked at once beside a written answer too, so that all rows compare."""
    load: Load = load_for_generation

    def forecast(
        self, rows: Sequence[DatasetRow], on_said: OnSaid, on_text: OnText | None = None
    ) -> None:
        """Each row with the probabilities of the choice that its answer made, or of one at once."""
        tokenizer = load_tokenizer(self.base)
        check_as_in_a_row(tokenizer, rows[0]["prompt"])
        prompts = [prompt_ids(tokenizer, row) for row in rows]
        tokens = 2 * cached_tokens(prompts, self.sampling)
        model, _ = self.load(self.base, self.adapter, self.precision, tokens)
        size = self.sampling.batch_size
        for start in range(0, len(rows), size):
            batch = prompts[start : start + size]
            answers = self._answers(model, tokenizer, batch, on_text)
            prefixes = [None if self.at_once else own_prefix(answer) for answer in answers]
            found = _said(model, tokenizer, batch, answers, prefixes)
            for number, said in enumerate(found, start):
                on_said(number, said)

    def _answers(
        self,
        model: Any,
        tokenizer: Any,
        prompts: Sequence[Sequence[int]],
        on_text: OnText | None,
    ) -> Sequence[str | None]:
        if not self.with_text:
            return [None] * len(prompts)
        alone = on_text if len(prompts) == 1 else None
        ends = stop_token_ids(tokenizer)
        completions = decode(model, tokenizer, prompts, ends, self.sampling, alone)
        return [completion.text for completion in completions]


def _said(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[str | None],
    prefixes: Sequence[str | None],
) -> list[Said]:
    """The probabilities of a batch, after each row's prefix or asked at once."""
    asked: list[Choices] = []
    for prompt, prefix in zip(prompts, prefixes, strict=True):
        asked.append(choices(tokenizer, prompt, prefix or DIRECT_PREFIX))
    said: list[Said] = []
    logs = log_probabilities(model, asked, tokenizer.pad_token_id)
    for answer, prefix, row_logs in zip(answers, prefixes, logs, strict=True):
        probabilities = bin_probabilities("of a forecast", row_logs)["probs"]
        said.append(Said(answer, probabilities, "own" if prefix else "direct"))
    return said


@dataclass(frozen=True)
class ServedModel:
    """A model at the server of OPENAI_BASE_URL."""

    base: Base
    adapter: Adapter | None
    precision: Precision
    sampling: SamplingParams
    served: str
    """The name by which the server knows it."""
    with_text: bool = True
    at_once: bool = False
    """As of a `LocalModel`."""

    def forecast(
        self, rows: Sequence[DatasetRow], on_said: OnSaid, on_text: OnText | None = None
    ) -> None:
        """Each row's answer when it is whole, with the probabilities if the server gives them.

        Raises ValueError as well if no answers are asked for and it gives no probabilities.
        """
        bins = _ServedBins(self.base, self.served)
        if not self.with_text:
            for number, row in enumerate(rows):
                said = bins.said(row, None, None)
                if said.why_none:
                    raise ValueError(
                        f"no probabilities: {said.why_none}; leave --model out, or --text none"
                    )
                on_said(number, said)
            return
        backend = Endpoint(BackendOptions(self.served))
        data = EvalData(rows=list(rows), split="all", source="forecast", sha256="")
        job = GenerationJob(data, self.base, self.adapter, self.precision, self.sampling)
        backend.prepare(job)

        def pass_on(answers: list[tuple[int, Completion]]) -> None:
            for number, completion in answers:
                text = completion.text
                if on_text:
                    on_text(text)
                on_said(number, bins.said(rows[number], text, self._prefix(text)))

        backend.answer(job, range(len(rows)), pass_on)

    def _prefix(self, answer: str) -> str | None:
        return None if self.at_once else own_prefix(answer)


class _ServedBins:
    """The probabilities that a server gives; one that gave none is not asked again."""

    def __init__(self, base: Base, served: str) -> None:
        self._base = base
        self._served = served
        self._tokenizer: Any = None
        self._why_none: str | None = None

    def said(self, row: DatasetRow, answer: str | None, prefix: str | None) -> Said:
        """The probabilities after `prefix`, or asked at once, beside the answer."""
        if self._why_none is None:
            try:
                logs = self._logs(row, prefix)
                probabilities = bin_probabilities(row["id"], logs)["probs"]
                return Said(answer, probabilities, "own" if prefix else "direct")
            except (ValueError, OSError) as error:
                self._why_none = str(error)
        return Said(answer, None, None, self._why_none)

    def _logs(self, row: DatasetRow, prefix: str | None) -> list[float]:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._base)
            check_as_in_a_row(self._tokenizer, row["prompt"])
        asked = choices(self._tokenizer, prompt_ids(self._tokenizer, row), prefix or DIRECT_PREFIX)
        return served_log_probabilities(self._served, asked, self._tokenizer)
