"""Who was in an index on a day: one list per index, walked back through its changes.

Every change has a date and a source.
"""

from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

from weekahead.recipe import read_yaml

LISTS = Path(__file__).parent / "index_lists"
SIZES = {"crypto": (10, 10), "dow30": (30, 30), "eurostoxx50": (50, 50), "nasdaq100": (100, 103)}
"""Index -> least and most members on any day.

NASDAQ-100 counts companies: share classes and spin-offs add members.
"""
_INDEX_KEYS = {"name", "as_of", "known_from", "source", "members", "changes"}
_CHANGE_KEYS = {"date", "added", "removed", "source"}


@dataclass(frozen=True)
class MembershipChange:
    """One change of membership; `date` is the first session on which the new membership holds."""

    date: date
    added: tuple[str, ...]
    removed: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Index:
    """An index as its list gives it.

    `members` hold on `as_of`, and every change since `known_from` is listed.
    """

    key: str
    name: str
    as_of: date
    known_from: date
    source: str
    members: tuple[str, ...]
    changes: tuple[MembershipChange, ...]


def members_on(index: Index, on: date) -> tuple[str, ...]:
    """The members of a loaded index on a calendar day, as Yahoo's tickers, sorted.

    A change dated a Monday does not hold on the Sunday before. Raises ValueError for a day outside
    the known range: today's members are never given for another day.
    """
    _check_known(index, on)
    present = set(index.members)
    for change in reversed(index.changes):
        if change.date <= on:
            break
        present = present.difference(change.added).union(change.removed)
    return tuple(sorted(present))


def load(index: str, folder: Path | str = LISTS) -> Index:
    """The list `<index>.yaml` in `folder`, checked.

    Raises ValueError naming the file for an unknown index, a missing or unknown field, a duplicate,
    changes out of order or range, a removal of a symbol that was not a member, and a size that the
    index cannot have (`SIZES`).
    """
    if index not in SIZES:
        raise ValueError(f"unknown index {index!r}; expected one of: {', '.join(sorted(SIZES))}")
    path = Path(folder) / f"{index}.yaml"
    value = read_yaml(path, "take the list from the repository again")
    try:
        loaded = _index(index, value)
        _check(loaded)
    except ValueError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return loaded


def _check_known(index: Index, on: date) -> None:
    if not index.known_from <= on <= index.as_of:
        raise ValueError(
            f"{index.key} on {on}: members are known from {index.known_from} to {index.as_of} "
            "only; add the changes with their source to "
            f"data_pipeline/records/index_lists/{index.key}.yaml, or give symbols by hand with "
            "--symbols"
        )


def _index(key: str, value: object) -> Index:
    fields = _fields(value, _INDEX_KEYS, "the list")
    return Index(
        key=key,
        name=_text(fields["name"], "name"),
        as_of=_day(fields["as_of"], "as_of"),
        known_from=_day(fields["known_from"], "known_from"),
        source=_text(fields["source"], "source"),
        members=_symbols(fields["members"], "members"),
        changes=tuple(_change(item) for item in _list(fields["changes"], "changes")),
    )


def _change(value: object) -> MembershipChange:
    fields = _fields(value, _CHANGE_KEYS, "a change")
    day = _day(fields["date"], "date of a change")
    return MembershipChange(
        date=day,
        added=_symbols(fields["added"], f"added on {day}"),
        removed=_symbols(fields["removed"], f"removed on {day}"),
        source=_text(fields["source"], f"source of the change on {day}"),
    )


def _fields(value: object, keys: set[str], what: str) -> dict[str, object]:
    """A mapping that has exactly these keys."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} has {value!r}; expected {', '.join(sorted(keys))}")
    if set(value) != keys:
        content = ", ".join(map(str, value))
        raise ValueError(f"{what} has {content}; expected {', '.join(sorted(keys))}")
    return value


def _day(value: object, what: str) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"{what} is {value!r}; expected a day such as 2026-01-20, without quotes")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} is {value!r}; expected a text")
    return value.strip()


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is {value!r}; expected a list, [] for none")
    return value


def _symbols(value: object, what: str) -> tuple[str, ...]:
    symbols: list[str] = []
    for symbol in _list(value, what):
        # YAML reads a bare ON, a ticker, as true.
        if not isinstance(symbol, str) or not symbol:
            raise ValueError(
                f"{what} holds {symbol!r}; expected a ticker, in quotes if YAML reads a value "
                'without them: "ON"'
            )
        symbols.append(symbol)
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise ValueError(f"{what} names {', '.join(twice)} twice; expected every symbol once")
    return tuple(symbols)


def _check(index: Index) -> None:
    """Walk the changes back from `as_of`, checking that each fits the membership it led to."""
    days = [index.known_from, *(change.date for change in index.changes)]
    if any(earlier >= later for earlier, later in pairwise(days)) or days[-1] > index.as_of:
        dates = ", ".join(map(str, days[1:])) or "none"
        raise ValueError(
            f"changes on {dates}; expected them in order, one per day, after known_from "
            f"{index.known_from} and up to as_of {index.as_of}"
        )
    _check_size(index, index.as_of)
    for change in index.changes:
        after = set(members_on(index, change.date))
        absent = sorted(set(change.added) - after)
        present = sorted(after.intersection(change.removed))
        if absent or present or not (change.added or change.removed):
            raise ValueError(
                f"the change on {change.date} adds {list(change.added)} and removes "
                f"{list(change.removed)}, but afterwards {absent} are not members and {present} "
                "are; a later change or the list contradicts it"
            )
        _check_size(index, change.date)
    _check_size(index, index.known_from)


def _check_size(index: Index, on: date) -> None:
    least, most = SIZES[index.key]
    count = len(members_on(index, on))
    if not least <= count <= most:
        raise ValueError(
            f"{count} members on {on}; expected {least if least == most else f'{least} to {most}'}"
        )
