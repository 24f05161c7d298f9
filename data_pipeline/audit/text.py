"""What the audit concludes from a prompt: whether it gives the outcome away, which bins it allows."""

import re

from weekahead.task.labels import BINS, label_of_return
from weekahead.task.prompt_reader import PriceMove, PromptFacts, is_news_line, read_prompt

_BIN = re.compile(
    # "Up or Down by 0-1%" offers a choice and tells nothing.
    r"(?<!\bor )\b(?P<way>up|down)\s+by\s+"
    r"(?:(?P<low>[0-4])\s*[-\u2013]\s*[1-5]\s*%|more than 5\s*%|5\+\s*%)",
    re.IGNORECASE,
)
_FILLED_IN = re.compile(rf"\W*prediction\W+{_BIN.pattern}", re.IGNORECASE)
_STATED = re.compile(r"[\"'*_ ]*(?:label|weekly[ _]return)[\"'*_ ]*[:=]", re.IGNORECASE)
_TOLD = re.compile(
    r"\b(?:your (?:prediction|forecast|answer)|the (?:true |right )?label)\b", re.IGNORECASE
)

DIVIDEND = 0.02
"""Our prompts show raw closes and our labels count dividends: such a yield may lie between the two."""
_CENT = 0.005  # prices are printed with two decimals


def moves_of(facts: PromptFacts) -> tuple[PriceMove, ...]:
    """The price lines of a prompt without those whose first price is printed as zero."""
    return tuple(move for move in facts.price_moves if move.before > _CENT)


def bins_of(move: PriceMove) -> tuple[str, ...]:
    """The bins in which the week's return can lie: prices are rounded, and raw ones lack a dividend."""
    lowest = (move.after - _CENT) / (move.before + _CENT) - 1
    highest = (move.after + _CENT) / (move.before - _CENT) - 1 + (DIVIDEND if move.raw else 0)
    first, last = (BINS.index(label_of_return(value)) for value in (lowest, highest))
    return BINS[first : last + 1]


def told_label(system: str, user: str, label: str | None, week_start: str) -> str | None:
    """How a prompt gives its outcome away, in a few words; None when it does not.

    A filled-in prediction, label or return, a price line that ends after `week_start` (ISO), or the label's
    own words. In a line of news these count only beside words to the forecaster ("your prediction"), since
    news may report or expect such a move; a line that names three bins or more is a choice.
    """
    if any(move.end > week_start for move in moves_of(read_prompt(user))):
        return "price line of the forecast week"
    own = [line for line in user.splitlines() if not is_news_line(line)]
    if any(_FILLED_IN.match(line) or _STATED.match(line) for line in own):
        return "filled-in prediction, label or return"
    for line in f"{system}\n{user}".splitlines():
        named = {_bin(found) for found in _BIN.finditer(line)}
        if label in named and len(named) < 3 and (_TOLD.search(line) or not is_news_line(line)):
            return "the label's words"
    return None


def _bin(found: re.Match[str]) -> str:
    step = f"{found['low']}-{int(found['low']) + 1}%" if found["low"] else "more than 5%"
    return f"{found['way'].lower()} by {step}"
