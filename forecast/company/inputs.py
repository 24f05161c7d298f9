"""What is known of companies at a decision time, from records on disk or from providers.

A record of a week to forecast has no return. It is made by the code that makes those of a dataset,
from what was known at the first moment of the week and nothing later.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import cast

from data_pipeline.dataset.row import dataset_row
from data_pipeline.providers.base import ProviderSettings, usable_link
from data_pipeline.providers.table import (
    NoNews,
    Sources,
    has_news_provider,
    news_key_variables,
    open_sources,
)
from data_pipeline.records.assemble import CONTEXT, ContextWeeks, records_of
from data_pipeline.records.calendar import WEEK, latest_decision, zone_of
from data_pipeline.records.collect import gather
from data_pipeline.records.indices import load, members_on
from forecast.company.gate import check_record
from weekahead.files import read_text
from weekahead.names import check_symbol
from weekahead.schema.forecasts import ForecastInput
from weekahead.schema.manifests import read_records_manifest
from weekahead.schema.rows import DatasetRow
from weekahead.task.prompt import prompt_messages, shown_facts
from weekahead.task.prompt_reader import read_prompt
from weekahead.task.record import PastWeek, Record, read_records
from weekahead.task.times import moment, read_day
from weekahead.told_files import close_match, names_in


@dataclass(frozen=True)
class Known:
    """What is known of the companies of a week at its decision time."""

    records: list[Record]
    """Without returns, ordered by symbol."""
    left_out: dict[str, str]
    """Symbol -> why there is no record."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """prices, news and facts -> who gave them."""
    notes: Sequence[str] = ()
    """What the sources said of what they did not have."""


@dataclass(frozen=True)
class LiveSources:
    """Where prices and news come from."""

    data: Path
    """Its raw/ keeps the providers' answers."""
    prices: Path | None = None
    """Folder of price files, instead of Yahoo."""
    news: tuple[Path, ...] = ()
    """Files of news, instead of Finnhub."""
    news_needed: bool = True
    """Whether a run without any source of news is refused."""


def inputs_of_records(
    path: Path, week: date, symbols: Sequence[str] = (), context: int | None = None
) -> Known:
    """The records of a week in a file, without their returns; all of them if `symbols` is empty.

    They show as many past weeks as the file has it, or `context`. Raises ValueError for a symbol
    that the file does not know, a week without records, too few past weeks in the file, and a
    record that no forecast can use (`check_record`); OSError without the file.
    """
    check_records(path)
    everything = list(read_records(path))
    unknown = [symbol for symbol in symbols if symbol not in {r.symbol for r in everything}]
    if unknown:
        raise ValueError(f"{path} has no record of {', '.join(unknown)}; name symbols that it has")
    records = [
        replace(record, weekly_return=None)
        for record in everything
        if record.week_start == week.isoformat() and record.symbol in (symbols or (record.symbol,))
    ]
    if not records:
        weeks = sorted({record.week_start for record in everything})
        who = f"{', '.join(symbols)} in " if symbols else ""
        reach = f"it reaches from {weeks[0]} to {weeks[-1]}" if weeks else "it is empty"
        raise ValueError(
            f"{path} has no record of {who}the week of {week} ({reach}); give another DATE or "
            "RECORDS"
        )
    check_each_once(records, path)
    if context:
        weeks_of_file = {(r.symbol, r.week_start): r.weeks for r in everything}
        records = [_with_context(record, context, weeks_of_file) for record in records]
    for record in records:
        try:
            check_record(record)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    there = {record.symbol for record in records}
    left_out = {s: "no record of the week" for s in symbols if s not in there}
    return Known(sorted(records, key=lambda r: r.symbol), left_out, _sources_of_records(path))


def check_each_once(records: Sequence[Record], path: Path) -> None:
    """Raise ValueError naming a company and week that `path` has twice: which one would count?"""
    counts = Counter(record.id for record in records)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"{path} has {twice[0]} more than once; leave one record of it")


