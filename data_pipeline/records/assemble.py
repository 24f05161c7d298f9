"""One symbol's prices, news and filings into records; a week without a record has a reason."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from data_pipeline.providers.base import Filing, Profile
from data_pipeline.records.calendar import (
    WEEK,
    Week,
    decision_time,
    exchange_of,
    shares_factor,
    splits_between,
    sunday_on_or_before,
    weekly_return,
    weeks_of,
)
from data_pipeline.records.fundamentals import (
    introduce,
    is_in_line,
    latest,
    new_shares,
    shares_known,
)
from data_pipeline.records.news import choose, news_of_week
from weekahead.schema.rows import LeftOutWeek
from weekahead.task.record import Capitalization, Financials, News, PastWeek, Record

if TYPE_CHECKING:
    import pandas


class ContextWeeks(NamedTuple):
    """How many past weeks a prompt shows, at least and at most."""

    least: int
    most: int


CONTEXT = ContextWeeks(1, 4)
_LEAST_VALUE, _MOST_VALUE = 1e6, 3e13
"""A capitalization outside these bounds is one of a wrong unit."""


@dataclass(frozen=True)
class Company:
    """All that is known of one symbol, over all time.

    What a record may use of it is decided by the record's own moment.
    """

    symbol: str
    prices: "pandas.DataFrame"
    """As `price_gate.check_prices` gives them."""
    news: Sequence[News] = ()
    """In the order of time."""
    profile: Profile | None = None
    quarters: Sequence[Financials] = ()
    filings: Sequence[Filing] = ()
    no_capitalization: str | None = None
    """Why its prices do not give a market capitalization; None if they do."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Marks that belong in every record, such as that of a fictional market."""


class Assembled(NamedTuple):
    """Records, and the weeks that gave none."""

    records: list[Record]
    left_out: list[LeftOutWeek]


def forecast_weeks(first: date, last: date) -> list[date]:
    """The Sundays of the weeks that lie whole in `first` to `last` (both included).

    Raises ValueError if there is none.
    """
    start = sunday_on_or_before(first + timedelta(days=6))
    weeks = []
    while start + WEEK - timedelta(days=1) <= last:
        weeks.append(start)
        start += WEEK
    if not weeks:
        raise ValueError(
            f"no whole week (Sunday to Saturday) lies in {first} to {last}; choose a longer window"
        )
    return weeks


def records_of(
    company: Company,
    weeks: Sequence[date],
    context: ContextWeeks = CONTEXT,
    *,
    ahead: bool = False,
) -> Assembled:
    """The records of the forecast weeks that begin on the Sundays `weeks`.

    A record shows as many past weeks as a seed from its id draws from `context`; fewer if an
    incomplete week comes first. With `ahead` a week may be one that has not passed: its record has
    no return. Raises ValueError for a symbol whose exchange is unknown.
    """
    if not weeks:
        return Assembled([], [])
    exchange = exchange_of(company.symbol)
    first = weeks[0] - (context.most + 1) * WEEK
    calendar = weeks_of(company.prices, exchange, first, weeks[-1])
    news = {week: _news_of(company, exchange, week) for week in calendar}
    assembled = Assembled([], [])
    for start in weeks:
        past = list(_complete_before(calendar, start))
        is_to_come = ahead and calendar[start].closed_at is not None
        reason = None if is_to_come else _why_incomplete(calendar[start])
        reason = reason or _why_no_context(calendar, start, past, context)
        if reason:
            assembled.left_out.append(left_out_week(company.symbol, start, reason))
        else:
            assembled.records.append(_record(company, calendar[start], past, news, context))
    return assembled


def left_out_week(symbol: str, week: date, reason: str) -> LeftOutWeek:
    """A symbol's week that gives no record, and why."""
    return {
        "id": f"{symbol}-{week}",
        "symbol": symbol,
        "week_start": week.isoformat(),
        "reason": reason,
    }


def _why_incomplete(week: Week) -> str | None:
    return f"forecast week: {week.missing}" if week.missing else None


def _why_no_context(
    calendar: Mapping[date, Week], start: date, past: Sequence[Week], context: ContextWeeks
) -> str | None:
    """Why there are too few complete weeks before the one of `start`; None if there are enough."""
    # One week more than is shown: a week's move is told from the close before it.
    if len(past) <= context.least:
        first_bad = calendar[start - (len(past) + 1) * WEEK]
        return f"context: {first_bad.missing} in the week of {first_bad.start}"
    return None


def _record(
    company: Company,
    week: Week,
    past: Sequence[Week],
    news: Mapping[date, Sequence[News]],
    context: ContextWeeks,
) -> Record:
    """The record of a week; `past` are the complete weeks before it, the nearest first.

    It has no return if the week is not complete.
    """
    start, before = week.start, past[0]
    name = f"{company.symbol}-{start}"
    now = decision_time(exchange_of(company.symbol), start)
    count = min(random.Random(name).randint(*context), len(past) - 1)
    shown = past[count::-1]
    factor = shares_factor(company.prices, start - timedelta(days=1))
    weeks = []
    for previous, shown_week in itertools.pairwise(shown):
        chosen = choose(news[shown_week.start], f"{name}/{shown_week.start}")
        weeks.append(_past_week(previous, shown_week, factor, chosen))
    return Record(
        symbol=company.symbol,
        company=introduce(company.symbol, company.profile),
        weeks=tuple(weeks),
        week_start=start.isoformat(),
        week_end=(start + WEEK).isoformat(),
        decision_time=now,
        weekly_return=None if week.missing else weekly_return(before, week),
        last_week_return=weekly_return(past[1], before),
        financials=latest(company.quarters, now),
        capitalization=_capitalization(company, before, factor, now),
        extra=dict(company.extra),
    )


def _complete_before(calendar: Mapping[date, Week], start: date) -> Iterator[Week]:
    """The complete weeks right before `start`, the nearest first, up to the first that is not."""
    week = calendar.get(start - WEEK)
    while week and not week.missing:
        yield week
        week = calendar.get(week.start - WEEK)


def _news_of(company: Company, exchange: str, week: date) -> list[News]:
    return news_of_week(
        company.news, decision_time(exchange, week), decision_time(exchange, week + WEEK)
    )


def _past_week(before: Week, week: Week, factor: float, news: tuple[News, ...]) -> PastWeek:
    """A past week as a reader saw it: closes in the shares of the record's day, and its news."""
    assert before.close is not None and week.close is not None
    return PastWeek(
        start=week.start.isoformat(),
        end=(week.start + WEEK).isoformat(),
        open_price=_rounded(before.close * factor),
        close_price=_rounded(week.close * factor),
        news=news,
        closed_at=week.closed_at,
    )


def _rounded(price: float) -> float:
    """A price with four decimals; below 1 with six significant digits."""
    return round(price, 4) if price >= 1 else float(f"{price:.6g}")


def _capitalization(
    company: Company, before: Week, factor: float, now: str
) -> Capitalization | None:
    """The last close times the shares filed by then, with the splits since their filing.

    None if price, number of shares or splits are in doubt.
    """
    filing = shares_known(company.filings, now)
    if filing is None or not filing.shares or before.close is None or company.no_capitalization:
        return None
    splits = splits_between(company.prices, filing.filed, before.start + WEEK - timedelta(days=1))
    shares_since = new_shares(splits)
    in_line = is_in_line(filing, company.filings, lambda day: shares_factor(company.prices, day))
    value = before.close * factor * filing.shares * (shares_since or 0.0)
    if not in_line or not _LEAST_VALUE < value < _MOST_VALUE:
        return None
    return Capitalization(round(value, 2), filing.known_at)
