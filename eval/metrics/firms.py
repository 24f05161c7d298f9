"""Which firm a row is about, however its symbol is spelt."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

_EXCHANGES = "NASDAQ|NASDAQGS|NASDAQGM|NYSE|NYSEARCA|NYSEAMERICAN|NYSEMKT|ARCA|AMEX|BATS|CBOE|US"
_BEFORE = re.compile(rf"^(?:(?:{_EXCHANGES}) ?[:/.] ?|\$)")
_BEHIND = re.compile(r"[. :/-]US(?: EQUITY)?$|[. ]OQ$")
_CLASS = re.compile(r"[-./ _:]([ABC]|USD)$")
"""A class of shares, or the currency of a pair: BRK.B, BRK-B, BRK/B, BRK B and BRKB are one."""
_SEPARATOR = re.compile(r"[-./ _:]+")


def firm_of(row: Mapping[str, object]) -> str:
    """The firm of a row in one spelling of its symbol; empty if it states none."""
    return firm_key(str(row.get("symbol") or ""))


def firms_of(rows: Sequence[Mapping[str, object]]) -> list[str] | None:
    """The firm of each row; None if a row has none."""
    firms = [firm_of(row) for row in rows]
    return firms if firms and all(firms) else None


@lru_cache(maxsize=1 << 16)
def firm_key(symbol: str) -> str:
    """A symbol in one spelling: $aapl, AAPL.US and NASDAQ:AAPL are AAPL.

    The mark of another country's exchange stays: VOD.L is not VOD.
    """
    characters = unicodedata.normalize("NFKC", symbol).upper()
    seen = "".join(each for each in characters if unicodedata.category(each) != "Cf")
    name = " ".join("".join("-" if _is_dash(each) else each for each in seen).split())
    bare = _BEHIND.sub("", _BEFORE.sub("", name))
    return _SEPARATOR.sub(".", _CLASS.sub(r"\1", bare))


def _is_dash(character: str) -> bool:
    return unicodedata.category(character) == "Pd" or character == "\u2212"
