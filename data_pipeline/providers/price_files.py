"""Daily prices from files: `AAPL.csv`, `AAPL_data.csv` or `AAPL.parquet` for each symbol.

`price_table` says which forms are read. A file that cannot be read leaves its symbol out.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data_pipeline.providers.base import PriceAnswer
from data_pipeline.providers.price_table import SUFFIXES, PriceTable, read_table

if TYPE_CHECKING:
    import pandas


class PriceFiles:
    """The provider of prices that lie in `folder`. `zones` are time zones of exchanges by symbol.

    `name` says in the manifest where prices came from.
    """

    name = "price files"

    def __init__(self, folder: Path, zones: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._zones = zones or {}

    def prices(self, symbols: Sequence[str], first: date, last: date) -> PriceAnswer:
        """The prices of `symbols`; one without a price from `first` to `last` is missing.

        So is one whose file cannot be read, with the reason. Raises ValueError if there is no file.
        """
        read = read_prices(self._folder, symbols, self._zones) if symbols else NO_PRICES
        days = slice(first.isoformat(), last.isoformat())
        frames, missing = {}, {}
        for symbol in symbols:
            if symbol in read.unreadable:
                missing[symbol] = read.unreadable[symbol]
            elif symbol not in read.tables:
                missing[symbol] = "no file"
            elif _price(read.tables[symbol].frame.loc[days]).notna().any():
                frames[symbol] = read.tables[symbol].frame
            else:
                missing[symbol] = f"none from {first} to {last}"
        notes = [f"{name}: {note}" for name in frames for note in read.tables[name].notes]
        return PriceAnswer(frames, missing, notes)


def _price(frame: Any) -> Any:
    return frame["close" if "close" in frame else "adj_close"]


class ReadPrices(NamedTuple):
    """What a folder of prices holds."""

    tables: Mapping[str, PriceTable]
    unreadable: Mapping[str, str]
    """Symbol -> why its file cannot be used."""

    def frame(self, symbol: str) -> "pandas.DataFrame":
        """The prices of a symbol. Raises ValueError if its file cannot be used."""
        if symbol in self.unreadable:
            raise ValueError(self.unreadable[symbol])
        return self.tables[symbol].frame


NO_PRICES = ReadPrices({}, {})


def read_prices(
    folder: Path | str,
    symbols: Sequence[str] | None = None,
    zones: Mapping[str, str] | None = None,
) -> ReadPrices:
    """Prices by symbol, of `symbols` or of every file; a symbol without a file is left out.

    Raises ValueError if there is no file for any of them.
    """
    paths = _files(Path(folder))
    if symbols is not None:
        paths = {symbol: paths[symbol] for symbol in symbols if symbol in paths}
    if not paths:
        example = (symbols or ["AAPL"])[0]
        raise ValueError(
            f"{folder}: no prices; expected one file per symbol, such as {example}.csv"
        )
    tables: dict[str, PriceTable] = {}
    unreadable: dict[str, str] = {}
    for symbol, of_symbol in paths.items():
        try:
            if len(of_symbol) > 1:
                names = " and ".join(path.name for path in of_symbol)
                raise ValueError(f"{folder}: {names} both hold {symbol}; remove one of them")
            tables[symbol] = read_table(of_symbol[0], symbol, (zones or {}).get(symbol))
        except (ValueError, OSError) as error:
            unreadable[symbol] = str(error)
    return ReadPrices(tables, unreadable)


def _files(folder: Path) -> dict[str, list[Path]]:
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("[!.]*")):
        if path.suffix.lower() in SUFFIXES:
            paths.setdefault(path.stem.removesuffix("_data"), []).append(path)
    return paths
