"""What the values of a record must be before it is paid for, a row is made of it, or a forecast."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import cast

from data_pipeline.records.calendar import WEEK, latest_decision
from weekahead.names import check_symbol
from weekahead.task.labels import RETURNS, is_return
from weekahead.task.record import Record, look_ahead, read_records
from weekahead.task.times import moment, read_day


def checked_records(path: Path) -> Iterator[Record]:
    """The records of a file, each of a whole week, decided before it, and alone with its id.

    Raises ValueError naming file, row and record for one that cannot be read or looks ahead.
    """
    numbers: dict[str, int] = {}
    for number, record in enumerate(read_records(path), start=1):
        first = numbers.setdefault(record.id, number)
        fault = f"is the record of row {first} too" if first != number else _fault(record)
        if fault:
            raise ValueError(
                f"{path}, row {number}: {record.id} {fault}; fetch the records again, or remove "
                "the row"
            )
        yield record


def _fault(record: Record) -> str | None:
    """Why a record must not be in a dataset; None if it may."""
    try:
        check_values(record)
    except ValueError as error:
        return f"cannot be used ({error})"
    start = date.fromisoformat(record.week_start)
    synthetic = record.extra.get("synthetic") is True
    latest = latest_decision(record.symbol, start, synthetic=synthetic)
    if moment(record.decision_time) > latest:
        return (
            f"has decision_time {record.decision_time}; expected {latest.isoformat()}, when its "
            "week begins, or earlier"
        )
    late_facts = look_ahead(record)
    if late_facts:
        return f"(decided {record.decision_time}) looks ahead: {late_facts[0]}"
    return None


def check_values(record: Record) -> None:
    """Raise ValueError naming a value that no row can be made of, and what was expected."""
    check_symbol(record.symbol)
    if record.symbol != record.symbol.upper():
        raise ValueError(f"symbol is {record.symbol!r}; expected {record.symbol.upper()!r}")
    _check_numbers(record)
    _check_days(record)


def _check_numbers(record: Record) -> None:
    for name, number in _numbers(record.to_json()):
        if not abs(number) <= sys.float_info.max:
            raise ValueError(f"{name} is {number!r:.60}; expected a finite number")
    for name in ("weekly_return", "last_week_return"):
        value: float | None = getattr(record, name)
        if value is not None and not is_return(value):
            raise ValueError(f"{name} is {value!r:.60}; expected {RETURNS}")


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
    if start.isoweekday() != 7:
        raise ValueError(f"week_start is {start}, a {start:%A}; expected a Sunday")
    if record.week_end != end.isoformat():
        raise ValueError(
            f"week_end is {record.week_end!r:.60}; expected {end}, a week after its week_start"
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
