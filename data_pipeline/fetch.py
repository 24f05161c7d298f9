"""Fetch what is known of an index's companies and make point-in-time records of it:

python -m data_pipeline.fetch --index nasdaq100 --start 2026-01-01 --end 2026-06-30

Prices come from Yahoo or a folder (--prices), news from Finnhub or files (--news). Providers' answers lie in
data/raw as they came and are asked for once: the same command goes on after an interrupt.
"""

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from data_pipeline.providers.finnhub_http import KEY
from data_pipeline.records.assemble import (
    MAX_CONTEXT,
    MIN_CONTEXT,
    forecast_weeks,
    left_out_row,
    records_of,
)
from data_pipeline.records.calendar import WEEK, exchange_of
from data_pipeline.records.collect import Gathered, Sources, gather
from data_pipeline.records.fundamentals import FILING_LAG_DAYS
from data_pipeline.records.indices import load, members_on
from weekahead import files
from weekahead.files import Row
from weekahead.manifest import new_manifest
from weekahead.task.record import Record

AUDIT_LAG = 30
"""Days after a quarter's end within which the audit takes it for unpublished."""


def membership(args: argparse.Namespace, weeks: Sequence[date]) -> dict[date, tuple[str, ...]]:
    """The symbols of each forecast week: the index's members on its first day, or those given by hand.

    Raises ValueError for an unknown index, and for days on which its members are not known.
    """
    if args.symbols:
        given = tuple(
            sorted({symbol.strip().upper() for symbol in args.symbols.split(",") if symbol.strip()})
        )
        return dict.fromkeys(weeks, given)
    index = load(args.index)
    return {week: members_on(index, week) for week in weeks}


def make_records(
    gathered: Gathered, wanted: Mapping[date, Sequence[str]], context: tuple[int, int]
) -> tuple[list[Record], list[Row]]:
    """(records, dropped) of every symbol in the weeks in which it is wanted, ordered by week and symbol."""
    made: list[Record] = []
    left_out: list[Row] = []
    for symbol in sorted({symbol for symbols in wanted.values() for symbol in symbols}):
        weeks = [week for week, symbols in wanted.items() if symbol in symbols]
        if symbol in gathered.companies:
            records, dropped = records_of(gathered.companies[symbol], weeks, context)
        else:
            why = f"no prices: {gathered.no_prices[symbol]}"
            records, dropped = [], [left_out_row(symbol, week, why) for week in weeks]
        made += records
        left_out += dropped
    return sorted(made, key=lambda r: (r.week_start, r.symbol)), sorted(
        left_out, key=lambda r: r["id"]
    )


def fetch(args: argparse.Namespace) -> Row:
    """Write `records/<name>.jsonl`, `<name>.dropped.jsonl` and `<name>.manifest.json`; return the manifest.

    Raises ValueError, PermissionError or ConnectionError with the remedy; what was fetched stays, what stood stays.
    """
    weeks = forecast_weeks(args.start, args.end)
    wanted = membership(args, weeks)
    symbols = sorted({symbol for found in wanted.values() for symbol in found})
    for symbol in symbols:
        exchange_of(symbol)  # an unknown suffix is an error before anything is asked for
    print(
        f"{len(symbols)} symbols, {len(weeks)} weeks, {weeks[0]} to {weeks[-1] + WEEK}", flush=True
    )
    sources = Sources(
        args.data / "raw", args.prices, args.news or (), args.filing_lag, args.finnhub_per_minute
    )
    first, last = weeks[0] - (args.max_weeks + 1) * WEEK, weeks[-1] + WEEK - timedelta(days=1)
    gathered = gather(symbols, first, last, sources)
    records, dropped = make_records(gathered, wanted, (args.min_weeks, args.max_weeks))
    silent = weeks_without_news(records, gathered.notes)
    target = records_path(args)
    if (replaced := _other_window(target, args)) is not None:
        gathered.notes.append(f"this replaces the records of {replaced}; --name keeps both")
    # Nothing is written over what stood before all of it is known.
    files.write_jsonl(target, (record.to_json() for record in records))
    files.write_jsonl(target.with_name(f"{target.stem}.dropped.jsonl"), dropped)
    index = None if args.symbols else load(args.index)
    manifest = new_manifest(
        kind="records",
        index=index and {"name": index.name, "as_of": str(index.as_of), "source": index.source},
        start=str(args.start),
        end=str(args.end),
        symbols=len(symbols),
        weeks=len(weeks),
        context_weeks=[args.min_weeks, args.max_weeks],
        filing_lag_days=args.filing_lag,
        records=len(records),
        sha256=files.sha256(target),
        dropped=dict(sorted(Counter(row["reason"].split(":", 1)[0] for row in dropped).items())),
        no_prices=gathered.no_prices,
        without_news=sum(not any(week.news for week in record.weeks) for record in records),
        weeks_without_news=silent,
        notes=gathered.notes,
        calls=dict(gathered.calls),
    )
    files.write_json(target.with_name(f"{target.stem}.manifest.json"), manifest)
    return manifest


