"""What the audit reads out of a prompt's text, in the public dataset's wording and in ours."""

import re
from datetime import date
from typing import NamedTuple

from weekahead.task.labels import BINS, label_of_return

_DAY = r"\d{4}-\d\d-\d\d"
_PRICE = r"\d[\d,]*(?:\.\d+)?"
_MOVE = re.compile(
    rf"^(?:From {_DAY} to (?P<adjusted>{_DAY}), .*? price \w+ from|\[Week to (?P<raw>{_DAY})\]:)"
    rf" (?P<before>{_PRICE}) to (?P<after>{_PRICE})",
    re.MULTILINE,
)
_NEWS = re.compile(r"^(?:\[Headline\]|\[Summary\]|- ).*$", re.MULTILINE)
_MARKET_CAP = r"market cap(?:italization)?\b\D{0,30}(\d[\d.,]*\d|\d)"
_CAP_IN_WORDS = re.compile(_MARKET_CAP, re.IGNORECASE)
_CAP_LINE = re.compile(f"^{_MARKET_CAP}", re.IGNORECASE | re.MULTILINE)
_QUARTER = re.compile(
    rf"(?:basic financials of \S+, reported at|\[Basic Financials, quarter ended) ({_DAY})", re.I
)
_ASSET = re.compile(r"your prediction of the \S+ cryptocurrency price movement")
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


class Move(NamedTuple):
    """One price line: the week's last day (ISO), both prices, and whether dividends are missing from them."""

    end: str
    before: float
    after: float
    raw: bool


def moves_of(user: str) -> tuple[Move, ...]:
    """The price lines of a prompt in their order; lines whose first price is printed as zero are passed over."""
    found = (
        Move(
            line["adjusted"] or line["raw"],
            *(float(line[name].replace(",", "")) for name in ("before", "after")),
            raw=bool(line["raw"]),
        )
        for line in _MOVE.finditer(user)
    )
    return tuple(move for move in found if move.before > _CENT)


def bins_of(move: Move) -> tuple[str, ...]:
    """The bins in which the week's return can lie: prices are rounded, and raw ones lack a dividend."""
    lowest = (move.after - _CENT) / (move.before + _CENT) - 1
    highest = (move.after + _CENT) / (move.before - _CENT) - 1 + (DIVIDEND if move.raw else 0)
    first, last = (BINS.index(label_of_return(value)) for value in (lowest, highest))
    return BINS[first : last + 1]


def market_cap(user: str) -> str | None:
    """The market capitalization in a company's introduction or on a line of its own, as printed; news is not read."""
    ends = [found.start() for pattern in (_MOVE, _NEWS) if (found := pattern.search(user))]
    found = _CAP_IN_WORDS.search(user[: min(ends, default=len(user))]) or _CAP_LINE.search(user)
    return found[1] if found else None


def quarter_end(user: str) -> date | None:
    """The last day of the quarter whose financials a prompt quotes. Raises ValueError for no calendar day."""
    found = _QUARTER.search(user)
    return date.fromisoformat(found[1]) if found else None


def asks_for_wrong_asset(system: str, user: str) -> bool:
    """Whether a company's prompt asks for a cryptocurrency's movement; news about one does not count."""
    return "crypto" not in system.lower() and bool(_ASSET.search(user))


def told_label(system: str, user: str, label: str | None, week_start: str) -> str | None:
    """How a prompt gives its outcome away, in a few words; None when it does not.

    A filled-in prediction, label or return, a price line that ends after `week_start` (ISO), or the label's
    own words. In a line of news these count only beside words to the forecaster ("your prediction"), since
    news may report or expect such a move; a line that names three bins or more is a choice.
    """
    if any(move.end > week_start for move in moves_of(user)):
        return "price line of the forecast week"
    own = [line for line in user.splitlines() if not _NEWS.match(line)]
    if any(_FILLED_IN.match(line) or _STATED.match(line) for line in own):
        return "filled-in prediction, label or return"
    for line in f"{system}\n{user}".splitlines():
        named = {_bin(found) for found in _BIN.finditer(line)}
        if label in named and len(named) < 3 and (_TOLD.search(line) or not _NEWS.match(line)):
            return "the label's words"
    return None


def _bin(found: re.Match[str]) -> str:
    step = f"{found['low']}-{int(found['low']) + 1}%" if found["low"] else "more than 5%"
    return f"{found['way'].lower()} by {step}"
