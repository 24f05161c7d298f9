"""Files of providers' answers: each is asked for once and kept as it came."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weekahead.files import replacing


def symbol_folder(symbol: str) -> str:
    """The symbol as the name of a folder. Raises ValueError for one that cannot be a name."""
    if not symbol or symbol.startswith(".") or "/" in symbol or "\\" in symbol:
        raise ValueError(
            f"symbol {symbol!r} cannot name a folder; expected a ticker such as AAPL or SAP.DE"
        )
    return symbol


def stored_answer(path: Path, ask: Callable[[], bytes]) -> Any:
    """The JSON value in the file `path`; if there is no file, `ask` gives its bytes first.

    Raises ValueError for a damaged file.
    """
    if not path.exists():
        body = ask()
        with replacing(path, "wb") as file:
            file.write(body)
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        raise ValueError(
            f"{path}: not JSON; remove this file, and the answer is fetched again"
        ) from None
