"""The week of each row: what intervals are clustered by.

Rows of one week share their market. A week that is spelt in two ways, a window that overlaps
another, or a period that contradicts the id's date must not count as more weeks than there are:
intervals would be too narrow.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

_DATE = re.compile(r"(?<!\d)(\d{4})([-/.]?)(\d{2})\2(\d{2})(?!\d)")
_WEEK = timedelta(days=7)
_BLOCK = 4
"""A chain of overlapping windows is cut into blocks of this many window lengths: neighbours then
share less than a tenth of their variance, since only the rows at the cut overlap."""


class Weeks(NamedTuple):
    """The week of each row, or None and the reason."""

    keys: list[str] | None
    reason: str | None
    note: str | None = None
    """What was done to the weeks as they are written, as a sentence."""
    windows: list[str] | None = None
    """The window of each row in one spelling, before overlapping ones are merged."""


class _Window(NamedTuple):
    """A forecast window: from `start` up to `end`, which is the start of the next."""

    start: date
    end: date
    text: str


def week_keys(rows: Sequence[Mapping[str, object]]) -> Weeks:
    """The week of each row, or None and the reason.

    It is `period`, else `week_end`, else the date in `id`: the first of them that every row has,
    because two names for one week in one file would count as two weeks. If another of them gives
    fewer weeks, that one counts. Windows that overlap are one week.
    """
    if not rows:
        return Weeks(None, "no row with a truth")
    sources = {
        name: [read(row) for row in rows]
        for name, read in (("period", _period), ("week_end", _week_end), ("id", _of_id))
    }
    merged = {name: _merged(windows) for name, windows in sources.items() if all(windows)}
    if not merged:
        return Weeks(
            None, "no week that every row has: neither `period` nor `week_end` nor a date in `id`"
        )
    counts = {name: len(set(keys)) for name, keys in merged.items()}
    first = next(iter(counts))
    windows = [_span(window) for window in sources[first]]
    # A date that all ids share, such as that of a file, tells nothing about the rows.
    told = {name: count for name, count in counts.items() if name == first or count > 1}
    fewest = min(told, key=lambda name: told[name])
    if told[fewest] < told[first]:
        note = f"`{first}` names {told[first]} weeks and `{fewest}` {told[fewest]}: the fewer count"
        return Weeks(merged[fewest], None, note, windows)
    note = None
    written = len({_text(window) for window in sources[first]})
    if written > counts[first]:
        note = (
            f"{written} periods overlap or are one week spelt in several ways: they count as "
            f"{counts[first]} weeks"
        )
    return Weeks(merged[first], None, note, windows)


def _span(window: "_Window | str") -> str:
    return window if isinstance(window, str) else f"{window.start} to {window.end}"


def _text(window: "_Window | str") -> str:
    return window if isinstance(window, str) else window.text


def week_start(row: Mapping[str, object]) -> date | None:
    """The first day of the forecast week, from `period`, else the date in `id`; None without
    one."""
    days = dates_in(row.get("period"))[:1] or dates_in(row.get("id"))[-1:]
    return days[0] if days else None


def dates_in(text: object) -> list[date]:
    """The dates of a text, written as 2024-03-17, 2024/03/17, 2024.03.17 or 20240317."""
    found: list[date] = []
    for match in _DATE.finditer(str(text or "")):
        try:
            found.append(date(int(match[1]), int(match[3]), int(match[4])))
        except ValueError:
            continue
    return found


def _period(row: Mapping[str, object]) -> _Window | str:
    text = " ".join(str(row.get("period") or "").split())
    days = dates_in(text)
    if len(days) == 2 and days[0] < days[1]:
        return _Window(days[0], days[1], text)
    if len(days) == 1:
        return _Window(days[0], days[0] + _WEEK, text)
    return text.casefold()


def _week_end(row: Mapping[str, object]) -> _Window | str:
    text = " ".join(str(row.get("week_end") or "").split())
    days = dates_in(text)
    return _Window(days[0] - _WEEK, days[0], text) if days else text.casefold()


def _of_id(row: Mapping[str, object]) -> _Window | str:
    days = dates_in(row.get("id"))[-1:]
    return _Window(days[0], days[0] + _WEEK, str(days[0])) if days else ""


def _merged(windows: Sequence[_Window | str]) -> list[str]:
    """The key of each row: equal for windows that overlap; a text without dates is its own key."""
    with_dates = [window for window in windows if isinstance(window, _Window)]
    names = _names(with_dates)
    return [
        names[window.start, window.end] if isinstance(window, _Window) else window
        for window in windows
    ]


def _names(windows: Iterable[_Window]) -> dict[tuple[date, date], str]:
    """(start, end) -> the name of the week that it lies in."""
    texts: dict[tuple[date, date], str] = {}
    for window in windows:
        texts.setdefault((window.start, window.end), window.text)
    names: dict[tuple[date, date], str] = {}
    for chain in _chains(sorted(texts)):
        for block in _blocks(chain):
            name = (
                texts[block[0]]
                if len(block) == 1
                else f"{block[0][0]} to {max(end for _, end in block)}"
            )
            names |= dict.fromkeys(block, name)
    return names


def _chains(spans: Sequence[tuple[date, date]]) -> list[list[tuple[date, date]]]:
    """Spans in the order of their start, split where one begins after all before it have ended."""
    chains: list[list[tuple[date, date]]] = []
    last = date.min
    for span in spans:
        if span[0] >= last:
            chains.append([])
        chains[-1].append(span)
        last = max(last, span[1])
    return chains


def _blocks(chain: Sequence[tuple[date, date]]) -> list[list[tuple[date, date]]]:
    """A chain of overlapping spans, cut where it is longer than two blocks."""
    length = _BLOCK * max(end - start for start, end in chain)
    if chain[-1][1] - chain[0][0] < 2 * length:
        return [list(chain)]
    blocks: list[list[tuple[date, date]]] = [[]]
    for span in chain:
        full = blocks[-1] and span[0] >= blocks[-1][0][0] + length
        if full and chain[-1][0] - span[0] >= length / 2:
            blocks.append([])
        blocks[-1].append(span)
    return blocks
