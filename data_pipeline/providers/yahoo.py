"""Daily prices from Yahoo through yfinance, stored as one CSV file per symbol.

`<folder>/<first>_<last>/AAPL.csv` is yfinance's own table; `complete.json`, written last, says what
is settled.
"""

import logging
import re
import warnings
from ast import literal_eval
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from data_pipeline.providers.base import PriceAnswer
from data_pipeline.providers.price_files import PriceFiles
from weekahead.files import read_json, replacing, write_json
from weekahead.schema.shape import check_shape

if TYPE_CHECKING:
    import pandas

_DAY = timedelta(days=1)
_SPLITS_BEFORE = timedelta(days=430)
_THREADS = 4
"""With more at a time Yahoo sooner takes the address for one that asks too much."""
_NO_PRICE = "no day with a price in the window"


@dataclass(frozen=True)
class Download:
    """Where the prices of a window lie, and what is not there."""

    folder: Path
    """One CSV file per symbol, for `price_files.read_prices`."""
    missing: dict[str, str] = field(default_factory=dict)
    """Symbol -> why Yahoo gave no prices."""
    again: tuple[str, ...] = ()
    """Those of `missing` that a later run asks for again: Yahoo did not say that it has nothing."""
    note: str | None = None
    """What was left out of the window, and why."""


class Yahoo:
    """The provider of prices at Yahoo, with a folder of stored downloads."""

    name = "Yahoo"
    FOLDER = "yahoo"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prices(self, symbols: Sequence[str], first: date, last: date) -> PriceAnswer:
        """The prices of `symbols`; those that Yahoo does not have are missing, with its reason.

        Raises as `download` does, and ConnectionError if Yahoo did not answer about a symbol.
        """
        downloaded = download(symbols, first, last, self._folder)
        if downloaded.again:
            reason = downloaded.missing[downloaded.again[0]]
            raise ConnectionError(
                f"Yahoo did not answer about {', '.join(downloaded.again)} ({reason}); run the "
                "same command again later, or leave them out with --symbols: what was fetched is "
                "kept"
            )
        available = [symbol for symbol in symbols if symbol not in downloaded.missing]
        answer = PriceFiles(downloaded.folder).prices(available, first, last)
        notes = [downloaded.note] if downloaded.note else []
        missing = {**downloaded.missing, **answer.missing}
        return PriceAnswer(answer.frames, missing, [*notes, *answer.notes])


def download(
    symbols: Sequence[str],
    first: date,
    last: date,
    folder: Path | str,
    today: Callable[[], date] = lambda: datetime.now(UTC).date(),
) -> Download:
    """Daily prices, dividends and splits of the days `first` to `last`, both included.

    The files hold more: Yahoo divides every close by all later splits, so the splits up to
    yesterday are needed to undo them, and those of more than a year before for the shares in an old
    filing. What an earlier run stored is not asked for again. A day that is not over (UTC) is left
    out and noted. Adjusted closes depend on the day of the download, so both prices of a return
    must be from one file. Raises ValueError for a window without a day, ConnectionError if no
    symbol has prices and Yahoo did not answer.
    """
    yesterday = today() - _DAY
    note = None
    if last > yesterday:
        note = f"prices up to {yesterday}, not {last}: a day is fetched when it is over (UTC)"
        last = yesterday
    if first > last:
        raise ValueError(
            f"prices from {first} to {last}: no day is over yet; expected a first day before today"
        )
    window = Path(folder) / f"{first}_{last}"
    settled = _settled(window)
    asked = sorted(set(symbols) - settled.keys())
    tables, reasons = _ask(asked, first, last, yesterday=yesterday) if asked else _Tables({}, {})
    answers = {symbol: _yahoos_answer(reason) for symbol, reason in reasons.items()}
    final = {symbol: answer for symbol, answer in answers.items() if answer}
    again = tuple(symbol for symbol in reasons if symbol not in final)
    if again and not tables and None not in settled.values():
        raise ConnectionError(
            f"Yahoo gave no prices for {len(asked)} symbols ({again[0]}: {reasons[again[0]]}); "
            "wait some minutes or change the network, then run the same command again, or use "
            "price files of your own"
        )
    for symbol, table in tables.items():
        with replacing(window / f"{symbol}.csv") as file:
            table.to_csv(file, index_label="Date", date_format="%Y-%m-%d")
    if asked:
        settled |= dict.fromkeys(tables) | final
        write_json(window / "complete.json", settled)
    known_reasons = {symbol: settled.get(symbol) or reasons.get(symbol) for symbol in symbols}
    missing = {symbol: reason for symbol, reason in sorted(known_reasons.items()) if reason}
    return Download(window, missing, again, note)


