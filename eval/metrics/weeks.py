"""The week of each row: what intervals are clustered by.

Rows of one week share their market. A week that is spelt in two ways, a window that overlaps
another, or a period that contradicts the id's date must not count as more weeks than there are:
intervals would be too narrow.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple, cast

from eval.metrics.periods import WEEK, Periods, Window, dates_in, read_periods, trading_week
from eval.metrics.statistics import MIN_CLUSTERS
from eval.metrics.text_quality import prompt_text
from weekahead.schema.rows import Message

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


def week_keys(rows: Sequence[Mapping[str, object]]) -> Weeks:
    """The week of each row, or None and the reason.

    It is `period`, else `week_end`, else the date in `id`, else the week that the prompt asks
    about: the first of them that every row has, because two names for one week in one file would
    count as two weeks. If another of them gives fewer weeks, that one counts. Windows that overlap
    are one week. A column that holds a date that cannot be read names no weeks.
    """
    if not rows:
        return Weeks(None, "no row with a truth")
    columns = _columns(rows)
    unread = next(
        (_cannot_be_read(name, each) for name, each in columns.items() if each.unread), ""
    )
    usable = {name: column.windows for name, column in columns.items() if not column.unread}
    sources = {name: windows for name, windows in usable.items() if all(windows)}
    merged = {name: _merged(windows) for name, windows in sources.items()}
    if not merged:
        missing = "no week that every row has: neither `period` nor `week_end` nor a date in `id`"
        return Weeks(None, unread or missing)
    counts = {name: len(set(keys)) for name, keys in merged.items()}
    first = next(iter(counts))
    hidden = _hidden_weeks(first, merged[first], usable)
    if hidden:
        return Weeks(None, hidden)
    windows = [_span(window) for window in sources[first]]
    # A date that all ids share, such as that of a file, tells nothing about the rows.
    told = {
        name: count
        for name, count in counts.items()
        if name == first
        or count > 1
        or (name not in _ASIDE and isinstance(sources[name][0], Window))
    }
    fewest = min(told, key=lambda name: told[name])
    if told[fewest] < told[first]:
        note = f"`{first}` names {told[first]} weeks and `{fewest}` {told[fewest]}: the fewer count"
        return Weeks(merged[fewest], None, note, windows)
    note = f"{unread}; `{first}` names the weeks" if unread else None
    written = len({_text(window) for window in sources[first]})
    if written > counts[first]:
        note = (
            f"{written} periods overlap or are one week spelt in several ways: they count as "
            f"{plural(counts[first], 'week')}{_of_single_dates(sources[first])}"
        )
    return Weeks(merged[first], None, note, windows)


def _hidden_weeks(
    first: str, keys: Sequence[str], columns: Mapping[str, Sequence[Window | str]]
) -> str | None:
    """A reason if a column that some rows lack names fewer weeks than `first` does for the rest."""
    for name, windows in columns.items():
        filled = [index for index, window in enumerate(windows) if window]
        if len(filled) in (0, len(windows)) or (name in _ASIDE and 2 * len(filled) < len(windows)):
            continue
        named = len(set(_merged([windows[index] for index in filled])))
        otherwise = len({keys[index] for index in filled})
        if named < otherwise and (name != "id" or named > 1):
            return (
                f"`{name}` is missing in {len(windows) - len(filled)} of {len(windows)} rows, and "
                f"in the others it names {named} weeks where `{first}` names {otherwise}: state it "
                "in every row"
            )
    return None


def _of_single_dates(windows: Sequence[Window | str]) -> str:
    """What to write for days: one date is read as the first day of a week."""
    one_date = any(
        isinstance(window, Window) and len(dates_in(window.text)) == 1 for window in windows
    )
    return "; one date stands for a week, so write a day as 2024-01-08 to 2024-01-09" * one_date


def plural(count: int, noun: str) -> str:
    """A number with its noun: 1 week, 2 weeks."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def too_few_weeks(count: int) -> str:
    """Why rows of so many weeks have no interval."""
    return f"{plural(count, 'week')}; an interval needs at least {MIN_CLUSTERS}"


_NEAR = timedelta(days=3)
_SHORTEST = timedelta(days=4)
"""Of windows of which two that begin or end on one day, and differ by _NEAR at the other end, are
spellings of one: to Friday, to Saturday, to Sunday."""


def in_one_spelling(windows: Sequence[str]) -> list[str]:
    """`Weeks.windows` as far as a row is the same in them: a weekend at an end does not count."""
    days = {window: dates_in(window) for window in dict.fromkeys(windows)}
    spans = sorted(found for found in days.values() if len(found) == 2)
    names: dict[tuple[date, ...], tuple[date, ...]] = {span: span for span in spans}
    for at, other in ((0, 1), (1, 0)):
        before: tuple[date, ...] | None = None
        for span in sorted(spans, key=lambda span: (span[at], span[other])):
            long = span[1] - span[0] >= _SHORTEST
            if before and long and span[at] == before[at] and span[other] - before[other] <= _NEAR:
                names[span] = names[before]
            before = span if long else None
    return [
        "{} to {}".format(*names[days[window]]) if days[window] in names else window
        for window in windows
    ]


