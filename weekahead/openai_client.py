"""Requests to an OpenAI-compatible server: rate-limited, retried, and stopped on demand.

What may pass (408, 409, 429, 5xx, broken connections, an error with status 200) is tried again, as
late as a Retry-After of up to two minutes says; if that says more, the request fails at once. Every
retry goes through the rate limit as well. A parameter that the server refuses is left out of all
later requests and named (weekahead.request_form).
"""

import asyncio
import email.utils
import json
import logging
import math
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from weekahead.openai_reply import (
    NO_USAGE,
    Json,
    NotACompletion,
    ServerError,
    ServerReply,
    Usage,
    error_message,
    find_error,
    read_reply,
    read_usage,
)
from weekahead.redaction import without_secrets
from weekahead.request_form import RequestBody, RequestForm

log = logging.getLogger(__name__)

MAX_RETRIES = 5
"""With waits of 0.5, 1, 2, 4 and 8 s if the server names none."""
LONGEST_WAIT = 120.0
"""Seconds of a Retry-After that are waited for."""
TIMEOUT = 300.0
"""Seconds without a byte."""
LONGEST_ANSWER = 900.0
"""Seconds for one answer, however slowly it comes."""
_MAY_PASS = (408, 409, 425, 429)
_LOST_METHOD = (301, 302, 303)
"""Redirects that would turn the question into a GET without it."""
_NO_MODEL = re.compile(
    r"not found|does(?: not|n't) exist|no such|unknown model|invalid model", re.I
)
_UNKNOWN_MODEL = (
    "has no such model or address ({}); check OPENAI_MODEL or --model, and OPENAI_BASE_URL"
)
_UNSENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")

OnLost = Callable[[Usage], Awaitable[None]]
"""Awaited when an attempt that may have been paid gave no answer, before the next one. It gets the
tokens that the server stated for it."""


class Refused(ValueError):
    """No later request could fare better: the fault is in the key, the model or every request."""


class Failed(Exception):
    """One request got no answer, after all retries.

    `may_be_paid` says whether the last attempt may have been, and `usage` what the server says.
    """

    def __init__(self, message: str, *, may_be_paid: bool = False, usage: Usage = NO_USAGE) -> None:
        super().__init__(message)
        self.may_be_paid = may_be_paid
        self.usage = usage


class Unacceptable(Exception):
    """The server does not take this one request, now or later: it is too long, or filtered."""


class Stopped(Exception):
    """The run is stopping, so the request was not sent."""


class _MayPass(Failed):
    """One attempt failed; `wait` is how many seconds the server asks for, None if it does not."""

    wait: float | None = None