def _with_context(
    record: Record, count: int, weeks_of_file: Mapping[tuple[str, str], tuple[PastWeek, ...]]
) -> Record:
    """The record with `count` past weeks; those that it lacks are of the records before it.

    Raises ValueError if the file does not have them, or has them in other shares (after a split).
    """
    weeks = record.weeks
    while len(weeks) < count:
        before = weeks_of_file.get((record.symbol, weeks[0].start), ()) if weeks else ()
        if not before or not math.isclose(before[-1].close_price, weeks[0].open_price):
            raise ValueError(
                f"--weeks is {count}, and there are {len(weeks)} weeks before {record.id} in the "
                f"records; give {len(weeks)} or fewer, or leave it out"
            )
        weeks = before + weeks
    return replace(record, weeks=weeks[-count:])


def named_symbols(text: str) -> list[str]:
    """Symbols by spaces or commas. Raises ValueError for a text that names none."""
    named = text.upper().replace(",", " ").split()
    if text.strip() and not named:
        raise ValueError(f"SYMBOLS is {text!r}; expected symbols, such as SYMBOLS='AAPL MSFT'")
    return named


def live_symbols(symbols: Sequence[str], index: str | None, week: date) -> list[str]:
    """The companies that are asked about: those named, else the members of an index in a week.

    For a week after the last day of the index's list, its members are those of that day. Raises
    ValueError for a name that is no symbol, an unknown exchange or index, and for nothing.
    """
    named = [check_symbol(symbol.upper()) for symbol in symbols]
    if not named and index:
        listed = load(index)
        named = list(members_on(listed, min(week, listed.as_of)))
    if not named:
        raise ValueError("no company is named; give SYMBOLS='AAPL MSFT', INDEX or RECORDS")
    for symbol in named:
        zone_of(symbol)
    return sorted(set(named))


def live_inputs(
    symbols: Sequence[str], week: date, sources: LiveSources, context: int | None = None
) -> Known:
    """The records of the week from the Sunday `week`, without returns, and why some have none.

    They show as many past weeks as in a dataset, or `context`.

    They are made from what was known at the first moment of the week, whatever the sources hold
    by now. Raises ValueError without news that are needed or without any prices, PermissionError
    for a refused key, ConnectionError for a provider that does not answer; what was fetched stays.
    """
    first = week - (CONTEXT.most + 1) * WEEK
    # The last news are those of the Sunday before the decision: west of Greenwich it is later.
    gathered = gather(
        symbols, first, week, open_live(sources, symbols), known_on=week - timedelta(days=1)
    )
    shown = ContextWeeks(context, context) if context else CONTEXT
    records: list[Record] = []
    left_out = {symbol: f"no prices: {reason}" for symbol, reason in gathered.no_prices.items()}
    for company in gathered.companies.values():
        assembled = records_of(company, [week], shown, ahead=True)
        records += assembled.records
        left_out |= {row["symbol"]: row["reason"] for row in assembled.left_out}
    for record in records:
        check_record(record)
    names = {**gathered.sources, **_files_of(sources)}
    return Known(records, left_out, names, gathered.notes)


def check_all_known(known: Known, named: Sequence[str]) -> None:
    """Raise ValueError naming the symbols that were named one by one and have no prices."""
    without = {
        symbol: reason
        for symbol, reason in known.left_out.items()
        if symbol in named and reason.startswith("no prices")
    }
    if without:
        reasons = ", ".join(f"{symbol} ({reason})" for symbol, reason in without.items())
        raise ValueError(
            f"nothing is known of {reasons}; leave them out of SYMBOLS, or mend their names"
        )


def _files_of(sources: LiveSources) -> dict[str, str]:
    """prices and news -> the files that stand for a provider."""
    files = {"prices": str(sources.prices or ""), "news": ", ".join(map(str, sources.news))}
    return {kind: name for kind, name in files.items() if name}


def open_live(places: LiveSources, symbols: Sequence[str]) -> Sources:
    """The providers. Raises ValueError if there is no source of news and one is needed."""
    raw = places.data / "raw"
    has_news = bool(places.news) or has_news_provider(raw)
    if places.news_needed and not has_news:
        raise ValueError(
            f"no news: set {news_key_variables()} in the environment or .env, give news files with "
            "--news, or records with RECORDS="
        )
    settings = ProviderSettings(raw, zones={symbol: zone_of(symbol) for symbol in symbols})
    sources = open_sources(settings, symbols, price_folder=places.prices, news_files=places.news)
    return sources if has_news else replace(sources, news=NoNews())