def _settled(window: Path) -> dict[str, str | None]:
    """Symbol -> None if its file is complete, else why Yahoo has nothing."""
    path = window / "complete.json"
    if not path.exists():
        return {}
    remedy = "remove this file, and the prices are fetched again"
    stored = read_json(path, remedy)
    check_shape(stored, dict[str, str | None], str(path), remedy)
    settled = cast("dict[str, str | None]", stored)
    return {
        symbol: reason
        for symbol, reason in settled.items()
        if reason or (window / f"{symbol}.csv").exists()
    }


class _Tables(NamedTuple):
    """yfinance's tables by symbol, and why the other symbols have none."""

    tables: "dict[str, pandas.DataFrame]"
    reasons: dict[str, str]


def _ask(symbols: Sequence[str], first: date, last: date, *, yesterday: date) -> _Tables:
    """Download `symbols`; a table without a price between `first` and `last` is left out."""
    import yfinance

    with _collect_errors() as errors:
        data: Any = yfinance.download(
            list(symbols),
            start=(first - _SPLITS_BEFORE).isoformat(),
            end=(yesterday + _DAY).isoformat(),
            auto_adjust=False,  # True would leave out Adj Close
            actions=True,
            group_by="ticker",
            multi_level_index=True,  # the columns have two levels for one symbol as for many
            progress=False,
            threads=_THREADS,  # pyright: ignore[reportArgumentType] - a number is documented
            timeout=30,
        )
    tables, reasons = {}, {}
    for symbol in symbols:
        table = None if data is None or symbol not in data else data[symbol].dropna(how="all")
        if table is not None and table.loc[str(first) : str(last), "Close"].notna().any():
            tables[symbol] = table
        else:
            reasons[symbol] = errors.reasons.get(symbol, _NO_PRICE)
    return _Tables(tables, reasons)


class _ErrorCollector(logging.Handler):
    """Why symbols failed: yfinance says that in its log alone."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reasons: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if match := re.fullmatch(r"(\[.+?\]): (\w+\(.+)", record.getMessage(), re.DOTALL):
            self.reasons |= dict.fromkeys(literal_eval(match[1]), match[2])


@contextmanager
def _collect_errors() -> Iterator[_ErrorCollector]:
    """Let yfinance log its errors as they are, and nothing else, to the collector."""
    import yfinance

    collector, logger = _ErrorCollector(), logging.getLogger("yfinance")
    debug = yfinance.config.debug
    hidden = debug.hide_exceptions
    logger.addHandler(collector)
    try:
        debug.hide_exceptions = False  # hidden, a network that is down reads as a delisting
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its own use of pandas
            yield collector
    finally:
        debug.hide_exceptions = hidden
        logger.removeHandler(collector)


def _yahoos_answer(reason: str) -> str | None:
    """What Yahoo answered if it has nothing for a ticker; None if there was no proper answer."""
    if match := re.fullmatch(r"YF\w+MissingError\(['\"](.+)['\"]\)", reason):
        return match[1]
    if "HTTP Error 404" in reason:
        return "a ticker that Yahoo does not know (404)"
    return reason if reason == _NO_PRICE else None
