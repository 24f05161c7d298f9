"""Answers from any OpenAI-compatible endpoint: vLLM or SGLang with the adapter loaded, `transformers serve`, an API.

The address is OPENAI_BASE_URL and the key OPENAI_API_KEY. Requests go through the teacher's client, with its
retries, its Retry-After and its names for errors. A prompt is sent in one of three forms:

- chat: as messages; the server renders them with its own template, so parity must be checked (eval.parity).
- text: rendered here, to /v1/completions; without the token that a server's tokenizer puts in front itself.
- ids: as token ids, to /v1/completions: exactly what is generated from in process. vLLM and SGLang take them.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weekahead.files import Row
from weekahead.models.chat_format import Messages, chat_format_of, render_prompt_ids
from weekahead.models.decoding import Completion, OnAnswers, SamplingParams
from weekahead.openai_client import Failed, OpenAIClient, Refused, Stopped, Unacceptable

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 20
"""So many requests that came to nothing, with no answer between them, end a run: the server is away."""


def request_bodies(
    model: str,
    prompt: str,
    rows: Sequence[Row],
    how: SamplingParams,
    tokenizer: Any | None,
    logprobs: bool = False,
) -> list[Row]:
    """One request for each row; `tokenizer` renders the prompts of the forms text and ids.

    Raises ValueError naming the row that does not render, or whose text a tokenizer reads otherwise.
    """
    sampling = {"temperature": how.temperature} | ({"seed": how.seed} if how.temperature else {})
    common = {"model": model, "max_tokens": how.max_new_tokens, **sampling}
    if logprobs:
        common["logprobs"] = True if prompt == "chat" else 1
    if prompt == "chat":
        return [{**common, "messages": [dict(turn) for turn in row["prompt"]]} for row in rows]
    bodies = []
    for row in rows:
        try:
            bodies.append({**common, "prompt": _rendered(tokenizer, row["prompt"], prompt)})
        except ValueError as error:
            raise ValueError(f"row {row['id']}: {error}") from None
    return bodies


def _rendered(tokenizer: Any, messages: Messages, prompt: str) -> str | list[int]:
    ids = render_prompt_ids(tokenizer, messages)
    if prompt == "ids":
        return ids
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    text = text.removeprefix(chat_format_of(tokenizer).bos_token or "")
    if tokenizer(text)["input_ids"] != ids:
        raise ValueError(
            "the tokenizer reads the rendered text as other tokens; use --endpoint_prompt ids"
        )
    return text


def ask_endpoint(
    bodies: Mapping[int, Row], at_once: int, keep: OnAnswers, answered: bool = False
) -> None:
    """Ask for every body, `at_once` at a time, keeping each answer as it comes, by the number of its body.

    A row that it does not take while it takes others (or took: `answered`) is kept as an empty answer that ended in
    "refused".
    Raises ValueError where no endpoint is named, it refuses all requests or some came to nothing; what was
    answered is kept. On a signal nothing more is sent, the answers on their way are kept, and then
    KeyboardInterrupt is raised; a second signal does not wait for them.
    """
    asyncio.run(_ask_all(bodies, at_once, keep, answered))


def read_reply(reply: Any, seconds: float, latency: float) -> Completion:
    """The answer in a reply to either kind of request; what the server does not tell is None.

    Raises Failed for anything that is no completion, such as a page of a proxy.
    """
    try:
        choice, usage = reply["choices"][0], reply.get("usage") or {}
        text = choice["message"].get("content") if "message" in choice else choice["text"]
        reason, tokens = choice.get("finish_reason"), usage.get("completion_tokens")
        logprob = _first_logprob(choice.get("logprobs") or {})
    except (AttributeError, TypeError, LookupError):
        raise Failed("an answer that is no completion") from None
    if not isinstance(text, str | None):
        raise Failed(f"an answer whose content is {type(text).__name__}, not text")
    return Completion(text or "", tokens, reason, seconds, latency, logprob)


def _first_logprob(logprobs: Row) -> float | None:
    if logprobs.get("content"):
        return logprobs["content"][0]["logprob"]  # a chat's
    return (logprobs.get("token_logprobs") or [None])[0]


@dataclass
class _Asking:
    """What the workers of one run share."""

    calls: OpenAIClient
    bodies: Iterator[tuple[int, Row]]
    keep: OnAnswers
    last: float = field(default_factory=time.perf_counter)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    declined: list[int] = field(default_factory=list)
    answered: bool = False
    failed: int = 0
    in_a_row: int = 0
    fault: str = ""
    refused: bool = False
    interrupted: bool = False

    def interrupt(self) -> None:
        if self.interrupted:
            for task in self.tasks:
                task.cancel()
        else:
            log.warning(
                "waiting for the answers that are on their way; a second signal does not wait"
            )
        self.interrupted = True
        self.calls.stop(self.tasks)

    def refuse(self, number: int, error: Unacceptable) -> None:
        """A row that the server will not take another time either: left out, it would be in no denominator."""
        log.warning("row %d: %s", number, " ".join(map(str, error.args)))
        self.declined.append(number)
        self.failure(error)

    def keep_refused(self) -> None:
        """Keep the refusals so far: not before another row is taken, since all requests may be at fault."""
        self.failed -= len(self.declined)
        if self.declined:
            self.keep([(number, Completion("", 0, "refused", 0.0)) for number in self.declined])
            self.declined.clear()

    def failure(self, error: Exception) -> None:
        self.failed += 1
        self.in_a_row += 1
        self.fault = " ".join(map(str, error.args))
        if isinstance(error, Refused) or self.in_a_row >= FAILURES_IN_A_ROW:
            self.refused = True
            self.calls.stop(self.tasks)


async def _ask_all(
    bodies: Mapping[int, Row], at_once: int, keep: OnAnswers, answered: bool
) -> None:
    asking = _Asking(OpenAIClient(server="endpoint"), iter(bodies.items()), keep, answered=answered)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asking.interrupt)
    asking.tasks += [asyncio.create_task(_worker(asking)) for _ in range(min(at_once, len(bodies)))]
    try:
        await asyncio.wait(asking.tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in asking.tasks:
            task.cancel()
        ends = await asyncio.gather(*asking.tasks, return_exceptions=True)
        await asking.calls.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    for end in ends:
        if isinstance(end, Exception):
            raise end
    if asking.interrupted:
        raise KeyboardInterrupt
    if asking.refused:
        raise ValueError(f"{asking.fault}; {asking.failed} requests failed, then no more were sent")
    if asking.answered:
        asking.keep_refused()
    if asking.failed:
        raise ValueError(
            f"{asking.failed} rows got no answer, the last for: {asking.fault}; run the same again"
        )


async def _worker(asking: _Asking) -> None:
    for number, body in asking.bodies:  # shared: each row comes to one worker
        try:
            reply, latency = await asking.calls.send(body)
            now = time.perf_counter()
            # No await since the reply came (see Calls.send), so nothing can come between.
            asking.keep([(number, read_reply(reply, now - asking.last, latency))])
            asking.last, asking.in_a_row, asking.answered = now, 0, True
            asking.keep_refused()
        except Stopped:
            return
        except Unacceptable as error:
            asking.refuse(number, error)
        except (Failed, Refused) as error:
            asking.failure(error)
        if asking.calls.stopping:
            return
