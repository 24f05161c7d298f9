"""A book of long and short positions that follows a run's calls: what it would have earned.

A description and no trading result: no costs, no slippage, closing prices, a few weeks.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from eval.metrics.baselines import read_number
from eval.metrics.firms import firm_of
from eval.metrics.periods import dates_in
from eval.metrics.secondary import secondary_mean
from eval.metrics.statistics import mean
from eval.metrics.weeks import Weeks, plural
from weekahead.schema.metrics import LongShortBook
from weekahead.schema.rows import ScorableRow
from weekahead.task.labels import BINS, check_label, label_of_return

_KNOWN = 0.5
"""Share of the rows that must state a return: fewer are a choice of rows."""
_CONTRADICTED = 0.05
"""From this share of the labels on, returns that contradict them are taken for another number."""
_BREAK = timedelta(days=7)
"""If as much lies between two windows, a week is missing: nothing is held over it."""
_BASIS_POINTS = 10_000

Weights = Mapping[str, float]
"""Symbol -> position, as a share of the capital; below 0 is short."""


class Returns(NamedTuple):
    """The return of each row's forecast week, as a fraction; None with the reason."""

    values: list[float | None] | None
    reason: str | None


class BookOrReason(NamedTuple):
    """A book, or why there is none."""

    book: LongShortBook | None
    reason: str | None


def known_returns(rows: Sequence[ScorableRow]) -> Returns:
    """The `weekly_return` of each row. None as a whole if under half of the rows have one, or if
    returns contradict the labels: percent in the place of fractions would earn a hundredfold.
    """
    values = [read_number(row, "weekly_return") for row in rows]
    known = sum(value is not None for value in values)
    if not known:
        return Returns(None, "no row states weekly_return")
    if known < _KNOWN * len(rows):
        return Returns(
            None, f"{known} of {len(rows)} rows state weekly_return: they are a choice of rows"
        )
    compared = [
        (label, value)
        for row, value in zip(rows, values, strict=True)
        if value is not None and (label := row.get("label")) is not None
    ]
    wrong = [pair for pair in compared if _contradicts(*pair)]
    if wrong and len(wrong) >= _CONTRADICTED * len(compared):
        label, value = wrong[0]
        return Returns(
            None,
            f"weekly_return contradicts {len(wrong)} of {len(compared)} labels, such as "
            f"{value:g} and {label!r}: expected a fraction, 0.012 for 1.2 percent",
        )
    return Returns(values, None)


def _contradicts(label: str, value: float) -> bool:
    """Whether a return lies more than one bin from its label: less may be rounding."""
    return abs(BINS.index(label_of_return(value)) - BINS.index(check_label(label))) > 1


def long_short_book(
    rows: Sequence[ScorableRow],
    calls: Sequence[int | None],
    returns: Sequence[float | None],
    weeks: Weeks,
) -> BookOrReason:
    """The book of `calls` (1 long, -1 short) on rows with `returns`; see `LongShortBook`.

    In each week the firms called up share one unit of capital long in equal parts, those called
    down one unit short; a week that lacks one of the two is held in cash. `weeks` are those of the
    rows (`week_keys`).
    """
    symbols = list(map(firm_of, rows))
    reason = _no_book(symbols, weeks)
    if reason or weeks.windows is None:
        return BookOrReason(None, reason)
    positions: dict[str, dict[str, tuple[int, float]]] = {}
    for symbol, call, value, window in zip(symbols, calls, returns, weeks.windows, strict=True):
        if value is None:
            continue
        week = positions.setdefault(window, {})
        if call in (-1, 1):
            week[symbol] = (call, value)
    windows = sorted(positions, key=dates_in)
    books = [_weights(positions[window]) for window in windows]
    if not any(books):
        return BookOrReason(None, "in no week are firms called both up and down")
    earned = [
        sum(weight * positions[window][symbol][1] for symbol, weight in book.items())
        for window, book in zip(windows, books, strict=True)
    ]
    turnover = _traded(windows, books) / len(windows)
    by_week = secondary_mean(earned, range(len(earned)))
    average = mean(earned) or 0.0
    book: LongShortBook = {
        **by_week,
        "turnover": turnover,
        "break_even_bp": average / turnover * _BASIS_POINTS,
        "weeks_held": sum(map(bool, books)),
        "n": sum(map(len, books)),
    }
    return BookOrReason(book, None)


def _no_book(symbols: Sequence[str], weeks: Weeks) -> str | None:
    """Why the rows are no weekly book; None if they are one."""
    if weeks.keys is None or weeks.windows is None:
        return weeks.reason
    if not all(symbols):
        return f"{symbols.count('')} of {len(symbols)} rows have no `symbol`"
    spans = {window: dates_in(window) for window in weeks.windows}
    if undated := next((window for window, days in spans.items() if len(days) != 2), None):
        return f"a week without dates, {undated!r}: the order of the weeks is not known"
    if len(spans) > len(set(weeks.keys)):
        count = plural(len(set(weeks.keys)), "week")
        return f"{len(spans)} windows overlap or disagree: they are {count}"
    (symbol, window), count = Counter(zip(symbols, weeks.windows, strict=True)).most_common(1)[0]
    return f"{symbol} stands {count} times in {window}" if count > 1 else None


def _weights(positions: Mapping[str, tuple[int, float]]) -> dict[str, float]:
    """One unit long and one short, each in equal parts; empty if one side has no firm."""
    sides = Counter(call for call, _ in positions.values())
    if len(sides) < 2:
        return {}
    return {symbol: call / sides[call] for symbol, (call, _) in positions.items()}


def _traded(windows: Sequence[str], books: Sequence[Weights]) -> float:
    """All that is bought and sold, from the first purchase to the last sale, in units of capital.

    Weights are set anew each week; what prices did to them in between is left out.
    """
    total = 0.0
    held: Weights = {}
    end: date | None = None
    for window, book in zip(windows, books, strict=True):
        start, next_end = dates_in(window)
        if end is not None and start - end >= _BREAK:
            total += _change(held, {})
            held = {}
        total += _change(held, book)
        held, end = book, next_end
    return total + _change(held, {})


def _change(before: Weights, after: Weights) -> float:
    return sum(
        abs(after.get(symbol, 0.0) - before.get(symbol, 0.0)) for symbol in before.keys() | after
    )
