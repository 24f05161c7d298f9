"""One record: what was known about one company before one forecast week, and what then happened."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from weekahead.files import iter_jsonl
from weekahead.task.labels import label_of_return


@dataclass(frozen=True)
class News:
    """One news item. `known_at` is its time of publication, ISO 8601 in UTC."""

    headline: str
    summary: str
    known_at: str


@dataclass(frozen=True)
class PastWeek:
    """One complete past week: its days (ISO dates), its raw closing prices, and the news chosen for it."""

    start: str
    end: str
    open_price: float
    close_price: float
    news: tuple[News, ...] = ()
    closed_at: str | None = None
    """When its last session closed, ISO 8601 in UTC, where the source tells; else the first moment of `end`."""

    @property
    def known_at(self) -> str:
        """When its closing price was known."""
        return self.closed_at or self.end


@dataclass(frozen=True)
class Financials:
    """Basic financials of one quarter. `known_at` is when they were filed, not when the quarter ended."""

    period_end: str
    known_at: str
    values: dict[str, float]
    filed: bool = False
    """Whether `known_at` comes from a filing, rather than from a term after the quarter's end."""


@dataclass(frozen=True)
class Capitalization:
    """What a company was worth at the last close: shares outstanding as known then, times the price.

    `known_at` is when the number of shares was filed or looked up. `value` is in the currency of the prices.
    """

    value: float
    known_at: str


@dataclass(frozen=True)
class Record:
    """What a forecast may use, and the return of the week it is about (a fraction, or None if unknown)."""

    symbol: str
    company: str
    """An introduction in words; nothing in it may depend on the day of the download."""
    weeks: tuple[PastWeek, ...]
    """Oldest first; the last one ends where the forecast week starts."""
    week_start: str
    week_end: str
    decision_time: str
    """ISO 8601 in UTC: nothing published after this moment may be used."""
    weekly_return: float | None
    last_week_return: float | None
    financials: Financials | None = None
    capitalization: Capitalization | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Source-specific facts that belong in every row made from this record, such as a provenance mark."""

    @property
    def id(self) -> str:
        """Symbol and the day the forecast week starts: `AAPL-2024-03-17`."""
        return f"{self.symbol}-{self.week_start}"

    @property
    def label(self) -> str | None:
        """The true bin, or None where the return is unknown."""
        return None if self.weekly_return is None else label_of_return(self.weekly_return)

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Record":
        """The record that `to_json` wrote. Raises ValueError naming the field that is missing or unknown."""
        try:
            weeks = tuple(
                PastWeek(**{**week, "news": tuple(News(**item) for item in week["news"])})
                for week in value["weeks"]
            )
            quarter, worth = value.get("financials"), value.get("capitalization")
            return cls(
                **{
                    **value,
                    "weeks": weeks,
                    "financials": Financials(**quarter) if quarter else None,
                    "capitalization": Capitalization(**worth) if worth else None,
                }
            )
        except (KeyError, TypeError) as error:
            name = f"{value.get('symbol', '?')}-{value.get('week_start', '?')}"
            raise ValueError(
                f"record {name}: {error}; expected the fields of Record.to_json"
            ) from None


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file one after another. Raises ValueError naming file and row, OSError without the file."""
    for number, row in enumerate(iter_jsonl(path), start=1):
        try:
            yield Record.from_json(row)
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path}, row {number}: {error}") from None


def known_facts(record: Record) -> list[tuple[str, str]]:
    """(name, known_at) of everything that `record` shows."""
    found = [
        (f"news {item.headline!r}", item.known_at) for week in record.weeks for item in week.news
    ]
    found += [(f"week ending {week.end}", week.known_at) for week in record.weeks]
    if record.financials:
        found.append((f"financials of {record.financials.period_end}", record.financials.known_at))
    if record.capitalization:
        found.append(("market capitalization", record.capitalization.known_at))
    return found


def look_ahead(record: Record) -> list[str]:
    """The facts of `record` that were not yet known at its decision_time, each named; empty when clean."""
    limit = moment(record.decision_time)
    return [f"{name} known at {at}" for name, at in known_facts(record) if moment(at) > limit]


def known_at(record: Record) -> str | None:
    """When the last of its facts became known, ISO 8601 in UTC; None for a record without facts."""
    moments = [moment(at) for _, at in known_facts(record)]
    return max(moments).isoformat() if moments else None


def moment(text: str) -> datetime:
    """A time in UTC; a bare date is its first moment, a time without a zone is taken as UTC."""
    if len(text) == 10:
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
