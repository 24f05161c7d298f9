"""How providers are asked, whoever they are, and what they give: stories, prices, facts."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, cast

if TYPE_CHECKING:
    import pandas


def midnight_in_new_york(day: date) -> str:
    """The first moment of a day in New York in winter, ISO 8601 in UTC."""
    return f"{day}T05:00:00+00:00"


def read_time(value: object) -> datetime:
    """A provider's time, with the offset from UTC that it states.

    Read are seconds since 1970 and its thousandths to billionths, as a number or as a text, and
    texts in ISO 8601 or RFC 2822 with a time zone. A day alone is its midnight in UTC: what is
    known of a time of exactly midnight is the day, see `records.news.first_known`. Raises
    ValueError for anything else, as for a time without a zone: read as UTC, it could come before
    the true moment.
    """
    try:
        text = str(value).strip() if isinstance(value, str | int | float) else ""
        if isinstance(value, bool) or not text:
            raise ValueError
        if re.fullmatch(r"(19|20)\d\d-?\d\d-?\d\d([ T]00:00(:00(\.0+)?)?)?", text):
            day = datetime.fromisoformat(text)
            return day.replace(tzinfo=UTC)
        time = _epoch(float(text)) if _NUMBER.fullmatch(text) else _zoned(text)
        if time.astimezone(UTC).year >= _NEVER:
            raise ValueError
        return time
    except (ValueError, TypeError, OverflowError, OSError):
        raise ValueError(
            f"{value!r} is not a time; expected seconds since 1970, or ISO 8601 with a time zone "
            "such as 2026-01-05T12:00:00Z"
        ) from None


_NEVER = 9000
"""From this year on a time stands for none, and cannot be reckoned with."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def _epoch(seconds: float) -> datetime:
    while seconds > 1e11:  # milliseconds, microseconds or nanoseconds
        seconds /= 1000
    if not 1e8 < seconds < 1e11:  # before 1973 it is no news
        raise ValueError
    return datetime.fromtimestamp(seconds, UTC)


