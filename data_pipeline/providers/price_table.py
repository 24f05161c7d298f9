"""One file of daily prices as a table of known columns, whatever program wrote it.

What is read: CSV with comma, semicolon, tab or bar, and Parquet; the columns of yfinance (also with
two levels, with or without `Adj Close`), Tiingo, EODHD, Alpha Vantage, Stooq and the like; days in
ISO 8601, as day and month, as epoch seconds to nanoseconds, with or without a time zone; numbers
with a decimal comma or with thousands separators. Whether the prices make sense is the matter of
`data_pipeline.records.price_gate`.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data_pipeline.providers.price_days import days_of

if TYPE_CHECKING:
    import pandas

SUFFIXES = (".csv", ".parquet")
# Below, Any is a frame or one of its columns: pandas' annotations do not tell them apart.
_SAME = 1e-4
"""Two rows of one day that differ by no more than this share agree: one of them is rounded."""
_MIXED = 0.1
"""If the rows of so many days disagree, the file holds more than one thing."""
_SYMBOL_COLUMNS = {"symbol", "ticker", "name", "code"}
_COLUMNS = {
    "date": "date|datetime|day|time|timestamp|tradedate|tradingday|windowstart|t|index|unnamed0|",
    "close": "close|closelast|closeprice|closingprice|price|last|lastprice|c|closeunadj"
    "|unadjustedclose",
    "split": "stocksplits|stocksplit|split|splits|splitfactor|splitratio|splitcoefficient",
    "dividend": "dividends|dividend|divcash|exdividend|dividendamount|div",
    "volume": "volume|vol|v|tradingvolume|totalvolume",
}
"""Our column -> its names in files, the best first, as letters and digits alone in lower case."""


class PriceTable(NamedTuple):
    """A file that was read, and what was left out of it."""

    frame: "pandas.DataFrame"
    """Indexed by day (naive, ascending, each once): `close`, and `adj_close`, `split` (new shares
    for an old one, 1.0 on other days), `dividend` and `volume` if the file has them. A price that
    is missing, zero, negative or infinite is NaN.
    """
    notes: Sequence[str] = ()


def read_table(path: Path, symbol: str, zone: str | None = None) -> PriceTable:
    """The prices of `symbol` in a file.

    `zone` is the time zone of its exchange, for times that are no midnights. Raises ValueError
    naming the file for one that cannot be read or lacks a column, OSError without one.
    """
    try:
        table = _table(path, symbol)
        columns = _choose_columns(table)
        parsed = _prices(columns, zone)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return PriceTable(parsed.frame, [*table.attrs.get("notes", ()), *parsed.notes])


def _table(path: Path, symbol: str) -> Any:
    """The file as it is: a frame of texts or values, with columns of one level; its symbol only."""
    import pandas

    try:
        if path.suffix.lower() == ".csv":
            table = _csv(path.read_bytes(), symbol)
        else:
            table = _one_level(pandas.read_parquet(path), symbol).reset_index()
    except (ValueError, TypeError, KeyError, UnicodeDecodeError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"cannot be read ({reason}); write the file again or remove it") from None
    for column in table.columns:
        named = _letters(column) in _SYMBOL_COLUMNS
        if named and table[column].nunique() > 1:
            own = table[column].astype(str).str.strip().str.upper() == symbol.upper()
            if not own.any():
                raise ValueError(
                    f"rows of {table[column].nunique()} symbols, none of {symbol}; expected one"
                )
            return table[own]
    return table


def _csv(content: bytes, symbol: str) -> Any:
    """A CSV file as texts. yfinance's two header lines are joined."""
    import pandas

    text = _decoded(content)
    # Excel's own first line, such as "sep=;", says what the header shows.
    text = re.sub(r"\A\s*\"?sep=.\"?\s*\n", "", text, flags=re.IGNORECASE)
    lines = [line for line in text.splitlines() if line.strip(" ,;\t|")]
    if not lines:
        raise ValueError("no rows")
    delimiter = max(",;\t|", key=lines[0].count)
    rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
    header, body = rows[0], rows[1:]
    # yfinance: "Price,Close,..." or "Ticker,AAPL,...", then the other level, then "Date,,,".
    levels = {header[0].strip(), body[0][0].strip()} if body else set()
    unnamed = levels == {""} and symbol.upper() in map(str.upper, body[0])
    if unnamed or levels in ({"Price", "Ticker"}, {"", "Ticker"}):
        names = [tuple(pair) for pair in zip(header, body[0], strict=False)]
        header = ["Date", *(_of_symbol(name, symbol) or "other" for name in names[1:])]
        body = body[1:]
        if body and not "".join(body[0][1:]).strip():
            body = body[1:]
    width = len(header)
    even = [(row + [""] * width)[:width] for row in body if not any(row[width:])]
    table = pandas.DataFrame(even, columns=pandas.Index(header), dtype=str)
    named = [position == 0 or bool(name.strip()) for position, name in enumerate(header)]
    table = table.loc[:, named]
    if len(even) < len(body):
        wide = f"{len(body) - len(even)} rows have more cells than the first line"
        if len(even) < 0.9 * len(body):
            raise ValueError(f"{wide} ({width}); a comma inside a number needs quotes")
        table.attrs["notes"] = [f"{wide}, left out"]
    return table


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _one_level(table: Any, symbol: str) -> Any:
    """Columns of two levels, such as ('Close', 'AAPL'), reduced to those of `symbol`."""
    names = [_of_symbol(_parts(name), symbol) for name in table.columns]
    table = table.loc[:, [name is not None for name in names]]
    table.columns = [name for name in names if name is not None]
    return table


