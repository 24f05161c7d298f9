"""Tables of values that know their precision, their interval and why they are empty.

A table is built once; the page, the Markdown and the CSV print the same one, so no number can be
computed in two ways.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

Value = str | int | float | bool | None
DASH = "–"
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a formula begins, in half and full width."""


@dataclass(frozen=True)
class Cell:
    """One value."""

    value: Value
    digits: int = 3
    """Decimals of a float."""
    ci95: Sequence[float] | None = None
    n: int | None = None
    """How many rows the value is over."""
    why: str | None = None
    """Why a value of None is empty."""
    note: str | None = None
    shown_as: str | None = None
    """Printed in place of the value."""
    mark: str = ""
    """Names a style: run, baseline, better, worse, differs."""

    @property
    def text(self) -> str:
        """The value as printed: an en dash for None, a fixed number of decimals for a float."""
        return self.shown_as or format_value(self.value, self.digits)

    @property
    def details(self) -> list[str]:
        """Interval, number of rows and note; or the reason why there is no value."""
        if self.value is None:
            return [self.why] if self.why else []
        details: list[str] = []
        if self.ci95 is not None:
            details.append(" to ".join(format_value(end, self.digits) for end in self.ci95))
        if self.n is not None:
            details.append(f"n = {self.n}")
        if self.note:
            details.append(self.note)
        return details


@dataclass(frozen=True)
class Table:
    """A titled table."""

    key: str
    """Names its CSV file."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    """One paragraph below it."""


def run_cell(name: str) -> Cell:
    """The first cell of a row about a run."""
    return Cell(name, mark="run")


def format_value(value: Value, digits: int = 3) -> str:
    """A value as text: "–" for None, yes or no, floats with `digits` decimals and never
    "-0.000"."""
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
    """The table with full precision.

    A column with intervals adds the columns "... low" and "... high", one with counts "... n".
    """
    suffixes: list[tuple[str, ...]] = []
    header: list[str] = []
    for index, column in enumerate(table.columns):
        column_suffixes = _suffixes([row[index] for row in table.rows])
        suffixes.append(column_suffixes)
        header += [column, *(f"{column} {suffix}" for suffix in column_suffixes)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_no_formula(column) for column in header])
    for row in table.rows:
        line: list[Value] = []
        for cell, column_suffixes in zip(row, suffixes, strict=True):
            line += _values(cell, column_suffixes)
        writer.writerow(line)
    return out.getvalue()


def _suffixes(cells: Sequence[Cell]) -> tuple[str, ...]:
    suffixes: tuple[str, ...] = ()
    if any(cell.ci95 for cell in cells):
        suffixes += ("low", "high")
    if any(cell.n is not None for cell in cells):
        suffixes += ("n",)
    return suffixes


def _values(cell: Cell, suffixes: tuple[str, ...]) -> list[Value]:
    low, high = cell.ci95 or (None, None)
    extras: dict[str, Value] = {"low": low, "high": high, "n": cell.n}
    return [_no_formula(cell.value), *(extras[suffix] for suffix in suffixes)]


def _no_formula(value: Value) -> Value:
    """A value of a CSV file that no spreadsheet computes: a text that begins like a formula gets
    the apostrophe that makes it a text. A number that is written as text stays. A lone carriage
    return becomes a line end: a reader would begin a new row there.
    """
    if not isinstance(value, str):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    is_formula = value.startswith(("\t", "\n")) or value.lstrip().startswith(_FORMULA)
    return f"'{value}" if is_formula and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text.rstrip("%"))
    except ValueError:
        return False
    return True
