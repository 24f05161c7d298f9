"""Names from a command line that become names of files: of a run, a report, a dataset, a symbol."""

import os
import re

_UNFIT = re.compile(r"[/\\\x00-\x1f\x7f]")
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
"""What Windows takes for a device."""
_EXPECTED = "expected a name such as llama-1, without a folder"
_DEVICE = "Windows keeps for a device"
_LONGEST = 200
"""Bytes: file systems allow 255, and a suffix is added."""


def check_name(what: str, name: str, *, on_windows: bool = True) -> str:
    """`name` itself, if it can be the name of one file or folder and cannot leave its own folder.

    Spaces, quotes and letters of any language are fine. `what` is what a message calls it;
    `on_windows` is False for what cannot be chosen, such as the symbol CON.DE.
    Raises ValueError naming the value and what is wrong with it.
    """
    fault = _fault(name) or (on_windows and _RESERVED.fullmatch(name) and _DEVICE)
    if fault:
        raise ValueError(f"{what} is {name!r}, which {fault}; {_EXPECTED}")
    return name


def printable(name: str) -> str:
    """A name of the file system in characters that every file and figure can hold.

    Where the locale is ASCII, Python reads a name's other bytes as halves of surrogate pairs.
    """
    return os.fsencode(name).decode("utf-8", "replace")


def check_symbol(symbol: str) -> str:
    """`symbol` itself, if it can name a file. Raises ValueError as `check_name` does."""
    try:
        return check_name("symbol", symbol, on_windows=False)
    except ValueError as error:
        remedy = "expected a ticker such as AAPL, SAP.DE or BRK-B"
        raise ValueError(str(error).replace(_EXPECTED, remedy)) from None


def _fault(name: str) -> str | None:
    faults = {
        "is empty": not name.strip(),
        "holds a slash or a control character": _UNFIT.search(name),
        "begins with a dot or ~": name.startswith((".", "~")),
        "begins or ends with a space, or ends with a dot": name != name.strip().rstrip("."),
        "is too long": len(name.encode("utf-8", "surrogateescape")) > _LONGEST,
    }
    return next((fault for fault, present in faults.items() if present), None)
