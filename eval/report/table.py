"""Tables of values that know their precision, their interval and why they are empty.

A table is built once; the page, the Markdown and the CSV print the same one, so no number can be
worked out in two ways.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

Value = str | int | float | bool | None
DASH = "–"


@dataclass(frozen=True)
class Cell:
    """One value. `why` says why a value of None is empty; `words` is printed in place of the value.

    `mark` names a style: run, baseline, better, worse, differs.
    """

    value: Value
    digits: int = 3
    ci95: Sequence[float] | None = None
    n: int | None = None
    why: str | None = None
    note: str | None = None
    words: str | None = None
    mark: str = ""

    @property
    def text(self) -> str:
        """The value as printed: an en dash for None, a fixed number of decimals for a float."""
        return self.words or format_value(self.value, self.digits)

    @property
    def details(self) -> list[str]:
        """Interval, number of rows, a note, or the reason why there is no value, in reading order."""
        if self.value is None:
            return [self.why] if self.why else []
        parts = (
            []
            if self.ci95 is None
            else [" to ".join(format_value(x, self.digits) for x in self.ci95)]
        )
        if self.n is not None:
            parts.append(f"n = {self.n}")
        return parts + ([self.note] if self.note else [])


@dataclass(frozen=True)
class Table:
    """A titled table; `key` names its CSV file. `note` is one paragraph below it."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def format_value(value: Value, digits: int = 3) -> str:
    """A value in words: "–" for None, yes or no, floats with `digits` decimals and never "-0.000"."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = f"{value:.{digits}f}"
        return text.removeprefix("-") if not text.strip("-0.") else text
    return str(value)


def compact(value: Value) -> str:
    """A setting as people write it: 5e-05 stays short, whole floats lose their zeros."""
    return f"{value:g}" if isinstance(value, float) else format_value(value)


def to_csv(table: Table) -> str:
    """The table with full precision; an interval adds columns "... low" and "... high", a count "... n"."""
    extras = [_extras([row[place] for row in table.rows]) for place in range(len(table.columns))]
    header = [name for column, extra in zip(table.columns, extras, strict=True)
              for name in (column, *(f"{column} {suffix}" for suffix in extra))]  # fmt: skip
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        writer.writerow(
            [value for cell, extra in zip(row, extras, strict=True) for value in _flat(cell, extra)]
        )
    return out.getvalue()


def _extras(cells: Sequence[Cell]) -> tuple[str, ...]:
    names: tuple[str, ...] = ()
    if any(cell.ci95 for cell in cells):
        names += ("low", "high")
    if any(cell.n is not None for cell in cells):
        names += ("n",)
    return names


def _flat(cell: Cell, extra: tuple[str, ...]) -> list[Value]:
    low, high = cell.ci95 or (None, None)
    known: dict[str, Value] = {"low": low, "high": high, "n": cell.n}
    return [cell.value, *(known[name] for name in extra)]