def first_days(rows: Sequence[Mapping[str, object]]) -> list[date | None]:
    """The first day of each row's forecast week, from `period`, else `week_end`, else the date in
    `id`; None without one. Of a trading week it is the Sunday."""
    columns = [column.windows for name, column in _columns(rows).items() if name != "prompt"]
    return [
        next((window.start for window in named if isinstance(window, Window)), None)
        for named in zip(*columns, strict=True)
    ]


def _cannot_be_read(name: str, column: Periods) -> str:
    texts = column.unread
    return (
        f"`{name}` is no date that can be read in {plural(len(texts), 'spelling')}, such as "
        f"{texts[0]!r}: write 2024-01-07 to 2024-01-14, the year first"
    )


def _columns(rows: Sequence[Mapping[str, object]]) -> dict[str, Periods]:
    """What each column that may name a week says.

    The window of a `week_end` or an id is as long as that of the row's `period`, else a week.
    """
    periods = _without_firms(read_periods([row.get("period") for row in rows]), rows)
    lengths = [
        window.end - window.start if isinstance(window, Window) else WEEK
        for window in periods.windows
    ]
    ends = read_periods([row.get("week_end") for row in rows])
    of_ends = [
        Window(window.start - length, window.start, window.text)
        if isinstance(window, Window)
        else window
        for window, length in zip(ends.windows, lengths, strict=True)
    ]
    of_ids = [_of_id(row.get("id"), length) for row, length in zip(rows, lengths, strict=True)]
    of_prompts = [
        _of_prompt(prompt_text(cast("str | Sequence[Message]", row.get("prompt") or "")), length)
        for row, length in zip(rows, lengths, strict=True)
    ]
    found = {
        "period": periods,
        "week_end": Periods(of_ends, ends.unread),
        "id": Periods(of_ids, []),
        "prompt": Periods(of_prompts, []),
    }
    return {
        name: Periods(_in_one_spelling(each.windows), each.unread) for name, each in found.items()
    }


def _of_id(row_id: object, length: timedelta) -> Window | str:
    days = dates_in(str(row_id or ""))[-1:]
    return Window(days[0], days[0] + length, str(days[0])) if days else ""


_ASIDE = ("id", "prompt")
"""Texts that name a week by the way: a date in a few of them is one by chance."""
_ASKED = re.compile(r"^Forecast \S+ for the week from (\d{4}-\d\d-\d\d)\.", re.MULTILINE)


@lru_cache(maxsize=1 << 12)  # runs on one dataset have the same prompts
def _of_prompt(prompt: str, length: timedelta) -> Window | str:
    """The week that a prompt of ours asks about."""
    asked = _ASKED.search(prompt)
    days = dates_in(asked[1]) if asked else ()
    return Window(days[0], days[0] + length, str(days[0])) if days else ""


def _without_firms(periods: Periods, rows: Sequence[Mapping[str, object]]) -> Periods:
    """Names of weeks without dates, such as "AAPL week 7", without the firm of their row."""
    if any(isinstance(window, Window) for window in periods.windows):
        return periods
    symbols = [str(row.get("symbol") or "").strip().casefold() for row in rows]
    texts = [str(window) for window in periods.windows]
    return read_periods(
        [_without_word(text, symbol) or text for text, symbol in zip(texts, symbols, strict=True)]
    )


def _without_word(text: str, word: str) -> str:
    if not word:
        return text
    return re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", " ", text).strip(" ()[]/:-,")


_WEEKLY = 0.75
"""From this share of trading weeks on, the windows of a file are weeks and no daily windows, of
which less than that begin around a weekend."""


def _in_one_spelling(windows: Sequence[Window | str]) -> list[Window | str]:
    """The windows of trading weeks as Sunday to Sunday, if the file is about weeks."""
    distinct = {window for window in windows if isinstance(window, Window)}
    sundays = {window: trading_week(window.start, window.end) for window in distinct}
    weeks = sum(sunday is not None for sunday in sundays.values())
    if weeks < _WEEKLY * len(distinct):
        return list(windows)
    return [
        Window(sunday, sunday + WEEK, window.text)
        if isinstance(window, Window) and (sunday := sundays[window])
        else window
        for window in windows
    ]


def _span(window: Window | str) -> str:
    return window if isinstance(window, str) else f"{window.start} to {window.end}"


def _text(window: Window | str) -> str:
    return window if isinstance(window, str) else window.text


def _merged(windows: Sequence[Window | str]) -> list[str]:
    """The key of each row: equal for windows that overlap; a text without dates is its own key."""
    with_dates = [window for window in windows if isinstance(window, Window)]
    names = _names(with_dates)
    return [
        names[window.start, window.end] if isinstance(window, Window) else window
        for window in windows
    ]


def _names(windows: Iterable[Window]) -> dict[tuple[date, date], str]:
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
