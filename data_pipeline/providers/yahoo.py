"""Daily prices from Yahoo through yfinance: one request for all symbols, stored as one CSV file a symbol.

`<folder>/<first>_<last>/AAPL.csv` is yfinance's own table; `complete.json`, written last, says what is settled.
"""

import json
import logging
import re
import warnings
from ast import literal_eval
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weekahead.files import replacing, write_json

if TYPE_CHECKING:
    import pandas

_DAY = timedelta(days=1)
_SPLITS_BEFORE = timedelta(days=430)
# More at a time, and Yahoo sooner takes the address for one that asks too much.
_THREADS = 4
_NO_PRICE = "no day with a price in the window"


@dataclass(frozen=True)
class Download:
    """Where the prices of a window lie, and what is not there."""

    folder: Path
    """One CSV file a symbol, for `prices.read_prices`."""
    missing: dict[str, str] = field(default_factory=dict)
    """Symbol -> why Yahoo gave no prices."""
    again: tuple[str, ...] = ()
    """Those of `missing` that a later run asks for again, since Yahoo did not say that it has nothing."""
    note: str | None = None
    """What was left out of the window, and why."""


def download(
    symbols: Sequence[str],
    first: date,
    last: date,
    folder: Path | str,
    today: Callable[[], date] = lambda: datetime.now(UTC).date(),
) -> Download:
    """Daily prices, dividends and splits of the days `first` to `last`, both included, in Yahoo's tickers.

    The files hold more: Yahoo divides every close by all later splits, so the splits up to yesterday are needed to
    undo them, and those of more than a year before for the shares in an old filing.
    What an earlier run stored is not asked for again. A day that is not over (UTC) is left out and noted.
    Adjusted closes depend on the day of the download, so a return needs both its prices from one file.
    Raises ValueError for a window without a day, ConnectionError where no symbol has prices and Yahoo did not answer.
    """
    yesterday = today() - _DAY
    note = f"prices up to {yesterday}, not {last}: a day is fetched when it is over (UTC)"
    note, last = (note, yesterday) if last > yesterday else (None, last)
    if first > last:
        raise ValueError(
            f"prices from {first} to {last}: no day is over yet; expected a first day before today"
        )
    window = Path(folder) / f"{first}_{last}"
    settled = _settled(window)
    asked = sorted(set(symbols) - settled.keys())
    frames, reasons = _ask(asked, first, last, yesterday) if asked else ({}, {})
    said = {symbol: text for symbol, reason in reasons.items() if (text := _said(reason))}
    again = tuple(symbol for symbol in reasons if symbol not in said)
    if again and not frames and None not in settled.values():
        raise ConnectionError(
            f"Yahoo gave no prices for {len(asked)} symbols ({again[0]}: {reasons[again[0]]}); wait some minutes or "
            "change the network, then run the same command again, or use price files of your own"
        )
    for symbol, frame in frames.items():
        with replacing(window / f"{symbol}.csv") as file:
            frame.to_csv(file, index_label="Date", date_format="%Y-%m-%d")
    if asked:
        settled |= dict.fromkeys(frames) | said
        write_json(window / "complete.json", settled)
    missing = {s: why for s in sorted(set(symbols)) if (why := settled.get(s) or reasons.get(s))}
    return Download(window, missing, again, note)


def _settled(window: Path) -> dict[str, str | None]:
    """Symbol -> None where its file is complete, else why Yahoo has nothing."""
    path = window / "complete.json"
    if not path.exists():
        return {}
    try:
        told = dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise ValueError(
            f"{path}: not JSON; remove this file, and the prices are fetched again"
        ) from None
    return {
        symbol: why for symbol, why in told.items() if why or (window / f"{symbol}.csv").exists()
    }


def _ask(
    symbols: Sequence[str], first: date, last: date, yesterday: date
) -> "tuple[dict[str, pandas.DataFrame], dict[str, str]]":
    """(symbol -> its table, symbol -> why there is none between `first` and `last`)."""
    import yfinance

    with _listening() as told:
        # auto_adjust would leave out Adj Close; the columns have two levels for one symbol as for many.
        data: Any = yfinance.download(
            list(symbols),
            start=(first - _SPLITS_BEFORE).isoformat(),
            end=(yesterday + _DAY).isoformat(),
            auto_adjust=False,
            actions=True,
            group_by="ticker",
            multi_level_index=True,
            progress=False,
            threads=_THREADS,  # pyright: ignore[reportArgumentType] - a number is documented
            timeout=30,
        )
    frames, reasons = {}, {}
    for symbol in symbols:
        frame = None if data is None or symbol not in data else data[symbol].dropna(how="all")
        if frame is not None and frame.loc[str(first) : str(last), "Close"].notna().any():
            frames[symbol] = frame
        else:
            reasons[symbol] = told.reasons.get(symbol, _NO_PRICE)
    return frames, reasons


class _Told(logging.Handler):
    """Why symbols failed: yfinance hands that out through its log alone."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reasons: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if match := re.fullmatch(r"(\[.+?\]): (\w+\(.+)", record.getMessage(), re.DOTALL):
            self.reasons |= dict.fromkeys(literal_eval(match[1]), match[2])


@contextmanager
def _listening() -> Iterator[_Told]:
    """Let yfinance tell its errors as they are, and nothing else, to the handler given."""
    import yfinance

    told, logger, debug = _Told(), logging.getLogger("yfinance"), yfinance.config.debug
    hidden = debug.hide_exceptions
    logger.addHandler(told)
    try:
        debug.hide_exceptions = False  # hidden, a network that is down reads as a delisting
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its own use of pandas
            yield told
    finally:
        debug.hide_exceptions = hidden
        logger.removeHandler(told)


def _said(reason: str) -> str | None:
    """What Yahoo said where it has nothing for a ticker; None where there was no proper answer."""
    if match := re.fullmatch(r"YF\w+MissingError\(['\"](.+)['\"]\)", reason):
        return match[1]
    if "HTTP Error 404" in reason:
        return "a ticker that Yahoo does not know (404)"
    return reason if reason == _NO_PRICE else None
