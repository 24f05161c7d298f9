"""What a record must be before anything is forecast from it, or kept."""

from data_pipeline.records.calendar import latest_decision
from data_pipeline.records.checks import check_values
from weekahead.task.prompt import render_prompt
from weekahead.task.record import Record, look_ahead
from weekahead.task.times import moment, read_day

_REMEDY = "make the records again"


def check_record(record: Record) -> None:
    """Raise ValueError naming the record, the value that no forecast can use, and the remedy."""
    try:
        check_values(record)
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
