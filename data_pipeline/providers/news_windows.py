"""The windows of days for which news is asked: whole months, days that are over, halves."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple, TypeVar

_DAY = timedelta(days=1)
RowT = TypeVar("RowT")


class DaysOver(NamedTuple):
    """The end of a window without the days that are not over."""

    last: date
    note: str | None
    """What was left out of the window, and why."""


def months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """The months from that of `first` to that of `last`, so that a longer window reuses them."""
    start = first.replace(day=1)
    while start <= last:
        following = (start + timedelta(days=31)).replace(day=1)
        yield start, following - _DAY
        start = following


def days_over(last: date, *, today: date) -> DaysOver:
    """The end of a window up to `last`: a day is left out until it is over (UTC).

    What is stored about it earlier would stay incomplete.
    """
    yesterday = today - _DAY
    if last <= yesterday:
        return DaysOver(last, None)
    note = f"news up to {yesterday} alone: a day is fetched when it is over (UTC)"
    return DaysOver(yesterday, note)


def ask_in_halves(
    first: date, last: date, ask: Callable[[date, date], Sequence[RowT]], *, full: int
) -> tuple[list[RowT], list[date]]:
    """The rows of the days `first` to `last`, and the days that have too many for one answer.

    A window whose answer has `full` rows or more is asked for again in halves, down to single
    days; the rows of every answer are kept, so a row may come twice. A window without a day is not
    asked for.
    """
    rows: list[RowT] = []
    capped: list[date] = []
    windows = [(first, last)] if first <= last else []
    while windows:
        start, end = windows.pop()
        answer = ask(start, end)
        rows += answer
        if len(answer) >= full and start == end:
            capped.append(start)
        elif len(answer) >= full:
            middle = start + (end - start) // 2
            windows += [(middle + _DAY, end), (start, middle)]
    return rows, capped
