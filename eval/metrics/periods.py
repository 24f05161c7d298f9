"""The forecast window of a row as people write it: dates in many spellings, weeks, months, seconds.

What looks like a date and cannot be read is named and never taken for a window of its own: one
week under two names would count twice.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

WEEK = timedelta(days=7)
_LONGEST = timedelta(days=31)
"""Two dates of one period lie no further apart, which tells a day from a month."""
_DAY_NAMES = re.compile(
    r"(?<![a-z])(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:day)?[,.]?(?![a-z])"
)
_MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_MONTH_OF = {name[:3]: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_YEAR = r"(?:19|20|21)\d\d"
_MONTH = rf"(?<![a-z])(?:{'|'.join(_MONTH_NAMES)}|{'|'.join(_MONTH_OF)}|sept)(?![a-z])"
_GAP = r"[-/., ]{0,3}"
_DATED = re.compile(
    rf"(?<!\d){_YEAR}(?!\d)|{_MONTH}.*\d|\d.*{_MONTH}|\d{{8}}"
    r"|(?<!\d)\d{1,2}(?:/\d|[-.]\d{1,2}[-.])|\d[-/.]\d{1,2}[-/.]\d"
)
"""What a text without dates does not hold."""
_CLOCK = re.compile(r"[t ]?\d\d:\d\d(?::\d\d)?(?:\.\d+)?|[+-]\d\d:?\d\d(?!\d)|t\d{4,6}(?!\d)")
_GLUED = re.compile(rf"(?<!\d)({_YEAR}\d{{4}})({_YEAR}\d{{4}})(?!\d)")
_YEAR_FIRST = (
    rf"(?<!\d)(?P<yy>{_YEAR})(?P<ys>[-/. ]| [-/.] )(?P<ym>\d{{1,2}})(?P=ys)(?P<yd>\d{{1,2}})(?!\d)",
    rf"(?<!\d)(?P<cy>{_YEAR})(?P<cm>\d\d)(?P<cd>\d\d)(?!\d)",
)
_IN_IDS = re.compile("|".join(_YEAR_FIRST))
_SPELLINGS = re.compile(
    "|".join(
        (
            rf"(?<!\d)(?P<iso>(?P<iy>{_YEAR})-?w(?P<iw>\d{{1,2}})(?:-?(?P<id>[1-7]))?)(?!\d)",
            rf"(?P<wy>{_YEAR}){_GAP}(?<![a-z])(?:week|wk|cw|kw)\.? ?(?P<ww>\d{{1,2}})(?!\d)",
            rf"(?<![a-z])(?:week|wk|cw|kw|w)\.? ?(?P<vw>\d{{1,2}})(?: of )?{_GAP}(?P<vy>{_YEAR})"
            r"(?!\d)",
            *_YEAR_FIRST,
            r"(?<!\d)(?P<n1>\d{1,2})(?P<ns>[-/.])(?P<n2>\d{1,2})(?P=ns)"
            rf"(?P<n3>{_YEAR}|\d\d)(?!\d)",
            rf"(?<!\d)(?P<dd>\d{{1,2}})(?:st|nd|rd|th)?(?: of)?{_GAP}(?P<dm>{_MONTH}){_GAP}"
            rf"(?P<dy>{_YEAR})(?!\d)",
            rf"(?P<mm>{_MONTH}){_GAP}(?P<md>\d{{1,2}})(?:st|nd|rd|th)?{_GAP}(?<!\d)(?P<my>{_YEAR})"
            r"(?!\d)",
            rf"(?<!\d)(?P<fy>{_YEAR}){_GAP}(?P<fm>{_MONTH}){_GAP}(?P<fd>\d{{1,2}})(?!\d)",
            r"(?<!\d)(?P<epoch>1\d{9})(?:\d{3})?(?!\d)",
        )
    )
)
_TO = r" ?(?:-|/|to|until|through|and) ?"
_RANGE = re.compile(
    rf"(?P<m1>{_MONTH})\.? ?(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?{_TO}(?:(?P<m2>{_MONTH})\.? ?)?"
    rf"(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y>{_YEAR})(?!\d)"
    rf"|(?<!\d)(?P<e1>\d{{1,2}})(?:st|nd|rd|th|\.)?(?: ?(?P<n1>{_MONTH})\.?)?{_TO}"
    rf"(?P<e2>\d{{1,2}})(?:st|nd|rd|th|\.)? ?(?P<n2>{_MONTH}),?\.? ?(?P<z>{_YEAR})(?!\d)"
)
"""Two days of which the second alone states the year: Jan 7 - 14, 2024; 29 Dec - 4 Jan 2025."""
_MORE_YEARS = (
    (re.compile(rf"({_YEAR})-?w(\d{{1,2}}){_TO}w(\d{{1,2}})(?!\d)"), r"\1-w\2 to \1-w\3"),
    (
        re.compile(rf"w(\d{{1,2}}){_TO}w(\d{{1,2}})(?: of)? ({_YEAR})(?!\d)"),
        r"\3-w\1 to \3-w\2",
    ),
)
"""Two weeks of which one alone states the year: 2024-W02/W05; W2 - W5 2024."""
_SHORT_END = re.compile(
    rf"(?<!\d)(?P<y>{_YEAR})(?P<s>[-/.]?)(?P<m>\d\d)(?P=s)(?P<d>\d\d)"
    rf"(?:{_TO}(?P<m2>\d\d)(?P=s)(?P<d2>\d\d)|(?: ?/ ?| (?:-|to|until|through) )(?P<e2>\d\d))"
    r"(?![-/.:]?\d)"
)
"""Two days of which the first alone states the year: 2024-01-07/02-04; 2024-01-07 to 14."""
_DURATION = re.compile(
    r"(?<![a-z0-9])p?(?P<n>\d{1,3})[- ]?(?P<u>d|w|m|y|(?:day|week|wk|month|year)s?)(?![a-z0-9])"
)
_DAYS_OF_UNIT, _MONTHS_OF_UNIT = {"d": 1, "w": 7}, {"m": 1, "y": 12}
_PART_OF = re.compile(
    r"(?<![a-z])(?:week|wk|w|cw|kw) *#|(?<![a-z0-9])q[1-4](?!\d)|#.*(?:week|wk) *\d"
)
"""A part of a span, such as week 2 of January 2023: no day that it states is its own."""
_NUMBERED = re.compile(r"(?:week|wk|w|cw|kw)[. #:-]*0*(\d+)(?:\.0+)?|0*(\d+)(?:\.0+)?")
"""A week by its number alone."""
_WHOLE_MONTH = re.compile(
    rf"(?P<y>{_YEAR})[-/. ](?P<m>\d\d)|(?P<m3>\d\d?)[-/.](?P<y3>{_YEAR})"
    rf"|(?P<mn>{_MONTH}){_GAP}(?P<my>{_YEAR})"
    rf"|(?P<qy>{_YEAR})[-/ ]?q(?P<q>[1-4])|q(?P<q2>[1-4])[-/ ]?(?P<qy2>{_YEAR})"
)
_ORDERS = {"day first": (2, 1, 0), "month first": (2, 0, 1), "year first": (0, 1, 2)}
"""Places of year, month and day in three numbers."""


class Window(NamedTuple):
    """A forecast window: from `start` up to `end`, which is the start of the next."""

    start: date
    end: date
    text: str
    """As it is written."""


class Periods(NamedTuple):
    """The windows of a column of periods."""

    windows: list[Window | str]
    """A text that holds no date is its own window; an empty one is none."""
    unread: list[str]
    """The texts that look like dates and cannot be read, or hold none beside others that do."""


class _Unreadable(ValueError):
    """A text that looks like a period and is none."""


def read_periods(texts: Sequence[object]) -> Periods:
    """The windows of the texts of one column.

    One date is the first day of a week, two are a window, in either order. Numbers such as
    01/02/2024 are read in the one order in which all of the column are possible windows.
    """
    written = [" ".join(str("" if text is None else text).split()) for text in texts]
    order = _order_of(list(dict.fromkeys(written)))
    read = {text: _window_or_text(text, order) for text in dict.fromkeys(written)}
    unread = [text for text, window in read.items() if window is None]
    if any(isinstance(window, Window) for window in read.values()):
        unread += [text for text, window in read.items() if window and isinstance(window, str)]
    return Periods([read[text] or "" for text in written], unread)


@lru_cache(maxsize=1 << 16)
def dates_in(text: str) -> tuple[date, ...]:
    """The dates of a text that begin with their year, such as 2024-03-17, 2024/3/17, 20240317."""
    found: list[date] = []
    for match in _IN_IDS.finditer(_plain(text)):
        names = ("yy", "ym", "yd") if match["yy"] else ("cy", "cm", "cd")
        with suppress(ValueError):
            found.append(_date(*match.group(*names)))
    return tuple(found)


def trading_week(start: date, end: date) -> date | None:
    """The Sunday before the one trading week, Monday to Friday, that a window spells; else None.

    Sunday to Sunday, Sunday to Saturday, Monday to Friday, Friday's close to Friday's close: one
    week has many names.
    """
    first = start.weekday()
    if not 4 <= (end - start).days <= 7 or first in (1, 2, 3):
        return None
    monday = start + timedelta(days=-first % 7)
    friday = monday + timedelta(days=4)
    return monday - timedelta(days=1) if friday <= end <= monday + WEEK else None


def _window_or_text(text: str, order: str | None) -> Window | str | None:
    """The window of a text; the text itself if it has no date; None if it cannot be read."""
    plain = _plain(text)
    try:
        return _window(plain, text, order) or _own_name(plain)
    except _Unreadable:
        return None


def _own_name(plain: str) -> str:
    """The name of a window without dates: week 1, Week 01, W1 and 1 are one."""
    numbered = _NUMBERED.fullmatch(plain)
    return f"week {numbered[1] or numbered[2]}" if numbered else plain


def _window(plain: str, text: str, order: str | None) -> Window | None:
    """None for a text without dates. Raises _Unreadable for a date that cannot be read."""
    whole = _WHOLE_MONTH.fullmatch(plain)
    if whole:
        return Window(*_month_or_quarter(whole), text)
    plain = _SHORT_END.sub(_with_the_year, _RANGE.sub(_with_both_years, plain))
    for pattern, both in _MORE_YEARS:
        plain = pattern.sub(both, plain)
    try:
        spans = list(_spans(plain, order))
    except (ValueError, OverflowError) as error:
        raise _Unreadable(text) from error
    rest = _CLOCK.sub(" ", _SPELLINGS.sub(" # ", plain)) if spans else plain
    if _DATED.search(rest) or _PART_OF.search(rest) or len(spans) > 2:
        raise _Unreadable(text)
    if not spans:
        return None
    duration = _DURATION.search(rest)
    if duration and len(spans) == 1:
        return Window(spans[0][0], _after(spans[0][0], duration), text)
    (start, end), (other_start, other_end) = min(spans), max(spans)
    if len(spans) == 2 and start != other_start:
        # A week or month that ends a window belongs to it whole.
        end = other_start if other_end - other_start == timedelta(0) else other_end
    return Window(start, end if end > start else start + WEEK, text)


def _after(start: date, duration: re.Match[str]) -> date:
    """The day after a window of so many days, weeks, months or years. Raises _Unreadable for 0."""
    count, unit = int(duration["n"]), duration["u"][0]
    if not count:
        raise _Unreadable(duration[0])
    if unit in _DAYS_OF_UNIT:
        return start + timedelta(days=count * _DAYS_OF_UNIT[unit])
    months = start.year * 12 + start.month - 1 + count * _MONTHS_OF_UNIT[unit]
    first = date(months // 12, months % 12 + 1, 1)
    next_month = (first + timedelta(days=31)).replace(day=1)
    return min(first + timedelta(days=start.day - 1), next_month)


def _spans(plain: str, order: str | None) -> Iterator[tuple[date, date]]:
    """(first day, end) of each date and week of a text; both are equal for a date.

    Raises ValueError for a day that no calendar has, and for an order of numbers that is not known.
    """
    for match in _SPELLINGS.finditer(plain):
        if match["epoch"]:
            day = datetime.fromtimestamp(int(match["epoch"]), UTC).date()
        elif match["n1"]:
            day = _in_order(match, order)
        elif match["iso"] and match["id"]:
            day = date.fromisocalendar(*(int(match[name]) for name in ("iy", "iw", "id")))
        elif week := _first_of(match, ("iy", "iw"), ("wy", "ww"), ("vy", "vw")):
            monday = date.fromisocalendar(int(week[0]), int(week[1]), 1)
            yield monday, monday + WEEK
            continue
        else:
            named = _first_of(
                match,
                ("yy", "ym", "yd"),
                ("cy", "cm", "cd"),
                ("dy", "dm", "dd"),
                ("my", "mm", "md"),
                ("fy", "fm", "fd"),
            )
            day = _date(*named)
        yield day, day


def _with_both_years(match: re.Match[str]) -> str:
    """A range of days as two dates; the first lies in the year before if its month is later."""
    names = ("m1", "d1", "m2", "d2", "y") if match["y"] else ("n1", "e1", "n2", "e2", "z")
    month, day, other_month, other_day, year = match.group(*names)
    first, last = _month_number(month or other_month), _month_number(other_month or month)
    year_before = int(year) - (first > last)
    return f"{year_before}-{first}-{day} to {year}-{last}-{other_day}"


def _with_the_year(match: re.Match[str]) -> str:
    """A range of days as two dates; the last lies after the first."""
    year, month, day = int(match["y"]), int(match["m"]), int(match["d"])
    last_month, last_day = int(match["m2"] or month), int(match["d2"] or match["e2"])
    if match["e2"] and last_day < day:
        last_month += 1
    year_after = year + ((last_month, last_day) < (month, day)) + (last_month > 12)
    last_month -= 12 * (last_month > 12)
    return f"{year}-{month}-{day} to {year_after}-{last_month}-{last_day}"


def _month_number(name: str) -> int:
    return _MONTH_OF[name[:3]]


def _first_of(match: re.Match[str], *groups: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of the first groups that matched; empty if none did."""
    return next((match.group(*names) for names in groups if match[names[0]]), ())


