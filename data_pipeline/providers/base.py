"""What every provider of news gives: stories with their time of publication."""

from dataclasses import dataclass
from datetime import UTC, datetime

from weekahead.files import Row


@dataclass(frozen=True)
class Story:
    """One item as its provider gave it. `published` is in UTC, and of the text as it stands: the last edit counts."""

    symbols: tuple[str, ...]
    headline: str
    summary: str
    published: datetime


def read_story(row: Row) -> Story:
    """A row in Finnhub's form (`datetime` in epoch seconds, `related`) or Alpaca's (`created_at`, `symbols`).

    Raises ValueError naming what is missing: without a time of publication no item may be used.
    """
    if "datetime" in row:
        seconds = row["datetime"]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            raise ValueError(f"datetime is {seconds!r}; expected seconds since 1970, in UTC")
        try:
            published = datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, OSError, ValueError):
            raise ValueError(
                f"datetime is {seconds!r}; expected seconds since 1970, in UTC"
            ) from None
        symbols = tuple(
            word.strip() for word in str(row.get("related") or "").split(",") if word.strip()
        )
    elif "created_at" in row:
        try:
            published = max(
                _with_zone(row[key]) for key in ("created_at", "updated_at") if row.get(key)
            )
        except (TypeError, ValueError):
            raise ValueError(
                f"created_at is {row['created_at']!r} and updated_at {row.get('updated_at')!r}; expected times in "
                "ISO 8601 with a time zone, such as 2026-01-05T12:00:00Z: a day alone may lie after the decision"
            ) from None
        symbols = row.get("symbols") or []
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise ValueError(f"symbols is {symbols!r}; expected a list such as ['AAPL', 'MSFT']")
    else:
        raise ValueError(
            "neither `datetime` (Finnhub's form) nor `created_at` (Alpaca's form); "
            f"expected one of the two, found {', '.join(row) or 'nothing'}"
        )
    if not isinstance(row.get("headline"), str):
        raise ValueError(f"headline is {row.get('headline')!r}; expected a text")
    return Story(tuple(symbols), row["headline"], str(row.get("summary") or ""), published)


def _with_zone(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(text)
    return when.astimezone(UTC)
