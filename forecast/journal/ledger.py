"""The ledger: one JSON line per fact, each with the SHA-256 of the line before, only ever appended.

Whoever changes, removes or inserts a line must rewrite every line after it, and then the last hash
(the head) is another. So a published head proves all lines up to it.
"""

import codecs
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from forecast.journal.rules import Breach, Seen, allow, check_times
from weekahead.files import append_jsonl, json_line
from weekahead.schema.journal import (
    LINE_TYPES,
    NO_LINE,
    AnyLine,
    CorrectionLine,
    ForecastLine,
    JournalLine,
    ReturnLine,
    WeekLine,
)
from weekahead.schema.shape import check_shape, has_shape
from weekahead.task.times import moment

log = logging.getLogger(__name__)

LEDGER = "ledger.jsonl"
_REMEDY = "take the ledger from a copy"
_REFUSED = "mend where it comes from: nothing is written"


class BrokenLedger(ValueError):
    """A ledger that is not as it was written; the message names the first line at fault."""


@dataclass(frozen=True)
class Ledger:
    """The lines of a ledger and their hashes, in order; both empty if there is none yet."""

    lines: tuple[AnyLine, ...] = ()
    hashes: tuple[str, ...] = ()
    seen: Seen | None = field(default=None, compare=False, repr=False)
    """What its lines have said; None until they are held against the rules."""

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
    *whole, rest = content.split(b"\n")
    lines: list[AnyLine] = []
    hashes: list[str] = []
    for number, raw in enumerate(whole, start=1):
        lines.append(_line(raw, f"{name}, line {number}", hashes))
        hashes.append(hash_of(raw))
    if rest:
        raise BrokenLedger(f"{name}, line {len(lines) + 1}: {_why_cut_off(rest, hashes)}")
    return Ledger(tuple(lines), tuple(hashes))


def _why_cut_off(rest: bytes, hashes: Sequence[str]) -> str:
    if _is_whole(rest, hashes):
        return "it has no line end; the next journal-enter or journal-settle adds it"
    if not _is_beginning(rest):
        return f"it has no line end, and is no beginning of a line that stands here; {_REMEDY}"
    return (
        "it is cut off (no line end), as by a command that was stopped while it wrote; the next "
        "journal-enter or journal-settle removes it"
    )


def _is_whole(rest: bytes, hashes: Sequence[str]) -> bool:
    """Whether bytes without a line end are the next line after those with these hashes."""
    try:
        _line(rest, "", hashes)
    except BrokenLedger:
        return False
    return True


def _is_beginning(rest: bytes) -> bool:
    """Whether bytes are what is left of a line if its writer was stopped: the beginning of an
    object that does not end. Where the power failed, zeros may stand behind it."""
    text = rest.rstrip(b"\0").decode("utf-8", "replace")
    try:
        json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return "\r" not in text and (not text or text.startswith("{"))
    return False


def hash_of(raw: bytes) -> str:
    """The SHA-256, in hex, of a line without its line end."""
    return hashlib.sha256(raw).hexdigest()


def _line(raw: bytes, origin: str, hashes: Sequence[str]) -> AnyLine:
    """The line after those with these hashes. Raises BrokenLedger if it is none."""
    if b"\r" in raw or raw.startswith(codecs.BOM_UTF8):
        raise BrokenLedger(
            f"{origin}: it has other line ends, or a byte order mark, as an editor or git "
            f"(core.autocrlf) makes them: every hash is another then; {_REMEDY}"
        )
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise BrokenLedger(f"{origin}: not JSON; {_REMEDY}") from None
    try:
        line = _shaped(value, origin, _REMEDY)
    except ValueError as error:
        raise BrokenLedger(str(error)) from None
    previous, number = (hashes[-1] if hashes else NO_LINE), len(hashes)
    if line["previous"] != previous:
        raise BrokenLedger(
            f"{origin}: previous is {line['previous']:.12}..., but "
            f"{f'line {number} has the hash' if number else 'a first line has'} "
            f"{previous:.12}...: {f'line {number} or {number + 1}' if number else 'it'} was "
            "changed, or a line was removed, inserted or moved here"
        )
    return line