def _zoned(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = parsedate_to_datetime(text)
    if time.tzinfo is None:
        raise ValueError
    return time


_NO_TEXTS = frozenset({"nan", "null", "none", "nil", "n/a", "na", "undefined", "[]", "{}"})


def usable_text(value: object) -> str:
    """A provider's text; empty if it is no text, or stands for none, such as "NaN"."""
    text = value.strip() if isinstance(value, str) else ""
    return "" if text.lower() in _NO_TEXTS else text


def listed_symbols(value: object) -> tuple[str, ...]:
    """The symbols of an item of news, from a list or from a text with commas; others are left.

    Items of a list may be objects with a symbol. A `$` or an exchange in front of it goes.
    """
    items = cast("Sequence[object]", value if isinstance(value, list | tuple) else [value])
    names: list[str] = []
    for item in items:
        fields = cast("Mapping[str, object]", item) if isinstance(item, dict) else {}
        named = fields.get("symbol", fields.get("ticker")) if fields else item
        names += map(usable_text, usable_text(named).upper().split(","))
    symbols = (re.sub(r"^(?:\$|[A-Z]+:)", "", name.strip()).strip() for name in names)
    return tuple(dict.fromkeys(filter(None, symbols)))


_LONGEST_LINK = 2000


def usable_link(value: object) -> str | None:
    """An address of the web that a page may link to; None for any other value.

    Other schemes, such as javascript:, would run in a reader's browser.
    """
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > _LONGEST_LINK or not _LINK.fullmatch(text):
        return None
    return text


_LINK = re.compile(r"https?://[\w.-]+(?::\d+)?(?:[/?#][^\s\"'<>\\^`{|}]*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Story:
    """One news item as its provider gave it."""

    symbols: tuple[str, ...]
    headline: str
    summary: str
    known_at: datetime
    """When this text was published, with the offset from UTC that the provider states.

    If it states several times (publication, last edit, its own discovery of the text), the latest
    of them counts. Exactly midnight means a day without a clock: `records.news` counts it from the
    end of the day.
    """
    link: str | None = None
    """Where it stands on the web, if the provider says it (`usable_link`)."""


@dataclass(frozen=True)
class NewsAnswer:
    """The stories about one symbol, and what a reader should hear about those that are missing."""

    stories: Sequence[Story]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class PriceAnswer:
    """Daily prices by symbol, in the frames that `price_table.PriceTable` describes.

    They are as the source has them; `records.price_gate` checks those of every provider.
    """

    frames: "Mapping[str, pandas.DataFrame]"
    missing: Mapping[str, str]
    """Symbol -> why it has no prices."""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Profile:
    """Name and industry of a company, as they are on the day of the download."""

    name: str
    industry: str | None = None


@dataclass(frozen=True)
class Filing:
    """One periodic report: its period, its day of filing, and the shares that it counts, if any."""

    period_end: date
    filed: date
    shares: float | None

    @property
    def known_at(self) -> str:
        """The end of the day of filing, ISO 8601 in UTC.

        EDGAR states the day alone, and accepts filings until ten in the evening.
        """
        return midnight_in_new_york(self.filed + timedelta(days=1))


@dataclass(frozen=True)
class FundamentalsAnswer:
    """What a provider knows of one company's business. A part that it does not have is empty."""

    profile: Profile | None = None
    figures: Mapping[date, Mapping[str, float]] = field(default_factory=dict)
    """Last day of a quarter -> its figures by name; all are finite."""
    fiscal_year_ends: frozenset[date] = frozenset()
    """Those quarter ends that are the end of a fiscal year as well."""
    filings: Sequence[Filing] = ()
    """The earliest first."""
    no_filings: str | None = None
    """Why the provider did not give filings; None if it did."""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ProviderSettings:
    """What providers are opened with: where answers are stored, and the pace of each."""

    raw: Path
    """Every provider stores its answers in a folder of its own below this one."""
    finnhub_per_minute: float = 55
    zones: Mapping[str, str] = field(default_factory=dict)
    """Symbol -> time zone of its exchange, for files whose days are times."""


class Provider(Protocol):
    """What all providers have in common."""

    @property
    def name(self) -> str:
        """What notes call it."""
        ...

    @property
    def calls(self) -> Counter[str]:
        """Calls made over the network by endpoint; a stored answer counts nothing."""
        ...


class NewsProvider(Provider, Protocol):
    """News of companies, by Yahoo's symbol."""

    def news(self, symbol: str, first: date, last: date) -> NewsAnswer:
        """The stories of the days `first` to `last`, both included, or more.

        A symbol outside the plan is a note. Raises PermissionError for a missing or refused key,
        ConnectionError if the provider does not answer, ValueError for an answer that makes no
        sense.
        """
        ...


class PriceProvider(Protocol):
    """Daily prices, by Yahoo's symbol."""

    @property
    def name(self) -> str:
        """What notes and manifests call it."""
        ...

    def prices(self, symbols: Sequence[str], first: date, last: date) -> PriceAnswer:
        """Prices that cover the days `first` to `last`; every symbol has prices or a reason.

        Raises ConnectionError if the provider does not answer, ValueError for unreadable prices.
        """
        ...


class FundamentalsProvider(Provider, Protocol):
    """Company facts, by Yahoo's symbol."""

    def fundamentals(self, symbol: str, last: date) -> FundamentalsAnswer:
        """Profile, quarters and filings as they stand after the day `last`.

        A symbol outside the plan is a note. Raises as `NewsProvider.news` does.
        """
        ...


class LiveProvider(Provider, Protocol):
    """A provider behind a network: it needs a key, and keeps the answers that it got."""

    KEY_VARIABLE: ClassVar[str]
    """The environment variable of its key; `.env.example` lists it as well."""
    FOLDER: ClassVar[str]
    """The folder of its stored answers, below `ProviderSettings.raw`."""

    @classmethod
    def open(cls, settings: ProviderSettings) -> Self:
        """The provider, with its stored answers; needs no key until something is not stored."""
        ...


class LiveNewsProvider(NewsProvider, LiveProvider, Protocol):
    """News from a network."""


class LiveFundamentalsProvider(FundamentalsProvider, LiveProvider, Protocol):
    """Company facts from a network."""
