"""From providers to records: what is known of each company, and the records made of it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from data_pipeline.providers.base import FundamentalsAnswer
from data_pipeline.providers.table import Sources
from data_pipeline.records.assemble import (
    Assembled,
    Company,
    ContextWeeks,
    left_out_week,
    records_of,
)
from data_pipeline.records.calendar import exchange_of, zone_of
from data_pipeline.records.fundamentals import FILING_LAG_DAYS, quarters
from data_pipeline.records.news import clean_stories
from data_pipeline.records.price_gate import CheckedPrices, check_prices, prices_known
from weekahead.task.record import Record

if TYPE_CHECKING:
    import pandas


_FEW = 5
"""Fewer companies need no progress bar."""


@dataclass(frozen=True)
class Gathered:
    """The companies, and everything a reader should hear about what was not to be had."""

    companies: Mapping[str, Company]
    no_prices: Mapping[str, str]
    """Symbol -> why there are none."""
    notes: Sequence[str]
    calls: Counter[str]
    """Calls for news and company facts by endpoint; a stored answer counts nothing."""
    sources: Mapping[str, str]
    """prices, news and facts -> who gave them."""


def gather(
    symbols: Sequence[str],
    first: date,
    last: date,
    sources: Sources,
    filing_lag_days: int = FILING_LAG_DAYS,
    known_on: date | None = None,
) -> Gathered:
    """Prices, news, profile and filings of `symbols` for the days `first` to `last`.

    With `known_on`, prices end on that day and no later one counts (`price_gate.prices_known`).

    A symbol without prices is named and left out. Raises ValueError if none has any,
    PermissionError for a missing or refused key and ConnectionError for a provider that does not
    answer; what was fetched stays.
    """
    prices = sources.prices.prices(symbols, first, last)
    if not prices.frames:
        symbol, reason = next(iter(prices.missing.items()))
        raise ValueError(
            f"no prices from {first} to {last} for any of {len(symbols)} symbols ({symbol}: "
            f"{reason}); nothing to build"
        )
    checked, unusable = _checked(prices.frames, known_on)
    if not checked:
        symbol, reason = next(iter(unusable.items()))
        raise ValueError(
            f"no usable prices for any of {len(unusable)} symbols ({symbol}: {reason})"
        )
    companies, notes, silent = {}, [], []
    for symbol in _with_progress(sorted(checked)):
        news = sources.news.news(symbol, first, last)
        facts = sources.fundamentals.fundamentals(symbol, last)
        if not news.stories:
            silent.append(symbol)
        why = checked[symbol].no_capitalization
        notes += [*news.notes, *_notes_on_facts(facts, filing_lag_days)]
        notes += _capitalization_note(symbol, facts, why)
        companies[symbol] = Company(
            symbol=symbol,
            prices=checked[symbol].frame,
            no_capitalization=checked[symbol].no_capitalization,
            news=clean_stories(news.stories, zone_of(symbol)),
            profile=facts.profile,
            quarters=quarters(facts, filing_lag_days, abroad=_is_abroad(symbol)),
            filings=facts.filings,
        )
    no_news = [f"{sources.news.name}: no news about {', '.join(silent)}"] if silent else []
    # A note such as "a day is fetched when it is over" comes from every symbol.
    # An error quotes the first three, so that of missing news comes before those of companies.
    of_prices = [*prices.notes, *_price_notes(checked)]
    unique_notes = list(dict.fromkeys([*no_news, *of_prices, *notes]))
    return Gathered(
        companies, {**prices.missing, **unusable}, unique_notes, sources.calls, sources.names
    )


def _checked(
    frames: "Mapping[str, pandas.DataFrame]", known_on: date | None
) -> tuple[dict[str, CheckedPrices], dict[str, str]]:
    """Symbol -> its checked prices, and symbol -> why none of them can be used."""
    checked: dict[str, CheckedPrices] = {}
    unusable: dict[str, str] = {}
    today = datetime.now(UTC).date()
    for symbol, frame in frames.items():
        try:
            checked[symbol] = (
                check_prices(symbol, frame, today)
                if known_on is None
                else prices_known(symbol, frame, known_on, today)
            )
        except ValueError as error:
            unusable[symbol] = str(error)
    return checked, unusable


def _price_notes(checked: Mapping[str, CheckedPrices]) -> list[str]:
    """The notes of the gate; one that several symbols share names them all."""
    symbols: dict[str, list[str]] = {}
    for symbol, prices in checked.items():
        for note in prices.notes:
            symbols.setdefault(note, []).append(symbol)
    return [f"{', '.join(of_note)}: {note}" for note, of_note in symbols.items()]


def _with_progress(symbols: Sequence[str]) -> Iterator[str]:
    from tqdm import tqdm

    few = len(symbols) < _FEW
    yield from tqdm(symbols, unit="symbol", desc="companies", disable=few)


def _notes_on_facts(facts: FundamentalsAnswer, filing_lag_days: int) -> list[str]:
    if not facts.no_filings:
        return list(facts.notes)
    dated = f"{facts.no_filings}; its quarters are dated by their end plus {filing_lag_days} days"
    return [dated, *facts.notes]


def _capitalization_note(symbol: str, facts: FundamentalsAnswer, why: str | None) -> list[str]:
    """Why a company with reports gets no market capitalization; nothing if it gets one."""
    if facts.filings and not why and not any(filing.shares for filing in facts.filings):
        why = "its reports do not count the shares that its price is of"
    return [f"{symbol}: no market capitalization: {why}"] if facts.filings and why else []


def _is_abroad(symbol: str) -> bool:
    """Whether the symbol trades outside the United States."""
    return exchange_of(symbol) != exchange_of("")


def make_records(
    gathered: Gathered, members: Mapping[date, Sequence[str]], context: ContextWeeks
) -> Assembled:
    """Records of every symbol in the weeks of which it is a member, ordered by week and symbol.

    Weeks that gave none are ordered by id.
    """
    records, left_out = [], []
    for symbol in sorted({symbol for symbols in members.values() for symbol in symbols}):
        weeks = [week for week, symbols in members.items() if symbol in symbols]
        if symbol in gathered.companies:
            assembled = records_of(gathered.companies[symbol], weeks, context)
            records += assembled.records
            left_out += assembled.left_out
        else:
            reason = f"no prices: {gathered.no_prices[symbol]}"
            left_out += [left_out_week(symbol, week, reason) for week in weeks]
    records.sort(key=lambda record: (record.week_start, record.symbol))
    left_out.sort(key=lambda row: row["id"])
    return Assembled(records, left_out)


def check_any_news(assembled: Assembled, notes: Sequence[str]) -> None:
    """Raise ValueError if there is no record, or none with news: nothing could be learned."""
    records, left_out = assembled
    if not records:
        first = left_out[0]["reason"] if left_out else "no week was asked for"
        raise ValueError(
            f"no record: every week lacks a session or its price ({len(left_out)} weeks of symbols "
            f"left out; the first: {first}); mend the prices, or choose another window"
        )
    if not any(map(has_news, records)):
        reasons = "; ".join(notes[:3]) or "nothing"
        raise ValueError(
            f"{len(records)} records, none with any news; choose a window that your news reach, or "
            f"give news files with --news. What the sources said: {reasons}"
        )


def weeks_without_news(records: Sequence[Record]) -> list[str]:
    """The past weeks (their Sundays) in which no record of any symbol shows news."""
    counts: Counter[str] = Counter()
    for record in records:
        for week in record.weeks:
            counts[week.start] += len(week.news)
    return sorted(week for week, count in counts.items() if not count)


def has_news(record: Record) -> bool:
    """Whether any of its weeks shows news."""
    return any(week.news for week in record.weeks)