def _shaped(value: object, origin: str, remedy: str) -> AnyLine:
    """A line whose keys hold what they should. Raises ValueError naming the first that does not."""
    is_object = has_shape(value, dict[str, object])
    kind = cast("dict[str, object]", value).get("kind") if is_object else None
    hint = LINE_TYPES.get(str(kind))
    if hint is None:
        expected = ", ".join(LINE_TYPES)
        raise ValueError(f"{origin}: kind is {kind!r:.40}; expected one of: {expected}; {remedy}")
    line = cast("AnyLine", value)
    check_shape(line, hint, origin, remedy)
    try:
        check_times(line)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}; {remedy}") from None
    return line


def replayed(ledger: Ledger, name: str) -> Seen:
    """What the lines of a ledger have said.

    Raises BrokenLedger for the first one that breaks the rules.
    """
    seen = Seen()
    for number, line in enumerate(ledger.lines, start=1):
        try:
            allow(seen, line, ledger.hashes)
        except Breach as breach:
            raise BrokenLedger(f"{name}, line {number}: {breach}") from None
    return seen


def open_ledger(folder: Path, tell: Callable[[str], None] = log.warning) -> Ledger:
    """`read_ledger` for the one process that writes: the end of the last line is mended first.

    A line that lacks its line end alone gets one, and one that is cut off is removed; `tell` is
    told which. Raises as `read_ledger` does.
    """
    path = folder / LEDGER
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        tell(_mend_end(path, content))
    return read_ledger(folder)


def _mend_end(path: Path, content: bytes) -> str:
    """Mend the last line, and say how. Raises BrokenLedger for a ledger broken elsewhere."""
    end = content.rfind(b"\n") + 1
    rest = content[end:]
    ledger = parse_ledger(content[:end], str(path))
    where = f"{path}, line {len(ledger.lines) + 1}"
    if not _is_whole(rest, ledger.hashes) and not _is_beginning(rest):
        raise BrokenLedger(
            f"{where}: it has no line end, and is no beginning of a line that stands here; nothing "
            f"is removed; {_REMEDY}"
        )
    if _is_whole(rest, ledger.hashes):
        with path.open("ab") as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
        return f"{where}: it had no line end, and has one now"
    with path.open("r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())
    return f"{where}: it was cut off (no line end), and its {len(rest)} bytes are removed"


def extended(ledger: Ledger, facts: Sequence[Mapping[str, Any]], name: str = LEDGER) -> Ledger:
    """The ledger that `facts` make, lines whose `previous` is yet to be set; nothing is written.

    Raises ValueError if the clock is behind the last line's, and for a fact that the rules forbid.
    """
    seen = replayed(ledger, name) if ledger.seen is None else ledger.seen.copy()
    lines, hashes = list(ledger.lines), list(ledger.hashes)
    for fact in facts:
        what = fact.get("id") or fact.get("week_start") or fact.get("kind")
        previous = hashes[-1] if hashes else NO_LINE
        line = _shaped({"previous": "", **fact} | {"previous": previous}, str(what), _REFUSED)
        if lines and moment(line["written_at"]) < moment(lines[-1]["written_at"]):
            raise ValueError(
                f"the clock says {line['written_at']}, but the last line of {name} was written at "
                f"{lines[-1]['written_at']}: the clock was set back; set it right"
            )
        try:
            allow(seen, line, hashes)
        except Breach as breach:
            raise ValueError(f"{what} is refused: {breach}; {_REFUSED}") from None
        lines.append(line)
        hashes.append(hash_of(json_line(line).removesuffix("\n").encode()))
    return Ledger(tuple(lines), tuple(hashes), seen)


def append_lines(folder: Path, ledger: Ledger, facts: Sequence[Mapping[str, Any]]) -> Ledger:
    """Append `facts` to the ledger, and return the ledger that they make (`extended`).

    Raises as `extended` does, and OSError if the disk is full; what stands stays as it is.
    """
    longer = extended(ledger, facts, str(folder / LEDGER))
    append_jsonl(folder / LEDGER, longer.lines[len(ledger.lines) :])
    return longer
