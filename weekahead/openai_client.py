"""Requests on their way to a server: limited, retried by the `openai` client, and none once a run is stopping.

The client retries what may pass (408, 409, 429, 5xx, broken connections), waits as long as a Retry-After up to
two minutes says, and gives up at once where it says more. Every retry goes through the rate limit as well.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

from weekahead.files import Row

MAX_RETRIES = 5  # waits of 0.5, 1, 2, 4 and 8 s where the server names none
TIMEOUT = 300.0  # seconds for one answer


class Refused(ValueError):
    """No later request could fare better: the key, the model or the form of all requests is at fault."""


class Failed(Exception):
    """One request came to nothing, after all retries."""


class Unacceptable(Exception):
    """The server does not take this one request, and would not another time: too long, or filtered."""


class Stopped(Exception):
    """The run is stopping, so the request was not sent."""


@dataclass(frozen=True)
class ChatReply:
    """An answer as it came; a count that the server does not tell is None."""

    text: str
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


class OpenAIClient:
    """A client for one run and what is on its way; `server` is what its errors call the other side.

    Raises ValueError where the environment names no server.
    """

    def __init__(self, per_minute: int | None = None, server: str = "teacher") -> None:
        import openai
        from aiolimiter import AsyncLimiter

        self.server = server
        self.stopping = False
        self.answered = 0
        self._on_the_way: set[asyncio.Task[Any] | None] = set()
        self._sent: dict[asyncio.Task[Any] | None, float] = {}
        # At most a second's worth at once: a whole minute's worth in the first second would be refused.
        burst = max(1.0, per_minute / 60) if per_minute else 0
        self._limiter = AsyncLimiter(burst, 60 * burst / per_minute) if per_minute else None
        self._own_server = bool(os.environ.get("OPENAI_BASE_URL"))
        key = self.key(server)
        http = openai.DefaultAsyncHttpxClient(
            event_hooks={"request": [self._leaves], "response": [self._arrives]}
        )
        timeout = openai.Timeout(TIMEOUT, connect=10.0, pool=None)
        self._client = openai.AsyncOpenAI(
            api_key=key, timeout=timeout, max_retries=MAX_RETRIES, http_client=http
        )

    @staticmethod
    def key(server: str = "teacher") -> str:
        """The key of the environment, or a placeholder for a server without keys. Raises ValueError for neither."""
        key = os.environ.get("OPENAI_API_KEY") or (
            "none" if os.environ.get("OPENAI_BASE_URL") else None
        )
        if key is None:
            raise ValueError(
                f"no {server}: set OPENAI_API_KEY, or for a server without keys OPENAI_BASE_URL, "
                "in the environment or .env"
            )
        return key

    async def ask(self, body: Row) -> ChatReply:
        """The reply to one chat completion request. Raises as `send` does."""
        reply = _reply((await self.send(body))[0])
        self.answered += 1
        return reply

    async def send(self, body: Row) -> tuple[Any, float]:
        """What came back for a request, unchecked, and the seconds from sending it (the last time) to having it.

        A body with `messages` is a chat, one with `prompt` a completion.
        Raises Refused, Unacceptable, Failed or Stopped. Whoever awaits this has the reply before anything else runs.
        """
        import openai

        path = "/chat/completions" if "messages" in body else "/completions"
        try:
            # `chat.completions.create` would copy the body and build objects: a quarter of this process's time.
            done = await self._client.post(
                path, body=dialect(body, self._own_server), cast_to=object
            )
        except openai.APIStatusError as error:
            raise self._fault(error) from None
        except (openai.APIError, ValueError) as error:  # ValueError: a body that is not JSON
            cause = f" ({type(error.__cause__).__name__})" if error.__cause__ else ""
            raise Failed(f"{type(error).__name__}{cause}") from None
        finally:
            self._on_the_way.discard(asyncio.current_task())
            sent = self._sent.pop(asyncio.current_task(), 0.0)
        return done, time.perf_counter() - sent

    def stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """Send nothing more: cancel the tasks that only wait to send; the others get their answers."""
        self.stopping = True
        for task in tasks:
            if task not in self._on_the_way and task is not asyncio.current_task():
                task.cancel()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _leaves(self, request: Any) -> None:
        if self._limiter:
            await self._limiter.acquire()
        if self.stopping:
            raise Stopped
        self._on_the_way.add(asyncio.current_task())
        self._sent[asyncio.current_task()] = time.perf_counter()

    async def _arrives(self, response: Any) -> None:
        if response.status_code >= 400:  # the client may now wait for minutes before it tries again
            self._on_the_way.discard(asyncio.current_task())

    def _fault(self, error: Any) -> Exception:
        """What a refused request means. The server's words about a key may quote it, so they are not repeated."""
        status = error.status_code
        if status in (401, 403):
            return Refused(
                f"the {self.server} refuses the key ({status}); check OPENAI_API_KEY in the environment or .env"
            )
        if status == 404:
            return Refused(
                f"the {self.server} has no such model or address (404); check OPENAI_MODEL or --model, and "
                "OPENAI_BASE_URL"
            )
        if status == 402 or error.code == "insufficient_quota":
            return Refused(
                f"the account behind OPENAI_API_KEY has no credit left ({status}); top it up and run again"
            )
        if status in (400, 413, 422):
            return Unacceptable(f"refused ({status})", self._words(error))
        return Failed(f"status {status}: {self._words(error)}")

    def _words(self, error: Any) -> str:
        body = error.body if isinstance(error.body, dict) else {}
        words = " ".join(str(body.get("message") or "no reason given").split())
        return words.replace(self._client.api_key, "...")[:200]


def dialect(body: Row, own_server: bool) -> Row:
    """A request as it is sent: OpenAI's newer models take a chat's limit under a new name, other servers the old."""
    if own_server or "messages" not in body:
        return body
    return {
        ("max_completion_tokens" if name == "max_tokens" else name): value
        for name, value in body.items()
    }


def _reply(done: Any) -> ChatReply:
    """The first choice of a chat completion. Raises Failed for anything else, such as a page of a proxy."""
    try:
        choice, usage = done["choices"][0], done.get("usage") or {}
        text, finish_reason = choice["message"].get("content"), choice.get("finish_reason")
        prompt_tokens, completion_tokens = (
            usage.get("prompt_tokens"),
            usage.get("completion_tokens"),
        )
    except (AttributeError, TypeError, LookupError):
        raise Failed("an answer that is no chat completion") from None
    if not isinstance(text, str | None):
        raise Failed(f"an answer whose content is {type(text).__name__}, not text")
    return ChatReply(text or "", finish_reason, prompt_tokens, completion_tokens)
