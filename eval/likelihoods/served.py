"""The log-probabilities of the twelve bins from a server, if it states those of a prompt's tokens.

The quantity is that of `continuations.log_probabilities`, from one request per bin: the tokens of
the whole text go to /v1/completions as ids, with `echo` and `logprobs`. vLLM and SGLang then state
a log-probability for each token of the prompt. Other servers ignore `echo` and state that of the
token that they wrote, so whatever does not fit the tokens that were sent is refused.
"""

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eval.likelihoods.continuations import Choices
from weekahead.openai_client import Failed, OpenAIClient, Refused, Unacceptable
from weekahead.openai_reply import ServerReply
from weekahead.request_form import NEUTRAL, NEUTRAL_ELSEWHERE
from weekahead.schema.manifests import JsonObject

_LONGEST = 120.0
"""Seconds for the requests of one company."""
_ROUNDING = 0.05
"""How far twelve probabilities in 16 bits may add up to more than 1."""


class NotStated(ValueError):
    """The server does not give the probabilities; the message is why."""


def served_log_probabilities(model: str, row: Choices, tokenizer: Any) -> list[float]:
    """The log-probability (natural log) of each tail of `row`, from the server of OPENAI_BASE_URL.

    `model` is the name by which it knows the model, `tokenizer` the one that made the tokens.
    Raises NotStated if it does not answer, or with anything else than this quantity.
    """
    # Answers may be coming in now, in an event loop of this thread.
    with ThreadPoolExecutor(1) as thread:
        replies = thread.submit(asyncio.run, _ask(scoring_bodies(model, row))).result()
    texts = tokenizer.batch_decode(row.tails)
    answers = zip(row.tails, texts, replies, strict=True)
    logs = [tail_log_probability(reply, row.shared, tail, text) for tail, text, reply in answers]
    total = math.fsum(map(math.exp, logs))
    if total > 1 + _ROUNDING:
        raise NotStated(
            f"the server's probabilities of twelve different texts add up to {total:.2f}; "
            "expected at most 1"
        )
    return logs


def scoring_bodies(model: str, row: Choices) -> list[JsonObject]:
    """One request per tail. The token that the server has to write is not used."""
    common: JsonObject = {
        "model": model,
        "max_tokens": 1,
        "temperature": 1.0,
        "echo": True,
        "logprobs": 1,
        **NEUTRAL,
        **NEUTRAL_ELSEWHERE,
    }
    return [{**common, "prompt": [*row.shared, *tail]} for tail in row.tails]


async def _ask(bodies: Sequence[JsonObject]) -> list[ServerReply]:
    client = OpenAIClient(server="endpoint")
    try:
        async with asyncio.timeout(_LONGEST):
            answers = await asyncio.gather(*(client.ask(body) for body in bodies))
    except TimeoutError:
        raise NotStated(f"the server did not answer in {_LONGEST:g} s") from None
    except (Failed, Refused, Unacceptable) as error:
        reason = " ".join(map(str, error.args)).partition(";")[0]  # the remedies are a text's
        raise NotStated(f"the server does not score a prompt's tokens ({reason})") from None
    finally:
        await client.close()
    return [answered.reply for answered in answers]


def tail_log_probability(
    reply: ServerReply, shared: Sequence[int], tail: Sequence[int], text: str
) -> float:
    """The log-probability of `tail`, which reads `text`, after the tokens `shared`.

    Raises NotStated if the reply has not one value per token that was sent, or other tokens.
    """
    sent, stated = len(shared) + len(tail), reply.token_logprobs
    if len(stated) not in (sent, sent + 1):  # the one that it wrote may follow
        raise NotStated(
            f"the server states log-probabilities of {len(stated)} tokens, not of the {sent} that "
            "it was sent (vLLM and SGLang do, for /v1/completions with echo)"
        )
    counted = reply.usage.prompt_tokens
    if counted not in (None, sent) or stated[0].logprob:
        raise NotStated(f"the server was sent {sent} tokens and read others (it counts {counted})")
    of_tail = stated[len(shared) : sent]
    read = "".join(token.text for token in of_tail)
    if _letters(read) != _letters(text):
        raise NotStated(
            f"the server reads the tokens of {text.strip()!r} as {read.strip()!r}: its model has "
            "another tokenizer than the recipe's base"
        )
    values = [token.logprob for token in of_tail if token.logprob is not None]
    if len(values) < len(tail) or max(values) > 0:
        raise NotStated(f"the server states no log-probability of a token of {text.strip()!r}")
    return math.fsum(values)


def _letters(text: str) -> str:
    """A text without its spaces: some servers write a token without the one before it."""
    return "".join(text.split())
