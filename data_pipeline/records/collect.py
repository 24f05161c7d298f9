"""Everything known of each company, from the providers or from files: the edge where records begin."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from data_pipeline.providers.base import Story, read_story
from data_pipeline.providers.finnhub import Finnhub, older_than_free_plan
from data_pipeline.providers.finnhub_http import KEY, NoAccess
from data_pipeline.providers.price_files import read_prices, without_dividends, without_splits
from data_pipeline.providers.yahoo import download
from data_pipeline.records.assemble import Company
from data_pipeline.records.calendar import exchange_of
from data_pipeline.records.fundamentals import quarters, read_filings
from data_pipeline.records.news import clean_stories
from weekahead import files
from weekahead.task.record import News

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Sources:
    """Where facts come from. `prices` and `news` are files; without them Yahoo and Finnhub are asked."""

    raw: Path
    prices: Path | None = None
    news: Sequence[Path] = ()
    filing_lag_days: int = 45
    per_minute: float = 55


@dataclass
class Gathered:
    """The companies, and everything a reader should hear about what was not to be had."""

    companies: dict[str, Company] = field(default_factory=dict)
    no_prices: dict[str, str] = field(default_factory=dict)
    """Symbol -> why there are none."""
    notes: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    """Calls made to Finnhub by endpoint; a stored answer counts nothing."""


def gather(symbols: Sequence[str], first: date, last: date, sources: Sources) -> Gathered:
    """Prices, news, profile and filings of `symbols` for the days `first` to `last`.

    A symbol without prices is named and left out. Raises ValueError where none has any, PermissionError for a
    missing or refused key and ConnectionError for a provider that does not answer; what was fetched stays.
    """
    gathered = Gathered()
    prices = _prices(symbols, first, last, sources, gathered)
    if not prices:
        why = next(iter(gathered.no_prices.values()))
        raise ValueError(
            f"no prices from {first} to {last} for any of {len(symbols)} symbols ({why}); nothing to build"
        )
    finnhub = Finnhub(sources.raw / "finnhub", per_minute=sources.per_minute)
    told = _news_of_files(sources.news, set(prices), gathered) if sources.news else None
    companies = bool(os.environ.get(KEY)) or told is None
    if not companies:
        gathered.notes.append(f"{KEY} is not set: introductions and financials are left out")
    if told is None and (old := older_than_free_plan(first, last, datetime.now(UTC).date())):
        gathered.notes.append(old)
    for symbol in _progress(sorted(prices), shown=companies):
        news = told[symbol] if told is not None else _news(finnhub, symbol, first, last, gathered)
        known = (
            _company_facts(finnhub, symbol, last, sources.filing_lag_days, gathered)
            if companies
            else {}
        )
        gathered.companies[symbol] = Company(symbol, prices[symbol], news, **known)
    gathered.calls = finnhub.calls
    gathered.notes = list(dict.fromkeys(gathered.notes))
    return gathered


def _progress(symbols: Sequence[str], shown: bool) -> Iterator[str]:
    from tqdm import tqdm

    yield from tqdm(symbols, unit="symbol", desc="Finnhub", disable=not shown)


def _prices(
    symbols: Sequence[str], first: date, last: date, sources: Sources, gathered: Gathered
) -> Mapping[str, "pandas.DataFrame"]:
    """Symbol -> its prices; the others are named in `gathered` with the reason."""
    folder = sources.prices
    if folder is None:
        done = download(symbols, first, last, sources.raw / "yahoo")
        if done.again:
            raise ConnectionError(
                f"Yahoo did not answer about {', '.join(done.again)} ({done.missing[done.again[0]]}); run the same "
                "command again later, or leave them out with --symbols: what was fetched is kept"
            )
        folder = done.folder
        gathered.no_prices |= done.missing
        gathered.notes += [done.note] if done.note else []
        symbols = [symbol for symbol in symbols if symbol not in done.missing]
    found = read_prices(folder, symbols) if symbols else {}
    days = slice(first.isoformat(), last.isoformat())
    prices = {
        symbol: frame for symbol, frame in found.items() if frame.loc[days, "close"].notna().any()
    }
    for symbol in set(symbols) - prices.keys():
        gathered.no_prices.setdefault(
            symbol, "no file" if symbol not in found else f"none from {first} to {last}"
        )
    if plain := without_dividends(prices):
        gathered.notes.append(
            f"no adjusted close, so returns without dividends: {', '.join(plain)}"
        )
    if plain := without_splits(prices):
        gathered.notes.append(
            f"no splits, so weeks in which a price halves or doubles are left out: {', '.join(plain)}"
        )
    return prices


def _news_of_files(
    paths: Sequence[Path], symbols: set[str], gathered: Gathered
) -> dict[str, list[News]]:
    """The news of `symbols` in JSONL files. Raises ValueError naming file and row for one that cannot be read."""
    stories: dict[str, list[Story]] = defaultdict(list)
    names = {finnhub_symbol(symbol): symbol for symbol in symbols} | {
        symbol: symbol for symbol in symbols
    }
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"--news {path}: there is no such file; expected JSONL in Finnhub's or Alpaca's form"
            )
        for number, row in enumerate(files.iter_jsonl(path), start=1):
            try:
                story = read_story(row)
            except ValueError as error:
                raise ValueError(f"{path}, row {number}: {error}") from None
            for symbol in {names[name] for name in story.symbols if name in names}:
                stories[symbol].append(story)
    if silent := sorted(symbols - stories.keys()):
        gathered.notes.append(f"the news files have nothing on {', '.join(silent)}")
    return {symbol: clean_stories(stories[symbol]) for symbol in symbols}


def finnhub_symbol(symbol: str) -> str:
    """A Yahoo symbol as Finnhub writes it: a class of shares behind a dot (BRK-B is BRK.B)."""
    return re.sub(r"^([A-Z]{1,5})-([A-Z])$", r"\1.\2", symbol)


def _news(finnhub: Finnhub, symbol: str, first: date, last: date, gathered: Gathered) -> list[News]:
    stories, undated = [], 0
    for start, end in _months(first, last):
        try:
            answer = finnhub.company_news(finnhub_symbol(symbol), start, end)
        except NoAccess as error:
            gathered.notes.append(str(error))
            break
        for row in answer.rows:
            try:
                stories.append(read_story(row))
            except ValueError:
                undated += 1
        if answer.note:
            gathered.notes.append(answer.note)
        if answer.capped_days:
            days = ", ".join(map(str, answer.capped_days))
            gathered.notes.append(
                f"{symbol}: more news than one answer holds on {days}; some of it is missing"
            )
    if undated:
        gathered.notes.append(
            f"{symbol}: {undated} news items without time or headline were left out"
        )
    return clean_stories(stories)


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """`first` to `last` cut at the ends of months, so that a longer window asks again for none that is stored."""
    start = first.replace(day=1)
    while start <= last:
        following = (start + timedelta(days=31)).replace(day=1)
        yield start, following - timedelta(days=1)
        start = following


def _company_facts(
    finnhub: Finnhub, symbol: str, last: date, lag_days: int, gathered: Gathered
) -> dict:
    """`profile`, `quarters` and `filings` of a Company; what the plan does not reach is left out and noted.

    Answers from before the window's end are asked for again: they know no later filing.
    """
    name = finnhub_symbol(symbol)
    try:
        profile = finnhub.profile(name, after=last)
        metric = finnhub.metric(name, after=last)[0]
    except NoAccess as error:
        gathered.notes.append(str(error))
        return {}
    try:
        filings = read_filings(finnhub.filings(name, after=last)[0])
    except NoAccess as error:
        gathered.notes.append(f"{error}; its quarters are dated by their end plus {lag_days} days")
        filings = []
    if profile is None:
        gathered.notes.append(f"{symbol}: unknown to Finnhub, so without introduction")
    return {
        "profile": profile[0] if profile else None,
        "quarters": quarters(
            metric, filings, lag_days, abroad=exchange_of(symbol) != exchange_of("")
        ),
        "filings": filings,
    }
