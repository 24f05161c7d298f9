"""One record: what was known about a company before one forecast week, and what then happened."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from weekahead.files import iter_jsonl
from weekahead.schema.manifests import JsonObject
from weekahead.schema.shape import check_shape
from weekahead.task.labels import label_of_return
from weekahead.task.times import moment, published_by, read_day


@dataclass(frozen=True)
class News:
    """One news item. `known_at` is its time of publication, ISO 8601 in UTC."""

    headline: str
    summary: str
    known_at: str
    link: str | None = None
    """Where it stands on the web, for a reader; no prompt shows it."""


@dataclass(frozen=True)
class PastWeek:
    """One complete past week: its days (ISO dates), its raw closing prices and the news of it.

    `open_price` is the close before the week began.
    """

    start: str
    end: str
    open_price: float
    close_price: float
    news: tuple[News, ...] = ()
    closed_at: str | None = None
    """When its last session closed, ISO 8601 in UTC; None if the source does not say it."""

    @property
    def known_at(self) -> str:
        """When its closing price was known: at `closed_at`, else at the first moment of `end`."""
        return self.closed_at or self.end


@dataclass(frozen=True)
class Financials:
    """Basic financials of one quarter.

    `known_at` is when they were filed, not when the quarter ended.
    """

    period_end: str
    known_at: str
    values: dict[str, float]
    filed: bool = False
    """Whether `known_at` comes from a filing; otherwise it is a fixed time after the quarter."""


@dataclass(frozen=True)
class Capitalization:
    """The market capitalization at the last close: the shares known then, times the price.

    `value` is in the currency of the prices. `known_at` is when the number of shares was filed or
    looked up.
    """

    value: float
    known_at: str


@dataclass(frozen=True)
class Record:
    """What a forecast may use, and the return of the week to forecast."""

    symbol: str
    company: str
    """An introduction in words; nothing in it may depend on the day of the download."""
    weeks: tuple[PastWeek, ...]
    """Oldest first; the last one ends on the day on which the forecast week starts."""
    week_start: str
    week_end: str
    decision_time: str
    """ISO 8601 in UTC: nothing published after this moment may be used."""
    weekly_return: float | None
    """A fraction: 0.012 is 1.2 percent. None if it is not known."""
    last_week_return: float | None
    financials: Financials | None = None
    capitalization: Capitalization | None = None
    extra: JsonObject = field(default_factory=JsonObject)
    """Facts of the source that every row made from this record carries, such as `synthetic`."""

    @property
    def id(self) -> str:
        """Symbol and first day of the forecast week: `AAPL-2024-03-17`."""
        return f"{self.symbol}-{self.week_start}"

    @property
    def label(self) -> str | None:
        """The true bin, or None if the return is not known."""
        return None if self.weekly_return is None else label_of_return(self.weekly_return)

    def to_json(self) -> JsonObject:
        """This record as plain JSON values; `from_json` reads it back."""
        value = asdict(self)
        for item in (item for week in value["weeks"] for item in week["news"]):
            if item["link"] is None:
                del item["link"]
        return value

    @classmethod
    def from_json(cls, value: JsonObject) -> "Record":
        """The record that `to_json` wrote.

        Raises ValueError naming the field that is missing, unknown, of another type, or no time.
        """
        name = f"{value.get('symbol', '?')}-{value.get('week_start', '?')}"
        check_shape(value, cls, f"record {name}", "fetch the records again", complete=False)
        try:
            record = cls(**_nested(value))
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"record {name}: {error}; expected the fields of Record.to_json"
            ) from None
        try:
            _check_times(record)
        except ValueError as error:
            raise ValueError(f"record {name}: {error}; fetch the records again") from None
        return record


def _nested(value: JsonObject) -> JsonObject:
    """The fields of a record, with its weeks, financials and capitalization as dataclasses."""
    weeks: list[PastWeek] = []
    for week in value["weeks"]:
        news = tuple(News(**item) for item in week["news"])
        fields: JsonObject = {**week, "news": news}
        weeks.append(PastWeek(**fields))
    financials, capitalization = value.get("financials"), value.get("capitalization")
    return {
        **value,
        "weeks": tuple(weeks),
        "financials": Financials(**financials) if financials else None,
        "capitalization": Capitalization(**capitalization) if capitalization else None,
    }


def _check_times(record: Record) -> None:
    """Raise ValueError for a day or a time of `record` that cannot be read."""
    read_day(record.week_start, "week_start")
    read_day(record.week_end, "week_end")
    moment(record.decision_time, "decision_time")
    for name, when in known_facts(record):
        moment(when, f"known_at of {name}")


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file, one after another.

    Raises ValueError naming file and row, and OSError if there is no such file.
    """
    for number, row in enumerate(iter_jsonl(path), start=1):
        try:
            yield Record.from_json(row)
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path}, row {number}: {error}") from None


def known_facts(record: Record) -> list[tuple[str, str]]:
    """(name, known_at) of everything that the prompt of `record` shows."""
    return [*_published_facts(record), *_closed_weeks(record)]


def _published_facts(record: Record) -> list[tuple[str, str]]:
    news = [item for week in record.weeks for item in week.news]
    facts = [(f"news {item.headline!r}", item.known_at) for item in news]
    if record.financials:
        facts.append((f"financials of {record.financials.period_end}", record.financials.known_at))
    if record.capitalization:
        facts.append(("market capitalization", record.capitalization.known_at))
    return facts


def _closed_weeks(record: Record) -> list[tuple[str, str]]:
    return [(f"week ending {week.end}", week.known_at) for week in record.weeks]


def look_ahead(record: Record) -> list[str]:
    """The facts of `record` that were not yet known at its decision time, in words.

    What was published on a day without a clock was known at the end of that day.
    """
    limit = moment(record.decision_time, "decision_time")
    published = [fact for fact in _published_facts(record) if published_by(fact[1]) > limit]
    closed = [fact for fact in _closed_weeks(record) if moment(fact[1]) > limit]
    return [f"{name} known at {when}" for name, when in (*published, *closed)]


def known_at(record: Record) -> str | None:
    """When the last of its facts became known, ISO 8601 in UTC; None for a record without facts.

    What has a day and no clock was known in the last second of that day, and the close of a week
    without `closed_at` in the second before its end: a row keeps this time alone, and midnight
    would read as a day. A fictional market closes at midnight.
    """
    has_clock = record.extra.get("synthetic") is True
    published = [_last_second(when) for _, when in _published_facts(record)]
    closed = [
        moment(week.known_at) - (0 if has_clock or week.closed_at else 1) * _SECOND
        for week in record.weeks
    ]
    moments = [*published, *closed]
    return max(moments).isoformat() if moments else None


_SECOND = timedelta(seconds=1)


def _last_second(text: str) -> datetime:
    """The time of a publication; on a day without a clock its last second."""
    by = published_by(text)
    return by if by == moment(text) else by - _SECOND
