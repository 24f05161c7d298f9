"""Whether a ledger is what a journal writes: every line in its place and in its time.

The chain alone shows that no line was changed; the rules show that each line was allowed when it
was written. A published head shows that the whole ledger up to it was not written anew.
"""

import subprocess
from dataclasses import replace
from pathlib import Path

from forecast.journal.ledger import LEDGER, BrokenLedger, Ledger, hash_of, replayed


def check(ledger: Ledger, name: str) -> Ledger:
    """The ledger with what its lines have said, which its next lines are held against.

    Raises BrokenLedger for the first line that a journal would not have written (see `rules`).
    """
    return replace(ledger, seen=replayed(ledger, name))


def check_head(ledger: Ledger, head: str, name: str) -> int:
    """How many lines were written after the published `head`.

    Raises ValueError if it is no hash, BrokenLedger if no line has it.
    """
    wanted = head.strip().lower()
    if len(wanted) != 64 or set(wanted) - set("0123456789abcdef"):
        raise ValueError(
            f"HEAD is {head!r:.80}; expected the 64 hex digits that journal-enter, journal-settle "
            "and the page show"
        )
    if wanted not in ledger.hashes:
        count = len(ledger.lines)
        where = (
            f"line {count}: no line up to this last one has"
            if count
            else "line 1 is missing; none has"
        )
        raise BrokenLedger(
            f"{name}, {where} the published hash {wanted}: lines were cut off or written anew "
            "since it was published"
        )
    return len(ledger.hashes) - 1 - ledger.hashes.index(wanted)


def committed_head(folder: Path) -> str:
    """The head of the ledger that git's last commit holds; empty without one."""
    command = ["git", "-C", str(folder), "show", f"HEAD:./{LEDGER}"]
    try:
        shown = subprocess.run(command, capture_output=True, check=False)
    except OSError:  # no git
        return ""
    lines = shown.stdout.split(b"\n")[:-1]
    return hash_of(lines[-1]) if lines and not shown.returncode else ""