class _BadRequest(Exception):
    """A status of 400, 413 or 422."""

    def __init__(self, status: int, error: Json) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Answered:
    """A reply, and how it was had."""

    reply: ServerReply
    seconds: float
    """Since the request was sent the last time."""
    left_out: tuple[str, ...] = ()
    """Parameters that were asked for and that the server refused."""


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
        self.form = RequestForm(own_server=bool(os.environ.get("OPENAI_BASE_URL")))
        self._on_the_way: set[asyncio.Task[Any] | None] = set()
        self._limiter = None
        if per_minute:
            # At most the requests of one second at once: those of a minute would be refused.
            burst = max(1.0, per_minute / 60)
            self._limiter = AsyncLimiter(burst, 60 * burst / per_minute)
        hooks = {"response": [self._check_redirect]}
        self._client = openai.AsyncOpenAI(
            api_key=self.key(server),
            timeout=openai.Timeout(TIMEOUT, connect=10.0, pool=None),
            max_retries=0,  # retried here, since each attempt may be paid
            http_client=openai.DefaultAsyncHttpxClient(event_hooks=hooks),
        )

    @staticmethod
    def key(server: str = "teacher") -> str:
        """The key of the environment, or a placeholder for a server without keys.

        Raises ValueError if the environment names neither a key nor a server, or none that can be.
        """
        key, address = os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL")
        if address and not re.match(r"https?://[^/\s]+", address):
            raise ValueError(
                f"OPENAI_BASE_URL is {address!r}; expected an address such as "
                "http://127.0.0.1:8000/v1"
            )
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise ValueError(
                "OPENAI_API_KEY holds a character that no key has, such as a space or a line end; "
                "copy it again"
            )
        if not key and address:
            key = "none"
        if not key:
            raise ValueError(
                f"no {server}: set OPENAI_API_KEY, or for a server without keys OPENAI_BASE_URL, "
                "in the environment or .env"
            )
        return key

    async def ask(self, body: RequestBody, on_lost: OnLost | None = None) -> Answered:
        """The answer to one request.

        Whoever awaits this has the answer before anything else runs.
        Raises Refused, Unacceptable, Failed, Stopped, and what `on_lost` raises.
        """
        retries = 0
        while True:
            request = self.form.apply(body)
            try:
                return await self._answer(body, request)
            except _BadRequest as error:
                if not self._has_learned(body, request, error):
                    return await self._probe(body, error)
            except _MayPass as fault:
                if retries == MAX_RETRIES or (fault.wait or 0) > LONGEST_WAIT:
                    raise
                if fault.may_be_paid and on_lost:
                    await on_lost(fault.usage)
                await asyncio.sleep(_backoff(retries) if fault.wait is None else fault.wait)
                retries += 1

    def stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """Send nothing more: cancel the tasks that wait to send; the others get their answers."""
        self.stopping = True
        for task in tasks:
            if task not in self._on_the_way and task is not asyncio.current_task():
                task.cancel()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    def _has_learned(self, body: RequestBody, sent: RequestBody, error: _BadRequest) -> bool:
        """Whether the request now has another form than the one that was refused."""
        if self.form.apply(body) == sent:
            name = self.form.learn(sent, error.error)
            if name:
                message = self._message(error.error)
                log.warning("the %s does not take %s: %s", self.server, name, message)
        return self.form.apply(body) != sent

    async def _probe(self, body: RequestBody, error: _BadRequest) -> Answered:
        """Ask without the optional parameters, if the first request of all is refused bare."""
        for names in self.form.probes(body):
            request = {name: body[name] for name in self.form.apply(body) if name not in names}
            try:
                answered = await self._answer(body, request)
            except _BadRequest:
                continue
            self.form.leave_out(names)
            log.warning("the %s takes requests only without %s", self.server, ", ".join(names))
            return answered
        raise self._final(error) from None

    async def _answer(self, body: RequestBody, request: RequestBody) -> Answered:
        """The answer to one attempt."""
        if self._limiter:
            await self._limiter.acquire()
        if self.stopping:
            raise Stopped
        task = asyncio.current_task()
        self._on_the_way.add(task)
        sent = time.perf_counter()
        try:
            content, headers = await self._post(request)
        finally:
            self._on_the_way.discard(task)
        try:
            reply = read_reply(content)
        except ServerError as error:
            self._raise_error(_status_in(error.body), error.body, headers, error.usage)
        except NotACompletion as error:
            raise Failed(str(error), may_be_paid=True, usage=error.usage) from None
        self.answered += 1
        self.form.settled = True
        return Answered(reply, time.perf_counter() - sent, self.form.missing(body, request))

    async def _post(self, request: RequestBody) -> tuple[bytes, Mapping[str, str]]:
        """The body and the headers of a response with status 200."""
        import httpx2
        import openai

        path = "/chat/completions" if "messages" in request else "/completions"
        try:
            # `chat.completions.create` would copy the body and build objects: a quarter of the time
            # of this process.
            async with asyncio.timeout(LONGEST_ANSWER):
                response = await self._client.post(path, body=request, cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            body = _json_object(error.response.content)
            self._raise_error(
                error.status_code,
                find_error(body) or body,
                error.response.headers,
                read_usage(body),
            )
        except TimeoutError:
            raise _MayPass(f"no whole answer in {LONGEST_ANSWER:g} s", may_be_paid=True) from None
        except openai.APIError as error:
            cause = type(error.__cause__).__name__ if error.__cause__ else ""
            what = f"{type(error).__name__}{f' ({cause})' if cause else ''}"
            raise _MayPass(what, may_be_paid=cause not in _UNSENT) from None
        except Refused:
            raise
        except ValueError as error:  # such as a text that is not Unicode
            raise Failed(f"the request cannot be sent ({type(error).__name__})") from None
        return response.content, response.headers

    async def _check_redirect(self, response: Any) -> None:
        if response.status_code in _LOST_METHOD:
            target = str(response.headers.get("location", "another address")).partition("?")[0]
            raise Refused(
                f"the {self.server} redirects to {target} ({response.status_code}), which would "
                "lose the question; set OPENAI_BASE_URL to the address of the API itself"
            )

    def _raise_error(
        self, status: int, error: Json, headers: Mapping[str, str], usage: Usage
    ) -> NoReturn:
        """Raise what an error of the server means.

        Its message about a key may quote it, so it is not repeated.
        """
        if remedy := _remedy(status, error):
            raise Refused(f"the {self.server} {remedy}")
        if status in (400, 413, 422):
            raise _BadRequest(status, error)
        told = headers.get("x-should-retry")
        message = f"status {status}: {self._message(error)}"
        paid = status == 200 or usage != NO_USAGE
        if told != "true" and (told == "false" or not _may_pass(status)):
            raise Failed(message, may_be_paid=paid, usage=usage)
        fault = _MayPass(message, may_be_paid=paid, usage=usage)
        fault.wait = retry_after(headers)
        raise fault

    def _final(self, error: _BadRequest) -> Exception:
        """What a request that is taken in no form means."""
        message = self._message(error.error)
        if "model" in message and _NO_MODEL.search(message):
            return Refused(f"the {self.server} {_UNKNOWN_MODEL.format(error.status)}")
        return Unacceptable(f"refused ({error.status})", message)

    def _message(self, error: Json) -> str:
        """The server's own message on one line, without the key."""
        return without_secrets(error_message(error).replace(self._client.api_key, "..."))[:200]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: of milliseconds, seconds or a date; None if of none."""
    for header, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(header, "")) / divisor
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, moment.timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _backoff(retries: int) -> float:
    """Seconds before the next attempt, by up to a quarter less so that not all come at once."""
    return min(0.5 * 2**retries, 8.0) * (1 - 0.25 * random.random())


def _may_pass(status: int) -> bool:
    return status == 200 or status in _MAY_PASS or status >= 500


def _remedy(status: int, error: Json) -> str | None:
    """What an error that every request will meet means, and what mends it; None for another."""
    code = str(error.get("code") or error.get("type"))
    if status in (401, 403):
        return f"refuses the key ({status}); check OPENAI_API_KEY in the environment or .env"
    if status == 404 or code == "model_not_found":
        return _UNKNOWN_MODEL.format(status)
    if status == 402 or code == "insufficient_quota":
        return (
            f"takes no request: the account behind OPENAI_API_KEY has no credit left ({status}); "
            "top it up and run again"
        )
    return None


def _status_in(error: Json) -> int:
    """The status that an error object names; 200, the one it came with, if it names none."""
    for key in ("status", "status_code", "code"):
        value = str(error.get(key))
        if value.isdecimal() and 400 <= int(value) < 600:
            return int(value)
    return 200


def _json_object(content: bytes) -> Json:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return cast("Json", value) if isinstance(value, dict) else {"message": str(value)[:200]}
