"""One symbol's prices, news and filings into records: pure, with a reason for every week that gives none."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from data_pipeline.records.calendar import (
    WEEK,
    Week,
    decision_time,
    exchange_of,
    shares_factor,
    sunday_on_or_before,
    weekly_return,
    weeks_of,
)
from data_pipeline.records.fundamentals import Filing, introduce, latest, shares_known
from data_pipeline.records.news import choose, news_of_week
from weekahead.files import Row
from weekahead.task.record import Capitalization, Financials, News, PastWeek, Record

if TYPE_CHECKING:
    import pandas

MIN_CONTEXT, MAX_CONTEXT = 1, 4
"""Past weeks that a prompt shows."""


@dataclass(frozen=True)
class Company:
    """All that is known of one symbol, over all time; what a record may use of it is decided by its own moment."""

    symbol: str
    prices: "pandas.DataFrame"
    """As `prices.read_prices` gives them."""
    news: Sequence[News] = ()
    profile: Row | None = None
    quarters: Sequence[Financials] = ()
    filings: Sequence[Filing] = ()
    extra: Row = field(default_factory=dict)


def forecast_weeks(first: date, last: date) -> list[date]:
    """The Sundays of the weeks that lie whole in `first` to `last` (both included).

    Raises ValueError where there is none.
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
    company: Company, weeks: Sequence[date], context: tuple[int, int] = (MIN_CONTEXT, MAX_CONTEXT)
) -> tuple[list[Record], list[Row]]:
    """(records, dropped) for the forecast weeks that begin on the Sundays `weeks`; every week is in one of them.

    A record shows between `context[0]` and `context[1]` past weeks, drawn by a seed from its id; fewer where an
    incomplete week comes first. Raises ValueError for a symbol whose exchange is unknown.
    """
    if not weeks:
        return [], []
    exchange = exchange_of(company.symbol)
    calendar = weeks_of(company.prices, exchange, weeks[0] - (context[1] + 1) * WEEK, weeks[-1])
    told = {week: _news_of(company, exchange, week) for week in calendar}
    records, dropped = [], []
    for start in weeks:
        made = _record(company, exchange, calendar, told, start, context)
        if isinstance(made, Record):
            records.append(made)
        else:
            dropped.append(left_out_row(company.symbol, start, made))
    return records, dropped


def left_out_row(symbol: str, week: date, reason: str) -> Row:
    """A symbol's week that gives no record, and why."""
    return {
        "id": f"{symbol}-{week}",
        "symbol": symbol,
        "week_start": week.isoformat(),
        "reason": reason,
    }


def _record(
    company: Company,
    exchange: str,
    calendar: Mapping[date, Week],
    told: Mapping[date, Sequence[News]],
    start: date,
    context: tuple[int, int],
) -> Record | str:
    """The record of one week, or why there is none."""
    name = f"{company.symbol}-{start}"
    now, week, before = decision_time(exchange, start), calendar[start], calendar[start - WEEK]
    if week.missing:
        return f"forecast week: {week.missing}"
    past = list(_complete_before(calendar, start))
    if len(past) <= context[0]:
        first_bad = calendar[start - (len(past) + 1) * WEEK]
        return f"context: {first_bad.missing} in the week of {first_bad.start}"
    # One week more than is shown: a week's move is told from the close before it.
    shown = past[: min(random.Random(name).randint(*context), len(past) - 1) + 1][::-1]
    factor = shares_factor(company.prices, start - timedelta(days=1))
    return Record(
        symbol=company.symbol,
        company=introduce(company.symbol, company.profile),
        weeks=tuple(
            _past_week(one, other, factor, choose(told[other.start], f"{name}/{other.start}"))
            for one, other in itertools.pairwise(shown)
        ),
        week_start=start.isoformat(),
        week_end=(start + WEEK).isoformat(),
        decision_time=now,
        weekly_return=weekly_return(before, week),
        last_week_return=weekly_return(past[1], before),
        financials=latest(company.quarters, now),
        capitalization=_capitalization(company, before, factor, now),
        extra=dict(company.extra),
    )


def _complete_before(calendar: Mapping[date, Week], start: date) -> Iterator[Week]:
    """The complete weeks right before `start`, the nearest first, up to the first that is not."""
    one = calendar.get(start - WEEK)
    while one and not one.missing:
        yield one
        one = calendar.get(one.start - WEEK)


def _news_of(company: Company, exchange: str, week: date) -> list[News]:
    return news_of_week(
        company.news, decision_time(exchange, week), decision_time(exchange, week + WEEK)
    )


def _past_week(before: Week, week: Week, factor: float, news: tuple[News, ...]) -> PastWeek:
    """A past week as a reader saw it: closes in the shares of the record's own day, and some of its news."""
    assert before.close is not None and week.close is not None
    return PastWeek(
        start=week.start.isoformat(),
        end=(week.start + WEEK).isoformat(),
        open_price=round(before.close * factor, 4),
        close_price=round(week.close * factor, 4),
        news=news,
        closed_at=week.closed_at,
    )


def _capitalization(
    company: Company, before: Week, factor: float, now: str
) -> Capitalization | None:
    """The last close times the shares filed by then, which are counted up by the splits since their filing."""
    filing = shares_known(company.filings, now)
    if filing is None or not filing.shares or before.close is None:
        return None
    splits_since = shares_factor(company.prices, filing.filed) / factor
    return Capitalization(
        round(before.close * factor * filing.shares * splits_since, 2), filing.known_at
    )
