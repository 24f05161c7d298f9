"""What a server's answer to a chat or completion request says, whatever shape it came in.

Pure: bytes in, a `ServerReply` out. Servers that call themselves OpenAI-compatible send content as
a list of parts, events of a stream nobody asked for, counts as text, errors with status 200. What
is understood is read; everything else is an error and never an empty answer.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

from weekahead.schema.shape import is_finite

Json = Mapping[str, object]

_TEXT_PARTS = ("text", "output_text")
_THOUGHT_PARTS = ("thinking", "reasoning", "reasoning_text", "redacted_thinking", "summary_text")
_TOOL_PARTS = ("tool_use", "tool_call", "tool_calls", "function_call")


_ENDED_EARLY = re.compile(
    "max|length|limit|truncat|incomplete|safety|filter|recitation|refus|block|error|abort|cancel",
    re.IGNORECASE,
)
"""What a provider's own word for an end that is no usual one holds."""


class Usage(NamedTuple):
    """The tokens that a server counted; None for a count that it does not state, or not as one."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    """With the tokens of a thought, which are paid too."""


NO_USAGE = Usage()


class ScoredToken(NamedTuple):
    """A token of a completion, as the server writes it, and its log-probability (nats)."""

    text: str
    logprob: float | None
    """None if none is stated, as of the first token of a prompt."""


@dataclass(frozen=True)
class ServerReply:
    """An answer as it came; what the server does not state is None."""

    text: str
    """Only Unicode that can be written; a lone surrogate has become U+FFFD."""
    finish_reason: str | None
    """The server's word; "stop" is written so. "refusal" and "tool_calls" if the message holds one,
    whatever it says."""
    usage: Usage = NO_USAGE
    model: str | None = None
    """The model that answered, as the server names it."""
    first_logprob: float | None = None
    """Log-probability (nats) of the first token."""
    token_logprobs: tuple[ScoredToken, ...] = ()
    """All tokens of a completion (not of a chat), those of the prompt first if it was echoed."""


class NotACompletion(ValueError):
    """The body holds no answer. `usage` is what it says was paid all the same."""

    def __init__(self, message: str, usage: Usage = NO_USAGE) -> None:
        super().__init__(message)
        self.usage = usage


class ServerError(NotACompletion):
    """The body is an error, whatever its status. `body` is the error object."""

    def __init__(self, body: Json, usage: Usage) -> None:
        super().__init__(error_message(body), usage)
        self.body = body


def read_reply(content: bytes) -> ServerReply:
    """The answer in a body, of either kind of request.

    Raises ServerError for an error object, NotACompletion for anything else.
    """
    response = _read_json(content)
    if not isinstance(response, dict):
        raise NotACompletion(f"an answer that is JSON of type {type(response).__name__}")
    fields = cast("Json", response)
    usage, choices = read_usage(fields), fields.get("choices")
    if not isinstance(choices, list) or not choices:
        if error := find_error(fields):
            raise ServerError(error, usage)
        raise NotACompletion("an answer without choices", usage)
    choice = _first_choice(cast("list[object]", choices), usage)
    if choice.get("error"):
        raise ServerError(_error_object(choice["error"]), usage)
    message = _message_of(choice, usage)
    text = _text_of(message.get("content"), usage)
    return ServerReply(
        text=clean(text),
        finish_reason=_finish_reason(choice, message),
        usage=_plausible(usage, text),
        model=_word(fields.get("model"), 200),
        first_logprob=_first_logprob(choice.get("logprobs")),
        token_logprobs=_token_logprobs(choice.get("logprobs")),
    )


def read_usage(response: Json) -> Usage:
    """The counts of a response, under any of their names; a wrong one is None.

    Thoughts count as output: of "completion_tokens", "total_tokens" less the prompt and the stated
    reasoning tokens the largest holds. With Anthropic's names cached tokens come on top.
    """
    fields = response.get("usage")
    if not isinstance(fields, dict):
        return NO_USAGE
    usage = cast("Json", fields)
    prompt = _count(usage.get("prompt_tokens"))
    if prompt is None and (prompt := _count(usage.get("input_tokens"))) is not None:
        cached = ("cache_read_input_tokens", "cache_creation_input_tokens")
        prompt += sum(_count(usage.get(name)) or 0 for name in cached)
    completion = _count(usage.get("completion_tokens"))
    if completion is None:
        completion = _count(usage.get("output_tokens"))
    total, thought = _count(usage.get("total_tokens")), _reasoning_tokens(usage)
    if prompt is None and total is not None and completion is not None:
        prompt = total - completion
    outputs = [count for count in (completion, thought) if count is not None]
    if total is not None and prompt is not None:
        outputs.append(total - prompt)
    output = max(outputs) if outputs else None
    return Usage(prompt if prompt and prompt > 0 else None, output)


def find_error(response: Json) -> Json | None:
    """The error object of a response without an answer, in the forms that servers have for it."""
    if error := response.get("error") or response.get("errors"):
        return _error_object(error, response)
    if detail := response.get("detail"):  # FastAPI
        return {"message": detail if isinstance(detail, str) else json.dumps(detail)}
    is_error = response.get("object") == "error" or response.get("type") == "error"
    if is_error or ("message" in response and "choices" not in response):
        return response
    return None


def error_message(error: Json) -> str:
    """What an error object says, on one line."""
    said = error.get("message") or error.get("msg") or error.get("type") or "no reason given"
    text = said if isinstance(said, str) else json.dumps(said)
    return " ".join(clean(text).split())


def clean(text: str) -> str:
    """`text` as Unicode that can be written: halves of a pair joined, a lone one as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_other_model(asked: str, served: str | None) -> bool:
    """Whether a server names another model than the one asked for; a version of it is the same.

    "gpt-4.1" and "openai/gpt-4.1-2025-04-14" are one, "gpt-4.1" and "gpt-4.1-mini" are not.
    """
    if served is None:
        return False
    wanted, named = (
        name.casefold().rpartition("/")[2].partition(":")[0] for name in (asked, served)
    )
    version = named.removeprefix(wanted) if named.startswith(wanted) else wanted.removeprefix(named)
    is_version = re.fullmatch(r"(?:[-@](?:\d{3,}[\d.-]*|v\d[\d.-]*|latest))?", version) is not None
    return not (is_version and (named.startswith(wanted) or wanted.startswith(named)))


