"""The gate for daily prices of any source: close, adjusted close, splits and dividends must agree.

In this order: days that are no sessions or lie ahead go; sessions at another level than those
around them are doubted (wrong unit, fat finger); listed splits that the prices do not contain are
applied; jumps without a cause are judged; adjusted close, close and dividends are compared; halts
are found. A session in doubt makes its week incomplete with the reason (`calendar.weeks_of`), so it
gives no return and no price. The bounds stand in `price_moves`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from data_pipeline.records import price_moves as moves
from data_pipeline.records.calendar import exchange_of, sessions_between

if TYPE_CHECKING:
    import pandas

_STRANGE = 0.1
"""If so many days are no sessions while sessions are missing, the days are wrong."""
_FEWEST_SHIFTED = 3
_CONSTANT = 20
_SAME_SHARES = 1e-6
"""Ratios of two levels of a price that differ by less are rounding."""
_FEWEST, _MOST = 1 / 500, 60.0
"""A split outside these bounds is an error of the source."""


class CheckedPrices(NamedTuple):
    """Prices that a record may use."""

    frame: "pandas.DataFrame"
    """Per session: `close` (in today's shares), `adj_close` (of dividends as well), `split` (new
    shares for an old one, 1.0 on other days) and `doubt` (why not to use the prices, or "").
    """
    notes: Sequence[str] = ()
    no_capitalization: str | None = None
    """Why a price times a number of shares may be wrong; None if it is not."""


@dataclass(frozen=True)
class _Series:
    """The columns of a frame as arrays by session; close and adjusted are log prices."""

    days: Sequence[date]
    close: Any
    adjusted: Any | None
    splits: Sequence[moves.Split]
    splits_known: bool
    dividends: Any | None
    volume: Any
    """Zeros if the source has none."""
    raw: Any
    """The closes as they came, not logarithms."""
    inferred: Sequence[int] = ()
    """Sessions of splits that the source does not list."""


def check_prices(symbol: str, frame: "pandas.DataFrame", today: date) -> CheckedPrices:
    """The prices of a provider, checked; `frame` is as `price_table.PriceTable` describes it.

    Raises ValueError with the reason if nothing of it can be used.
    """
    on_sessions, notes = _on_sessions(symbol, frame, today)
    series, form = _series(on_sessions)
    notes += form.notes
    doubts = dict(moves.excursions(series.close, series.volume, series.splits))
    if series.adjusted is not None:
        doubts |= moves.excursions(series.adjusted, series.volume, series.splits)
        doubts = {**moves.ratio_excursions(series.adjusted - series.close), **doubts}
    series = _with_inferred_splits(_without(series, doubts))
    series, of_splits = _with_splits(series)
    series, exchanged = _in_order(series)
    jumps = moves.lone_jumps(
        series.close, series.volume, series.splits, splits_known=series.splits_known
    )
    # The first reason counts.
    doubts = {**jumps.doubts, **form.unpaid, **of_splits.doubts, **doubts}
    notes += [*of_splits.notes, *exchanged, *_kept(series, jumps)]
    doubts = {**_ratio_doubts(series, doubts), **doubts}
    doubts = {**dict(moves.halts(series.close, series.volume)), **doubts}
    no_capitalization = form.no_capitalization
    if jumps.level_in_doubt or of_splits.level_in_doubt or series.inferred:
        no_capitalization = "the level of its prices is in doubt"
    notes += _doubt_notes(series.days, doubts)
    return CheckedPrices(_frame(on_sessions, series, doubts), notes, no_capitalization)


def prices_known(symbol: str, frame: "pandas.DataFrame", last: date, today: date) -> CheckedPrices:
    """The prices up to the day `last`, judged by these alone, as on the evening of that day.

    `check_prices` judges a session by those after it too: with it, a prompt would depend on the
    future. What comes later counts in one way: a source divides closes by the splits up to
    `today`, and a row on the day after `last` (without a price) has the ratio that undoes it.
    Raises ValueError as `check_prices` does.
    """
    import pandas

    past = frame.loc[: str(last)]
    known = check_prices(symbol, past, last) if len(past) else check_prices(symbol, frame, last)
    following = last + timedelta(days=1)
    later = frame.loc[str(following) :]
    if "split" not in later or bool((later["split"] == 1.0).all()):
        return known
    day = known.frame["close"].last_valid_index()
    whole = check_prices(symbol, frame, today).frame
    # Closes of `whole` are in shares of today; those of `known` as the source has them.
    in_shares_of_day = whole.loc[day, "close"] * whole.loc[whole.index > day, "split"].prod()
    ratio = float(in_shares_of_day / known.frame.loc[day, "close"])
    if not math.isfinite(ratio) or abs(ratio - 1) < _SAME_SHARES:
        return known
    row = {"close": math.nan, "adj_close": math.nan, "split": ratio, "doubt": ""}
    index = pandas.DatetimeIndex([pandas.Timestamp(following)])
    with_ratio = pandas.concat([known.frame, pandas.DataFrame(row, index=index)])
    return known._replace(frame=with_ratio)


def _on_sessions(symbol: str, frame: Any, today: date) -> tuple[Any, list[str]]:
    """The rows on days of trading up to today; a split of another day moves to the next session.

    Raises ValueError if the days do not fit the exchange, or if the price never changes.
    """
    import pandas

    notes: list[str] = []
    ahead = frame.index > pandas.Timestamp(today)
    if ahead.any():
        notes.append(f"{int(ahead.sum())} rows after {today} left out")
        frame = frame[~ahead]
    if frame.empty:
        raise ValueError("no row up to today")
    exchange = exchange_of(symbol)
    first, last = frame.index[0].date(), frame.index[-1].date()
    sessions = pandas.DatetimeIndex(sessions_between(exchange, first, last))
    strange = ~frame.index.isin(sessions)
    holes = 1 - (~strange).sum() / max(1, len(sessions))
    half = _gaps_beside(frame.index[strange], sessions.difference(frame.index))
    if (strange.mean() > _STRANGE and holes > _STRANGE) or half:
        raise ValueError(
            f"{int(strange.sum())} of {len(frame)} days are no sessions of {exchange} (the first "
            f"is {frame.index[strange][0].date()}) while sessions are missing: the days look "
            "shifted, by a time zone perhaps"
        )
    if strange.any():
        notes.append(f"{int(strange.sum())} rows on days without a session left out")
        frame = _move_splits(frame, strange)
    price = frame["close"] if "close" in frame else frame["adj_close"]
    if len(price) >= _CONSTANT and price.nunique() == 1:
        raise ValueError(f"the price is {price.dropna().iloc[0]:g} in all of {len(price)} sessions")
    if not price.notna().any():
        raise ValueError("no session has a price")
    return frame, notes


def _gaps_beside(strange: Any, missing: Any) -> bool:
    """Whether most days that are no sessions stand in for a session of their week, three at least.

    So it is if a part of the days is shifted, such as those of winter.
    """
    weeks = {day.to_period("W-SAT") for day in missing}
    beside = sum(day.to_period("W-SAT") in weeks for day in strange)
    return beside >= _FEWEST_SHIFTED and beside > len(strange) / 2


def _move_splits(frame: Any, strange: Any) -> Any:
    kept = frame[~strange].copy()
    if "split" in frame:
        for day, ratio in frame.loc[strange, "split"].items():
            following = kept.index[kept.index > day]
            if ratio != 1.0 and len(following) and kept.loc[following[0], "split"] == 1.0:
                kept.loc[following[0], "split"] = ratio
    return kept


class _Form(NamedTuple):
    """What the columns of a source mean for the notes and for the capitalization."""

    notes: list[str]
    no_capitalization: str | None
    unpaid: moves.Doubts
    """Sessions whose dividend no column contains."""


def _series(frame: Any) -> tuple[_Series, _Form]:
    import numpy

    def column(name: str) -> Any | None:
        return frame[name].to_numpy(dtype=float) if name in frame else None

    close: Any = frame["close" if "close" in frame else "adj_close"].to_numpy(dtype=float)
    adjusted = column("adj_close") if "close" in frame else None
    ratios, volume = column("split"), column("volume")
    series = _Series(
        days=[day.date() for day in frame.index],
        close=numpy.log(close),
        adjusted=None if adjusted is None else numpy.log(adjusted),
        splits=() if ratios is None else _listed(ratios),
        splits_known=ratios is not None,
        dividends=column("dividend"),
        volume=numpy.zeros(len(frame)) if volume is None else volume,
        raw=close,
    )
    unpaid: moves.Doubts = {}
    if "close" in frame and series.adjusted is None and series.dividends is not None:
        unpaid = moves.unpaid_dividends(series.close, series.dividends)
    return series, _form(frame, unpaid)


def _form(frame: Any, unpaid: moves.Doubts) -> _Form:
    notes: list[str] = []
    no_capitalization = None
    if unpaid:
        notes.append("closes are as traded, without dividends: add a column Adj Close")
    elif "close" not in frame or ("adj_close" not in frame and "dividend" in frame):
        notes.append(
            "closes are taken as adjusted for dividends (yfinance's auto_adjust), so prompts show "
            "dividend-adjusted prices, not those of the day"
        )
        no_capitalization = "its closes are adjusted for dividends"
    elif "adj_close" not in frame:
        notes.append(
            "no adjusted close and no dividends: returns leave out dividends, unless these closes "
            "are adjusted already"
        )
    if "split" not in frame:
        notes.append(
            "no splits: prompts may show prices divided by a later split, and weeks in which a "
            "price jumps like a split are left out"
        )
        no_capitalization = no_capitalization or "its source lists no splits"
    return _Form(notes, no_capitalization, unpaid)


def _listed(ratios: Any) -> list[moves.Split]:
    return [moves.Split(at, math.log(r)) for at, r in enumerate(ratios) if r != 1.0]


def _with_inferred_splits(series: _Series) -> _Series:
    """The series with the splits that as-traded closes beside adjusted ones show.

    The ratio of the two then jumps by that of the split.
    """
    if series.adjusted is None:
        return series
    found: list[moves.Split] = []
    for step in moves.steps(series.adjusted - series.close):
        ratio = moves.near_ratio(step.move, 1.5, tolerance=0.02)
        is_listed = any(abs(split.at - step.at) <= moves.PARTLY for split in series.splits)
        if ratio and not is_listed:
            found.append(moves.Split(step.at, math.copysign(math.log(ratio), step.move)))
    inferred = tuple(split.at for split in found)
    return replace(series, splits=(*series.splits, *found), inferred=inferred)


def _without(series: _Series, doubts: Mapping[int, str]) -> _Series:
    """The series with no price in the sessions in doubt."""
    import numpy

    keep = numpy.ones(len(series.days), dtype=bool)
    keep[list(doubts)] = False
    adjusted = series.adjusted
    return replace(
        series,
        close=numpy.where(keep, series.close, numpy.nan),
        adjusted=None if adjusted is None else numpy.where(keep, adjusted, numpy.nan),
    )


class _SplitFindings(NamedTuple):
    doubts: Mapping[int, str]
    notes: Sequence[str]
    level_in_doubt: bool


def _with_splits(series: _Series) -> tuple[_Series, _SplitFindings]:
    """Prices in today's shares throughout; each of the two columns is told from its own steps."""
    doubts: dict[int, str] = {}
    for split in series.splits:
        if not _FEWEST <= math.exp(split.ratio) <= _MOST:
            text = f"a split of {math.exp(split.ratio):g} is no split"
            doubts |= dict.fromkeys(range(split.at + 1), text)
    mended: list[Any] = []
    unapplied: set[int] = set()
    for log in (series.close, series.adjusted):
        if log is None:
            mended.append(None)
            continue
        applied = moves.apply_splits(log, series.splits, series.volume)
        finished = moves.finish_splits(applied.log, series.splits, series.volume)
        doubts |= {**applied.doubts, **finished.doubts}
        unapplied |= set(applied.not_applied)
        mended.append(finished.log)
    small = moves.apply_small_splits(mended[0], mended[1], series.splits)
    doubts = {**small.doubts, **doubts}
    ratios = {split.at: math.exp(split.ratio) for split in series.splits}
    notes = [
        f"prices before {series.days[at]} do not contain the split of {ratios[at]:g}: divided by it"
        for at in sorted(unapplied)
    ]
    findings = _SplitFindings(doubts, notes, level_in_doubt=bool(doubts))
    return replace(series, close=small.close, adjusted=small.adjusted), findings


