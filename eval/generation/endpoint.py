"""Answers from any OpenAI-compatible endpoint: vLLM or SGLang with the adapter, or an API.

The address is OPENAI_BASE_URL and the key OPENAI_API_KEY. Requests go through the teacher's client,
with its retries, its Retry-After and its names for errors. A prompt is sent in one of three forms:

- chat: as messages; the server renders them with its own template, so check it (eval.parity).
- text: rendered here, to /v1/completions.
- ids: as token ids, to /v1/completions: exactly what this process would generate from. vLLM and
  SGLang take them.
"""

import asyncio
import logging
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.generation.prompts import prompt_ids, rendered_prompt
from weekahead.interrupts import Interrupted, handled_by_loop
from weekahead.models.chat_format import chat_format
from weekahead.models.decoding import Completion, OnAnswers, SamplingParams
from weekahead.openai_client import (
    Answered,
    Failed,
    OpenAIClient,
    Refused,
    Stopped,
    Unacceptable,
)
from weekahead.openai_reply import is_other_model
from weekahead.request_form import NEUTRAL, NEUTRAL_ELSEWHERE
from weekahead.schema.manifests import JsonObject, ServerFacts
from weekahead.schema.rows import DatasetRow

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 20
"""This many failed requests with no answer between them end a run: the server is down."""


@dataclass(frozen=True)
class RequestPlan:
    """What a server is asked for, and how."""

    model: str
    """The name that it knows the model by."""
    prompt_form: str = "chat"
    stop: tuple[str, ...] = ()
    """Texts that end an answer; empty if nobody here knows the model's."""


def request_bodies(
    rows: Sequence[DatasetRow],
    plan: RequestPlan,
    sampling: SamplingParams,
    *,
    tokenizer: Any | None,
    logprobs: bool = False,
) -> list[JsonObject]:
    """One request per row; `tokenizer` renders the prompts of the forms text and ids.

    Each states every parameter of sampling: what is missing a server takes from the base's
    generation_config.json, such as a penalty for repetition.

    Raises ValueError that names a row that does not render, or whose text is read as other tokens.
    """
    common: JsonObject = {
        "model": plan.model,
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
        **NEUTRAL,
        **NEUTRAL_ELSEWHERE,
    }
    if plan.stop:
        common["stop"] = list(plan.stop)
    if logprobs:
        common["logprobs"] = True if plan.prompt_form == "chat" else 1
    return [{**common, **_prompt_field(row, plan.prompt_form, tokenizer)} for row in rows]


def stop_texts(turn_format: str) -> tuple[str, ...]:
    """The texts that end an answer in a chat format."""
    return chat_format(turn_format).stop_tokens


_FEW_TOKENS = 0.75
"""Of the usual tokens per character."""
_FEWEST_TOKENS = 1 / 8
"""Tokens per character: English has about 1/4, other languages more."""


def server_facts(rows: Sequence[Mapping[str, Any]], model: str, limit: int) -> ServerFacts:
    """What a server did, from the lines of a finished generations.jsonl; `limit` is in tokens."""
    models = Counter(row["served_model"] for row in rows if row.get("served_model"))
    left_out = Counter(name for row in rows for name in row.get("left_out") or ())
    return {
        "sent": {**NEUTRAL, **NEUTRAL_ELSEWHERE},
        "left_out": dict(left_out),
        "models": dict(models),
        "other_models": sum(models[name] for name in models if is_other_model(model, name)),
        "finish_reasons": dict(Counter(row["finish_reason"] or "none" for row in rows)),
        "longer_than_asked": sum((row["new_tokens"] or 0) > limit for row in rows),
        "prompts_cut": count_cut_prompts(
            [(len(row["prompt"]), row.get("prompt_tokens") or 0) for row in rows]
        ),
    }


def count_cut_prompts(sizes: Sequence[tuple[int, int]]) -> int:
    """How many prompts a server seems to have cut, from their (characters, counted tokens).

    A long prompt is cut if it has far fewer tokens per character than usual, or if prompts of
    other lengths have the same largest count: that of a window. No tokenizer is needed, since a
    server may have any. A count of 0 is none.
    """
    sizes = [(characters, tokens) for characters, tokens in sizes if characters and tokens]
    if not sizes:
        return 0
    usual = statistics.median(tokens / characters for characters, tokens in sizes)
    least = max(_FEW_TOKENS * usual, _FEWEST_TOKENS)
    middle = statistics.median(characters for characters, _ in sizes)
    window = max(tokens for _, tokens in sizes)
    full = [characters for characters, tokens in sizes if tokens == window]
    is_window = len(full) > 2 and max(full) > 1.1 * min(full)
    cut = [
        (tokens < least * characters and characters >= middle) or (is_window and tokens == window)
        for characters, tokens in sizes
    ]
    return sum(cut)


def warnings_of(facts: ServerFacts, model: str) -> Iterator[str]:
    """What a reader of the answers has to know of the server."""
    for name, count in facts["left_out"].items():
        yield f"{count} rows were answered without {name}, which the server refuses"
    if facts["other_models"]:
        names = ", ".join(name for name in facts["models"] if is_other_model(model, name))
        yield (
            f"{facts['other_models']} rows were answered by {names}, as the server says, and not "
            f"by {model}; is that the model that you mean?"
        )
    for reason, count in facts["finish_reasons"].items():
        if reason.casefold() not in ("stop", "refused"):
            yield f"{count} rows may be cut off (finish reason {reason}, not stop)"
    if cut := facts.get("prompts_cut"):
        yield (
            f"{cut} rows: the server counts too few tokens for the length of their prompts; does "
            "it cut them to its context window? Raise the window there (Ollama: num_ctx) to the "
            "longest prompt plus --max_new_tokens, or check with eval.parity"
        )
    if facts["longer_than_asked"]:
        yield f"{facts['longer_than_asked']} rows are longer than --max_new_tokens allows"


