"""The days of a file of prices, in any of the forms in which programs write them."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXCEL = date(1899, 12, 30)
_MOSTLY = 0.9
"""If so many rows are at midnight, the others are a last row that was written during its day."""
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


class Days(NamedTuple):
    """A day for each row, None if the row has none, and what was left out."""

    days: list[date | None]
    notes: Sequence[str]


def days_of(column: Any, zone: str | None) -> Days:
    """The days of the rows.

    A time of midnight is the day as it is written, whatever its time zone, if nearly all rows are
    at midnight. Otherwise, and for epochs, the day is that in `zone`, where the exchange is; times
    that are midnight in winter or in summer alone are midnights. Raises ValueError for a form that
    is unknown or may mean two days, and if more than a tenth of the rows have none.
    """
    texts = [_text(value) for value in column]
    read = _reader([text for text in texts if text], zone)
    days: list[date | None] = []
    bad: list[str] = []
    for row, text in enumerate(texts, start=1):
        try:
            days.append(read(text))
        except (ValueError, OverflowError):
            days.append(None)
            bad.append(f"{text!r} in data row {row}")
    if not any(days) or len(bad) > max(1, len(days) // 10):
        first = bad[0] if bad else "none"
        raise ValueError(
            f"column date: expected days such as 2026-01-05, found {first} and {len(bad)} in all"
        )
    note = [f"{len(bad)} rows without a day left out (the first is {bad[0]})"] if bad else []
    return Days(days, note)


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return "" if text.lower() in ("nan", "nat", "none", "null") else text


def _reader(texts: Sequence[str], zone: str | None) -> Callable[[str], date]:
    """The reader for the form that most of the texts have."""
    middle = texts[len(texts) // 2] if texts else ""
    if re.fullmatch(r"(19|20)\d{6}", middle):
        return lambda text: datetime.strptime(text, "%Y%m%d").date()
    if re.fullmatch(r"[2-9]\d{4}", middle):
        return lambda text: _EXCEL + timedelta(days=int(text))
    if re.fullmatch(r"-?\d{9,19}(\.\d+)?", middle):
        return _epochs(texts, zone)
    if re.match(r"\d{4}[-/.]\d\d?[-/.]\d\d?", middle):
        return _iso(texts, zone)
    if re.match(r"\d\d?[-/.]\d\d?[-/.]\d{4}\b", middle):
        return _day_and_month(texts)
    return _named_month


def _epochs(texts: Sequence[str], zone: str | None) -> Callable[[str], date]:
    def moment(text: str) -> datetime:
        number = float(text)
        while number > 1e11:  # milliseconds, microseconds or nanoseconds
            number /= 1000
        return _EPOCH + timedelta(seconds=number)

    moments = [moment(text) for text in texts if re.fullmatch(r"-?\d+(\.\d+)?", text)]
    read = _day_there(moments, zone or "UTC")
    return lambda text: read(moment(text))


def _day_there(moments: Sequence[datetime], zone: str) -> Callable[[datetime], date]:
    """The reader for moments with a zone: the day at the exchange, or of a midnight as written."""
    place = ZoneInfo(zone)
    at_midnight = sum(moment.time() == time() for moment in moments)
    as_written = at_midnight >= _MOSTLY * len(moments)
    # One offset all year: midnight in summer is 23:00 of the day before in winter.
    clocks = {moment.astimezone(place).time() for moment in moments}
    late = timedelta(hours=clocks == {time(), time(23)})

    def read(moment: datetime) -> date:
        if as_written and moment.time() == time():
            return moment.date()
        return (moment.astimezone(place) + late).date()

    return read


def _iso(texts: Sequence[str], zone: str | None) -> Callable[[str], date]:
    def as_written(text: str) -> date:
        year, month, day = re.split(r"[-/.]", re.split(r"[ T]", text)[0])
        return date(int(year), int(month), int(day))

    def there(text: str) -> date:
        moment = datetime.fromisoformat(text)
        return in_zone(moment) if moment.tzinfo else moment.date()

    clocks = [text for text in texts if re.search(r"\d\d:\d\d", text)]
    with_zone = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
    not_midnight = [text for text in clocks if not re.search(r"[ T]00:00(:00(\.0+)?)?(?!:)", text)]
    if zone and any(with_zone.search(text) for text in not_midnight):
        moments = [_moment(text) for text in texts]
        in_zone = _day_there([moment for moment in moments if moment and moment.tzinfo], zone)
        return there
    return as_written


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _day_and_month(texts: Sequence[str]) -> Callable[[str], date]:
    pairs = [tuple(map(int, re.findall(r"\d+", text)[:2])) for text in texts]
    firsts = [pair[0] for pair in pairs if len(pair) == 2]
    seconds = [pair[1] for pair in pairs if len(pair) == 2]
    day_first, month_first = max(firsts) > 12, max(seconds) > 12
    if day_first == month_first:
        found = "both orders" if day_first else "either order"
        raise ValueError(
            f"column date: {texts[0]!r} is read as day and month or month and day ({found} in the "
            "file); write days such as 2026-01-05"
        )

    def read(text: str) -> date:
        first, second, year = map(int, re.split(r"[-/.]", text.split(" ")[0]))
        return date(year, second, first) if day_first else date(year, first, second)

    return read


def _named_month(text: str) -> date:
    """Days such as 14 May 2025, 14-May-2025 and May 14, 2025."""
    words = re.findall(r"[A-Za-z]+|\d+", text)
    months = [word for word in words if word[:3].lower() in _MONTHS]
    numbers = [int(word) for word in words if word.isdigit()][:2]
    if len(months) != 1 or len(numbers) != 2 or numbers[1] < 1900:
        raise ValueError(f"{text!r} is no day")
    return date(numbers[1], _MONTHS.index(months[0][:3].lower()) + 1, numbers[0])
