"""How to reach W&B: online, offline or not at all, and whether the server answers before a model is loaded."""

import os
from dataclasses import dataclass, field
from typing import Any

# What WANDB_MODE may say, and what is meant: `run` and `dryrun` are the client's own old names.
_MODES = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}
_OFFLINE_REMEDY = (
    "set WANDB_MODE=offline to record on disk and upload later, or WANDB_MODE=disabled"
)


class TrackingError(RuntimeError):
    """W&B cannot be used as asked; raised before training or evaluation starts, never in the middle."""


@dataclass(frozen=True)
class Account:
    """The W&B server, the key for it if there is one, the mode ("online", "offline", "disabled") and why."""

    base_url: str
    mode: str
    reason: str
    key: str | None = field(default=None, repr=False)


def drop_empty_variables() -> None:
    """Remove WANDB_* variables that are set but empty: the client takes an empty address for an address."""
    for name in [
        n for n, value in os.environ.items() if n.startswith("WANDB_") and not value.strip()
    ]:
        del os.environ[name]


def find_account() -> Account:
    """The account the W&B client itself would use: environment, its settings files, `.netrc`.

    Without a key the mode is "offline", unless WANDB_MODE or `wandb offline` says otherwise.
    Raises TrackingError for a mode nobody knows, an address that is none, a malformed key, and for
    WANDB_MODE=online without a key.
    """
    drop_empty_variables()
    asked = os.environ.get("WANDB_MODE")
    if asked is not None and asked not in _MODES:
        raise TrackingError(f"WANDB_MODE is {asked!r}; expected online, offline or disabled")
    address = os.environ.get("WANDB_BASE_URL", "https://")
    if not address.startswith(("http://", "https://")):
        raise TrackingError(
            f"WANDB_BASE_URL is {address!r}; expected an address such as https://api.wandb.ai"
        )
    settings, key = _client_settings(offline=_MODES.get(asked or "") in ("offline", "disabled"))
    if asked is not None:
        mode, reason = _MODES[asked], f"WANDB_MODE={asked}"
    elif settings.mode != "online":
        mode, reason = _MODES.get(settings.mode, "offline"), "the W&B settings file"
    elif key or settings.identity_token_file:
        mode, reason = "online", "a key is set"
    else:
        mode, reason = "offline", "no W&B key is set"
    if mode == "online" and not (key or settings.identity_token_file):
        raise TrackingError(
            f"{reason} but no W&B key is set: set WANDB_API_KEY, or {_OFFLINE_REMEDY}"
        )
    return Account(settings.base_url.rstrip("/"), mode, reason, key)


def _client_settings(offline: bool) -> tuple[Any, str | None]:
    """The client's own settings and key, read the way its command line does, so that we cannot disagree."""
    from wandb.errors import Error
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    try:
        settings = wandb_setup.singleton().settings
        key = (
            None if offline else settings.api_key or wbauth.read_netrc_auth(host=settings.base_url)
        )
    except (Error, ValueError) as error:
        raise TrackingError(
            f"the W&B settings cannot be used: {error}; or {_OFFLINE_REMEDY}"
        ) from error
    return settings, key


def check_server(account: Account, timeout_seconds: float = 5.0) -> None:
    """Ask the server who the key belongs to, once and quickly; the client alone would try for 90 seconds.

    Raises TrackingError where the server does not answer, is no W&B server, or refuses the key.
    """
    import requests

    auth = ("api", account.key) if account.key else None
    try:
        answer = requests.post(
            f"{account.base_url}/graphql",
            json={"query": "query Viewer { viewer { id } }"},
            auth=auth,
            timeout=timeout_seconds,
        )
        known = answer.ok and ((answer.json().get("data") or {}).get("viewer") is not None)
    except (requests.RequestException, ValueError, AttributeError) as error:
        raise TrackingError(
            f"a W&B key is set but {account.base_url} did not answer as a W&B server within "
            f"{timeout_seconds:g} s ({_cause(error)}): check the network or WANDB_BASE_URL, or {_OFFLINE_REMEDY}"
        ) from None  # the cause's own text may hold the request; its kind is named above
    if auth and (answer.status_code in (401, 403) or (answer.ok and not known)):
        raise TrackingError(
            f"{account.base_url} does not know the W&B key that is set: check WANDB_API_KEY "
            f"(and WANDB_BASE_URL, if the key is for another server), or {_OFFLINE_REMEDY}"
        )
    if answer.status_code >= 500 or answer.status_code == 404:
        raise TrackingError(
            f"{account.base_url} answered HTTP {answer.status_code}: check WANDB_BASE_URL, or {_OFFLINE_REMEDY}"
        )


def _cause(error: BaseException) -> str:
    """What went wrong in a few words: the innermost cause, such as `ConnectionRefusedError`."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {str(error)[:120]}" if str(error) else type(error).__name__