def unlabeled_row(record: Record) -> DatasetRow:
    """A record as a row to answer: without label and reference. It belongs in no dataset."""
    return dataset_row(record, "", "", told=False)


def inputs_of(record: Record, sources: Mapping[str, str]) -> list[ForecastInput]:
    """The facts that the prompt of `record` shows, in its order, each with date and source."""
    names = {"prices": "prices", "news": "news", "financials": "facts", "capitalization": "facts"}
    return [
        {
            "kind": fact.kind,
            "known_at": moment(fact.known_at).isoformat(),
            "source": sources.get(names[fact.kind], "unknown"),
            "link": usable_link(fact.link),
            "text": fact.text,
        }
        for fact in shown_facts(record)
    ]


def check_records(path: Path) -> None:
    """Raise FileNotFoundError saying what RECORDS should name if the file is not there."""
    _check_there("RECORDS", path, "data/records/dow30.jsonl, which make data writes")


def _check_there(variable: str, path: Path, expected: str) -> None:
    if path.is_dir():
        raise FileNotFoundError(f"{variable} is {path}, a folder; expected {expected}")
    if not path.is_file():
        near = close_match(path.name, names_in(path.parent)) if path.parent.is_dir() else ""
        raise FileNotFoundError(f"{variable} is {path}: no such file{near}; expected {expected}")


def _sources_of_records(path: Path) -> dict[str, str]:
    """Who gave the facts of a file of records, as its manifest says, else the file itself."""
    manifest = path.with_name(f"{path.stem}.manifest.json")
    stated = read_records_manifest(manifest).get("sources", {}) if manifest.is_file() else {}
    return {kind: stated.get(kind) or str(path) for kind in ("prices", "news", "facts")}


@dataclass(frozen=True)
class Case:
    """One company and week to forecast."""

    row: DatasetRow
    """Without label and reference."""
    company: str
    decision_time: str
    inputs: list[ForecastInput]
    synthetic: bool = False
    """Whether the company is one of a fictional market."""


def cases_of(known: Known) -> list[Case]:
    """The companies that can be forecast, ordered by symbol."""
    return [
        Case(
            row=unlabeled_row(record),
            company=record.company,
            decision_time=record.decision_time,
            inputs=inputs_of(record, known.sources),
            synthetic=bool(record.extra.get("synthetic")),
        )
        for record in sorted(known.records, key=lambda record: record.symbol)
    ]


def case_of_prompt(path: Path, week: date) -> Case:
    """A user message that lies in a file, as the prompt of the week from the Sunday `week` on.

    Its symbol is the one that it asks about, else the file's name. Nobody knows the dates of what
    it says. Raises ValueError for a text that holds no prompt, OSError without the file.
    """
    _check_there("PROMPT", path, "a text file with the user message of one prompt")
    text = read_text(path).strip()
    if not text:
        raise ValueError(f"{path} is empty; expected the user message of a prompt")
    asked = _ASKED.search(text)
    symbol = check_symbol(asked["symbol"] if asked else path.stem)
    start = read_day(asked["start"], f"the week that {path} asks about") if asked else week
    decision = latest_decision(symbol, start, synthetic=False).isoformat()
    row = {
        "id": f"{symbol}-{start}",
        "symbol": symbol,
        "week_start": start.isoformat(),
        "week_end": (start + WEEK).isoformat(),
        "prompt": prompt_messages(text),
        "completion": [],
        "label": None,
    }
    stated: ForecastInput = {
        "kind": "prompt",
        "known_at": None,
        "source": str(path),
        "link": None,
        "text": text,
    }
    company = read_prompt(text).company or symbol
    return Case(cast("DatasetRow", row), company, decision, [stated])


_ASKED = re.compile(
    r"^Forecast (?P<symbol>\S+) for the week from (?P<start>\d{4}-\d\d-\d\d)\.", re.MULTILINE
)
