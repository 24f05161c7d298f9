"""Reads facts back out of a prompt, in our layout and in that of the public FinGPT rows.

Two modules know the layout of a prompt: `prompt.py` writes ours, this one reads both. What follows
from the facts (a leak, a masked name, a price question) belongs to the callers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_DAY = r"\d{4}-\d\d-\d\d"
_PRICE = r"\d[\d,]*(?:\.\d+)?"
# The public line is "From 2023-05-07 to 2023-05-14, AAPL's stock price decreased from 172.65 to
# 171.89.", ours is "[Week to 2023-05-14]: 172.65 to 171.89 (-0.4%)".
_PRICE_LINE = re.compile(
    rf"^(?:From \S+ to (?P<adjusted>{_DAY}), .*? price \w+ from|\[Week to (?P<raw>{_DAY})\]:)"
    rf" (?P<before>{_PRICE}) to (?P<after>{_PRICE})",
    re.MULTILINE,
)
# The first pattern that matches counts: a name before a ticker, a bare name, the public layout.
_COMPANY = (
    re.compile(r"^\[Company\]: (?P<name>[^\n]+?) \([^()\n]+\)[,.]", re.MULTILINE),
    re.compile(r"^\[Company\]: (?P<name>[^\n]+?)\.?$", re.MULTILINE),
    re.compile(r"\[Company Introduction\]:\s*(?P<name>[^\n]+?) is an? "),
)
_SECTOR = re.compile(
    r"^\[Company\]: [^\n]*\), (?:an? )?(?P<ours>[^\n]+?)(?: company)?\.$"
    r"|is a leading entity in the (?P<public>[^\n]{1,80}?) sector\b",
    re.MULTILINE,
)
_MARKET_CAP = r"market cap(?:italization)?\b\D{0,30}(\d[\d.,]*\d|\d)"
_MARKET_CAP_IN_INTRODUCTION = re.compile(_MARKET_CAP, re.IGNORECASE)
_MARKET_CAP_LINE = re.compile(f"^{_MARKET_CAP}", re.IGNORECASE | re.MULTILINE)
_QUARTER_END = re.compile(
    rf"(?:basic financials of \S+, reported at|\[Basic Financials, quarter ended) ({_DAY})",
    re.IGNORECASE,
)
# The public instruction, so that news about cryptocurrencies does not match.
_CRYPTOCURRENCY = re.compile(r"your prediction of the \S+ cryptocurrency price movement")

_NEWS_LINE = re.compile(r"^(?:\[Headline\]|\[Summary\]|- )", re.MULTILINE)
# Ours: the lines below the prices of a week. An item is one line: data_pipeline.records.news joins
# the lines of a story.
_OUR_NEWS = re.compile(r"(?P<week>^\[Week to [^\n]*)(?:\n- [^\n]*)+", re.MULTILINE)
# Public: a block ends where the next week, the figures or the question begin. A summary may contain
# blank lines.
_NEXT_PUBLIC_PART = (
    rf"(?=\n+(?:From {_DAY} to |Some recent basic financials |\[Basic Financials\]"
    r"|No basic financial |Based on all the information )|\Z)"
)
_PUBLIC_NEWS = re.compile(rf"\n*^\[Headline\]:.*?{_NEXT_PUBLIC_PART}", re.MULTILINE | re.DOTALL)
# What stands below the prices of a week: its news, or that there is none.
_BELOW_PRICES = (
    re.compile(
        rf"(?P<head>^\[Week to (?P<end>{_DAY})\]:[^\n]*)(?P<news>(?:\n- [^\n]*)*)", re.MULTILINE
    ),
    re.compile(
        rf"(?P<head>^From \S+ to (?P<end>{_DAY}), [^\n]*)(?P<news>.*?){_NEXT_PUBLIC_PART}",
        re.MULTILINE | re.DOTALL,
    ),
)


@dataclass(frozen=True)
class PriceMove:
    """The price line of one past week."""

    end: str
    """The last day of the week, an ISO date as printed."""
    before: float
    after: float
    raw: bool
    """Whether the prices are raw closes (our layout), which leave dividends out."""
    rounding: float = 0.005
    """By so much a printed price may differ from the price: half of its last digit."""


@dataclass(frozen=True)
class PromptFacts:
    """What a prompt says about its company; None if the prompt does not say it."""

    company: str | None
    """The name in the introduction."""
    sector: str | None
    price_moves: tuple[PriceMove, ...]
    """In the order of the prompt, which is oldest first."""
    quarter_end: str | None
    """The last day of the quarter of the financials, as printed: YYYY-MM-DD, not always a date."""
    market_cap: str | None
    """The figure as printed, in the introduction or on a line of its own, never in the news."""
    asks_about_cryptocurrency: bool
    """Whether the question is about the price of a cryptocurrency."""


def read_prompt(user_text: str) -> PromptFacts:
    """The facts in a user message of either layout. Does not raise on any text."""
    quarter_end = _QUARTER_END.search(user_text)
    return PromptFacts(
        company=_company(user_text),
        sector=sector_of(user_text),
        price_moves=tuple(_price_move(line) for line in _PRICE_LINE.finditer(user_text)),
        quarter_end=quarter_end[1] if quarter_end else None,
        market_cap=_market_cap(user_text),
        asks_about_cryptocurrency=bool(_CRYPTOCURRENCY.search(user_text)),
    )


def is_news_line(line: str) -> bool:
    """Whether a line of a user message is news: a headline, a summary, or an item of ours."""
    return bool(_NEWS_LINE.match(line))


def remove_news(user_text: str) -> str:
    """A user message of either layout without its news; everything else is unchanged."""
    return _PUBLIC_NEWS.sub("", _OUR_NEWS.sub(r"\g<week>", user_text))


def news_by_week(user_text: str) -> dict[str, str]:
    """The last day of each past week -> what stands below its prices, in either layout."""
    return {
        week["end"]: week["news"]
        for pattern in _BELOW_PRICES
        for week in pattern.finditer(user_text)
    }


def replace_news(user_text: str, news: Mapping[str, str]) -> str:
    """A user message with the `news` of another, by week as `news_by_week` gives it; a week that is
    not in `news` has none. Everything else is unchanged."""

    def replaced(week: re.Match[str]) -> str:
        return week["head"] + news.get(week["end"], "")

    for pattern in _BELOW_PRICES:
        user_text = pattern.sub(replaced, user_text)
    return user_text


def _price_move(line: re.Match[str]) -> PriceMove:
    before, after = (float(line[name].replace(",", "")) for name in ("before", "after"))
    if line["raw"] is None:
        return PriceMove(line["adjusted"], before, after, raw=False)
    # Public prices are rounded to cents, whatever zeros they end in; a low price of ours is not.
    digits = [len(line[name].partition(".")[2]) for name in ("before", "after")]
    return PriceMove(line["raw"], before, after, raw=True, rounding=0.5 * 10.0 ** -min(digits))


def _company(user_text: str) -> str | None:
    matches = (pattern.search(user_text) for pattern in _COMPANY)
    return next((match["name"] for match in matches if match), None)


def sector_of(user_text: str) -> str | None:
    """The company's sector as a user message states it; None if it does not."""
    sector = _SECTOR.search(user_text)
    return (sector["ours"] or sector["public"]).strip() if sector else None


def _market_cap(user_text: str) -> str | None:
    # The introduction ends at the first price line or at the first line of news.
    firsts = [pattern.search(user_text) for pattern in (_PRICE_LINE, _NEWS_LINE)]
    end = min((first.start() for first in firsts if first), default=len(user_text))
    introduction = user_text[:end]
    market_cap = _MARKET_CAP_IN_INTRODUCTION.search(introduction) or _MARKET_CAP_LINE.search(
        user_text
    )
    return market_cap[1] if market_cap else None
