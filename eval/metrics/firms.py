"""Which firm a row is about, however its symbol is spelt."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from eval.metrics.periods import dates_in

_EXCHANGES = (
    "NASDAQ|NASDAQGS|NASDAQGM|NMS|NYSE|NYQ|NYSEARCA|NYSEAMERICAN|NYSEMKT|ARCA|AMEX|BATS|CBOE|US"
    "|XNAS|XNYS|XASE|ARCX|BATX"
)
_BEFORE = re.compile(rf"^(?:{_EXCHANGES})(?: ?: ?| )(?=.)")
_BEHIND = re.compile(rf"(?:[. /:-]US| U[SNQWPRAV])(?: EQUITY)?$|[. ](?:OQ?|N)$|:(?:{_EXCHANGES})$")
"""US exchanges as brokers, Bloomberg (AAPL UW) and Reuters (AAPL.O) write them."""
_ABROAD = {
    "AS": ("AMS", "XAMS", "NA"),
    "AX": ("ASX", "XASX", "AU"),
    "BO": ("BOM", "BSE", "XBOM", "IB"),
    "BR": ("EBR", "XBRU", "BB"),
    "CO": ("CPH", "XCSE", "DC"),
    "DE": ("ETR", "XETR", "XETRA", "GR", "GY"),
    "HE": ("HEL", "XHEL", "FH"),
    "HK": ("HKG", "HKEX", "SEHK", "XHKG", "HK"),
    "IR": ("XDUB", "ID"),
    "KS": ("KRX", "XKRX", "KS"),
    "L": ("LON", "LSE", "XLON", "LN"),
    "LS": ("ELI", "XLIS", "PL"),
    "MC": ("BME", "XMAD", "SM"),
    "MI": ("XMIL", "IM"),
    "NS": ("NSE", "XNSE", "IN", "IS"),
    "NZ": ("NZE", "XNZE", "NZ"),
    "OL": ("OSL", "XOSL", "NO"),
    "PA": ("EPA", "XPAR", "FP"),
    "SA": ("BVMF", "XBSP", "BZ"),
    "SI": ("SGX", "XSES", "SP"),
    "SS": ("SHA", "XSHG", "CG"),
    "ST": ("STO", "XSTO", "SS"),
    "SW": ("SWX", "XSWX", "SW", "SE", "VX"),
    "SZ": ("SHE", "XSHE", "CS"),
    "T": ("TYO", "XTKS", "JP", "JT"),
    "TO": ("TSX", "XTSE", "CN"),
    "TW": ("TPE", "XTAI", "TT"),
    "VI": ("VIE", "XWBO", "AV"),
}
"""Yahoo's suffix of an exchange abroad -> its names before or behind a ticker (LON:VOD, VOD LN)."""
_SUFFIX = {code: suffix for suffix, codes in _ABROAD.items() for code in codes}
_CODE = f"(?P<code>{'|'.join(_SUFFIX)})"
_CODE_BEFORE = re.compile(rf"{_CODE} ?: ?(?P<ticker>.+)")
_CODE_BEHIND = re.compile(rf"(?P<ticker>.+)[: ]{_CODE}(?: EQUITY)?")
_CLASS = re.compile(r"[-./ _:'](?:([ABC])(?=$|\.[A-Z]{1,2}$)|(USD[TC]?|EUR|GBP|JPY|BTC|ETH)$)")
"""A class of shares, or the currency of a pair: BRK.B, BRK-B, BRK/B, BRK B and BRKB are one."""
_NO_PART = re.compile(r" EQUITY$| ?\(US\)?$|=X$")
_SEPARATOR = re.compile(r"[-./ _:]+")
_AROUND = "$#@'\"()[]{}<>`*,;. "
_OF_ID = re.compile(r"(.*[^-_ /.:])[-_ /.:]+\d{4}[-/.]?\d{2}[-/.]?\d{2}", re.DOTALL)


def firm_of(row: Mapping[str, object]) -> str:
    """The firm of a row in one spelling of its symbol, else of what stands before the date in its
    id; empty if it states none."""
    symbol = row.get("symbol")
    firm = "" if symbol is None else firm_key(str(symbol))
    return firm or _of_id(str(row.get("id") or ""))


def firms_of(rows: Sequence[Mapping[str, object]]) -> list[str] | None:
    """The firm of each row; None if no row has one.

    A row without one is a firm of its own, so that a missing symbol makes no error smaller.
    """
    firms = firms_by_row(rows)
    if not any(firms):
        return None
    return [firm or f"row {number}" for number, firm in enumerate(firms, start=1)]


def firms_by_row(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """`firm_of` each row; where an id holds more than a firm and a date, such as AAPL-2024-01-07-b,
    the one firm of the other rows that it names."""
    firms = list(map(firm_of, rows))
    known = Counter(firms)
    return [
        _known_in(row, firm, known) if row.get("symbol") is None else firm
        for row, firm in zip(rows, firms, strict=True)
    ]


def _known_in(row: Mapping[str, object], firm: str, known: Counter[str]) -> str:
    parts = [part for part in _PARTS.split(str(row.get("id") or "")) if part]
    if len(parts) < _PARTS_OF_DATED_ID:
        return firm
    pairs = [f"{first}-{second}" for first, second in pairwise(parts)]
    keys = {firm_key(part) for part in (*parts, *pairs) if not part.isdecimal()}
    named = {key for key in keys - {firm} if len(key) > 1 and known[key] > known[firm] * bool(firm)}
    return named.pop() if len(named) == 1 else firm


_PARTS = re.compile(r"[-_ /:]+")
_PARTS_OF_DATED_ID = 3
"""A firm, a date and more: AAPL_20240107_b."""


@lru_cache(maxsize=1 << 16)
def firm_key(symbol: str) -> str:
    """A symbol in one spelling: $aapl, AAPL.US and NASDAQ:AAPL are AAPL.

    The mark of another country's exchange stays: VOD.L is not VOD, and LON:VOD and VOD LN are
    VOD.L.
    """
    characters = unicodedata.normalize("NFKC", symbol).upper()
    seen = "".join(each for each in characters if unicodedata.category(each) != "Cf")
    name = " ".join("".join("-" if _is_dash(each) else each for each in seen).split())
    ticker = _NO_PART.sub("", _as_yahoo(name.strip(_AROUND)))
    bare = _BEHIND.sub("", _BEFORE.sub("", ticker))
    return _SEPARATOR.sub(".", _CLASS.sub(r"\1\2", bare)).lstrip("0") or name


def _as_yahoo(name: str) -> str:
    """A symbol of an exchange abroad with Yahoo's suffix."""
    match = _CODE_BEFORE.fullmatch(name) or _CODE_BEHIND.fullmatch(name)
    return f"{match['ticker']}.{_SUFFIX[match['code']]}" if match else name


@lru_cache(maxsize=1 << 16)
def _of_id(row_id: str) -> str:
    match = _OF_ID.fullmatch(row_id.strip())
    return firm_key(match[1]) if match and dates_in(row_id) else ""


def _is_dash(character: str) -> bool:
    return unicodedata.category(character) == "Pd" or character == "\u2212"
