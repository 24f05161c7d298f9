"""How to reach W&B (online, offline or not at all), and whether its server answers."""

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from weekahead.redaction import has_password

Mode = Literal["online", "offline", "disabled"]

# The values of WANDB_MODE and what they mean: `run` and `dryrun` are the client's own old names.
_MODES: dict[str, Mode] = {
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
    """W&B cannot be used as asked; raised before training or evaluation starts, never during it."""


@dataclass(frozen=True)
class Account:
    """The W&B server, the key for it if there is one, and how it is used."""

    base_url: str
    mode: Mode
    reason: str
    """Why the mode is what it is."""
    key: str | None = field(default=None, repr=False)


def drop_empty_variables() -> None:
    """Remove WANDB_* variables that are set but empty: the client takes "" for an address."""
    for name, value in list(os.environ.items()):
        if name.startswith("WANDB_") and not value.strip():
            del os.environ[name]


def find_account() -> Account:
    """The account that the W&B client would use: environment, its settings files, `.netrc`.

    Without a key the mode is "offline", unless WANDB_MODE or `wandb offline` says otherwise.
    Raises TrackingError for an unknown mode, an invalid address, a malformed key, and for
    WANDB_MODE=online without a key.
    """
    drop_empty_variables()
    setting = os.environ.get("WANDB_MODE")
    if setting is not None and setting not in _MODES:
        raise TrackingError(f"WANDB_MODE is {setting!r}; expected online, offline or disabled")
    address = os.environ.get("WANDB_BASE_URL", "https://")
    if not address.startswith(("http://", "https://")):
        raise TrackingError(
            f"WANDB_BASE_URL is {address!r}; expected an address such as https://api.wandb.ai"
        )
    if has_password(address):
        raise TrackingError(
            "WANDB_BASE_URL holds a user or a password, which W&B would store with every run; take "
            "them out and set WANDB_API_KEY"
        )
    settings, key = _client_settings(offline=_MODES.get(setting or "") in ("offline", "disabled"))
    has_key = bool(key or settings.identity_token_file)
    if setting is not None:
        mode, reason = _MODES[setting], f"WANDB_MODE={setting}"
    elif settings.mode != "online":
        mode, reason = _MODES.get(settings.mode, "offline"), "the W&B settings file"
    elif has_key:
        mode, reason = "online", "a key is set"
    else:
        mode, reason = "offline", "no W&B key is set"
    if mode == "online" and not has_key:
        raise TrackingError(
            f"{reason} but no W&B key is set: set WANDB_API_KEY, or {_OFFLINE_REMEDY}"
        )
    return Account(settings.base_url.rstrip("/"), mode, reason, key)


def _client_settings(*, offline: bool) -> tuple[Any, str | None]:
    """The settings and key as the client's command line reads them, so that we cannot disagree."""
    from wandb.errors import Error
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    try:
        settings: Any = wandb_setup.singleton().settings
        if offline:
            return settings, None
        return settings, settings.api_key or wbauth.read_netrc_auth(host=settings.base_url)
    except (Error, ValueError) as error:
        raise TrackingError(
            f"the W&B settings cannot be used: {error}; or {_OFFLINE_REMEDY}"
        ) from error


def check_server(account: Account, timeout_seconds: float = 5.0) -> None:
    """Ask the server once who the key belongs to; the client alone would try for 90 seconds.

    Raises TrackingError if the server does not answer, is not a W&B server, or refuses the key.
    """
    import requests

    url, auth = account.base_url, ("api", account.key) if account.key else None
    query = {"query": "query Viewer { viewer { id } }"}
    try:
        response = requests.post(f"{url}/graphql", json=query, auth=auth, timeout=timeout_seconds)
        reply: Any = response.json() if response.ok else {}
        data = reply.get("data")
        viewer = data.get("viewer") if data else None
    except (requests.RequestException, ValueError, AttributeError) as error:
        raise TrackingError(
            f"a W&B key is set but {url} did not answer as a W&B server within "
            f"{timeout_seconds:g} s ({_cause(error)}): check the network or WANDB_BASE_URL, or "
            f"{_OFFLINE_REMEDY}"
        ) from None  # the cause's own text may hold the request; its kind is named above
    if auth and (response.status_code in (401, 403) or (response.ok and viewer is None)):
        raise TrackingError(
            f"{url} does not know the W&B key that is set: check WANDB_API_KEY "
            f"(and WANDB_BASE_URL, if the key is for another server), or {_OFFLINE_REMEDY}"
        )
    if response.status_code >= 500 or response.status_code == 404:
        raise TrackingError(
            f"{url} answered HTTP {response.status_code}: check WANDB_BASE_URL, or "
            f"{_OFFLINE_REMEDY}"
        )


def _cause(error: BaseException) -> str:
    """What went wrong, in short: the innermost cause, such as `ConnectionRefusedError`."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {str(error)[:120]}" if str(error) else type(error).__name__
