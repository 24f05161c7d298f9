"""What happened: the returns of weeks that have passed, as lines of their own.

A return that a source states otherwise later is a line of kind correction; no line is changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from data_pipeline.providers.base import PriceProvider
from data_pipeline.records.calendar import WEEK, Week, exchange_of, weekly_return, weeks_of
from data_pipeline.records.price_gate import check_prices
from forecast.company.inputs import check_each_once, check_records
from forecast.journal.ledger import Ledger
from forecast.journal.rules import differs, doubt_of, is_correction
from weekahead.schema.journal import CorrectionLine, ForecastLine, ReturnLine
from weekahead.task.labels import RETURNS, is_return, label_of_return
from weekahead.task.record import Record, read_records
from weekahead.task.times import moment

_DECIMALS = 6
"""Of a return that is computed from prices."""


class Returns(NamedTuple):
    """What one source of prices says."""

    source: str
    values: Mapping[str, float]
    """Id -> return of the week, as a fraction."""
    missing: Mapping[str, str]
    """Id -> why the source has none."""


class Settlement(NamedTuple):
    """What is to be written, and what is not known yet."""

    lines: list[ReturnLine | CorrectionLine]
    """`previous` is yet to be set."""
    waiting: dict[str, str]
    """Id -> why its return is not known."""
    notes: list[str]
    """What a source says otherwise than the ledger, and why nothing is written of it."""


def passed_weeks(ledger: Ledger, now: datetime) -> list[ForecastLine]:
    """A forecast of every company and week that has ended, in the order of their entry."""
    firsts: dict[str, ForecastLine] = {}
    for line in ledger.forecasts:
        if moment(line["week_end"]) <= now:
            firsts.setdefault(line["id"], line)
    return list(firsts.values())


def settle(ledger: Ledger, sources: Sequence[Returns], now: datetime) -> Settlement:
    """The lines for returns that are known now; nothing for those that stand as they are."""
    found = Settlement([], {}, [])
    held = ledger.outcomes()
    for forecast in passed_weeks(ledger, now):
        key = forecast["id"]
        known = {source.source: source.values[key] for source in sources if key in source.values}
        old, digest = held.get(key, (None, ""))
        if not known:
            if old is None:
                found.waiting[key] = _why_missing(sources, key)
            continue
        line = _return_line(forecast, known, now)
        if old is None:
            found.lines.append(line)
        elif is_correction(old, line):
            found.lines.append({**line, "kind": "correction", "corrects": digest})
        elif other := _said_otherwise(old, line):
            found.notes.append(other)
    return found


def _return_line(forecast: ForecastLine, known: Mapping[str, float], now: datetime) -> ReturnLine:
    value = next(iter(known.values()))
    doubt = doubt_of(known)
    return {
        "previous": "",
        "kind": "return",
        "written_at": now.isoformat(),
        "id": forecast["id"],
        "symbol": forecast["symbol"],
        "week_start": forecast["week_start"],
        "weekly_return": value,
        "label": None if doubt else label_of_return(value),
        "sources": dict(known),
        "doubt": doubt,
    }


def _said_otherwise(old: ReturnLine, new: ReturnLine) -> str | None:
    """What a line that lacks a source of the one that holds says otherwise; None if nothing."""
    lacking = sorted(old["sources"].keys() - new["sources"].keys())
    if not lacking or not differs(old, new):
        return None
    said = ", ".join(f"{source} {value:+.4f}" for source, value in new["sources"].items())
    return (
        f"{old['id']}: {said}, and the ledger {old['weekly_return']:+.4f}; a correction needs "
        f"{', '.join(lacking)} too, which the ledger has: give both"
    )


def _why_missing(sources: Sequence[Returns], key: str) -> str:
    reasons = [f"{source.source}: {source.missing.get(key, 'not there')}" for source in sources]
    return "; ".join(reasons) or "no source of prices"


def returns_of_records(path: Path, wanted: Iterable[ForecastLine]) -> Returns:
    """The returns that a file of records states.

    Raises ValueError and OSError as its reader, and for a company and week that it has twice.
    """
    check_records(path)
    ids = {forecast["id"] for forecast in wanted}
    found = [record for record in read_records(path) if record.id in ids]
    check_each_once(found, path)
    stated = {record.id: _stated_return(record, path) for record in found}
    values = {key: value for key, value in stated.items() if value is not None}
    missing = {
        key: "its record has no return" if key in stated else f"no record of it in {path}"
        for key in ids - values.keys()
    }
    return Returns("records", values, missing)


def _stated_return(record: Record, path: Path) -> float | None:
    value = record.weekly_return
    if value is not None and not is_return(value):
        raise ValueError(
            f"{path}: weekly_return of {record.id} is {value!r:.60}; expected {RETURNS}: mend it, "
            "and settle again"
        )
    return value


def returns_of_prices(
    provider: PriceProvider, wanted: Sequence[ForecastLine], today: date
) -> Returns:
    """The returns that daily prices give, with splits and dividends.

    Raises ConnectionError if the provider does not answer, ValueError for unreadable prices.
    """
    if not wanted:
        return Returns(provider.name, {}, {})
    starts = [_start(forecast) for forecast in wanted]
    first, last = min(starts) - 2 * WEEK, min(max(starts) + WEEK, today)
    symbols = sorted({forecast["symbol"] for forecast in wanted})
    answer = provider.prices(symbols, first, last)
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for symbol in symbols:
        of_symbol = [forecast for forecast in wanted if forecast["symbol"] == symbol]
        try:
            if symbol not in answer.frames:
                raise ValueError(answer.missing.get(symbol, "no prices"))
            frame = check_prices(symbol, answer.frames[symbol], today).frame
            weeks = weeks_of(frame, exchange_of(symbol), first, max(starts))
        except ValueError as error:
            missing |= {forecast["id"]: str(error) for forecast in of_symbol}
            continue
        more, without = _returns_of_weeks(weeks, of_symbol)
        values |= more
        missing |= without
    return Returns(provider.name, values, missing)


def _returns_of_weeks(
    weeks: Mapping[date, Week], wanted: Sequence[ForecastLine]
) -> tuple[dict[str, float], dict[str, str]]:
    """(id -> return, id -> why there is none) of one symbol."""
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for forecast in wanted:
        start = _start(forecast)
        try:
            found = weekly_return(weeks[start - WEEK], weeks[start])
        except ValueError as error:
            missing[forecast["id"]] = str(error)
        else:
            values[forecast["id"]] = round(found, _DECIMALS)
    return values, missing


def _start(forecast: ForecastLine) -> date:
    return date.fromisoformat(forecast["week_start"])
