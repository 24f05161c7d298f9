"""News from JSONL files, in the form of any provider that the table of forms knows."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, cast

from data_pipeline.providers import alpaca_rows, finnhub_rows
from data_pipeline.providers.base import NewsAnswer, Story

FORMS: Mapping[str, Callable[[Any], Story]] = {
    finnhub_rows.TIME_KEY: finnhub_rows.read_story,
    alpaca_rows.TIME_KEY: alpaca_rows.read_story,
}
"""Key of the time of publication -> reader of the rows that have this key."""


class NewsFiles:
    """The stories about `symbols` in JSONL files, read once; each row may have a form of its own.

    A row that cannot be read is left out and counted in a note. Raises ValueError naming file and
    row if most rows are such, FileNotFoundError for a missing file.
    """

    name = "news files"

    def __init__(self, paths: Sequence[Path], symbols: Collection[str]) -> None:
        self.calls: Counter[str] = Counter()  # files need none
        self._stories: dict[str, list[Story]] = defaultdict(list)
        self._notes: list[str] = []
        # A file may name a class of shares as Yahoo or as Finnhub does.
        spellings = {finnhub_rows.finnhub_symbol(symbol): symbol for symbol in symbols}
        spellings |= {symbol: symbol for symbol in symbols}
        for path in paths:
            self._read(path, spellings)

    def news(self, symbol: str, first: date, last: date) -> NewsAnswer:
        """All stories about `symbol`, whatever their day."""
        return NewsAnswer(self._stories.get(symbol, []), self._notes)

    def _read(self, path: Path, spellings: Mapping[str, str]) -> None:
        if not path.is_file():
            forms = " or ".join(f"`{key}`" for key in FORMS)
            raise FileNotFoundError(
                f"--news {path}: there is no such file; expected JSONL whose rows have {forms}"
            )
        read, bad, named, of_ours = 0, list[str](), Counter[str](), 0
        for number, line in _lines(path):
            try:
                story = read_story(_row(line))
            except ValueError as error:
                bad.append(f"row {number}: {error}")
                continue
            read += 1
            named.update(story.symbols)
            ours = {spellings[name] for name in story.symbols if name in spellings}
            of_ours += bool(ours)
            for symbol in ours:
                self._stories[symbol].append(story)
        if len(bad) > read:
            raise ValueError(
                f"{path}, {bad[0]} ({len(bad)} of {len(bad) + read} rows are unusable)"
            )
        if read and not of_ours:
            often = ", ".join(name for name, _ in named.most_common(3)) or "no symbol at all"
            self._notes.append(
                f"{path.name}: none of {read} rows is about a symbol that was asked for; they name "
                f"{often}"
            )
        if bad:
            self._notes.append(
                f"{path.name}: {len(bad)} of {len(bad) + read} rows left out, the first is {bad[0]}"
            )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers from 1, without a BOM."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if text := line.removeprefix(b"\xef\xbb\xbf").strip():
                yield number, text


def _row(line: bytes) -> Mapping[str, object]:
    try:
        row: object = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not JSON; the line may be cut off") from None
    if not isinstance(row, dict):
        raise ValueError(f"{type(row).__name__} instead of an object with keys")
    return cast("Mapping[str, object]", row)


def read_story(row: Mapping[str, object]) -> Story:
    """A row in one of the known forms.

    Raises ValueError naming what is missing: without a time of publication no item may be used.
    """
    for key, read in FORMS.items():
        if key in row:
            return read(row)
    expected = " nor ".join(f"`{key}`" for key in FORMS)
    raise ValueError(
        f"neither {expected}; expected one of these times of publication, "
        f"found {', '.join(row) or 'nothing'}"
    )
