"""News from JSONL files, in the form of any provider that the table of forms knows."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from data_pipeline.providers import alpaca_rows, finnhub_rows
from data_pipeline.providers.base import NewsAnswer, Story
from weekahead.files import iter_jsonl

FORMS: Mapping[str, Callable[[Any], Story]] = {
    finnhub_rows.TIME_KEY: finnhub_rows.read_story,
    alpaca_rows.TIME_KEY: alpaca_rows.read_story,
}
"""Key of the time of publication -> reader of the rows that have this key."""


class NewsFiles:
    """The stories about `symbols` in JSONL files, read once; each row may have a form of its own.

    Raises ValueError naming file and row that cannot be read, FileNotFoundError for a missing file.
    """

    name = "news files"

    def __init__(self, paths: Sequence[Path], symbols: Collection[str]) -> None:
        self.calls: Counter[str] = Counter()  # files need none
        self._stories: dict[str, list[Story]] = defaultdict(list)
        # A file may name a class of shares as Yahoo or as Finnhub does.
        spellings = {finnhub_rows.finnhub_symbol(symbol): symbol for symbol in symbols}
        spellings |= {symbol: symbol for symbol in symbols}
        for path in paths:
            self._read(path, spellings)

    def news(self, symbol: str, first: date, last: date) -> NewsAnswer:
        """All stories about `symbol`, whatever their day."""
        return NewsAnswer(self._stories.get(symbol, []))

    def _read(self, path: Path, spellings: Mapping[str, str]) -> None:
        if not path.is_file():
            forms = " or ".join(f"`{key}`" for key in FORMS)
            raise FileNotFoundError(
                f"--news {path}: there is no such file; expected JSONL whose rows have {forms}"
            )
        for number, row in enumerate(iter_jsonl(path), start=1):
            try:
                story = read_story(row)
            except ValueError as error:
                raise ValueError(f"{path}, row {number}: {error}") from None
            for symbol in {spellings[name] for name in story.symbols if name in spellings}:
                self._stories[symbol].append(story)


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
