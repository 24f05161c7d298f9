"""Stamps of the ledger's head: proof by a third party that its lines were there at a time.

`stamps/<head>.tsr` is the reply of a time-stamping authority as it came, so that openssl alone can
check it. A stamp is a published head too: a ledger without its line was written anew.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from forecast.journal.ledger import BrokenLedger, Ledger
from forecast.journal.rfc3161 import BadStamp, Stamp, query_for, read_reply
from weekahead.files import replacing
from weekahead.schema.journal import ForecastLine
from weekahead.task.times import moment

STAMPS = "stamps"
"""Folder of the stamps, inside the journal's."""
_CLOCKS_DIFFER = timedelta(minutes=5)
"""By how much the machine's clock may be ahead of an authority's."""
_SECONDS = (10.0, 60.0)
"""To connect to an authority, and to wait for its answer."""


def stamp_path(folder: Path, head: str) -> Path:
    """The file of the stamp of a head."""
    return folder / STAMPS / f"{head}.tsr"


def read_stamps(folder: Path, ledger: Ledger, certificates: Path | None) -> list[Stamp]:
    """The stamps of a journal, the earliest line first.

    `certificates` are those of authorities (PEM); None leaves the authority unchecked. Raises
    BrokenLedger naming the stamp that is damaged, of another signer, of no line of this ledger, or
    older than its line says it is; OSError without openssl.
    """
    found: list[Stamp] = []
    for path in sorted((folder / STAMPS).glob("[!.]*.tsr")):
        try:
            stamp = read_reply(_bytes_of(path), certificates)
            _check_stamp(stamp, path.stem, ledger)
        except BadStamp as bad:
            raise BrokenLedger(f"{path}: {bad}") from None
        found.append(stamp)
    return sorted(found, key=lambda stamp: ledger.hashes.index(stamp.sha256))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadStamp(f"it cannot be read ({error.strerror})") from None


def _check_stamp(stamp: Stamp, name: str, ledger: Ledger) -> None:
    """Raise BadStamp if it is not of the head that names it, or contradicts the line's time."""
    if stamp.sha256 != name:
        raise BadStamp(f"it stamps {stamp.sha256}, not the head in its name")
    if name not in ledger.hashes:
        raise BadStamp(
            f"no line of the ledger has this hash: since {stamp.time.isoformat()} lines were cut "
            "off or written anew"
        )
    line = ledger.lines[ledger.hashes.index(name)]
    if _ahead(line["written_at"], stamp, ledger):
        raise BadStamp(
            f"it was made at {stamp.time.isoformat()}, but its line says that it was written at "
            f"{line['written_at']}"
        )


def _ahead(written_at: str, stamp: Stamp, ledger: Ledger) -> bool:
    """Whether the machine's clock was ahead of the authority's; a rehearsal's may be."""
    is_rehearsal = ledger.start is not None and ledger.start["clock"] == "simulated"
    return not is_rehearsal and moment(written_at) > stamp.time + _CLOCKS_DIFFER


def make_stamp(folder: Path, ledger: Ledger, authority: str, certificates: Path | None) -> Stamp:
    """Let the authority at this address stamp the head, and keep its reply if it is right.

    Raises ValueError for another address, a wrong reply, or a clock that is ahead; OSError for no
    answer, and without openssl.
    """
    _check_address(authority)
    reply = _ask(authority, query_for(ledger.head))
    try:
        stamp = read_reply(reply, certificates)
        if stamp.sha256 != ledger.head:
            raise BadStamp(f"it stamps {stamp.sha256}, not the head")
    except BadStamp as bad:
        raise ValueError(f"the answer of {authority} is of no use: {bad}") from None
    written_at = ledger.lines[-1]["written_at"]
    if _ahead(written_at, stamp, ledger):
        raise ValueError(
            f"{authority} says that it is {stamp.time.isoformat()}, but this machine wrote the "
            f"last line at {written_at}: set its clock right, and stamp again after that time"
        )
    with replacing(stamp_path(folder, ledger.head), "wb") as file:
        file.write(reply)
    return stamp


def _check_address(authority: str) -> None:
    parts = urlsplit(authority)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.password:
        shown = authority if parts.password is None else "an address with a password"
        raise ValueError(
            f"TSA is {shown or 'not given'}; expected the address of a time-stamping authority, "
            "such as TSA=https://freetsa.org/tsr (~/.netrc holds a password)"
        )


def _ask(authority: str, query: bytes) -> bytes:
    """The reply to a query (RFC 3161, section 3.4). Raises ConnectionError without one."""
    import requests

    kind = {"Content-Type": "application/timestamp-query"}
    try:
        response = requests.post(
            authority, data=query, headers=kind, timeout=_SECONDS, allow_redirects=False
        )
    except requests.RequestException as error:
        raise ConnectionError(
            f"no answer from {authority} ({type(error).__name__}); check the network, or give "
            "another TSA: nothing is stamped"
        ) from None
    if response.status_code != requests.codes.ok:
        where = response.headers.get("location")
        raise ConnectionError(
            f"{authority} answered with status {response.status_code}"
            f"{f' and points to {where}' if where else ''}; give another TSA: nothing is stamped"
        )
    return response.content


def proven_weeks(ledger: Ledger, stamps: Sequence[Stamp]) -> dict[str, bool]:
    """First day of an entered week -> whether all its forecasts were stamped before it opened."""
    opens: dict[str, datetime] = {}
    last: dict[str, int] = {}
    for number, line in enumerate(ledger.lines):
        if line["kind"] == "forecast":
            forecast = cast("ForecastLine", line)
            week, opens_at = forecast["week_start"], moment(forecast["opens_at"])
            opens[week] = min(opens.get(week, opens_at), opens_at)
            last[week] = number
    places = [(ledger.hashes.index(stamp.sha256), stamp.time) for stamp in stamps]
    return {
        week: any(place >= last[week] and time < opens[week] for place, time in places)
        for week in ledger.weeks
        if week in last
    }


def stamps_in_words(ledger: Ledger, stamps: Sequence[Stamp], certificates: Path | None) -> str:
    """What the stamps show, in lines; empty without one."""
    if not stamps:
        return ""
    by = "who signed them is not checked (give TSA_CA=file with the authority's root certificate)"
    if certificates:
        by = f"signed by an authority of {certificates}"
    last = ledger.hashes.index(stamps[-1].sha256) + 1
    lines = [f"stamps: {len(stamps)}, the last of line {last}; {by}"]
    if ledger.start and ledger.start["clock"] == "simulated":
        lines.append("a rehearsal: its times are DATE's, so that stamps prove none of its weeks")
        return "\n".join(lines)
    weeks = proven_weeks(ledger, stamps)
    without = ", ".join(week for week, proven in weeks.items() if not proven)
    lines.append(
        "weeks whose forecasts were stamped before they opened: "
        f"{sum(weeks.values())} of {len(weeks)}{without and f' (not {without})'}"
    )
    return "\n".join(lines)
