"""Fetch what is known of an index's companies and make point-in-time records of it:

python -m data_pipeline.fetch --index nasdaq100 --start 2026-01-01 --end 2026-06-30

Prices come from Yahoo or a folder (--prices), news from Finnhub or files (--news). Providers'
answers are kept in data/raw as they came, and are asked for once: the same command goes on after an
interrupt.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import cast

from data_pipeline.providers.base import ProviderSettings
from data_pipeline.providers.table import has_news_provider, news_key_variables, open_sources
from data_pipeline.records.assemble import CONTEXT, Assembled, ContextWeeks, forecast_weeks
from data_pipeline.records.calendar import WEEK, zone_of
from data_pipeline.records.collect import (
    Gathered,
    check_any_news,
    gather,
    has_news,
    make_records,
    weeks_without_news,
)
from data_pipeline.records.fundamentals import FILING_LAG_DAYS, SHORTEST_LAG_DAYS
from data_pipeline.records.indices import load, members_on
from weekahead import files
from weekahead.cli import add_options, new_parser, option, read_options, run_command
from weekahead.locks import check_writable
from weekahead.manifest import new_manifest
from weekahead.names import check_name, check_symbol
from weekahead.schema.manifests import IndexFacts, RecordsManifest, read_records_manifest

_MOST_WEEKS = 52
_LONGEST_LAG_DAYS = 366
"""Older figures say nothing of a company."""


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """The flags of this stage; one of `index` and `symbols` is set."""

    index: str | None = None
    symbols: str | None = None
    start: date = option(help="first day of the forecast weeks, YYYY-MM-DD")
    end: date = option(help="last day of the forecast weeks, YYYY-MM-DD")
    name: str | None = option(None, help="name of the records and the dataset (default: the index)")
    prices: Path | None = option(
        None, help="folder of one CSV or parquet file per symbol, instead of Yahoo"
    )
    news: tuple[Path, ...] = option(
        (), help="JSONL in Finnhub's or Alpaca's form, instead of Finnhub"
    )
    min_weeks: int = option(CONTEXT.least, help="past weeks a prompt shows at least")
    max_weeks: int = option(CONTEXT.most, help="past weeks a prompt shows at most")
    filing_lag: int = option(
        FILING_LAG_DAYS, help="days from a quarter's end, if no filing is found"
    )
    finnhub_per_minute: float = option(
        ProviderSettings.finnhub_per_minute, help="calls; the free plan allows 60"
    )
    data: Path = option(Path("data"), help="folder for raw/, records/ and so on")

    @property
    def records(self) -> Path:
        """The file of the records."""
        return self.data / "records" / f"{self.name or self.index or 'symbols'}.jsonl"

    @property
    def raw(self) -> Path:
        """The folder of the providers' answers."""
        return self.data / "raw"

    def check(self) -> None:
        """Raise ValueError for options that cannot work, before anything is asked for."""
        if not 1 <= self.min_weeks <= self.max_weeks <= _MOST_WEEKS:
            raise ValueError(
                f"--min_weeks {self.min_weeks} --max_weeks {self.max_weeks}; "
                f"expected 1 <= min <= max <= {_MOST_WEEKS}"
            )
        if not SHORTEST_LAG_DAYS <= self.filing_lag <= _LONGEST_LAG_DAYS:
            raise ValueError(
                f"--filing_lag is {self.filing_lag}; expected at least {SHORTEST_LAG_DAYS} days, "
                f"the term of the audit, and at most {_LONGEST_LAG_DAYS}"
            )
        if not 0 < self.finnhub_per_minute < math.inf:
            raise ValueError(
                f"--finnhub_per_minute is {self.finnhub_per_minute}; expected calls, more than 0 "
                "and finite"
            )
        if self.name is not None:
            check_name("--name", self.name)
        if not self.news and not has_news_provider(self.raw):
            raise ValueError(
                f"no news: set {news_key_variables()} in the environment or .env, or give news "
                "files with --news"
            )
        today = datetime.now(UTC).date()
        if self.end > today:
            raise ValueError(
                f"--end {self.end} lies ahead; expected {today} or earlier: a week counts when it "
                "is over"
            )


@dataclass(frozen=True)
class FetchResult:
    """The file of the records and the manifest beside it."""

    records: Path
    manifest: RecordsManifest


def run(options: FetchOptions) -> FetchResult:
    """Fetch, write the records and print a summary.

    Raises ValueError, PermissionError or ConnectionError with the remedy; what was fetched stays,
    and so do records that were written before.
    """
    options.check()
    for folder in (options.records.parent, options.raw):
        check_writable(folder)
    result = FetchResult(options.records, fetch(options))
    print_summary(result)
    return result


def fetch(options: FetchOptions) -> RecordsManifest:
    """Write the records, the weeks that gave none, and the manifest; return the manifest.

    The files are `records/<name>.jsonl`, `<name>.dropped.jsonl` and `<name>.manifest.json`. Raises
    as `run` does.
    """
    weeks = forecast_weeks(options.start, options.end)
    members = membership(options, weeks)
    symbols = sorted({symbol for of_week in members.values() for symbol in of_week})
    # An unknown suffix is an error before anything is asked for.
    zones = {symbol: zone_of(symbol) for symbol in symbols}
    end = weeks[-1] + WEEK
    print(f"{len(symbols)} symbols, {len(weeks)} weeks, {weeks[0]} to {end}", flush=True)
    settings = ProviderSettings(options.raw, options.finnhub_per_minute, zones)
    sources = open_sources(settings, symbols, price_folder=options.prices, news_files=options.news)
    first = weeks[0] - (options.max_weeks + 1) * WEEK
    gathered = gather(symbols, first, end - timedelta(days=1), sources, options.filing_lag)
    context = ContextWeeks(options.min_weeks, options.max_weeks)
    assembled = make_records(gathered, members, context)
    check_any_news(assembled, gathered.notes)
    replaced = _what_is_replaced(options, gathered.sources)
    # Nothing is written over what was there before all of it is known.
    files.write_jsonl(options.records, (record.to_json() for record in assembled.records))
    files.write_jsonl(_beside(options.records, "dropped.jsonl"), assembled.left_out)
    manifest = _manifest(options, gathered, assembled, symbols=len(symbols), weeks=len(weeks))
    if replaced:
        manifest["notes"].append(f"this replaces records {replaced}; --name keeps both")
    files.write_json(_beside(options.records, "manifest.json"), manifest)
    return manifest


