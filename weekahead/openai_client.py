"""Requests to an OpenAI-compatible server: rate-limited, retried, and stopped on demand.

The `openai` client retries what may pass (408, 409, 429, 5xx, broken connections). It waits as long
as a Retry-After of up to two minutes says, and gives up at once if that says more. Every retry goes
through the rate limit as well.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_RETRIES = 5
"""With waits of 0.5, 1, 2, 4 and 8 s if the server names none."""
TIMEOUT = 300.0
"""Seconds for one answer."""

RequestBody = Mapping[str, object]
"""One request as JSON: with `messages` it is a chat, with `prompt` a completion."""


class Refused(ValueError):
    """No later request could fare better: the fault is in the key, the model or every request."""


class Failed(Exception):
    """One request got no answer, after all retries."""


class Unacceptable(Exception):
    """The server does not take this one request, now or later: it is too long, or filtered."""


class Stopped(Exception):
    """The run is stopping, so the request was not sent."""


@dataclass(frozen=True)
class ChatReply:
    """An answer as it came; a count that the server does not state is None."""

    text: str
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


class OpenAIClient:
    """A client for one run, and the requests that it has on their way.

    `server` is what its errors call the other side.
    Raises ValueError if the environment names no server.
    """

    def __init__(self, per_minute: int | None = None, server: str = "teacher") -> None:
        import openai
        from aiolimiter import AsyncLimiter

        self.server = server
        self.stopping = False
        self.answered = 0
        self._on_the_way: set[asyncio.Task[Any] | None] = set()
        self._sent: dict[asyncio.Task[Any] | None, float] = {}
        self._limiter = None
        if per_minute:
            # At most the requests of one second at once: those of a minute would be refused.
            burst = max(1.0, per_minute / 60)
            self._limiter = AsyncLimiter(burst, 60 * burst / per_minute)
        self._own_server = bool(os.environ.get("OPENAI_BASE_URL"))
        hooks = {"request": [self._before_request], "response": [self._after_response]}
        self._client = openai.AsyncOpenAI(
            api_key=self.key(server),
            timeout=openai.Timeout(TIMEOUT, connect=10.0, pool=None),
            max_retries=MAX_RETRIES,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks=hooks),
        )

    @staticmethod
    def key(server: str = "teacher") -> str:
        """The key of the environment, or a placeholder for a server without keys.

        Raises ValueError if the environment names neither a key nor a server.
        """
        key = os.environ.get("OPENAI_API_KEY")
        if not key and os.environ.get("OPENAI_BASE_URL"):
            key = "none"
        if not key:
            raise ValueError(
                f"no {server}: set OPENAI_API_KEY, or for a server without keys OPENAI_BASE_URL, "
                "in the environment or .env"
            )
        return key

    async def ask(self, body: RequestBody) -> ChatReply:
        """The reply to one chat completion request. Raises as `send` does."""
        response, _ = await self.send(body)
        reply = _chat_reply(response)
        self.answered += 1
        return reply

    async def send(self, body: RequestBody) -> tuple[Any, float]:
        """The response to a request, unchecked, and the seconds since it was sent the last time.

        Whoever awaits this has the response before anything else runs.
        Raises Refused, Unacceptable, Failed or Stopped.
        """
        import openai

        path = "/chat/completions" if "messages" in body else "/completions"
        request = dialect(body, own_server=self._own_server)
        try:
            # `chat.completions.create` would copy the body and build objects: a quarter of the time
            # of this process.
            response = await self._client.post(path, body=request, cast_to=object)
        except openai.APIStatusError as error:
            raise self._error_of(error) from None
        except (openai.APIError, ValueError) as error:  # ValueError: a body that is not JSON
            cause = f" ({type(error.__cause__).__name__})" if error.__cause__ else ""
            raise Failed(f"{type(error).__name__}{cause}") from None
        finally:
            self._on_the_way.discard(asyncio.current_task())
            sent = self._sent.pop(asyncio.current_task(), 0.0)
        return response, time.perf_counter() - sent

    def stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """Send nothing more: cancel the tasks that wait to send; the others get their answers."""
        self.stopping = True
        for task in tasks:
            if task not in self._on_the_way and task is not asyncio.current_task():
                task.cancel()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _before_request(self, request: Any) -> None:
        if self._limiter:
            await self._limiter.acquire()
        if self.stopping:
            raise Stopped
        self._on_the_way.add(asyncio.current_task())
        self._sent[asyncio.current_task()] = time.perf_counter()

    async def _after_response(self, response: Any) -> None:
        if response.status_code >= 400:  # the client may now wait for minutes before it tries again
            self._on_the_way.discard(asyncio.current_task())

    def _error_of(self, error: Any) -> Exception:
        """What a refused request means.

        The server's message about a key may quote it, so it is not repeated.
        """
        status = error.status_code
        if status in (401, 403):
            return Refused(
                f"the {self.server} refuses the key ({status}); check OPENAI_API_KEY in the "
                "environment or .env"
            )
        if status == 404:
            return Refused(
                f"the {self.server} has no such model or address (404); check OPENAI_MODEL or "
                "--model, and OPENAI_BASE_URL"
            )
        if status == 402 or error.code == "insufficient_quota":
            return Refused(
                f"the account behind OPENAI_API_KEY has no credit left ({status}); top it up and "
                "run again"
            )
        if status in (400, 413, 422):
            return Unacceptable(f"refused ({status})", self._message(error))
        return Failed(f"status {status}: {self._message(error)}")

    def _message(self, error: Any) -> str:
        """The server's own message on one line, without the key."""
        is_object = isinstance(error.body, dict)
        text = error.body.get("message") if is_object else None
        message = " ".join(str(text or "no reason given").split())
        return message.replace(self._client.api_key, "...")[:200]


def dialect(body: RequestBody, *, own_server: bool) -> RequestBody:
    """A request as it is sent: OpenAI's newer models take the limit of a chat under a new name."""
    if own_server or "messages" not in body:
        return body
    new_names = {"max_tokens": "max_completion_tokens"}
    return {new_names.get(name, name): value for name, value in body.items()}


def _chat_reply(response: Any) -> ChatReply:
    """The first choice of a chat completion.

    Raises Failed for anything else, such as a page of a proxy.
    """
    try:
        choice = response["choices"][0]
        usage: dict[str, Any] = response.get("usage") or {}
        text, finish_reason = choice["message"].get("content"), choice.get("finish_reason")
        prompt_tokens, new_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    except (AttributeError, TypeError, LookupError):
        raise Failed("an answer that is not a chat completion") from None
    if not isinstance(text, str | None):
        raise Failed(f"an answer whose content is {type(text).__name__}, not text")
    return ChatReply(text or "", finish_reason, prompt_tokens, new_tokens)
