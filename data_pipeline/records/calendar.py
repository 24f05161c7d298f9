"""Trading weeks: from one symbol's daily prices to complete weeks with their returns.

A week runs from Sunday to Sunday in the time zone of the symbol's exchange, and is complete when
every session that the exchange held has a price. A holiday is not a session; a halted share's day
is one without a price, and so is a day that is still to come. An incomplete week is never given a
return.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import pandas

_EXCHANGES = {
    "": "XNYS",
    "AS": "XAMS",
    "BR": "XBRU",
    "DE": "XETR",
    "HE": "XHEL",
    "IR": "XDUB",
    "L": "XLON",
    "LS": "XLIS",
    "MC": "XMAD",
    "MI": "XMIL",
    "PA": "XPAR",
    "SW": "XSWX",
    "VI": "XWBO",
}
"""Yahoo's suffix of a symbol -> the exchange's code (ISO 10383, as exchange_calendars names it)."""
_ALWAYS_OPEN = "24/7"
_PAIR = re.compile(r"[^.=^]+-[A-Za-z]{3,}")
_US_INDICES = ("^GSPC", "^DJI", "^IXIC", "^NDX", "^RUT", "^OEX", "^NYA")
"""Yahoo's names; other indices trade elsewhere, at other hours."""
WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class Week:
    """One week of one symbol; `missing` says why it is not complete, and it then has no prices."""

    start: date
    """Its Sunday; the week ends before the next one."""
    closed_at: str | None
    """When its last session closed, ISO 8601 in UTC; None for a week without sessions."""
    close: float | None = None
    """Of its last session, in the shares of the day the prices were downloaded."""
    adjusted: float | None = None
    """The same, adjusted for splits and dividends."""
    missing: str | None = None


def exchange_of(symbol: str) -> str:
    """The exchange that a Yahoo symbol trades on, as a calendar code.

    Nasdaq and New York keep the same days; a pair such as BTC-USD trades every day of the week.
    Raises ValueError for an unknown suffix, and for what trades at no exchange of these.
    """
    if is_always_open(symbol):
        return _ALWAYS_OPEN
    _, dot, suffix = symbol.partition(".")
    is_share = "=" not in symbol and (symbol[:1] != "^" or symbol.upper() in _US_INDICES)
    if not is_share or suffix.upper() not in _EXCHANGES or (dot and not suffix):
        suffixes = ", ".join(f".{name}" for name in _EXCHANGES if name)
        raise ValueError(
            f"{symbol}: no exchange is known for {'its suffix' if is_share else 'it'}; expected a "
            f"share with no suffix (US) or {suffixes}, or a pair such as BTC-USD"
        )
    return _EXCHANGES[suffix.upper()]


def is_always_open(symbol: str) -> bool:
    """Whether a symbol is a pair such as BTC-USD or BTC-GBP, which trades every day of the week.

    A class of shares has one or two letters there: BRK-B, BAC-PL.
    """
    return _PAIR.fullmatch(symbol) is not None


def sunday_on_or_before(day: date) -> date:
    """The Sunday that begins the week of `day`."""
    return day - timedelta(days=day.isoweekday() % 7)


def decision_time(exchange: str, week_start: date) -> str:
    """The first moment of `week_start` in the exchange's own time zone, ISO 8601 in UTC."""
    zone = ZoneInfo(str(_calendar(exchange).tz))
    midnight = datetime.combine(week_start, time(), zone)
    return midnight.astimezone(UTC).isoformat()


def latest_decision(symbol: str, week_start: date, *, synthetic: bool) -> datetime:
    """The last moment, in UTC, at which the week that begins on `week_start` may be forecast.

    The first moment of that day at the symbol's exchange, and in UTC for a fictional market. Where
    the exchange is not known it is that of UTC-12, where a day begins last.
    """
    midnight = datetime.combine(week_start, time(), UTC)
    if synthetic:
        return midnight
    try:
        exchange = exchange_of(symbol)
    except ValueError:
        return midnight + timedelta(hours=12)
    return datetime.fromisoformat(decision_time(exchange, week_start))


def first_open(exchange: str, week_start: date) -> str | None:
    """When the first session of the week from the Sunday `week_start` opens, ISO 8601 in UTC.

    None for a week without sessions.
    """
    sessions = _sessions(exchange, week_start)
    if not sessions:
        return None
    return _calendar(exchange).session_open(sessions[0][0].isoformat()).isoformat()


