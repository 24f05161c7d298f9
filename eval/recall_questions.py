"""The questions of the price-recall probe: a symbol's weeks, each with its own closing price and four others'.

Pure functions from dataset rows to questions; `eval.memorization` asks them.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from weekahead.files import Row

OPTIONS = 5
_LINES = (
    re.compile(
        r"^\[Week to (?P<end>\d{4}-\d\d-\d\d)\]: [\d.]+ to (?P<price>\d+(?:\.\d+)?) ", re.MULTILINE
    ),
    re.compile(
        r"^From \S+ to (?P<end>\d{4}-\d\d-\d\d), .*? price \w+ from [\d,.]+ to (?P<price>[\d,]+(?:\.\d+)?)",
        re.MULTILINE,
    ),
)


@dataclass(frozen=True)
class Question:
    """One symbol and week with its prices to choose from, the true one first; written as in the sentence."""

    symbol: str
    week_end: str
    before_cutoff: bool | None
    """None where the recipe states no cut-off."""
    options: tuple[str, ...]

    @property
    def sentences(self) -> list[str]:
        """One for each option."""
        day = last_weekday_before(self.week_end)
        return [
            f"On {day}, the closing price of {self.symbol} was ${price}." for price in self.options
        ]


def last_weekday_before(day: str) -> str:
    """The last Monday to Friday before an ISO date: the Friday before the Sunday on which a week ends."""
    before = date.fromisoformat(day) - timedelta(days=1)
    return (before - timedelta(days=max(0, before.weekday() - 4))).isoformat()


def prices_of(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """(symbol, end of the week) -> closing price with two decimals, from the price lines of the user messages.

    Where prompts differ about a week the earliest one counts: a later one may be in the shares of after a split.
    """
    found: dict[tuple[str, str], str] = {}
    for row in sorted(rows, key=lambda row: (row["week_start"], row["id"])):
        text = "\n".join(turn["content"] for turn in row["prompt"] if turn["role"] == "user")
        for line in (line for pattern in _LINES for line in pattern.finditer(text)):
            found.setdefault(
                (row["symbol"], line["end"]), f"{float(line['price'].replace(',', '')):.2f}"
            )
    return found


def questions(
    prices: Mapping[tuple[str, str], str], cutoff: date | None, seed: int = 0
) -> list[Question]:
    """A question for every price that has OPTIONS - 1 other prices of its symbol on its side of `cutoff`.

    A week that ends on the cut-off is before it.
    """
    groups: dict[tuple[str, bool | None], dict[str, str]] = {}
    for (symbol, end), price in prices.items():
        side = None if cutoff is None else date.fromisoformat(end) <= cutoff
        groups.setdefault((symbol, side), {})[end] = price
    asked = []
    for (symbol, side), known in groups.items():
        for end, price in known.items():
            others = sorted(set(known.values()) - {price})
            if len(others) >= OPTIONS - 1:
                decoys = random.Random(f"{seed}/{symbol}/{end}").sample(others, OPTIONS - 1)
                asked.append(Question(symbol, end, side, (price, *decoys)))
    return sorted(asked, key=lambda one: (one.week_end, one.symbol))
