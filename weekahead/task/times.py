"""Days and times as files hold them, in the years that can be reckoned with."""

from datetime import UTC, date, datetime, time, timedelta

from weekahead.schema.shape import shortened

YEARS = (1900, 9000)
"""Of a day: there are weeks before and after it."""
_IN_YEARS = f"of the years {YEARS[0]} to {YEARS[1]}"


def read_day(value: object, name: str) -> date:
    """A day written as YYYY-MM-DD, so that days in order are texts in order.

    Raises ValueError that calls the value `name` for anything else, and for a year outside YEARS.
    """
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        day = None
    if day is None or day.isoformat() != value or not _is_in_years(day):
        raise ValueError(
            f"{name} is {shortened(value)}; expected a date such as 2024-03-17, {_IN_YEARS}"
        )
    return day


def moment(text: str, name: str = "a time") -> datetime:
    """A time that this project wrote, in UTC.

    A date means its first moment; a time without a zone is taken as UTC. For the time of a provider
    either could be too early: such a time needs a stricter reader. Raises ValueError that calls the
    value `name` if it is not in ISO 8601, or of a year outside YEARS.
    """
    return _written(text, name).astimezone(UTC)


def published_by(text: str, name: str = "a time") -> datetime:
    """The moment by which something published at `text` was known for sure, in UTC.

    A day, or a time of exactly midnight in UTC or in its own zone, is a day without a clock: its
    end counts. Raises ValueError as `moment` does.
    """
    published = _written(text, name)
    clocks = (published.time(), published.astimezone(UTC).time())
    without_clock = time() in clocks
    return published.astimezone(UTC) + timedelta(days=without_clock)


def _written(text: object, name: str) -> datetime:
    """A time in the zone that it states, else in UTC."""
    try:
        read = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        read = None
    if read is None or not _is_in_years(read):
        raise ValueError(
            f"{name} is {shortened(text)}; expected a time in ISO 8601, such as "
            f"2024-03-17T04:00:00+00:00, {_IN_YEARS}"
        )
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read


def _is_in_years(day: date) -> bool:
    return YEARS[0] <= day.year <= YEARS[1]