def _parts(name: object) -> tuple[str, ...]:
    """The levels of a column's name, also of one that was written as a text."""
    if isinstance(name, tuple):
        return tuple(str(part) for part in name)
    if found := re.fullmatch(r"\('(.*)', '(.*)'\)", str(name)):
        return found.groups()
    return (str(name),)


def _of_symbol(parts: tuple[str, ...], symbol: str) -> str | None:
    """The name of a column without its symbol; None for a column of another symbol."""
    if len(parts) == 1:
        return parts[0]
    others = [part for part in parts if part.strip().upper() not in (symbol.upper(), "")]
    known = [part for part in others if _role(part) or _letters(part) in ("open", "high", "low")]
    if len(others) > 1:
        return None if known else " ".join(others)
    return others[0] if others else None


def _letters(name: object) -> str:
    """A column's name as letters and digits, without a number in front ("5. adjusted close")."""
    text = re.sub(r"^\s*\d+\.\s*", "", str(name).lower())
    return re.sub(r"[^a-z0-9]", "", text)


def _role(name: object) -> str | None:
    """What a column is for us; None if we do not use it."""
    letters = _letters(name)
    adjusted = "adj" in letters and "unadj" not in letters
    if adjusted and ("close" in letters or "price" in letters or letters in ("adj", "adjusted")):
        return "adj_close"
    return next((role for role, names in _COLUMNS.items() if letters in names.split("|")), None)


def _choose_columns(table: Any) -> dict[str, Any]:
    """Our column -> the column of the file. Raises ValueError without days or prices."""
    found: dict[str, list[tuple[int, int]]] = {}
    for position, name in enumerate(table.columns):
        name = re.sub(r"\.\d+$", "", str(name)) if str(name)[:-2] in table.columns else name
        if role := _role(name):
            names = _COLUMNS.get(role, "").split("|")
            rank = names.index(_letters(name)) if _letters(name) in names else 0
            found.setdefault(role, []).append((rank, position))
    chosen = {}
    for role, places in found.items():
        best = min(rank for rank, _ in places)
        same = [table.iloc[:, position] for rank, position in places if rank == best]
        if any(not _equal(same[0], other) for other in same[1:]):
            raise ValueError(f"{len(same)} columns that disagree are named {role}; keep one")
        chosen[role] = same[0]
    # A file that has an adjusted close alone: the gate says so.
    missing = [name for name in ("date", "close") if name not in chosen]
    if missing and not ("adj_close" in chosen and missing == ["close"]):
        columns = ", ".join(map(str, table.columns))
        raise ValueError(
            f"missing column {', '.join(missing)}; expected Date and Close, best with Adj Close, "
            f"Stock Splits, Dividends and Volume, found {columns or 'none'}: name the columns so "
            "in the first line"
        )
    return chosen


def _equal(first: Any, second: Any) -> bool:
    return first.astype(str).tolist() == second.astype(str).tolist()


def _prices(columns: dict[str, Any], zone: str | None) -> PriceTable:
    """The chosen columns as numbers by day."""
    import pandas

    read = days_of(columns["date"], zone)
    values, notes = {}, list(read.notes)
    for role in ("close", "adj_close", "split", "dividend", "volume"):
        if role in columns:
            parsed = _ratios(columns[role]) if role == "split" else _numbers(columns[role], role)
            values[role] = parsed.values
            notes += parsed.notes
    frame = pandas.DataFrame(values)
    prices = [name for name in ("close", "adj_close") if name in frame]
    frame[prices] = frame[prices].where((frame[prices] > 0) & (frame[prices] < float("inf")))
    if "split" in frame:
        # Also a split of 0 means that there was none.
        sane = (frame["split"] > 0) & (frame["split"] < float("inf"))
        frame["split"] = frame["split"].where(sane).fillna(1.0)
    frame.index = pandas.DatetimeIndex(read.days, name="date")
    frame = frame[frame.index.notna()].sort_index(kind="stable")
    return _once(frame, notes)


@dataclass(frozen=True)
class _Parsed:
    values: Any
    notes: Sequence[str] = ()


_EMPTY = {"", "-", "--", "n/a", "na", "nan", "none", "null", "nil", "#n/a", ".", "inf", "-inf"}
_SIGNS = re.compile(r"[\s\u00a0\u202f'\u2019$\u20ac\u00a3]")
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9}


