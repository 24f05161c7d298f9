"""Rows of news in Alpaca's form: `created_at`, `updated_at`, `symbols`, `headline`, `summary`."""

from typing import TypedDict

from data_pipeline.providers.base import Story, utc_time

TIME_KEY = "created_at"
"""The key that tells a row of this form from one of another form."""


class AlpacaNewsRow(TypedDict, total=False):
    """What is read of a row. Nothing has been checked, so the values may be anything."""

    created_at: object
    updated_at: object
    symbols: object
    headline: object
    summary: object


def read_story(row: AlpacaNewsRow) -> Story:
    """A row as a story. Raises ValueError naming the key whose value cannot be used."""
    try:
        written = [row.get(key) for key in ("created_at", "updated_at")]
        known_at = max(utc_time(text) for text in written if text)
    except ValueError:
        raise ValueError(
            f"created_at is {row.get('created_at')!r} and updated_at {row.get('updated_at')!r}; "
            "expected times in ISO 8601 with a time zone, such as 2026-01-05T12:00:00Z: a day "
            "alone may lie after the decision"
        ) from None
    symbols = row.get("symbols") or []
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise ValueError(f"symbols is {symbols!r}; expected a list such as ['AAPL', 'MSFT']")
    headline = row.get("headline")
    if not isinstance(headline, str):
        raise ValueError(f"headline is {headline!r}; expected a text")
    return Story(tuple(symbols), headline, str(row.get("summary") or ""), known_at)
