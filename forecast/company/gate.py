"""What a record must be before anything is forecast from it, or kept."""

import sys
from collections.abc import Iterator
from typing import cast

from data_pipeline.records.calendar import WEEK, latest_decision
from eval.metrics.baselines import LARGEST_NUMBER
from weekahead.names import check_symbol
from weekahead.task.prompt import render_prompt
from weekahead.task.record import Record, look_ahead
from weekahead.task.times import moment, read_day

_REMEDY = "make the records again"


def check_record(record: Record) -> None:
    """Raise ValueError naming the record, the value that no forecast can use, and the remedy."""
    try:
        check_symbol(record.symbol)
        _check_numbers(record)
        _check_days(record)
    except ValueError as error:
        raise ValueError(f"{record.id}: {error}; {_REMEDY}") from None
    check_known_in_time(record)
    try:
        render_prompt(record)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{record.id} gives no prompt: {error}") from None


def check_known_in_time(record: Record) -> None:
    """Raise ValueError naming what in `record` came after its decision time.

    So is a decision time that is none, or later than the first moment of the week.
    """
    try:
        _check_decision(record)
        late = look_ahead(record)
    except ValueError as error:
        raise ValueError(f"{record.id}: {error}; {_REMEDY}") from None
    if late:
        raise ValueError(
            f"{record.id} shows what was not known at its decision time, {record.decision_time}: "
            f"{late[0]}; {_REMEDY}"
        )


def _check_numbers(record: Record) -> None:
    for name, number in _numbers(record.to_json()):
        if not abs(number) <= sys.float_info.max:
            raise ValueError(f"{name} is {number!r:.60}; expected a finite number")
    for name in ("weekly_return", "last_week_return"):
        value: float | None = getattr(record, name)
        if value is not None and not is_return(value):
            raise ValueError(f"{name} is {value!r:.60}; expected a fraction of -1 or more")


def _numbers(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    """(name, number) of every number in a JSON value."""
    if isinstance(value, int | float):
        yield name, value
        return
    pairs: list[tuple[object, object]] = []
    if isinstance(value, dict):
        pairs = list(cast("dict[object, object]", value).items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(cast("list[object]", value), start=1))
    for key, inner in pairs:
        yield from _numbers(inner, f"{name}.{key}" if name else str(key))


def _check_days(record: Record) -> None:
    start = read_day(record.week_start, "week_start")
    end = start + WEEK
    if start.isoweekday() != 7 or record.week_end != end.isoformat():
        raise ValueError(
            f"its week is {record.week_start} to {record.week_end!r:.60}; expected Sunday to Sunday"
        )
    if not record.weeks:
        raise ValueError("weeks is empty; expected one past week or more")
    for number, week in enumerate(record.weeks, start=1):
        first = read_day(week.start, f"weeks.{number}.start")
        last = read_day(week.end, f"weeks.{number}.end")
        if not first < last <= start:
            raise ValueError(
                f"weeks.{number} is {first} to {last}; expected two days in order, up to {start}"
            )


def _check_decision(record: Record) -> None:
    latest = latest_decision(
        record.symbol,
        read_day(record.week_start, "week_start"),
        synthetic=record.extra.get("synthetic") is True,
    )
    if moment(record.decision_time, "decision_time") > latest:
        raise ValueError(
            f"decision_time is {record.decision_time}; expected {latest.isoformat()}, when its "
            "week begins, or earlier"
        )


def is_return(value: float) -> bool:
    """Whether a number can be the return of a week: nobody loses more than everything."""
    return -1 <= value <= LARGEST_NUMBER
