"""Days, times and returns: what counts as one, in a record and in a ledger alike."""

from datetime import date, datetime

from eval.metrics.baselines import LARGEST_NUMBER
from weekahead.task.record import moment

_YEARS = (1900, 9000)
"""There are weeks before and after each of their days, in every time zone."""


def day_of(name: str, text: str) -> date:
    """The day that `text` states. Raises ValueError saying what `name` is and should be."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text or not _is_near(day):
        raise ValueError(
            f"{name} is {text!r:.60}; expected a day such as 2031-01-05, of the years "
            f"{_YEARS[0]} to {_YEARS[1]}"
        )
    return day


def time_of(name: str, text: str) -> datetime:
    """The time that `text` states, in UTC. Raises ValueError saying what `name` is and should be.

    A day stands for its first moment.
    """
    try:
        time = moment(text)
    except (ValueError, OverflowError):
        time = None
    if time is None or not _is_near(time):
        raise ValueError(
            f"{name} is {text!r:.60}; expected a time such as 2031-01-05T12:00:00+00:00, of the "
            f"years {_YEARS[0]} to {_YEARS[1]}"
        )
    return time


def _is_near(day: date) -> bool:
    return _YEARS[0] <= day.year <= _YEARS[1]


def is_return(value: float) -> bool:
    """Whether a number can be the return of a week: nobody loses more than everything."""
    return -1 <= value <= LARGEST_NUMBER
