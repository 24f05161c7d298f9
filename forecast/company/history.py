"""How a company's price moved before a week: what a page draws beside a forecast, in no prompt.

Nothing in it became known after the decision time, as in a prompt.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from data_pipeline.records.calendar import (
    WEEK,
    exchange_of,
    shares_factor,
    weekly_return,
    weeks_of,
)
from data_pipeline.records.price_gate import prices_known
from forecast.company.inputs import LiveSources, open_live
from weekahead.task.record import Record, read_records

WEEKS = 104
"""So many past weeks are asked of a provider."""


@dataclass(frozen=True)
class WeekMove:
    """A past week: its Sunday, its last close, and its return as a fraction (None if unknown)."""

    start: date
    close: float
    weekly_return: float | None


def history_of_records(path: Path, symbol: str, week: date) -> list[WeekMove]:
    """The weeks before the Sunday `week` that records of `symbol` show, the oldest first.

    Raises as `read_records` does.
    """
    return moves_of(
        record
        for record in read_records(path)
        if record.symbol == symbol and record.week_start <= week.isoformat()
    )


def moves_of(records: Iterable[Record]) -> list[WeekMove]:
    """The past weeks of one symbol's records, the oldest first, in the shares of the newest.

    A record tells the return of the week before it, and its prices are in the shares of its day: if
    the week before closed at another price in the record before, a split lies between.
    """
    newest_first = sorted(records, key=lambda record: record.week_start, reverse=True)
    moves: dict[str, WeekMove] = {}
    factor = 1.0
    for record, before in itertools.zip_longest(newest_first, newest_first[1:]):
        for week in record.weeks:
            is_last = week is record.weeks[-1]
            change = record.last_week_return if is_last else None
            move = WeekMove(date.fromisoformat(week.start), week.close_price * factor, change)
            if is_last or week.start not in moves:
                moves[week.start] = move
        if before and before.weeks and record.weeks[-1].start == before.week_start:
            factor *= record.weeks[-1].open_price / before.weeks[-1].close_price
    return [moves[start] for start in sorted(moves)]


def live_history(symbol: str, week: date, places: LiveSources) -> list[WeekMove]:
    """The complete weeks before the Sunday `week` by the sources of a forecast, the oldest first.

    Empty if they have no prices. Raises ConnectionError if a provider does not answer, ValueError
    for prices that cannot be used.
    """
    first, last = week - WEEKS * WEEK, week - timedelta(days=1)
    answer = open_live(places, [symbol]).prices.prices([symbol], first, last)
    if symbol not in answer.frames:
        return []
    frame = prices_known(symbol, answer.frames[symbol], last, datetime.now(UTC).date()).frame
    factor = shares_factor(frame, last)
    calendar = weeks_of(frame, exchange_of(symbol), first, last)
    moves: list[WeekMove] = []
    for before, this in itertools.pairwise([None, *calendar.values()]):
        if this and this.close is not None:
            change = weekly_return(before, this) if before and before.close is not None else None
            moves.append(WeekMove(this.start, this.close * factor, change))
    return moves
