"""Rows of news in Alpaca's form: `created_at`, `updated_at`, `symbols`, `headline`, `summary`."""

from typing import TypedDict

from data_pipeline.providers.base import Story, listed_symbols, read_time, usable_link, usable_text

TIME_KEY = "created_at"
"""The key that tells a row of this form from one of another form."""


class AlpacaNewsRow(TypedDict, total=False):
    """What is read of a row. Nothing has been checked, so the values may be anything."""

    created_at: object
    updated_at: object
    symbols: object
    headline: object
    summary: object
    url: object


def read_story(row: AlpacaNewsRow) -> Story:
    """A row as a story. Raises ValueError naming the key whose value cannot be used."""
    try:
        written = [row.get(key) for key in ("created_at", "updated_at")]
        known_at = max(read_time(text) for text in written if text)
    except ValueError:
        raise ValueError(
            f"created_at is {row.get('created_at')!r} and updated_at {row.get('updated_at')!r}; "
            "expected times in ISO 8601 with a time zone, such as 2026-01-05T12:00:00Z"
        ) from None
    symbols = row.get("symbols")
    if not isinstance(symbols, list):
        raise ValueError(f"symbols is {symbols!r}; expected a list such as ['AAPL', 'MSFT']")
    headline = usable_text(row.get("headline"))
    if not headline:
        raise ValueError(f"headline is {row.get('headline')!r}; expected a text")
    link = usable_link(row.get("url"))
    return Story(listed_symbols(symbols), headline, usable_text(row.get("summary")), known_at, link)
