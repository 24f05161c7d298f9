"""Finnhub's rows read into what every provider gives: stories, profile, figures, filings."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Required, TypedDict

from data_pipeline.providers.base import Filing, Profile, Story

TIME_KEY = "datetime"
"""The key that tells a row of news of this form from one of another form."""

# Of these answers, what is read. Nothing has been checked, so the values may be anything.


class NewsRow(TypedDict, total=False):
    """A row of /company-news."""

    id: Required[int]
    datetime: Required[float]
    """Seconds since 1970, in UTC."""
    related: object
    """Symbols, separated by commas."""
    headline: object
    summary: object


class ProfileRow(TypedDict, total=False):
    """An answer of /stock/profile2; empty for an unknown symbol."""

    name: object
    finnhubIndustry: object


class SeriesPoint(TypedDict, total=False):
    """One figure of one period."""

    period: object
    v: object


class Series(TypedDict, total=False):
    """Figure -> its points, by quarter and by fiscal year."""

    quarterly: dict[str, list[SeriesPoint] | None] | None
    annual: dict[str, list[SeriesPoint] | None] | None


class FinnhubMetric(TypedDict, total=False):
    """An answer of /stock/metric."""

    series: Series | None


class FilingRow(TypedDict, total=False):
    """One report of /stock/financials-reported."""

    accessNumber: object
    form: object
    endDate: object
    filedDate: object
    report: dict[str, object] | None


class FilingsRow(TypedDict, total=False):
    """An answer of /stock/financials-reported."""

    symbol: str
    data: list[FilingRow] | None


def finnhub_symbol(symbol: str) -> str:
    """A Yahoo symbol as Finnhub writes it: a class of shares behind a dot (BRK-B is BRK.B)."""
    return re.sub(r"^([A-Z]{1,5})-([A-Z])$", r"\1.\2", symbol)


def read_story(row: NewsRow) -> Story:
    """A row of news as a story. Raises ValueError naming the key whose value cannot be used."""
    headline = row.get("headline")
    known_at = _published(row.get("datetime"))
    if not isinstance(headline, str):
        raise ValueError(f"headline is {headline!r}; expected a text")
    names = (name.strip() for name in str(row.get("related") or "").split(","))
    return Story(tuple(filter(None, names)), headline, str(row.get("summary") or ""), known_at)


def _published(seconds: object) -> datetime:
    message = f"datetime is {seconds!r}; expected seconds since 1970, in UTC"
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise ValueError(message)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError(message) from None


def read_profile(row: ProfileRow) -> Profile | None:
    """Name and industry; None without a name.

    The rest of the profile is that of today and stays out: capitalization, shares, and the
    exchange, which companies change.
    """
    if not row.get("name"):
        return None
    industry = row.get("finnhubIndustry")
    return Profile(str(row.get("name")), str(industry) if industry else None)


def read_figures(row: FinnhubMetric) -> dict[date, dict[str, float]]:
    """Last day of a quarter -> its figures by name; a figure that is not finite is left out."""
    figures: dict[date, dict[str, float]] = {}
    for name, points in sorted(_series(row, "quarterly").items()):
        for point in points or []:
            ends, value = _day(point.get("period")), point.get("v")
            if ends and isinstance(value, int | float) and math.isfinite(value):
                figures.setdefault(ends, {})[name] = float(value)
    return figures


def read_fiscal_year_ends(row: FinnhubMetric) -> frozenset[date]:
    """The last days of the fiscal years for which there is any figure."""
    points = [point for series in _series(row, "annual").values() for point in series or []]
    days = map(_day, (point.get("period") for point in points))
    return frozenset(day for day in days if day)


def read_filings(row: FilingsRow) -> list[Filing]:
    """The reports of an answer, the earliest first; reports without dates are left out."""
    filings = []
    for report in row.get("data") or []:
        ends, filed = _day(report.get("endDate")), _day(report.get("filedDate"))
        if ends and filed and filed > ends:
            filings.append(Filing(ends, filed, _shares(report.get("report") or {})))
    return sorted(filings, key=lambda filing: (filing.filed, filing.period_end))


def _series(row: FinnhubMetric, period: str) -> Mapping[str, list[SeriesPoint] | None]:
    """Figure -> its points by `period`, quarterly or annual."""
    series: Mapping[str, Any] = row.get("series") or {}
    return series.get(period) or {}


def _shares(report: Mapping[str, object]) -> float | None:
    """The shares outstanding that a report counts.

    The cover page's number comes before the balance sheet's. A company with several classes of
    shares counts several times, and one price does not value them: None.
    """
    values = list(_concepts(report.values()))
    for concept in ("EntityCommonStockSharesOutstanding", "CommonStockSharesOutstanding"):
        counts = [value for name, value in values if name == concept and value > 0]
        if counts:
            return counts[0] if len(counts) == 1 else None
    return None


def _concepts(parts: Iterable[object]) -> Iterator[tuple[str, float]]:
    """(concept without its name space, value) of every finite number in the parts of a report."""
    for lines in parts:
        for line in lines if isinstance(lines, list) else []:
            value = line.get("value") if isinstance(line, dict) else None
            if isinstance(value, int | float) and math.isfinite(value):
                # us-gaap_CommonStockSharesOutstanding and dei:EntityCommonStockSharesOutstanding.
                concept = str(line.get("concept")).replace(":", "_").rsplit("_", 1)[-1]
                yield concept, float(value)


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None