def _numbers(column: Any, role: str) -> _Parsed:
    """A column as numbers; a cell that is none is NaN and counted.

    Raises ValueError if more than a tenth of them are none, or if a comma may mean two things.
    """
    import pandas

    if column.dtype.kind in "iufb":
        return _Parsed(column.astype(float).to_numpy())
    texts = [_SIGNS.sub("", str(value)) for value in column]
    texts = ["" if text.lower() in _EMPTY or text == "<NA>" else text for text in texts]
    comma = _comma(texts, role)
    numbers, bad = [], []
    for row, text in enumerate(texts, start=1):
        number = _number(text, comma, volume=role == "volume")
        numbers.append(float("nan") if number is None else number)
        if number is None:
            bad.append(f"{column.iloc[row - 1]!r} in data row {row}")
    if len(bad) > max(1, len(texts) // 10) or (bad and len(texts) < 10):
        raise ValueError(f"column {role}: expected numbers, found {bad[0]} and {len(bad)} in all")
    found = f"{len(bad)} cells of column {role} are no numbers (the first is {(bad or [''])[0]})"
    return _Parsed(pandas.Series(numbers, dtype=float).to_numpy(), [found] if bad else ())


def _comma(texts: Sequence[str], role: str) -> str:
    """What a comma is in these texts: "." (decimal) or "" (it groups thousands)."""
    with_comma = [text for text in texts if "," in text]
    if not with_comma:
        return ""
    both = [text for text in with_comma if "." in text]
    if both:
        return "." if all(text.rindex(",") > text.rindex(".") for text in both) else ""
    tails = {len(text.rsplit(",", 1)[1]) for text in with_comma}
    if tails != {3}:
        return "."
    if role == "volume" or any(text.count(",") > 1 for text in with_comma):
        return ""
    if any("." in text for text in texts):
        return ""
    raise ValueError(
        f"column {role}: the comma in {with_comma[0]!r} may be decimal or group thousands; write "
        "numbers with a decimal point"
    )


def _number(text: str, comma: str, *, volume: bool) -> float | None:
    if not text:
        return float("nan")
    # Beside a decimal comma, or if there are several, dots group thousands.
    grouped = re.fullmatch(r"[-+]?\d{1,3}(\.\d{3})+[a-z]?", text, re.IGNORECASE)
    points = (comma == "." and ("," in text or grouped)) or (grouped and text.count(".") > 1)
    plain = text.replace(".", "") if points else text
    plain = plain.replace(",", comma)
    unit = _UNITS.get(plain[-1].lower(), 0.0) if volume else 0.0
    try:
        return float(plain[:-1]) * unit if unit else float(plain)
    except ValueError:
        return None


def _ratios(column: Any) -> _Parsed:
    """Splits as new shares for an old one: numbers, or texts such as 4:1, 4/1 and "4 for 1"."""
    import pandas

    if column.dtype.kind in "iufb":
        return _Parsed(column.astype(float).to_numpy())
    texts = [str(value).strip().lower() for value in column]
    pair = re.compile(r"([\d.]+)\s*(?::|/|for|-for-)\s*([\d.]+)")
    pairs = [pair.fullmatch(text) for text in texts]
    if any(pairs):
        numbers = []
        for text, match in zip(texts, pairs, strict=True):
            if match and float(match[2]):
                numbers.append(float(match[1]) / float(match[2]))
            else:
                numbers.append(1.0 if text in _EMPTY or not text.strip("0.") else float(text))
        return _Parsed(pandas.Series(numbers, dtype=float).to_numpy())
    return _numbers(column, "split")


def _once(frame: Any, notes: list[str]) -> PriceTable:
    """Each day once. Rows without a price give way; rows that disagree leave the day without one.

    Raises ValueError if they disagree on many days.
    """
    repeated = frame.index.duplicated(keep=False)
    if not repeated.any():
        return PriceTable(frame, notes)
    price = "close" if "close" in frame else "adj_close"
    prices = [name for name in ("close", "adj_close") if name in frame]
    # The best row of a day comes first, the others fill its gaps; a split counts in any row.
    by_price = frame.iloc[frame[price].isna().to_numpy().argsort(kind="stable")]
    days = by_price.sort_index(kind="stable").groupby(level=0)
    merged = days.first()
    if "split" in merged:
        splits = frame["split"].where(frame["split"] != 1.0)
        merged["split"] = splits.groupby(level=0).first().fillna(1.0)
    spread = days[prices].max() / days[prices].min() - 1
    disagree = (spread > _SAME).any(axis=1)
    if disagree.sum() > max(3, _MIXED * len(merged)):
        raise ValueError(
            f"{int(disagree.sum())} of {len(merged)} days have rows with different prices; "
            "expected daily prices of one symbol, one per day (no intraday bars)"
        )
    if disagree.any():
        merged.loc[disagree, prices] = float("nan")
        listed = [str(day.date()) for day in merged.index[disagree]]
        notes = [*notes, f"rows with different prices, so without a price: {_first(listed)}"]
    return PriceTable(merged, notes)


def _first(texts: Sequence[str], count: int = 3) -> str:
    rest = f" and {len(texts) - count} more" if len(texts) > count else ""
    return ", ".join(texts[:count]) + rest
