"""Company facts as they were known: quarters by the day they were filed, profile, shares outstanding.

Finnhub dates a quarter by its end. That is weeks before anyone outside could read it, so each quarter gets
the day of its filing, and where no filing is found its end plus a lag.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from weekahead.files import Row
from weekahead.task.record import Financials, moment

FILING_LAG_DAYS = 45
"""Days from a quarter's end to its filing where no filing is found; the longest term of a quarterly report (SEC)."""
ANNUAL_LAG_DAYS = 90
"""The same for the end of a fiscal year; the longest term of an annual report (SEC)."""
ABROAD_LAG_DAYS = 120
"""Outside the United States; the term of an annual report in the EU (Directive 2004/109/EC, article 4)."""
_SAME_PERIOD = timedelta(days=7)
"""Providers date the end of one quarter up to a few days apart."""
_TOO_OLD = timedelta(days=400)
_END_OF_DAY = "T05:00:00+00:00"
"""Midnight in New York in winter: EDGAR gives the day, and accepts filings until ten in the evening."""


@dataclass(frozen=True)
class Filing:
    """One periodic report: the period it is about, the day it was filed, and the shares it counts, if it does."""

    period_end: date
    filed: date
    shares: float | None

    @property
    def known_at(self) -> str:
        """The end of the day of filing, ISO 8601 in UTC."""
        return (self.filed + timedelta(days=1)).isoformat() + _END_OF_DAY


def read_filings(answer: Row | None) -> list[Filing]:
    """The filings in an answer of /stock/financials-reported, the earliest first; rows without dates are left out."""
    found = []
    for row in (answer or {}).get("data") or []:
        ends, filed = _day(row.get("endDate")), _day(row.get("filedDate"))
        if ends and filed and filed > ends:
            found.append(Filing(ends, filed, _shares(row.get("report") or {})))
    return sorted(found, key=lambda filing: (filing.filed, filing.period_end))


def quarters(
    metric: Row | None,
    filings: Sequence[Filing],
    lag_days: int = FILING_LAG_DAYS,
    abroad: bool = False,
) -> list[Financials]:
    """Every quarter in an answer of /stock/metric, the earliest known first.

    `known_at` is the end of the day of the first filing for its period; without one the period's end plus
    `lag_days`, or the longer term of a fiscal year's end and of companies abroad. A figure that is not finite is
    left out, and so is a quarter without figures.
    """
    series_of = (metric or {}).get("series") or {}
    annual = {
        _day(point.get("period"))
        for series in (series_of.get("annual") or {}).values()
        for point in series or []
    }
    by_period: dict[date, dict[str, float]] = {}
    for name, series in sorted((series_of.get("quarterly") or {}).items()):
        for point in series or []:
            ends, value = _day(point.get("period")), point.get("v")
            if ends and isinstance(value, int | float) and math.isfinite(value):
                by_period.setdefault(ends, {})[name] = float(value)
    found = []
    for ends, values in by_period.items():
        lag = max(
            lag_days, ANNUAL_LAG_DAYS if ends in annual else 0, ABROAD_LAG_DAYS if abroad else 0
        )
        first = next(
            (filing for filing in filings if abs(filing.period_end - ends) <= _SAME_PERIOD), None
        )
        known_at = (
            first.known_at if first else (ends + timedelta(days=lag)).isoformat() + _END_OF_DAY
        )
        found.append(Financials(ends.isoformat(), known_at, values, filed=first is not None))
    return sorted(found, key=lambda quarter: (quarter.known_at, quarter.period_end))


def latest(found: Sequence[Financials], decision_time: str) -> Financials | None:
    """The quarter that ended last of those known at `decision_time`; None without one, or if it is over a year old."""
    now = moment(decision_time)
    known = [quarter for quarter in found if moment(quarter.known_at) <= now]
    if not known:
        return None
    last = max(known, key=lambda quarter: quarter.period_end)
    return last if now - moment(last.period_end) <= _TOO_OLD else None


def shares_known(filings: Sequence[Filing], decision_time: str) -> Filing | None:
    """The latest filing known at `decision_time` that counts the shares outstanding; None without one in a year."""
    now = moment(decision_time)
    known = [filing for filing in filings if filing.shares and moment(filing.known_at) <= now]
    last = max(known, key=lambda filing: (filing.period_end, filing.filed), default=None)
    return last if last and now - moment(last.period_end.isoformat()) <= _TOO_OLD else None


def introduce(symbol: str, profile: Row | None) -> str:
    """A company in one sentence: its name and its industry.

    The rest of Finnhub's profile is that of today and stays out: capitalization, shares, and the exchange, which
    companies change. Name and industry are today's too: a renamed company shows its later name.
    """
    if not profile or not profile.get("name"):
        return f"{symbol}."
    parts = [f"{profile['name']} ({symbol})"]
    if profile.get("finnhubIndustry"):
        parts.append(str(profile["finnhubIndustry"]))
    return ", ".join(parts) + "."


def _shares(report: Row) -> float | None:
    """Shares outstanding as the report counts them; the cover page's number before the balance sheet's.

    A company with several classes of shares counts several times, and one price does not value them: None.
    """
    counted = list(_concepts(report))
    for concept in ("EntityCommonStockSharesOutstanding", "CommonStockSharesOutstanding"):
        counts = [value for name, value in counted if name == concept and value > 0]
        if counts:
            return counts[0] if len(counts) == 1 else None
    return None


def _concepts(report: Row) -> Iterator[tuple[str, float]]:
    for lines in report.values():
        for line in lines if isinstance(lines, list) else []:
            value: Any = line.get("value") if isinstance(line, dict) else None
            if isinstance(value, int | float) and math.isfinite(value):
                yield str(line.get("concept")).replace(":", "_").rsplit("_", 1)[-1], float(value)


def _day(text: Any) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None