def _noise(series: _Series) -> float:
    import numpy

    closes = [numpy.exp(series.close)]
    if series.adjusted is not None:
        closes.append(numpy.exp(series.adjusted))
    return moves.rounding(*closes)


def _in_order(series: _Series) -> tuple[_Series, list[str]]:
    """The series with close and adjusted close in their places, if the source exchanged them."""
    if series.adjusted is None:
        return series, []
    if not moves.is_exchanged(series.close, series.adjusted, _noise(series)):
        return series, []
    note = "close and adjusted close are exchanged in the source: read the other way round"
    return replace(series, close=series.adjusted, adjusted=series.close), [note]


def _kept(series: _Series, jumps: moves.Jumps) -> list[str]:
    return [
        f"kept a move of {100 * math.expm1(step.move):+.0f} % on {series.days[step.at]}: the "
        "prices stay there"
        for step in jumps.kept
    ]


def _ratio_doubts(series: _Series, doubts: Mapping[int, str]) -> moves.Doubts:
    import numpy

    if series.adjusted is None:
        return {}
    clean = _without(series, doubts)
    closes = [numpy.exp(clean.close), series.raw]
    dividends = moves.Dividends(series.dividends, closes)
    return moves.ratio_doubts(clean.close, clean.adjusted, dividends, _noise(series))


