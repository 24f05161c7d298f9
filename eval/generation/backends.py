"""What answers the rows: this process in batches, or a server.

A new backend is a class with the members of `Backend` and an entry in `BACKENDS`. A flag of its own
is a field of `BackendOptions` and of `eval.generate.GenerateOptions`.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

from data_pipeline.dataset.load import EvalData
from eval.generation.batched import BatchDecoder, cached_tokens
from eval.generation.endpoint import (
    RequestPlan,
    ask_endpoint,
    request_bodies,
    server_facts,
    stop_texts,
    warnings_of,
)
from eval.generation.prompts import PROMPT_FORMS, prompt_ids
from weekahead.distributed import Process
from weekahead.models.chat_format import stop_token_ids
from weekahead.models.decoding import OnAnswers, SamplingParams
from weekahead.models.loading import Adapter, Base, load_for_generation, load_tokenizer
from weekahead.models.precision import Precision
from weekahead.schema.manifests import BackendFacts, JsonObject, PrecisionFacts, ServerFacts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GenerationJob:
    """Which rows are answered, by which model, and how."""

    data: EvalData
    base: Base
    adapter: Adapter | None
    precision: Precision
    sampling: SamplingParams
    process: Process = field(default_factory=Process)


@dataclass(frozen=True)
class BackendOptions:
    """What the flags say of a backend: the name a server knows the model by, the prompt's form."""

    model: str | None = None
    prompt: str = "chat"


class Backend(Protocol):
    """What answers the rows of a job: `prepare` once, then `answer`."""

    name: ClassVar[str]
    runs_locally: ClassVar[bool]
    """False if the model is not in this process: then no likelihoods can be had, and nobody here
    knows whether the model is the base alone."""

    def __init__(self, options: BackendOptions) -> None:
        """Raises ValueError for options that the backend cannot have."""
        ...

    def manifest_fields(self) -> BackendFacts:
        """What a manifest says of the backend."""
        ...

    def precision(self, chosen: Precision) -> PrecisionFacts:
        """The number format that is computed in; this machine would take `chosen`."""
        ...

    def base_that_answers(self, base: Base, adapter: Adapter | None) -> Base:
        """What is known of the base that answers, if the recipe and the adapter name `base`."""
        ...

    def prepare(self, job: GenerationJob) -> str:
        """Render the prompts, then load the model; return how its weights are held.

        Raises ValueError for a row that does not render, before a model is loaded.
        """
        ...

    def answer(self, job: GenerationJob, missing: Collection[int], on_answers: OnAnswers) -> None:
        """Answer the rows numbered in `missing` and pass each answer on as it comes."""
        ...

    def server_facts(self, job: GenerationJob, rows: Sequence[JsonObject]) -> ServerFacts | None:
        """What a server did, from the finished lines of answers; None for a model in here."""
        ...


class Batched:
    """The model in this process, in whole batches."""

    name: ClassVar[str] = "batched"
    runs_locally: ClassVar[bool] = True

    def __init__(self, options: BackendOptions) -> None:
        if options.model is not None:
            raise ValueError(
                f"--model is {options.model!r}; only --backend endpoint takes the name that a "
                "server knows the model by: leave it out"
            )
        self._decoder: BatchDecoder | None = None
        self._prompts: list[list[int]] = []

    def manifest_fields(self) -> BackendFacts:
        """What a manifest says of the backend."""
        return {"name": self.name, "runs_locally": self.runs_locally}

    def precision(self, chosen: Precision) -> PrecisionFacts:
        """The one that was chosen for this machine."""
        return {"mode": chosen.mode, "device": chosen.device, "reason": chosen.reason}

    def base_that_answers(self, base: Base, adapter: Adapter | None) -> Base:
        """The base that is loaded here, whatever the adapter."""
        del adapter
        return base

    def prepare(self, job: GenerationJob) -> str:
        """Render the prompts and load the model."""
        tokenizer = load_tokenizer(job.base)
        self._prompts = [prompt_ids(tokenizer, row) for row in job.data.rows]
        tokens = cached_tokens(self._prompts, job.sampling)
        model, weights_form = load_for_generation(job.base, job.adapter, job.precision, tokens)
        self._decoder = BatchDecoder(model, tokenizer, stop_token_ids(tokenizer), job.sampling)
        return weights_form

    def answer(self, job: GenerationJob, missing: Collection[int], on_answers: OnAnswers) -> None:
        """Answer this process's share of the batches."""
        if self._decoder is None:
            raise RuntimeError("call prepare() first")
        self._decoder.answer(self._prompts, on_answers, missing=missing, process=job.process)

    def server_facts(self, job: GenerationJob, rows: Sequence[JsonObject]) -> None:
        """No server."""


