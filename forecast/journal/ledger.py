"""The ledger: one JSON line per fact, each with the SHA-256 of the line before, only ever appended.

Whoever changes, removes or inserts a line must rewrite every line after it, and then the last hash
(the head) is another. So a published head proves all lines up to it.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from weekahead.files import append_jsonl, json_line
from weekahead.schema.journal import (
    LINE_TYPES,
    NO_LINE,
    TIMES,
    AnyLine,
    CorrectionLine,
    ForecastLine,
    JournalLine,
    ReturnLine,
    WeekLine,
)
from weekahead.schema.shape import check_shape, has_shape
from weekahead.task.record import moment

LEDGER = "ledger.jsonl"


class BrokenLedger(ValueError):
    """A ledger that is not as it was written; the message names the first line at fault."""


@dataclass(frozen=True)
class Ledger:
    """The lines of a ledger and their hashes, in order; both empty if there is none yet."""

    lines: tuple[AnyLine, ...] = ()
    hashes: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """The SHA-256 of the last line."""
        return self.hashes[-1] if self.hashes else NO_LINE

    @property
    def start(self) -> JournalLine | None:
        """The first line, which names the panel; None of an empty ledger."""
        return cast("JournalLine", self.lines[0]) if self.lines else None

    @property
    def forecasts(self) -> list[ForecastLine]:
        """The lines of kind forecast."""
        return cast("list[ForecastLine]", self.of("forecast"))

    @property
    def weeks(self) -> dict[str, WeekLine]:
        """First day of a week whose entry has ended -> its line."""
        lines = cast("list[WeekLine]", self.of("week"))
        return {line["week_start"]: line for line in lines}

    def of(self, *kinds: str) -> list[AnyLine]:
        """The lines of these kinds."""
        return [line for line in self.lines if line["kind"] in kinds]

    def outcomes(self) -> dict[str, tuple[ReturnLine | CorrectionLine, str]]:
        """Id -> the line that holds now for its return, and the hash of this line."""
        found: dict[str, tuple[ReturnLine | CorrectionLine, str]] = {}
        for line, digest in zip(self.lines, self.hashes, strict=True):
            if line["kind"] in ("return", "correction"):
                outcome = cast("ReturnLine", line)
                found[outcome["id"]] = outcome, digest
        return found


def read_ledger(folder: Path) -> Ledger:
    """The ledger of a journal, empty if there is none yet, with its chain checked.

    Raises BrokenLedger for a line that is cut off, unreadable or out of the chain, OSError for a
    file that cannot be read.
    """
    path = folder / LEDGER
    return parse_ledger(path.read_bytes(), str(path)) if path.exists() else Ledger()


def parse_ledger(content: bytes, name: str = LEDGER) -> Ledger:
    """The ledger with these bytes. Raises BrokenLedger naming the first line at fault."""
    lines: list[AnyLine] = []
    hashes: list[str] = []
    previous = NO_LINE
    for number, raw in enumerate(_raw_lines(content, name), start=1):
        line = _line(raw, f"{name}, line {number}")
        if line["previous"] != previous:
            raise BrokenLedger(
                f"{name}, line {number}: previous is {line['previous']:.12}..., but "
                f"{f'line {number - 1} has the hash' if lines else 'a first line has'} "
                f"{previous:.12}...: {f'line {number - 1} or {number}' if lines else 'it'} was "
                "changed, or a line was removed, inserted or moved here"
            )
        lines.append(line)
        previous = hash_of(raw)
        hashes.append(previous)
    return Ledger(tuple(lines), tuple(hashes))


def hash_of(raw: bytes) -> str:
    """The SHA-256, in hex, of a line without its line end."""
    return hashlib.sha256(raw).hexdigest()


def _raw_lines(content: bytes, name: str) -> Iterator[bytes]:
    *whole, rest = content.split(b"\n")
    yield from whole
    if rest:
        raise BrokenLedger(
            f"{name}, line {len(whole) + 1}: it is cut off (no line end), as by a command that was "
            "stopped while it wrote; the next journal-enter or journal-settle removes it"
        )


def _line(raw: bytes, origin: str) -> AnyLine:
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise BrokenLedger(f"{origin}: not JSON; take the ledger from a copy") from None
    kind: object = value.get("kind") if has_shape(value, dict[str, object]) else None
    hint = LINE_TYPES.get(str(kind))
    if hint is None:
        expected = ", ".join(LINE_TYPES)
        raise BrokenLedger(f"{origin}: kind is {kind!r:.40}; expected one of: {expected}")
    try:
        check_shape(value, hint, origin, "take the ledger from a copy")
        _check_times(value, origin)
    except ValueError as error:
        raise BrokenLedger(str(error)) from None
    return value


def _check_times(line: Mapping[str, Any], origin: str) -> None:
    for name in TIMES & line.keys():
        try:
            moment(line[name])
        except ValueError:
            raise ValueError(f"{origin}: {name} is {line[name]!r}; expected a time") from None


def open_ledger(folder: Path) -> Ledger:
    """`read_ledger` for the one process that writes: a last line that is cut off is removed first.

    Raises as `read_ledger` does.
    """
    path = folder / LEDGER
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        whole = content[: content.rfind(b"\n") + 1]
        parse_ledger(whole, str(path))  # nothing is removed from a ledger that is broken elsewhere
        with path.open("r+b") as file:
            file.truncate(len(whole))
            os.fsync(file.fileno())
    return read_ledger(folder)


def append_lines(folder: Path, ledger: Ledger, facts: Sequence[Mapping[str, Any]]) -> Ledger:
    """Append `facts`, lines whose `previous` is yet to be set, and return the ledger they make.

    Raises ValueError if the clock is behind the last line's, OSError if the disk is full; what
    stands stays as it is.
    """
    lines, hashes = list(ledger.lines), list(ledger.hashes)
    written: list[Mapping[str, Any]] = []
    for fact in facts:
        if lines and moment(fact["written_at"]) < moment(lines[-1]["written_at"]):
            raise ValueError(
                f"the clock says {fact['written_at']}, but the last line of {folder / LEDGER} was "
                f"written at {lines[-1]['written_at']}: the clock was set back; set it right"
            )
        line = {"previous": "", **fact} | {"previous": hashes[-1] if hashes else NO_LINE}
        written.append(line)
        lines.append(cast("AnyLine", line))
        hashes.append(hash_of(json_line(line).removesuffix("\n").encode()))
    append_jsonl(folder / LEDGER, written)
    return Ledger(tuple(lines), tuple(hashes))