def _error_object(error: object, response: Json | None = None) -> Json:
    errors = cast("list[object]", error) if isinstance(error, list) else [error]
    error = errors[0] if errors else "no reason given"
    if isinstance(error, dict):
        return cast("Json", error)
    return {"message": str(error), "code": (response or {}).get("code")}


def _read_json(content: bytes) -> object:
    """A body as JSON; the events of a stream are put together."""
    body = content.removeprefix(b"\xef\xbb\xbf").strip()
    if body.startswith((b"data:", b"event:", b"id:", b":")):
        return _joined_events(body)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        start = body[:60].decode("utf-8", "replace")
        kind = "a page" if body[:1] == b"<" else "not JSON"
        raise NotACompletion(f"an answer that is {kind}: {clean(start)!r}") from None


def _joined_events(body: bytes) -> object:
    """The completion that server-sent events spell; one that never ends has no finish reason."""
    texts: list[str] = []
    whole: dict[str, object] = {}
    choice: dict[str, object] = {}
    for line in body.splitlines():
        data = line.removeprefix(b"data:").strip()
        if line[:5] != b"data:" or data in (b"", b"[DONE]"):
            continue
        event = _read_json(data)
        if not isinstance(event, dict):
            raise NotACompletion("a stream with an event that is not an object")
        chunk = cast("Json", event)
        if error := chunk.get("error"):
            raise ServerError(_error_object(error, chunk), read_usage(chunk))
        whole |= {name: value for name, value in chunk.items() if value is not None}
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices:
            first = _first_choice(cast("list[object]", choices), NO_USAGE)
            if _count(first.get("index")) not in (0, None):
                continue  # of another choice
            message = _message_of(first, NO_USAGE)
            texts.append(_text_of(message.get("content"), NO_USAGE))
            choice |= {name: value for name, value in first.items() if value is not None}
            choice |= {"seen": message} if message.get("tool_calls") else {}
    if not choice:
        raise NotACompletion("a stream without an answer", read_usage(whole))
    tools = cast("Json", choice.pop("seen", {})).get("tool_calls")
    message = {"content": "".join(texts), "tool_calls": tools}
    return {**whole, "choices": [{**choice, "delta": None, "text": None, "message": message}]}


def _first_choice(choices: Iterable[object], usage: Usage) -> Json:
    """The choice of index 0, wherever it stands; the first if none has an index."""
    found = [cast("Json", choice) for choice in choices if isinstance(choice, dict)]
    if not found:
        raise NotACompletion("an answer whose choices are no objects", usage)
    zeros = [choice for choice in found if _count(choice.get("index")) == 0]
    return (zeros or found)[0]