def _prompt_field(row: DatasetRow, prompt_form: str, tokenizer: Any) -> JsonObject:
    """The field of a request that holds the prompt."""
    if prompt_form == "chat":
        return {"messages": [dict(message) for message in row["prompt"]]}
    if prompt_form == "ids":
        return {"prompt": prompt_ids(tokenizer, row)}
    return {"prompt": rendered_prompt(tokenizer, row)}


def ask_endpoint(
    bodies: Mapping[int, JsonObject],
    *,
    at_once: int,
    on_answers: OnAnswers,
    has_answered: bool = False,
) -> None:
    """Send every body, `at_once` at a time; pass each answer on by the number of its body.

    If the server refuses a row while it takes others (or took some before: `has_answered`), that
    row gets an empty answer that ended in "refused".

    Raises ValueError if no endpoint is named, if it refuses all requests, or if some failed; the
    answers that came are passed on. After a signal nothing more is sent, the answers on their way
    are passed on, and then Interrupted is raised; a second signal does not wait for them.
    """
    asyncio.run(_ask_all(bodies, at_once, on_answers, has_answered=has_answered))


def _completion(answered: Answered, seconds: float) -> Completion:
    reply = answered.reply
    return Completion(
        text=reply.text,
        new_tokens=reply.usage.completion_tokens,
        finish_reason=reply.finish_reason,
        seconds=seconds,
        latency=answered.seconds,
        first_logprob=reply.first_logprob,
        prompt_tokens=reply.usage.prompt_tokens,
        served_model=reply.model,
        left_out=answered.left_out,
    )


@dataclass
class _Requests:
    """What the workers of one run share."""

    client: OpenAIClient
    bodies: Iterator[tuple[int, JsonObject]]
    on_answers: OnAnswers
    has_answered: bool
    last_answer: float = field(default_factory=time.perf_counter)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    refused_rows: list[int] = field(default_factory=list)
    failures: int = 0
    failures_in_a_row: int = 0
    last_error: str = ""
    gave_up: bool = False
    interrupted: int = 0
    """The number of the signal that came first."""

    def interrupt(self, number: int) -> None:
        """Stop sending at the first signal, stop waiting at the second."""
        if self.interrupted:
            for task in self.tasks:
                task.cancel()
        else:
            log.warning(
                "waiting for the answers that are on their way; a second signal does not wait"
            )
        self.interrupted = self.interrupted or number
        self.client.stop(self.tasks)

    def add_answer(self, number: int, completion: Completion, when: float) -> None:
        """Pass an answer on, and with it the refusals so far: the server takes other rows."""
        self.on_answers([(number, completion)])
        self.last_answer, self.failures_in_a_row, self.has_answered = when, 0, True
        self.pass_on_refusals()

    def add_refusal(self, number: int, error: Unacceptable) -> None:
        """Note a row that the server will not take another time either.

        It gets an empty answer: a row that is left out would be in no denominator.
        """
        log.warning("row %d: %s", number, _message(error))
        self.refused_rows.append(number)
        self.add_failure(error)

    def pass_on_refusals(self) -> None:
        """Pass the refusals on: not before another row is taken, since all may be at fault."""
        self.failures -= len(self.refused_rows)
        if self.refused_rows:
            refusal = Completion("", 0, "refused", 0.0)
            self.on_answers([(number, refusal) for number in self.refused_rows])
            self.refused_rows.clear()

    def add_failure(self, error: Exception) -> None:
        """Count a request that failed; too many in a row end the run."""
        self.failures += 1
        self.failures_in_a_row += 1
        self.last_error = _message(error)
        if isinstance(error, Refused) or self.failures_in_a_row >= FAILURES_IN_A_ROW:
            self.gave_up = True
            self.client.stop(self.tasks)

    def raise_outcome(self) -> None:
        """Raise what the end of the run calls for, if not every row has its answer."""
        if self.interrupted:
            raise Interrupted(self.interrupted)
        if self.gave_up:
            raise ValueError(
                f"{self.last_error}; {self.failures} requests failed, then no more were sent"
            )
        if self.has_answered:
            self.pass_on_refusals()
        if self.failures:
            raise ValueError(
                f"{self.failures} rows got no answer, the last for: {self.last_error}; "
                "run the same again"
            )


def _message(error: Exception) -> str:
    return " ".join(map(str, error.args))


async def _ask_all(
    bodies: Mapping[int, JsonObject], at_once: int, on_answers: OnAnswers, *, has_answered: bool
) -> None:
    client = OpenAIClient(server="endpoint")
    requests = _Requests(client, iter(bodies.items()), on_answers, has_answered)
    workers = min(at_once, len(bodies))
    requests.tasks += [asyncio.create_task(_worker(requests)) for _ in range(workers)]
    try:
        with handled_by_loop(requests.interrupt):
            await asyncio.wait(requests.tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in requests.tasks:
            task.cancel()
        outcomes = await asyncio.gather(*requests.tasks, return_exceptions=True)
        await client.close()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    requests.raise_outcome()


async def _worker(requests: _Requests) -> None:
    for number, body in requests.bodies:  # shared: each row comes to one worker
        try:
            answered = await requests.client.ask(body)
            now = time.perf_counter()
            # No await since the reply came (see OpenAIClient.ask): nothing can come between.
            completion = _completion(answered, now - requests.last_answer)
            requests.add_answer(number, completion, now)
        except Stopped:
            return
        except Unacceptable as error:
            requests.add_refusal(number, error)
        except (Failed, Refused) as error:
            requests.add_failure(error)
        if requests.client.stopping:
            return
