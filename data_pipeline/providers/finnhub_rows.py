"""Finnhub's rows read into what every provider gives: stories, profile, figures, filings."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, TypedDict

from data_pipeline.providers.base import (
    Filing,
    Profile,
    Story,
    listed_symbols,
    read_time,
    usable_link,
    usable_text,
)
from weekahead.schema.shape import is_finite
from weekahead.task.times import read_day

TIME_KEY = "datetime"
"""The key that tells a row of news of this form from one of another form."""

# Of these answers, what is read. Nothing has been checked, so the values may be anything.


class NewsRow(TypedDict, total=False):
    """A row of /company-news."""

    id: object
    datetime: object
    """Seconds since 1970, in UTC."""
    related: object
    """Symbols, separated by commas."""
    headline: object
    summary: object
    url: object


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
    try:
        known_at = read_time(row.get("datetime"))
    except ValueError:
        raise ValueError(
            f"datetime is {row.get('datetime')!r}; expected seconds since 1970, in UTC"
        ) from None
    headline = usable_text(row.get("headline"))
    if not headline:
        raise ValueError(f"headline is {row.get('headline')!r}; expected a text")
    symbols = listed_symbols(row.get("related"))
    link = usable_link(row.get("url"))
    return Story(symbols, headline, usable_text(row.get("summary")), known_at, link)


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
            if ends and is_finite(value):
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
            filings.append(Filing(ends, filed, _shares(report)))
    return sorted(filings, key=lambda filing: (filing.filed, filing.period_end))


def _series(row: FinnhubMetric, period: str) -> Mapping[str, list[SeriesPoint] | None]:
    """Figure -> its points by `period`, quarterly or annual."""
    series: Mapping[str, Any] = row.get("series") or {}
    return series.get(period) or {}


_COVER, _BALANCE = "EntityCommonStockSharesOutstanding", "CommonStockSharesOutstanding"
_AVERAGES = (
    "WeightedAverageNumberOfSharesOutstandingBasic",
    "WeightedAverageNumberOfDilutedSharesOutstanding",
)
_OF_DEPOSITARY_SHARES = ("20-F", "6-K")
"""Forms of companies abroad: they count ordinary shares, and the price may be of an ADS."""
_FEWEST_SHARES = 100_000
"""A listed company has more; fewer are a count in thousands or millions."""
_OFF = 5.0
"""From this factor on two counts of one report are not of one unit."""


def _shares(row: FilingRow) -> float | None:
    """The shares outstanding that a report counts; None if their number or unit is in doubt.

    The cover page's number comes before the balance sheet's. A company with several classes of
    shares counts several times, and one price does not value them. The other counts of the report,
    and its profit per its earnings per share, must be of the same order.
    """
    report = row.get("report")
    if str(row.get("form")).upper().startswith(_OF_DEPOSITARY_SHARES):
        return None
    values: dict[str, list[float]] = {}
    for name, value in _concepts(report.values() if isinstance(report, dict) else ()):
        values.setdefault(name, []).append(value)
    for concept in (_COVER, _BALANCE):
        counts = [value for value in values.get(concept, []) if value > 0]
        if counts:
            fits = len(counts) == 1 and counts[0] >= _FEWEST_SHARES
            return counts[0] if fits and _agrees(counts[0], values) else None
    return None


def _agrees(shares: float, values: Mapping[str, list[float]]) -> bool:
    """Whether a count is of the order of the other counts in its report."""
    others = [value for name in (_BALANCE, *_AVERAGES) for value in values.get(name, [])]
    profit, per_share = values.get("NetIncomeLoss", []), values.get("EarningsPerShareBasic", [])
    if len(profit) == len(per_share) == 1 and abs(per_share[0]) >= 0.05:
        others.append(profit[0] / per_share[0])
    return all(1 / _OFF < other / shares < _OFF for other in others if other > 0)


def _concepts(parts: Iterable[object]) -> Iterator[tuple[str, float]]:
    """(concept without its name space, value) of every finite number in the parts of a report."""
    for lines in parts:
        for line in lines if isinstance(lines, list) else []:
            value = line.get("value") if isinstance(line, dict) else None
            if is_finite(value):
                # us-gaap_CommonStockSharesOutstanding and dei:EntityCommonStockSharesOutstanding.
                concept = str(line.get("concept")).replace(":", "_").rsplit("_", 1)[-1]
                yield concept, float(value)


def _day(text: object) -> date | None:
    try:
        return read_day(str(text)[:10], "a day")
    except ValueError:
        return None
