"""Company facts as they were known: quarters by the day of filing, introduction, shares.

Providers date a quarter by its end. That is weeks before anyone outside could read it, so each
quarter gets the day of its filing, and if no filing is found its end plus a lag.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction

from data_pipeline.providers.base import Filing, FundamentalsAnswer, Profile, midnight_in_new_york
from weekahead.task.record import Financials
from weekahead.task.times import moment

FILING_LAG_DAYS = 45
"""Days from a quarter's end to its filing, if none is found: the SEC's term for a quarter."""
ANNUAL_LAG_DAYS = 90
"""The same for the end of a fiscal year: the SEC's term for an annual report."""
ABROAD_LAG_DAYS = 120
"""Outside the United States: the EU's term for an annual report (2004/109/EC, article 4)."""
SHORTEST_LAG_DAYS = 30
"""No lag may be shorter: without a known filing, the audit takes a quarter that ended at most so
many days before the forecast week for unpublished.
"""
_SAME_PERIOD = timedelta(days=7)
"""Providers date the end of one quarter up to a few days apart."""
_TOO_OLD = timedelta(days=400)


def quarters(
    answer: FundamentalsAnswer, lag_days: int = FILING_LAG_DAYS, *, abroad: bool = False
) -> list[Financials]:
    """Every quarter of a provider's answer that has figures, the earliest known first.

    `known_at` is the end of the day of the first filing for its period; without one the period's
    end plus `lag_days`, or the longer term of a fiscal year's end and of companies abroad.
    """
    dated = []
    for ends, values in answer.figures.items():
        filing = _first_filing(answer.filings, ends)
        if filing is None:
            annual = ANNUAL_LAG_DAYS if ends in answer.fiscal_year_ends else 0
            lag = max(lag_days, annual, ABROAD_LAG_DAYS if abroad else 0)
            known_at = midnight_in_new_york(ends + timedelta(days=lag))
        else:
            known_at = filing.known_at
        dated.append(Financials(ends.isoformat(), known_at, dict(values), filed=filing is not None))
    return sorted(dated, key=lambda quarter: (quarter.known_at, quarter.period_end))


def _first_filing(filings: Sequence[Filing], period_end: date) -> Filing | None:
    same = (filing for filing in filings if abs(filing.period_end - period_end) <= _SAME_PERIOD)
    return next(same, None)


def latest(financials: Sequence[Financials], decision_time: str) -> Financials | None:
    """The quarter that ended last of those known at `decision_time`.

    None if there is none, or if it is over a year old.
    """
    now = moment(decision_time)
    published = [quarter for quarter in financials if moment(quarter.known_at) <= now]
    last = max(published, key=lambda quarter: quarter.period_end, default=None)
    return last if last and now - moment(last.period_end) <= _TOO_OLD else None


def shares_known(filings: Sequence[Filing], decision_time: str) -> Filing | None:
    """The latest filing known at `decision_time` that counts the shares outstanding.

    None if there is none, or if it is over a year old.
    """
    now = moment(decision_time)
    published = [filing for filing in filings if filing.shares and moment(filing.known_at) <= now]
    last = max(published, key=lambda filing: (filing.period_end, filing.filed), default=None)
    return last if last and now - moment(last.period_end.isoformat()) <= _TOO_OLD else None


_SHARE_SPLIT = 1.45
"""From this ratio on, either way, a split with a simple ratio is one of shares."""
_SPIN_OFF_DIGITS = 100
"""A ratio that no fraction with so small a denominator gives is that of a spin-off."""


def new_shares(ratios: Iterable[float]) -> float | None:
    """New shares for an old one after splits of these ratios; None if that is not known.

    Providers write a spin-off as a split, such as 1253:1000, because it divides the price: the
    number of shares stays. Of a small simple ratio, such as 5:4, it is not known which it is.
    """
    shares = 1.0
    for ratio in ratios:
        simple = Fraction(ratio).limit_denominator(20)
        inverse = Fraction(1 / ratio).limit_denominator(20)
        fits = abs(simple / ratio - 1) < 1e-4 or abs(inverse * ratio - 1) < 1e-4
        if fits and not 1 / _SHARE_SPLIT < ratio < _SHARE_SPLIT:
            shares *= ratio
        elif not (ratio > 1.1 and _is_uneven(ratio)):
            return None
    return shares


def _is_uneven(ratio: float) -> bool:
    return abs(Fraction(ratio).limit_denominator(_SPIN_OFF_DIGITS) / ratio - 1) > 1e-6


def is_in_line(filing: Filing, filings: Sequence[Filing], since: Callable[[date], float]) -> bool:
    """Whether the shares of a filing are of the order of those filed before it.

    `since` gives the product of the splits after a day. Another unit, such as thousands, is not.
    """
    counted = [other for other in filings if other.shares and other.filed < filing.filed]
    if not counted or not filing.shares:
        return True
    last = counted[-1]
    expected = (last.shares or 0.0) * since(last.filed) / since(filing.filed)
    return 1 / _SAME_ORDER < filing.shares / expected < _SAME_ORDER


_SAME_ORDER = 20.0


def introduce(symbol: str, profile: Profile | None) -> str:
    """A company in one sentence: its name and its industry.

    Both are those of the day of the download: a renamed company shows its later name.
    """
    if profile is None:
        return f"{symbol}."
    name = f"{profile.name} ({symbol})"
    return f"{name}, {profile.industry}." if profile.industry else f"{name}."
