"""Files of providers' answers: each is asked for once and kept as it came."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from weekahead.files import read_json, replacing

_REMEDY = "remove this file, and the answer is fetched again"


def stored_answer(path: Path, expected: type, ask: Callable[[], bytes]) -> Any:
    """The JSON value in the file `path`; if there is no file, `ask` gives its bytes first.

    Raises ValueError naming the file if its value is not an `expected` (list or dict).
    """
    if not path.exists():
        body = ask()
        with replacing(path, "wb") as file:
            file.write(body)
    value = read_json(path, _REMEDY, finite=False)
    if not isinstance(value, expected):
        raise ValueError(
            f"{path}: expected a JSON {expected.__name__}, found {type(value).__name__}; {_REMEDY}"
        )
    return value
