"""Access to the Hub: account and repository before an upload, waiting, errors with a remedy."""

import email.utils
import logging
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from weekahead.redaction import without_secrets

if TYPE_CHECKING:
    from httpx2 import Response
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)

Kind = Literal["model", "dataset"]
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")

_WAITS_FOR = (429, 503)
_TRIES = 6
_LONGEST_WAIT = 600.0
"""Seconds. A server that asks for more is told to the user instead."""
_SILENCE_SECONDS, _CONNECT_SECONDS = 120.0, 20.0
"""How long a server may send nothing, and how long it may take to answer a call at all."""
LOG_IN = (
    "Make a token with write access at https://huggingface.co/settings/tokens, then "
    "`.venv/bin/hf auth login`"
)
_AGAIN = "Run the same command again: what was already uploaded is not sent a second time"

Result = TypeVar("Result")


class HubError(ValueError):
    """Why something is not on the Hub: what was found, what was expected, what to do."""


def hub_api() -> "HfApi":
    """The client of the Hub, which does not wait for ever for a server that has gone silent."""
    from huggingface_hub import HfApi

    _bound_waits()
    return HfApi()


@cache
def _bound_waits() -> None:
    """Give every request a limit: the client itself has none."""
    from httpx2 import Client, Timeout
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def bounded_client() -> Client:
        client = default_client_factory()
        client.timeout = Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        return client

    set_client_factory(bounded_client)


def patiently(call: Callable[[], Result]) -> Result:
    """What `call` returns; if the Hub answers 429 or 503, it is called again.

    The wait is the one that the server states (`ratelimit` or `Retry-After`), else 1, 2, 4 ...
    seconds. The client does this itself for the upload of files, but for no other request. Raises
    the last error after six tries, and at once if the server asks for more than ten minutes.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    for attempt in range(_TRIES - 1):
        try:
            return call()
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            # A download says that the cache has no such file, because the Hub gave that answer.
            cause = error if isinstance(error, HfHubHTTPError) else error.__cause__
            if not isinstance(cause, HfHubHTTPError):
                raise
            status, stated = cause.response.status_code, stated_delay(cause.response)
            wait = 2.0**attempt if stated is None else stated
            if status not in _WAITS_FOR or wait > _LONGEST_WAIT:
                raise
            log.warning("the Hub answers %d; asking again in %g s", status, wait)
            time.sleep(wait)
    return call()


def stated_delay(response: "Response") -> float | None:
    """The seconds after which a server wants to be asked again, or None.

    `Retry-After` is a number of seconds or a date (RFC 9110, section 10.2.3).
    """
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(response.headers)
    if limit and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    stated = response.headers.get("Retry-After", "").strip()
    if stated.isdecimal():
        return float(stated)
    try:
        moment = email.utils.parsedate_to_datetime(stated)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def check_repo_id(repo: str, flag: str = "--repo") -> None:
    """Raises HubError unless `repo` reads user/name in the Hub's alphabet."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise HubError(f"{flag} {repo!r} is not a repository id: {error}") from None
    if not HUB_ID.fullmatch(repo):
        raise HubError(
            f"{flag} {repo!r} is not a repository id; expected user/name, as in jane/llama-dow30"
        )


def check_account(api: "HfApi", repo: str, flag: str = "--repo") -> None:
    """Raises HubError unless there is a token that may write under the namespace of `repo`."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(f"no Hugging Face token found. {LOG_IN}, or HF_TOKEN=... in .env")
    answer: object = patiently(lambda: api.whoami())  # pyright: ignore
    account = cast("dict[str, Any]", answer)
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    # The scopes of a fine-grained token are left to the server: it refuses with 403 before it
    # stores anything.
    if role == "read":
        raise HubError(
            f"the token of {account['name']} may only read. {LOG_IN}, or put it in .env as HF_TOKEN"
        )
    groups = [org["name"] for org in account.get("orgs", []) if org.get("roleInOrg") != "read"]
    writable = [account["name"], *groups]
    owner, _, name = repo.partition("/")
    if owner not in writable:
        raise HubError(
            f"{repo} is not yours to write: this token is {account['name']}'s, who may write "
            f"under {', '.join(writable)}. "
            f"Use {flag} {account['name']}/{name}, or another account's token."
        )


@contextmanager
def explained(repo: str) -> Generator[None]:
    """Turn the client's errors into HubErrors that name the remedy."""
    import httpx2  # the client's own HTTP library: it raises these if no answer came at all
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        yield
    except OfflineModeIsEnabled:
        raise HubError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        answer = error.server_message or str(error).splitlines()[0]
        raise HubError(
            f"the Hub refused {repo} ({status}): {answer}. {_remedy(repo, error.response)}."
        ) from error
    except LocalEntryNotFoundError as error:
        reason = str(error).splitlines()[0]
        raise HubError(
            f"a file of {repo} cannot be downloaded ({reason}); run the same command again"
        ) from error
    except httpx2.TransportError as error:
        endpoint = without_secrets(constants.ENDPOINT)
        raise HubError(
            f"the Hub at {endpoint} cannot be reached ({type(error).__name__}: {error}). "
            f"Check the network, the proxy settings and HF_ENDPOINT. {_AGAIN}."
        ) from error


def _remedy(repo: str, response: "Response") -> str:
    wait = stated_delay(response)
    later = f"in {wait:.0f} seconds" if wait else "in a few minutes"
    remedies = {
        401: f"The token is not valid. {LOG_IN}; HF_TOKEN, if set, wins over the stored one",
        403: f"The token may not write to {repo}. {LOG_IN}",
        404: "Check the name; a private repository needs a token that may read it",
        412: "It has changed meanwhile; run the same command again",
        429: f"Too many requests; run the same command again {later}",
    }
    return remedies.get(response.status_code, _AGAIN)
