"""Paced calls to Finnhub's API, with retries."""

import json
import os
from collections import Counter
from http import HTTPStatus
from typing import Any

KEY_VARIABLE = "FINNHUB_API_KEY"
ADDRESS_VARIABLE = "FINNHUB_BASE_URL"
PER_MINUTE, PER_SECOND = 55, 25
"""The free plan allows 60 and 30 calls. Retries are not paced, so some room is left for them."""
_RETRIES = 6
"""Waits of about 0, 2, 4, 8, 16 and 32 seconds: together they outlast a quota of a minute."""
_LONGEST_WAIT = 120


class NoAccess(PermissionError):
    """The plan of this key does not reach this symbol or endpoint; others may still work."""


class FinnhubClient:
    """A session with Finnhub; `counts` holds the calls made to each endpoint, retries included.

    The key is read at the first call and goes into a header: in an address, errors and logs would
    show it. `backoff` is the unit of the waits in seconds, `timeout` those for connecting and for
    each read. Raises ValueError for a rate that is not above 0.
    """

    def __init__(
        self,
        *,
        per_minute: float = PER_MINUTE,
        per_second: float = PER_SECOND,
        backoff: float = 1.0,
        timeout: tuple[float, float] = (10.0, 60.0),
    ) -> None:
        from requests import Session
        from requests_ratelimiter import LimiterAdapter
        from urllib3 import Retry

        if min(per_minute, per_second) <= 0:
            raise ValueError(
                f"{per_minute} calls per minute, {per_second} per second; expected numbers above 0"
            )
        # The limiter takes two rates only if each can be the tighter one; 0 means no limit.
        if per_minute <= per_second:
            per_second = 0
        elif per_minute > 60 * per_second:
            per_minute = 0
        retry = Retry(
            total=_RETRIES,
            connect=2,
            read=2,
            status_forcelist=(429, 500, 502, 503, 504),
            backoff_factor=backoff,
            backoff_jitter=backoff,
            respect_retry_after_header=True,
            retry_after_max=_LONGEST_WAIT,
            raise_on_status=False,
        )
        self.counts: Counter[str] = Counter()
        self._address = (os.environ.get(ADDRESS_VARIABLE) or "https://finnhub.io/api/v1").rstrip(
            "/"
        )
        self._timeout = timeout
        self._session = Session()
        adapter = LimiterAdapter(per_minute=per_minute, per_second=per_second, max_retries=retry)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def get(self, endpoint: str, expected: type, **parameters: str) -> bytes:
        """The body of one answer, whose JSON value is an `expected` (list or dict).

        Raises PermissionError for a missing or refused key, NoAccess (403), ConnectionError for no
        answer or a quota that stays used up, and ValueError for a body that is cut off or of
        another type twice.
        """
        call = f"{endpoint} of {parameters['symbol']}"
        body = b""
        for _ in range(2):
            body = self._body(endpoint, call, parameters)
            value = _json_value(body)
            if isinstance(value, expected) and "error" not in value:
                return body
        raise ValueError(
            f"Finnhub's {call}: expected a JSON {expected.__name__}, twice got {body[:60]!r}; "
            "nothing was stored: run the same command again later"
        )

    def _body(self, endpoint: str, call: str, parameters: dict[str, str]) -> bytes:
        """The body of a good answer, empty if the connection broke off in it."""
        from requests.exceptions import ChunkedEncodingError, ContentDecodingError, RequestException

        key = _key()
        self.counts[endpoint] += 1
        try:
            # A redirect would carry the key's header to another host.
            response = self._session.get(
                f"{self._address}/{endpoint}",
                params=parameters,
                headers={"X-Finnhub-Token": key},
                timeout=self._timeout,
                allow_redirects=False,
            )
        except (ChunkedEncodingError, ContentDecodingError):
            return b""
        except RequestException as error:
            raise ConnectionError(
                f"Finnhub's {call}: no answer from {self._address} ({type(error).__name__}); "
                "check the network, then run the same command again: what was fetched is kept"
            ) from None
        self.counts[endpoint] += len(response.raw.retries.history)
        reason = _reason(response.content).replace(key, "...")
        _check_status(response.status_code, call=call, reason=reason)
        return response.content


def _key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    # requests would quote a key with a line break in its error.
    if not key or not key.isascii() or not key.isprintable():
        state = "holds a character that no key has" if key else "is not set"
        raise PermissionError(
            f"{KEY_VARIABLE} {state}; put the key of your account at finnhub.io into the "
            "environment or .env"
        )
    return key


def _check_status(status: int, *, call: str, reason: str) -> None:
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.UNAUTHORIZED:
        raise PermissionError(
            f"Finnhub refused {KEY_VARIABLE} (401, {reason!r}); check it at finnhub.io/dashboard"
        )
    if status == HTTPStatus.FORBIDDEN:
        raise NoAccess(
            f"Finnhub's {call}: 403, {reason!r}; it is outside the plan of this {KEY_VARIABLE}"
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ConnectionError(
            f"Finnhub's {call}: the quota of calls is used up (429 after {_RETRIES} retries, "
            f"{reason!r}); wait a minute, end other programs with this key, then run the same "
            "command again: what was fetched stays"
        )
    raise ConnectionError(
        f"Finnhub's {call}: status {status}, {reason!r}; run the same command again later"
    )


def _reason(body: bytes) -> str:
    """What a body says of an error, shortened."""
    value = _json_value(body)
    text = value.get("error", "") if isinstance(value, dict) else body.decode("utf-8", "replace")
    return str(text)[:200]


def _json_value(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