def _manifest(
    options: FetchOptions, gathered: Gathered, assembled: Assembled, *, symbols: int, weeks: int
) -> RecordsManifest:
    """The manifest of records that are written; `symbols` and `weeks` were asked for."""
    reasons = Counter(row["reason"].split(":", 1)[0] for row in assembled.left_out)
    manifest = new_manifest(
        kind="records",
        index=_index_facts(options),
        start=str(options.start),
        end=str(options.end),
        symbols=symbols,
        weeks=weeks,
        context_weeks=[options.min_weeks, options.max_weeks],
        filing_lag_days=options.filing_lag,
        records=len(assembled.records),
        sha256=files.sha256(options.records),
        dropped=dict(sorted(reasons.items())),
        no_prices=dict(gathered.no_prices),
        without_news=sum(not has_news(record) for record in assembled.records),
        weeks_without_news=weeks_without_news(assembled.records),
        notes=list(gathered.notes),
        calls=dict(gathered.calls),
        sources=dict(gathered.sources),
    )
    return cast("RecordsManifest", manifest)


def membership(options: FetchOptions, weeks: Sequence[date]) -> dict[date, tuple[str, ...]]:
    """The symbols of each forecast week: those of --symbols, or the members on its first day.

    Raises ValueError for --symbols without a symbol, for an unknown index, and for days on which
    its members are not known.
    """
    if options.symbols:
        symbols = {symbol.strip().upper() for symbol in options.symbols.split(",")} - {""}
        if not symbols:
            raise ValueError(f"--symbols is {options.symbols!r}; expected names such as AAPL,MSFT")
        for symbol in symbols:
            check_symbol(symbol)
        return dict.fromkeys(weeks, tuple(sorted(symbols)))
    index = load(options.index or "")
    return {week: members_on(index, week) for week in weeks}


def _index_facts(options: FetchOptions) -> IndexFacts | None:
    if options.symbols or options.index is None:
        return None
    index = load(options.index)
    return {"name": index.name, "as_of": str(index.as_of), "source": index.source}


def _what_is_replaced(options: FetchOptions, sources: Mapping[str, str]) -> str | None:
    """What differs in the records that are there already; None if nothing does."""
    path = _beside(options.records, "manifest.json")
    if not path.is_file():
        return None
    before = read_records_manifest(path)
    parts: list[str] = []
    dates = (before.get("start", "unknown"), before.get("end", "unknown"))
    if dates != (str(options.start), str(options.end)):
        parts.append(f"of {' to '.join(dates)}")
    for kind, name in before.get("sources", {}).items():
        if sources.get(kind) != name:
            parts.append(f"with {kind} from {name} (now from {sources.get(kind)})")
    return " and ".join(parts) or None


def _beside(records: Path, suffix: str) -> Path:
    """A file that belongs to a file of records: `dow30.jsonl` has `dow30.manifest.json`."""
    return records.with_name(f"{records.stem}.{suffix}")


def print_summary(result: FetchResult) -> None:
    """Print what came out, and everything that did not."""
    manifest = result.manifest
    for note in manifest["notes"]:
        print(f"note: {note}")
    if sources := manifest.get("sources"):
        print(", ".join(f"{kind} from {name}" for kind, name in sources.items()))
    symbols_by_reason: dict[str, list[str]] = {}
    for symbol, reason in sorted(manifest["no_prices"].items()):
        symbols_by_reason.setdefault(reason, []).append(symbol)
    for reason, symbols in sorted(symbols_by_reason.items()):
        print(f"no prices: {', '.join(symbols)} ({len(symbols)}: {reason})")
    if silent := manifest["weeks_without_news"]:
        print(f"warning: {len(silent)} weeks have no news for any symbol, the first is {silent[0]}")
    calls = [f"{count} {endpoint}" for endpoint, count in sorted(manifest["calls"].items())]
    print(f"calls for news and company facts: {', '.join(calls) or 'none'}")
    dropped = [f"{count} {reason}" for reason, count in manifest["dropped"].items()]
    print(
        f"records: {result.records} ({manifest['records']}, {manifest['without_news']} of them "
        f"without news; symbol-weeks left out: {', '.join(dropped) or 'none'})"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this stage; exactly one of --index and --symbols must be given."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--index", help="dow30, nasdaq100, eurostoxx50 or crypto: the members of each week"
    )
    group.add_argument("--symbols", help="Yahoo's symbols, comma-separated, instead of an index")
    add_options(parser, FetchOptions)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 fetched, 2 an error that the message tells to mend, 130 interrupted."""
    parser = new_parser(__doc__, "data_pipeline.fetch")
    add_arguments(parser)
    options = read_options(parser.parse_args(argv), FetchOptions)

    def work() -> int:
        run(options)
        return 0

    return run_command("data_pipeline.fetch", work, resumable=True)


if __name__ == "__main__":
    sys.exit(main())
