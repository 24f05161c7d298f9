"""The form of request that one server takes: which of our parameters it refuses, under what names.

Servers differ: OpenAI knows no top_k, its newer models take the limit of an answer under a new name
and no temperature. A server says so with a status of 400 or 422; what it refused is left out of
every later request of the run, and stated.
"""

import re
from collections.abc import Collection, Mapping

from weekahead.openai_reply import Json

RequestBody = Mapping[str, object]
"""One request as JSON: with `messages` it is a chat, with `prompt` a completion."""

NEUTRAL: dict[str, float] = {
    "top_p": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "n": 1,
}
"""Parameters of the OpenAI form at the value that changes nothing, against a server's defaults."""
NEUTRAL_ELSEWHERE: dict[str, float] = {
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "repeat_penalty": 1.0,
}
"""The same for vLLM, SGLang and llama.cpp, which fill these from the base's generation_config."""

NEW_NAMES = {"max_tokens": "max_completion_tokens"}
"""Old name -> the name that OpenAI's newer models take instead."""
_OLD_NAMES = {new: old for old, new in NEW_NAMES.items()}
_NEVER = ("model", "messages", "prompt")
_OPTIONAL = ("logprobs", "seed", "stop", *NEUTRAL)
_TOO_LONG = re.compile(r"context|too (?:long|large|big)|exceed|reduce|greater than|maximum", re.I)
_UNSUPPORTED = re.compile(
    r"unsupported|not (?:support|permit|allow)|unrecogni[sz]ed|unknown|unexpected|extra|forbidden"
    r"|deprecated|only the default|instead",
    re.IGNORECASE,
)
_WORD_AFTER = r"(?:argument|parameter|field|name|property|input|option|key)s?[^\w]{0,4}"


class RequestForm:
    """What one server takes, learnt from its refusals during one run."""

    def __init__(self, *, own_server: bool) -> None:
        self.left_out: dict[str, str] = {}
        """Parameter -> what the server says of it."""
        self.new_names = not own_server
        """Whether a chat's limit goes by its new name, which OpenAI itself takes for all models."""
        self._unknown = () if own_server else tuple(NEUTRAL_ELSEWHERE)
        self.settled = False
        """Whether a request was taken in this form."""

    def apply(self, body: RequestBody) -> RequestBody:
        """A request as this server takes it."""
        dropped = {*self.left_out, *self._unknown}
        names = NEW_NAMES if self.new_names and "messages" in body else {}
        return {names.get(name, name): body[name] for name in body if name not in dropped}

    def missing(self, body: RequestBody, sent: RequestBody) -> tuple[str, ...]:
        """What was asked for and not sent, but for names that the server is known not to know."""
        known = (*NEW_NAMES, *self._unknown)
        return tuple(name for name in body if name not in sent and name not in known)

    def learn(self, sent: RequestBody, error: Json) -> str | None:
        """Change the form by what the server says of a request; the parameter, or None."""
        name = refused_parameter(error, sent)
        if name is None or name in _OLD_NAMES:
            return None  # of the two names of the limit it takes neither
        if name in NEW_NAMES:
            self.new_names = True
        else:
            self.left_out[name] = error_text(error)[:200]
        return name

    def leave_out(self, names: Collection[str]) -> None:
        """Leave out what a server took a request without, though it named nothing."""
        said = "the server refuses requests that have it, and does not say why"
        self.left_out |= dict.fromkeys(names, said)

    def probes(self, body: RequestBody) -> list[list[str]]:
        """What to leave out in turn, if a server refuses the first request and does not say why."""
        if self.settled:
            return []
        sent = self.apply(body)
        elsewhere = [name for name in sent if name in NEUTRAL_ELSEWHERE]
        others = [name for name in sent if name in _OPTIONAL]
        logprobs = [name for name in sent if name == "logprobs"]
        steps: list[list[str]] = []
        for names in (logprobs, elsewhere, [*elsewhere, *others]):
            if names and names not in steps:
                steps.append(names)
        return steps


def refused_parameter(error: Json, sent: RequestBody) -> str | None:
    """The parameter of `sent` that an error is about; None if it is about something else.

    What a user set (a limit, a seed, a temperature above 0) is refused only if the server does not
    know it: its value being out of range is for the user to mend.
    """
    message = error_text(error)
    unsupported = _UNSUPPORTED.search(message) and not _TOO_LONG.search(message)
    for name, value in sent.items():
        is_setting = "max_" in name or (name in ("temperature", "seed") and bool(value))
        if name in _NEVER or (is_setting and not unsupported):
            continue
        if error.get("param") == name or _names(message, name):
            return name
    return None


def error_text(error: Json) -> str:
    """All that an error says, on one line; the details of FastAPI are JSON in its message."""
    parts = (error.get(key) for key in ("message", "msg", "detail", "param", "loc"))
    texts = [value if isinstance(value, str) else str(value) for value in parts if value]
    return " ".join(" ".join(texts).split())


def _names(message: str, name: str) -> bool:
    """Whether a message names a parameter: quoted, after a word such as "parameter", or bare.

    Bare counts only for names that are no English words.
    """
    head, *tail = name.split("_")
    camel = head + "".join(part.capitalize() for part in tail)
    spelt = f"(?:{re.escape(name)}|{re.escape(camel)})(?![A-Za-z0-9_])"
    if tail or name in ("temperature", "logprobs"):
        return re.search(rf"(?<![A-Za-z0-9_]){spelt}", message) is not None
    quoted = rf"[\"'`.]{spelt}[\"'`]?|{_WORD_AFTER}(?:supplied[^\w]{{0,3}})?{spelt}"
    return re.search(quoted, message, re.IGNORECASE) is not None