def _message_of(choice: Json, usage: Usage) -> Json:
    """The message of a choice: of a chat, of a stream, or of a completion (its bare text)."""
    for name in ("message", "delta"):
        message = choice.get(name)
        if isinstance(message, dict):
            return cast("Json", message)
    if isinstance(choice.get("text"), str):
        return {"content": choice["text"]}
    raise NotACompletion("an answer that is not a completion: no message and no text", usage)


def _text_of(content: object, usage: Usage) -> str:
    """Content as one text, without the parts that are thoughts or calls of tools."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return _part_text(cast("Json", content), usage)
    if not isinstance(content, list):
        raise NotACompletion(f"an answer whose content is {type(content).__name__}", usage)
    return "".join(_part_text(part, usage) for part in cast("list[object]", content))


def _part_text(part: object, usage: Usage) -> str:
    if isinstance(part, str):
        return part
    fields: Json = cast("Json", part) if isinstance(part, dict) else {}
    kind, text = fields.get("type", "text"), fields.get("text")
    if kind in (*_THOUGHT_PARTS, *_TOOL_PARTS, "refusal"):
        return ""
    if isinstance(text, dict):
        text = cast("Json", text).get("value")
    if kind in _TEXT_PARTS and isinstance(text, str):
        return text
    raise NotACompletion(f"an answer with a part of content of type {kind!r}", usage)


def _finish_reason(choice: Json, message: Json) -> str | None:
    content = message.get("content")
    parts = cast("list[object]", content) if isinstance(content, list) else []
    kinds = [cast("Json", part).get("type") for part in parts if isinstance(part, dict)]
    if message.get("refusal") or "refusal" in kinds:
        return "refusal"
    has_tools = message.get("tool_calls") or message.get("function_call")
    if has_tools or any(kind in _TOOL_PARTS for kind in kinds):
        return "tool_calls"
    reason = choice.get("finish_reason", choice.get("stop_reason"))
    if isinstance(reason, dict):  # TGI and others: {"type": "length"}
        reason = cast("Json", reason).get("type") or "unknown"
    # A router may say "stop" for what its provider called a cut, and keeps the provider's word.
    native = choice.get("native_finish_reason")
    word = _word(native if _ENDED_EARLY.search(str(native)) else reason, 40)
    return "stop" if word and word.casefold() == "stop" else word


def _word(value: object, length: int) -> str | None:
    """A short text on one line; None for nothing."""
    if value is None or value == "":
        return None
    return " ".join(clean(str(value)).split())[:length] or None


def _count(value: object) -> int | None:
    """A number of tokens: an integer, or a text or float that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return math.ceil(number) if math.isfinite(number) and 0 <= number < 1e12 else None


def _reasoning_tokens(usage: Json) -> int | None:
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    fields = cast("Json", details) if isinstance(details, dict) else usage
    thought, said = _count(fields.get("reasoning_tokens")), _count(usage.get("completion_tokens"))
    if thought is None or said is None or thought <= said:
        return thought
    return thought + said  # some count the thought apart


def _plausible(usage: Usage, text: str) -> Usage:
    """`usage`, without a count of 0 tokens for a text that has some."""
    return usage._replace(completion_tokens=None) if text and not usage[1] else usage


def _first_logprob(logprobs: object) -> float | None:
    """The first token's log-probability of a chat or of a completion; None for anything else."""
    fields: Json = cast("Json", logprobs) if isinstance(logprobs, dict) else {}
    content, values = fields.get("content"), fields.get("token_logprobs")
    value: object = None
    if isinstance(content, list) and content and isinstance(content[0], dict):
        value = cast("Json", content[0]).get("logprob")
    elif isinstance(values, list) and values:
        value = cast("list[object]", values)[0]
    return _finite(value)


def _token_logprobs(logprobs: object) -> tuple[ScoredToken, ...]:
    """The tokens of a completion with their log-probabilities; none for anything else."""
    fields: Json = cast("Json", logprobs) if isinstance(logprobs, dict) else {}
    tokens, values = fields.get("tokens"), fields.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list):
        return ()
    texts, logs = cast("list[object]", tokens), cast("list[object]", values)
    if len(texts) != len(logs):
        return ()
    pairs = zip(texts, logs, strict=True)
    return tuple(ScoredToken(str(text), _finite(value)) for text, value in pairs)


def _finite(value: object) -> float | None:
    return float(value) if is_finite(value) else None
