"""The journal's clock: the machine's, or in a rehearsal the DATE that is given.

A record is worth something only if nobody could choose its times. So a journal keeps one kind of
clock for its life, and its first line says which.
"""

from datetime import UTC, date, datetime, time

from weekahead.schema.journal import Clock, JournalLine

_JOB_HOUR = time(12)
"""A DATE stands for this hour (UTC), at which the weekly job runs."""


def clock_for(start: JournalLine | None, given: date | None, now: datetime) -> Clock:
    """The kind of clock of a journal that begins with `start`, or is to begin (None).

    `given` is DATE, `now` the machine's time. Raises ValueError if the two do not fit.
    """
    other_day = given is not None and given != now.date()
    if start is None:
        return "simulated" if other_day else "machine"
    if start["clock"] == "machine" and other_day:
        raise ValueError(
            f"DATE is {given}, but this journal keeps the machine's clock ({now.date()}); leave "
            "DATE out, or rehearse with another JOURNAL"
        )
    if start["clock"] == "simulated" and given is None:
        raise ValueError(
            "this journal is a rehearsal whose clock is DATE; give DATE=YYYY-MM-DD, or start "
            "another JOURNAL"
        )
    return start["clock"]


def time_of(clock: Clock, given: date | None, now: datetime) -> datetime:
    """The time in UTC by the journal's clock, in whole seconds."""
    if clock == "simulated" and given is not None:
        return datetime.combine(given, _JOB_HOUR, UTC)
    return now.astimezone(UTC).replace(microsecond=0)
