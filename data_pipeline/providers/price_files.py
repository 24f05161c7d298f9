"""Daily prices from files: `AAPL.csv`, `AAPL_data.csv` or `AAPL.parquet` for each symbol.

Two forms are read, whatever the case of their columns: that of yfinance (Date, Close, Adj Close,
and perhaps Dividends and Stock Splits), and date, close, ... without any adjusted close.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_pipeline.providers.base import PriceAnswer

if TYPE_CHECKING:
    import pandas

_SUFFIXES = (".csv", ".parquet")
# Below, Any is a frame or one of its columns: pandas' annotations do not tell them apart.


class PriceFiles:
    """The provider of prices that lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prices(self, symbols: Sequence[str], first: date, last: date) -> PriceAnswer:
        """The prices of `symbols`; one without a price from `first` to `last` is missing.

        Raises ValueError as `read_prices` does.
        """
        files = read_prices(self._folder, symbols) if symbols else {}
        days = slice(first.isoformat(), last.isoformat())
        frames, missing = {}, {}
        for symbol in symbols:
            if symbol not in files:
                missing[symbol] = "no file"
            elif files[symbol].loc[days, "close"].notna().any():
                frames[symbol] = files[symbol]
            else:
                missing[symbol] = f"none from {first} to {last}"
        return PriceAnswer(frames, missing, _notes(frames))


def _notes(frames: "dict[str, pandas.DataFrame]") -> list[str]:
    notes = []
    if plain := without_dividends(frames):
        notes.append(f"no adjusted close, so returns without dividends: {', '.join(plain)}")
    if plain := without_splits(frames):
        notes.append(
            "no splits, so weeks in which a price halves or doubles are left out: "
            f"{', '.join(plain)}"
        )
    return notes


def read_prices(
    folder: Path | str, symbols: Sequence[str] | None = None
) -> "dict[str, pandas.DataFrame]":
    """Prices by symbol, of `symbols` or of every file; a symbol without a file is left out.

    A frame is indexed by session (naive days, ascending, each once, in the exchange's own time
    zone) with `close` (as in the file: yfinance's is adjusted for splits, not for dividends),
    `adj_close` (for both; a copy of `close` if the file has none, see `without_dividends`) and
    `split` (new shares for an old one, 1.0 on other days). A price that is missing, zero, negative
    or infinite is NaN. Raises ValueError naming the file for a missing column, a value that cannot
    be read, or a day that has two different prices.
    """
    paths = _files(Path(folder))
    if symbols is not None:
        paths = {symbol: paths[symbol] for symbol in symbols if symbol in paths}
    if not paths:
        example = (symbols or ["AAPL"])[0]
        raise ValueError(
            f"{folder}: no prices; expected one file per symbol, such as {example}.csv"
        )
    return {symbol: _read(path) for symbol, path in paths.items()}


def without_dividends(prices: "dict[str, pandas.DataFrame]") -> list[str]:
    """The symbols whose file has no adjusted close: their returns are without dividends."""
    return [symbol for symbol, frame in prices.items() if not frame.attrs["dividends"]]


def without_splits(prices: "dict[str, pandas.DataFrame]") -> list[str]:
    """The symbols whose file has no splits."""
    return [symbol for symbol, frame in prices.items() if not frame.attrs["splits"]]


def _files(folder: Path) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for path in sorted(folder.glob("[!.]*")):
        if path.suffix.lower() in _SUFFIXES:
            symbol = path.stem.removesuffix("_data")
            if symbol in paths:
                raise ValueError(
                    f"{folder}: {paths[symbol].name} and {path.name} both hold {symbol}; "
                    "remove one of them"
                )
            paths[symbol] = path
    return paths


def _read(path: Path) -> "pandas.DataFrame":
    import pandas

    table = _table(path)
    missing = [name for name in ("date", "close") if name not in table]
    if missing:
        columns = ", ".join(map(str, table.columns))
        raise ValueError(
            f"{path}: missing column {', '.join(missing)}; expected Date and Close, best with "
            f"Adj Close and Stock Splits, found {columns or 'none'}: name the columns so in the "
            "first line"
        )
    close = _numbers(path, table, "close")
    adjusted, splits = "adj_close" in table, "stock_splits" in table
    columns = {
        "close": close,
        "adj_close": _numbers(path, table, "adj_close") if adjusted else close,
        "split": _numbers(path, table, "stock_splits") if splits else close * float("nan"),
    }
    frame = pandas.DataFrame(columns)
    # Also a split of 0 means that there was none.
    frame = frame.where((frame > 0) & (frame < float("inf"))).fillna({"split": 1.0})
    frame.index = pandas.DatetimeIndex(_days(path, table["date"]), name="date")
    frame = _once(path, frame.sort_index())
    frame.attrs["dividends"] = adjusted
    frame.attrs["splits"] = splits
    return frame


def _table(path: Path) -> Any:
    """The file as it is, with columns in lower case; an index with a name is a column too."""
    import pandas

    try:
        if path.suffix.lower() == ".csv":
            table = pandas.read_csv(path, encoding="utf-8-sig")
        else:
            table = pandas.read_parquet(path).reset_index()
    except ValueError as error:
        raise ValueError(
            f"{path}: cannot be read ({error}); write the file again or remove it"
        ) from None
    return table.rename(columns=lambda name: str(name).strip().lower().replace(" ", "_"))


def _numbers(path: Path, table: Any, column: str) -> Any:
    try:
        return table[column].astype(float)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}, column {column}: expected numbers ({error})") from None


def _days(path: Path, column: Any) -> Any:
    """Days from dates or times: a time with a zone starts with the day in that zone."""
    import pandas

    try:
        days = pandas.to_datetime(column.astype(str).str[:10], format="%Y-%m-%d")
    except ValueError as error:
        raise ValueError(
            f"{path}, column date: expected days such as 2026-01-05 ({error})"
        ) from None
    if days.isna().any():
        row = int(days.isna().argmax()) + 1
        raise ValueError(
            f"{path}, column date: empty in data row {row}; expected a day in each row"
        )
    return days


def _once(path: Path, frame: Any) -> "pandas.DataFrame":
    """Merge rows that are the same. Raises ValueError for a day with two prices."""
    frame = frame[~frame.reset_index().duplicated().to_numpy()]
    twice = frame.index[frame.index.duplicated()]
    if len(twice):
        rows = " and ".join(str(row) for row in frame.loc[twice[0]].to_dict("records"))
        raise ValueError(
            f"{path}: {twice[0].date()} is there twice, as {rows}; remove the wrong row"
        )
    return frame