def _date(year: str, month: str, day: str) -> date:
    number = int(month) if month.isdecimal() else _month_number(month)
    return date(int(year), number, int(day))


def _in_order(match: re.Match[str], order: str | None) -> date:
    """The date of three numbers; ValueError if they cannot be in this order, or it is unknown."""
    numbers = match.group("n1", "n2", "n3")
    if order is None or (order == "month first" and match["ns"] == "."):
        raise ValueError(f"the order of {match[0]} is not known")
    year, month, day = (numbers[place] for place in _ORDERS[order])
    if len(day) > 2 or len(year) not in (2, 4):
        raise ValueError(f"{match[0]} is not {order}")
    return _date(year if len(year) == 4 else f"20{year}", month, day)


def _order_of(texts: Sequence[str]) -> str | None:
    """The one order in which all three-number dates of a column make windows; None if several do
    and differ, or none does."""
    numeric = [plain for plain in map(_plain, texts) if any(_numeric(plain))]
    readings: dict[str, list[Window]] = {}
    for order in _ORDERS:
        try:
            windows = [_window(plain, "", order) for plain in numeric]
        except _Unreadable:
            continue
        dated = [window for window in windows if window is not None]
        if all(window.end - window.start <= _LONGEST for window in dated):
            readings[order] = dated
    return _only(readings) or _only(
        {order: found for order, found in readings.items() if _one_weekday(found)}
    )