def _doubt_notes(days: Sequence[date], doubts: Mapping[int, str]) -> list[str]:
    """One note per reason, with the first and last of its days."""
    by_reason: dict[str, list[date]] = {}
    for session, reason in sorted(doubts.items()):
        by_reason.setdefault(reason, []).append(days[session])
    notes: list[str] = []
    for reason, of_reason in by_reason.items():
        span = str(of_reason[0])
        if len(of_reason) > 1:
            span = f"{len(of_reason)} sessions from {of_reason[0]} to {of_reason[-1]}"
        notes.append(f"prices in doubt, weeks left out: {span} ({reason})")
    return notes


def _frame(given: Any, series: _Series, doubts: Mapping[int, str]) -> "pandas.DataFrame":
    import numpy
    import pandas

    split = numpy.ones(len(series.days))
    for one in series.splits:
        split[one.at] = math.exp(one.ratio)
    listed = given["split"].to_numpy(dtype=float) if "split" in given else split
    adjusted = series.close if series.adjusted is None else series.adjusted
    columns = {
        "close": _scaled(given, series.close),
        "adj_close": _scaled(given, adjusted),
        "split": numpy.where(listed == 1.0, split, listed),
        "doubt": [doubts.get(session, "") for session in range(len(series.days))],
    }
    return pandas.DataFrame(columns, index=given.index)


def _scaled(given: Any, log: Any) -> Any:
    """Prices from log prices, as they came, digit by digit, if they are not changed."""
    import numpy

    prices = numpy.exp(log)
    for name in ("close", "adj_close"):
        if name in given:
            came = given[name].to_numpy(dtype=float)
            prices = numpy.where(numpy.abs(prices / came - 1) < 1e-12, came, prices)
    return prices