class Endpoint:
    """The OpenAI-compatible server at OPENAI_BASE_URL."""

    name: ClassVar[str] = "endpoint"
    runs_locally: ClassVar[bool] = False

    def __init__(self, options: BackendOptions) -> None:
        if options.model is None:
            raise ValueError(
                "--model is None; --backend endpoint needs the name that the server knows the "
                "model by"
            )
        if options.prompt not in PROMPT_FORMS:
            raise ValueError(
                f"--endpoint_prompt is {options.prompt!r}; expected {', '.join(PROMPT_FORMS)}"
            )
        self._served_model = options.model
        self._prompt_form = options.prompt
        self._bodies: list[JsonObject] = []

    def manifest_fields(self) -> BackendFacts:
        """What a manifest says of the backend."""
        return {
            "name": self.name,
            "runs_locally": self.runs_locally,
            "model": self._served_model,
            "prompt": self._prompt_form,
        }

    def precision(self, chosen: Precision) -> PrecisionFacts:
        """Unknown."""
        del chosen
        return {"mode": None, "device": self.name, "reason": "the server's own choice"}

    def base_that_answers(self, base: Base, adapter: Adapter | None) -> Base:
        """`base`, unless the server alone knows what it serves: no adapter of ours, no tokens."""
        if adapter or self._prompt_form != "chat":
            return base
        return replace(
            base, name=self._served_model, revision=None, quantization=None, dtype="unknown"
        )

    def prepare(self, job: GenerationJob) -> str:
        """Make the requests; nothing is loaded but a tokenizer if the server gets text or ids."""
        if job.process.world_size > 1:
            raise ValueError(
                f"--backend endpoint runs in {job.process.world_size} processes; start it as one "
                "and ask for more at once with --batch_size"
            )
        chat = self._prompt_form == "chat"
        # Of a model that the server alone knows nobody here knows how its answers end.
        is_known = job.adapter is not None or not chat
        stop = stop_texts(job.base.turn_format) if is_known else ()
        self._bodies = request_bodies(
            job.data.rows,
            RequestPlan(self._served_model, self._prompt_form, stop),
            job.sampling,
            tokenizer=None if chat else load_tokenizer(job.base),
        )
        return f"served as {self._served_model}"

    def answer(self, job: GenerationJob, missing: Collection[int], on_answers: OnAnswers) -> None:
        """Ask for the missing rows, `batch_size` at a time."""
        ask_endpoint(
            {index: self._bodies[index] for index in sorted(missing)},
            at_once=job.sampling.batch_size,
            on_answers=on_answers,
            has_answered=len(missing) < len(self._bodies),
        )

    def server_facts(self, job: GenerationJob, rows: Sequence[JsonObject]) -> ServerFacts:
        """What the server did; what a reader has to know of it is logged."""
        facts = server_facts(rows, self._served_model, job.sampling.max_new_tokens)
        for warning in warnings_of(facts, self._served_model):
            log.warning("%s", warning)
        return facts


BACKENDS: dict[str, type[Backend]] = {backend.name: backend for backend in (Batched, Endpoint)}


def new_backend(name: str, options: BackendOptions) -> Backend:
    """The backend called `name`. Raises ValueError for an unknown name or unfit options."""
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is unknown; expected {' or '.join(BACKENDS)}")
    return BACKENDS[name](options)