def weeks_of(frame: "pandas.DataFrame", exchange: str, first: date, last: date) -> dict[date, Week]:
    """Every week from the one of `first` to the one of `last`, by its Sunday.

    `frame` is one symbol's prices as `price_gate.check_prices` gives them: a row per day, `close`,
    `adj_close` and perhaps `doubt`. A week with a session in doubt is not complete.
    """
    days = zip(frame.index, frame["close"], frame["adj_close"], strict=True)
    closes = {day.date(): (float(close), float(adjusted)) for day, close, adjusted in days}
    reasons: Any = frame["doubt"] if "doubt" in frame else [""] * len(frame)
    by_day = zip(frame.index, reasons, strict=True)
    doubts = {day.date(): str(reason) for day, reason in by_day if reason}
    weeks, start = {}, sunday_on_or_before(first)
    while start <= last:
        sessions = _sessions(exchange, start)
        doubted = next((day for day, _ in sessions if day in doubts), None)
        if doubted:
            reason = f"the price of {doubted} is in doubt ({doubts[doubted]})"
            weeks[start] = Week(start, sessions[-1][1], missing=reason)
        else:
            weeks[start] = _week(start, sessions, closes)
        start += WEEK
    return weeks


def _week(
    start: date, sessions: Sequence[tuple[date, str]], closes: Mapping[date, tuple[float, float]]
) -> Week:
    if not sessions:
        return Week(start, None, missing="no session in the week")
    day, closed_at = sessions[-1]
    unpriced = [session for session, _ in sessions if not _has_prices(closes.get(session))]
    if unpriced:
        ended = not closes or unpriced[0] > max(closes)
        reason = "the prices end before" if ended else "no price on"
        missing = f"{len(unpriced)} of {len(sessions)} sessions: {reason} {unpriced[0]}"
        return Week(start, closed_at, missing=missing)
    return Week(start, closed_at, *closes[day])


def _has_prices(prices: tuple[float, float] | None) -> bool:
    """Whether close and adjusted close are prices. NaN compares as false, so it is not one."""
    return prices is not None and prices[0] > 0 and prices[1] > 0


def weekly_return(before: Week, week: Week) -> float:
    """The return of `week`, with splits and dividends, as a fraction of the close `before` it.

    Raises ValueError if one of the two weeks is not complete.
    """
    if before.adjusted is None or week.adjusted is None:
        reason = week.missing or before.missing
        raise ValueError(f"week {week.start}: {reason}; a return needs two complete weeks")
    return week.adjusted / before.adjusted - 1


def shares_factor(frame: "pandas.DataFrame", after: date) -> float:
    """The factor that brings a price from shares of the download day to shares of the day `after`.

    Downloaded closes are divided by every later split, also by those that nobody knew on that day:
    a price of 900 before a split of ten to one reads 90. The product of the splits after the day
    undoes that.
    """
    return float(frame.loc[(after + timedelta(days=1)).isoformat() :, "split"].prod())


def sessions_between(exchange: str, first: date, last: date) -> "pandas.DatetimeIndex":
    """The sessions of the exchange from `first` to `last`, both included."""
    return _calendar(exchange).sessions_in_range(first.isoformat(), last.isoformat())


def zone_of(symbol: str) -> str:
    """The name of the time zone of a symbol's exchange. Raises ValueError as `exchange_of` does."""
    return str(_calendar(exchange_of(symbol)).tz)


def splits_between(frame: "pandas.DataFrame", after: date, last: date) -> list[float]:
    """The ratios of the splits after the day `after`, up to the day `last`."""
    ratios = frame.loc[(after + timedelta(days=1)).isoformat() : last.isoformat(), "split"]
    return [float(ratio) for ratio in ratios if ratio != 1.0]


@cache
def _sessions(exchange: str, start: date) -> tuple[tuple[date, str], ...]:
    """(day, moment of its close) of every session in the week from the Sunday `start`."""
    calendar = _calendar(exchange)
    saturday = start + WEEK - timedelta(days=1)
    first, last = calendar.first_session.date(), calendar.last_session.date()
    if not first <= start <= saturday <= last:
        raise ValueError(
            f"the week of {start} lies outside the calendar of {exchange}, which is known from "
            f"{first} to {last}"
        )
    days = calendar.sessions_in_range(start.isoformat(), saturday.isoformat())
    return tuple((day.date(), calendar.session_close(day).isoformat()) for day in days)


@cache
def _calendar(exchange: str) -> Any:
    from exchange_calendars import get_calendar

    # Its default reaches back 20 years from today, which would make an old dataset depend on the
    # day it is built.
    return get_calendar(exchange, start="1990-01-01")
