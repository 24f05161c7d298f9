"""Paced calls to a provider's API, with retries."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_RETRIES = 6
"""Waits of about 0, 2, 4, 8, 16 and 32 seconds: together they outlast a quota of a minute."""
_LONGEST_WAIT = 120


@dataclass(frozen=True, kw_only=True)
class Service:
    """The API of one provider: its address, how a call shows the key, and names for messages."""

    name: str
    address: str
    address_variable: str
    """The environment variable of another address, for tests."""
    key_variable: str
    """The environment variable of the key."""
    key_header: str
    """The HTTP header that holds the key."""
    site: str
    """Where a user has an account..."""
    key_page: str
    """... and where the account shows the key."""


class NoAccess(PermissionError):
    """The plan of this key does not reach this symbol or endpoint; others may still work."""


class ApiClient:
    """A session with a provider; `counts` holds the calls made to each endpoint, retries included.

    The key is read at the first call and goes into a header: in an address, errors and logs would
    show it. `backoff` is the unit of the waits in seconds, `timeout` those for connecting and for
    each read. Raises ValueError for a rate that is not above 0.
    """

    def __init__(
        self,
        service: Service,
        *,
        per_minute: float,
        per_second: float,
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
        self._service = service
        address = os.environ.get(service.address_variable) or service.address
        self._address = address.rstrip("/")
        self._timeout = timeout
        self._session = Session()
        adapter = LimiterAdapter(per_minute=per_minute, per_second=per_second, max_retries=retry)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def get(
        self, endpoint: str, expected: type, *, symbol: str, parameters: Mapping[str, str]
    ) -> bytes:
        """The body of one answer, whose JSON value is an `expected` (list or dict).

        `parameters` is what the provider is asked; `symbol` is for messages alone.
        Raises PermissionError for a missing or refused key, NoAccess (403), ConnectionError for no
        answer or a quota that stays used up, and ValueError for a body that is cut off or of
        another type twice.
        """
        call = f"{self._service.name}'s {endpoint} of {symbol}"
        body = b""
        for _ in range(2):
            body = self._body(endpoint, call, parameters)
            value = _json_value(body)
            if isinstance(value, expected) and "error" not in value:
                return body
        raise ValueError(
            f"{call}: expected a JSON {expected.__name__}, twice got {body[:60]!r}; "
            "nothing was stored: run the same command again later"
        )

    def _body(self, endpoint: str, call: str, parameters: Mapping[str, str]) -> bytes:
        """The body of a good answer, empty if the connection broke off in it."""
        from requests.exceptions import ChunkedEncodingError, ContentDecodingError, RequestException

        key = _key(self._service)
        self.counts[endpoint] += 1
        try:
            # A redirect would carry the key's header to another host.
            response = self._session.get(
                f"{self._address}/{endpoint}",
                params=parameters,
                headers={self._service.key_header: key},
                timeout=self._timeout,
                allow_redirects=False,
            )
        except (ChunkedEncodingError, ContentDecodingError):
            return b""
        except RequestException as error:
            raise ConnectionError(
                f"{call}: no answer from {self._address} ({type(error).__name__}); "
                "check the network, then run the same command again: what was fetched is kept"
            ) from None
        self.counts[endpoint] += len(response.raw.retries.history)
        reason = _reason(response.content).replace(key, "...")
        self._check_status(response.status_code, call=call, reason=reason)
        return response.content

    def _check_status(self, status: int, *, call: str, reason: str) -> None:
        service = self._service
        if status == HTTPStatus.OK:
            return
        if status == HTTPStatus.UNAUTHORIZED:
            raise PermissionError(
                f"{service.name} refused {service.key_variable} (401, {reason!r}); check it at "
                f"{service.key_page}"
            )
        if status == HTTPStatus.FORBIDDEN:
            raise NoAccess(
                f"{call}: 403, {reason!r}; it is outside the plan of this {service.key_variable}"
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise ConnectionError(
                f"{call}: the quota of calls is used up (429 after {_RETRIES} retries, "
                f"{reason!r}); wait a minute, end other programs with this key, then run the same "
                "command again: what was fetched stays"
            )
        raise ConnectionError(
            f"{call}: status {status}, {reason!r}; run the same command again later"
        )


def _key(service: Service) -> str:
    key = os.environ.get(service.key_variable, "").strip()
    # requests would quote a key with a line break in its error.
    if not key or not key.isascii() or not key.isprintable():
        state = "holds a character that no key has" if key else "is not set"
        raise PermissionError(
            f"{service.key_variable} {state}; put the key of your account at {service.site} into "
            "the environment or .env"
        )
    return key


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
