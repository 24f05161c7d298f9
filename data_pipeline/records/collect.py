"""Everything known of each company, from whatever providers a run has: the edge where records
begin.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from data_pipeline.providers.base import FundamentalsAnswer
from data_pipeline.providers.table import Sources
from data_pipeline.records.assemble import Company
from data_pipeline.records.calendar import exchange_of
from data_pipeline.records.fundamentals import FILING_LAG_DAYS, quarters
from data_pipeline.records.news import clean_stories


@dataclass(frozen=True)
class Gathered:
    """The companies, and everything a reader should hear about what was not to be had."""

    companies: Mapping[str, Company]
    no_prices: Mapping[str, str]
    """Symbol -> why there are none."""
    notes: Sequence[str]
    calls: Counter[str]
    """Calls made to providers by endpoint; a stored answer counts nothing."""


def gather(
    symbols: Sequence[str],
    first: date,
    last: date,
    sources: Sources,
    filing_lag_days: int = FILING_LAG_DAYS,
) -> Gathered:
    """Prices, news, profile and filings of `symbols` for the days `first` to `last`.

    A symbol without prices is named and left out. Raises ValueError if none has any,
    PermissionError for a missing or refused key and ConnectionError for a provider that does not
    answer; what was fetched stays.
    """
    prices = sources.prices.prices(symbols, first, last)
    if not prices.frames:
        reason = next(iter(prices.missing.values()))
        raise ValueError(
            f"no prices from {first} to {last} for any of {len(symbols)} symbols ({reason}); "
            "nothing to build"
        )
    companies, notes, silent = {}, list(prices.notes), []
    for symbol in _with_progress(sorted(prices.frames)):
        news = sources.news.news(symbol, first, last)
        facts = sources.fundamentals.fundamentals(symbol, last)
        if not news.stories:
            silent.append(symbol)
        notes += [*news.notes, *_notes_on_facts(facts, filing_lag_days)]
        companies[symbol] = Company(
            symbol=symbol,
            prices=prices.frames[symbol],
            news=clean_stories(news.stories),
            profile=facts.profile,
            quarters=quarters(facts, filing_lag_days, abroad=_is_abroad(symbol)),
            filings=facts.filings,
        )
    if silent:
        notes.append(f"{sources.news.name}: no news about {', '.join(silent)}")
    # A note such as "a day is fetched when it is over" comes from every symbol.
    unique_notes = list(dict.fromkeys(notes))
    return Gathered(companies, prices.missing, unique_notes, sources.calls)


def _with_progress(symbols: Sequence[str]) -> Iterator[str]:
    from tqdm import tqdm

    yield from tqdm(symbols, unit="symbol", desc="companies")


def _notes_on_facts(facts: FundamentalsAnswer, filing_lag_days: int) -> list[str]:
    if not facts.no_filings:
        return list(facts.notes)
    dated = f"{facts.no_filings}; its quarters are dated by their end plus {filing_lag_days} days"
    return [dated, *facts.notes]


def _is_abroad(symbol: str) -> bool:
    """Whether the symbol trades outside the United States."""
    return exchange_of(symbol) != exchange_of("")
