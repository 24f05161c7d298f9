"""Secrets: what looks like one, and texts without them, for logs, errors, manifests and uploads.

Every pattern is linear in the length of the text: a run of characters can begin one match only
(the look-behind), and what stands between a name and its value is bounded.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote, urlsplit, urlunsplit

HIDDEN = "***"

_START = r"(?<![A-Za-z0-9])"
_ASSIGNED = r"[\"']?\s{0,5}(?:[:=]|[\"']\s{0,5},)\s{0,5}\\?[\"']?"
"""What may stand between a name and its value in an assignment, in JSON or in a list of words."""
_KEY_NAMES = (
    r"(?:api[_-]?key(?:[_-]?id)?|(?:access|auth|hub|api|hf|finnhub)[_-]?token"
    r"|secret(?:[_-]?(?:access[_-]?)?key)?|passw(?:or)?d|credentials?)"
)
_PATTERNS = {
    "a Hugging Face token": _START + r"(?P<secret>(?:hf|api_org)_[A-Za-z0-9]{30,})",
    "an OpenAI-style key": _START
    + r"(?P<secret>sk-(?:(?:proj|svcacct|admin|None|ant|or|lf)-[\w-]{20,}|[A-Za-z0-9]{20,}))",
    "a W&B key": r"(?P<secret>(?<![A-Za-z0-9])wandb_v1_\w{30,})"
    r"|(?i:wandb[\w-]{0,30}key)"
    + _ASSIGNED.replace("(?:", "(?:,|", 1)
    + r"(?P<secret2>[0-9a-f]{40})\b",
    "an AWS key": r"(?<![A-Za-z0-9])(?P<secret>(?:AKIA|ASIA)[A-Z0-9]{16})(?![A-Za-z0-9])",
    "an Alpaca key": _START
    + r"(?P<secret>[PAC]K(?=[A-Z]{0,24}[0-9])[A-Z0-9]{18,24})(?![A-Za-z0-9])",
    "a GitHub token": _START + r"(?P<secret>gh[opsur]_[A-Za-z0-9]{30,}|github_pat_\w{22,})",
    "a provider's key": _START
    + r"(?P<secret>(?:gsk_|xai-|pplx-|nvapi-|glpat-|AIza)[\w-]{20,}|xox[abprs]-[\w-]{20,})",
    "a signed token": r"(?<![\w.-])(?P<secret>eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})",
    "a private key": r"(?P<secret>-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)",
    "a password in an address": r"(?<=://)(?P<secret>[^\s/:@\"'<>]{0,200}+:"
    r"(?!\d{1,5}[/?#])[^\s\"'<>@]{1,200}+(?:@[^\s\"'<>@/?#:]{1,200}){0,3})(?=@)",
    "an authorization header": r"(?i:\bbearer|\bauthorization[\"']?\s{0,5}[:=]\s{0,5}[\"']?"
    r"(?:basic|token))\s{1,5}(?P<secret>(?=[A-Za-z._~+/-]{0,100}[0-9=])[\w.~+/=-]{12,})",
    "a key in an address": r"[?&](?i:token|api_?key|key|access_token|auth)="
    r"(?P<secret>[\w.%+/-]{12,})",
    "a key or password": rf"(?i:{_KEY_NAMES}){_ASSIGNED}(?P<secret>[\w./+-]{{16,}})",
    "a password of .netrc": r"\b(?i:login)\s{1,5}\S{1,200}\s{1,5}(?i:password)\s{1,5}"
    r"(?P<secret>\S{8,200})",
}
_SECRETS = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}
_LOGIN = re.compile(r"(?<=://)(?P<secret>[^\s/?#:@\"'<>]{8,200}+)(?=@)")
"""The user of an address may be a token: it is hidden, and nothing is refused for it."""

_SECRET_NAME = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS|KEY_ID)$", re.I)
_ADDRESS_NAME = re.compile(r"(?:URL|URI|PROXY|ENDPOINT|HOST)$", re.I)
_SECRET_FLAG = re.compile(rf"--?(?:[\w-]*{_KEY_NAMES}|token|key)", re.I)
_SHORTEST_SECRET = 12
"""A shorter value of such a variable is a placeholder, and would be found everywhere."""
_SHORTEST_PASSWORD = 4
"""Of an address: it is a password, whatever its length; one of three letters is in every text."""


def find_secret(text: str, variables: Mapping[str, str]) -> str | None:
    """What kind of secret `text` holds, or None.

    `variables` maps names of environment variables to their values. Takes a time that is linear in
    the length of `text`.
    """
    value = find_value(text, variables)
    return value or next((kind for kind, pattern in _SECRETS.items() if pattern.search(text)), None)


def find_value(text: str, variables: Mapping[str, str]) -> str | None:
    """Which variable's key or password `text` holds, in words, or None."""
    return next(
        (f"the value of {name}" for name, value in _values(variables) if value in text), None
    )


def without_secrets(text: str, variables: Mapping[str, str] | None = None) -> str:
    """`text` with `***` in place of each secret; of an address the user and password go.

    `variables` are those of the environment if left out.
    """
    for _, value in _values(os.environ if variables is None else variables):
        text = text.replace(value, HIDDEN)
    for pattern in (*_SECRETS.values(), _LOGIN):
        text = pattern.sub(_hidden, text)
    return text


def without_secrets_in(value: Any) -> Any:
    """A JSON value whose texts have lost their secrets."""
    if isinstance(value, Mapping):
        items = cast("Mapping[object, Any]", value).items()
        return {key: without_secrets_in(inner) for key, inner in items}
    if isinstance(value, list | tuple):
        return [without_secrets_in(inner) for inner in cast("Sequence[Any]", value)]
    return without_secrets(value) if isinstance(value, str) else value


def without_secret_flags(arguments: Sequence[str]) -> list[str]:
    """A command line with `***` in place of each secret: by its form, and by the flag before it."""
    hidden: list[str] = []
    follows_secret_flag = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        is_flag = argument.startswith("-")
        if follows_secret_flag and not is_flag:
            hidden.append(HIDDEN)
        elif is_flag and equals and value and _SECRET_FLAG.fullmatch(name):
            hidden.append(f"{name}={HIDDEN}")
        else:
            hidden.append(without_secrets(argument))
        follows_secret_flag = is_flag and not equals and bool(_SECRET_FLAG.fullmatch(argument))
    return hidden


def has_password(address: str) -> bool:
    """Whether an address such as https://user:password@host holds a user or a password."""
    try:
        return "@" in urlsplit(address if "://" in address else f"//{address}").netloc
    except ValueError:
        return "@" in address


def without_login(address: str) -> str:
    """An address without user and password."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _hidden(match: re.Match[str]) -> str:
    groups = match.groupdict()
    secret = groups["secret"] or groups.get("secret2") or ""
    return match[0].replace(secret, HIDDEN)


def _values(variables: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """(name, secret) of each variable that is a key, or an address with a password; long first."""
    found: list[tuple[str, str]] = []
    for name, value in variables.items():
        if _SECRET_NAME.search(name) and len(value.strip()) >= _SHORTEST_SECRET:
            found.append((name, value.strip()))
        elif _ADDRESS_NAME.search(name) and "@" in value:
            login = value.rpartition("@")[0].rpartition("://")[2]
            password = login.partition(":")[2]
            shapes = {login, password, unquote(password)}
            found += [(name, shape) for shape in shapes if len(shape) >= _SHORTEST_PASSWORD]
    return sorted(found, key=lambda pair: len(pair[1]), reverse=True)