def _other_window(target: Path, args: argparse.Namespace) -> str | None:
    """The dates of the records that stand at `target`, if they are others."""
    path = target.with_name(f"{target.stem}.manifest.json")
    if not path.is_file():
        return None
    before = json.loads(path.read_text(encoding="utf-8"))
    dates = (before.get("start"), before.get("end"))
    return None if dates == (str(args.start), str(args.end)) else f"{dates[0]} to {dates[1]}"


def weeks_without_news(records: Sequence[Record], notes: Sequence[str]) -> list[str]:
    """The past weeks (their Sundays) in which no record of any symbol shows news.

    Raises ValueError where that is all of them, or where there is no record: there is nothing to learn from.
    """
    told: Counter[str] = Counter()
    for record in records:
        for week in record.weeks:
            told[week.start] += len(week.news)
    if not any(told.values()):
        raise ValueError(
            f"{len(records)} records, none with any news; choose a window that your news reach, or give news files "
            f"with --news. What the sources said: {'; '.join(notes[:3]) or 'nothing'}"
        )
    return sorted(week for week, items in told.items() if not items)


def records_path(args: argparse.Namespace) -> Path:
    """Where the records of this fetch lie."""
    return args.data / "records" / f"{args.name or args.index or 'symbols'}.jsonl"


def tell(args: argparse.Namespace, manifest: Row) -> None:
    """Print what came out, and everything that did not."""
    for note in manifest["notes"]:
        print(f"note: {note}")
    for why in sorted(set(manifest["no_prices"].values())):
        symbols = sorted(
            symbol for symbol, reason in manifest["no_prices"].items() if reason == why
        )
        print(f"no prices: {', '.join(symbols)} ({len(symbols)}: {why})")
    if silent := manifest["weeks_without_news"]:
        print(f"warning: {len(silent)} weeks have no news for any symbol, the first is {silent[0]}")
    calls = (
        ", ".join(f"{count} {endpoint}" for endpoint, count in sorted(manifest["calls"].items()))
        or "none"
    )
    print(f"calls to Finnhub: {calls}")
    dropped = (
        ", ".join(f"{count} {reason}" for reason, count in manifest["dropped"].items()) or "none"
    )
    print(
        f"records: {records_path(args)} ({manifest['records']}, {manifest['without_news']} of them without news; "
        f"symbol-weeks left out: {dropped})"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this stage."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--index", help="dow30, nasdaq100, eurostoxx50 or crypto: the members of each week"
    )
    group.add_argument("--symbols", help="Yahoo's symbols, comma-separated, instead of an index")
    parser.add_argument(
        "--start", type=_day, required=True, help="first day of the forecast weeks, YYYY-MM-DD"
    )
    parser.add_argument(
        "--end", type=_day, required=True, help="last day of the forecast weeks, YYYY-MM-DD"
    )
    parser.add_argument("--name", help="name of what is made (default: the index)")
    parser.add_argument(
        "--prices", type=Path, help="folder of one CSV or parquet file a symbol, instead of Yahoo"
    )
    parser.add_argument(
        "--news",
        type=Path,
        nargs="+",
        help="JSONL in Finnhub's or Alpaca's form, instead of Finnhub",
    )
    parser.add_argument(
        "--min_weeks", type=int, default=MIN_CONTEXT, help="past weeks a prompt shows at least"
    )
    parser.add_argument(
        "--max_weeks", type=int, default=MAX_CONTEXT, help="past weeks a prompt shows at most"
    )
    parser.add_argument(
        "--filing_lag",
        type=int,
        default=FILING_LAG_DAYS,
        help="days from a quarter's end, where no filing is found",
    )
    parser.add_argument(
        "--finnhub_per_minute", type=float, default=55, help="calls; the free plan allows 60"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder for raw/, records/ and so on"
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; expected YYYY-MM-DD") from None


def check(args: argparse.Namespace) -> None:
    """Raise ValueError for arguments that cannot work, before anything is asked for."""
    if not 1 <= args.min_weeks <= args.max_weeks:
        raise ValueError(
            f"--min_weeks {args.min_weeks} --max_weeks {args.max_weeks}; expected 1 <= min <= max"
        )
    if args.filing_lag < AUDIT_LAG:
        raise ValueError(
            f"--filing_lag is {args.filing_lag}; expected at least {AUDIT_LAG} days, the term of the audit"
        )
    if args.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", args.name):
        raise ValueError(
            f"--name is {args.name!r}; expected letters, digits, dot, dash and underscore"
        )
    if not (args.news or os.environ.get(KEY) or (args.data / "raw" / "finnhub").is_dir()):
        raise ValueError(
            f"no news: set {KEY} in the environment or .env, or give news files with --news"
        )
    today = datetime.now(UTC).date()
    if args.end > today:
        raise ValueError(
            f"--end {args.end} lies ahead; expected {today} or earlier: a week counts when it is over"
        )


def run(args: argparse.Namespace) -> int:
    """Fetch and tell. Raises ValueError, PermissionError and ConnectionError."""
    check(args)
    tell(args, fetch(args))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 fetched, 2 for something the message says how to mend, 130 interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        files.load_env()
        return run(args)
    except (ValueError, OSError) as error:
        print(f"data_pipeline.fetch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "data_pipeline.fetch: interrupted; the same command goes on where it stopped",
            file=sys.stderr,
        )
        return 130


if __name__ == "__main__":
    sys.exit(main())