def _only(readings: dict[str, list[Window]]) -> str | None:
    """The first of the orders if all of them give the same windows."""
    found = list(readings.values())
    return next(iter(readings)) if found and all(each == found[0] for each in found) else None


def _one_weekday(windows: Sequence[Window]) -> bool:
    return len(windows) > 1 and len({window.start.weekday() for window in windows}) == 1


def _numeric(plain: str) -> Iterator[str]:
    return (match["n1"] for match in _SPELLINGS.finditer(plain) if match["n1"])


def _month_or_quarter(match: re.Match[str]) -> tuple[date, date]:
    """The first day of a month or quarter and of the next."""
    if quarter := match["q"] or match["q2"]:
        year, first, length = int(match["qy"] or match["qy2"]), 3 * int(quarter) - 2, 3
    else:
        month = match["m"] or match["m3"] or str(_month_number(match["mn"]))
        year = int(match["y"] or match["y3"] or match["my"])
        first, length = int(month), 1
    if not 1 <= first <= 12:
        raise _Unreadable(match[0])
    after = year * 12 + first - 1 + length
    return date(year, first, 1), date(after // 12, after % 12 + 1, 1)


@lru_cache(maxsize=1 << 16)
def _plain(text: str) -> str:
    """A text in small letters, with plain digits, hyphens and spaces, without what is not seen and
    without names of days."""
    characters = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(map(_plain_character, characters)).replace("_", " ")
    return _GLUED.sub(r"\1 \2", " ".join(_DAY_NAMES.sub(" ", plain).split()))


def _plain_character(character: str) -> str:
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    category = unicodedata.category(character)
    if category == "Pd" or character == "\u2212":
        return "-"
    return "" if category == "Cf" else character
