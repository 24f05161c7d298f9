"""The tables of providers, and which of them a run asks.

A new provider of news is one file beside this one, and one line in `NEWS_PROVIDERS` (behind a
network) or in `news_files.FORMS` (files). For one behind a network `api_client`, `news_windows` and
`answer_files` have the calls, the windows of days and the stored answers.
"""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from data_pipeline.providers.base import (
    FundamentalsAnswer,
    FundamentalsProvider,
    LiveFundamentalsProvider,
    LiveNewsProvider,
    LiveProvider,
    NewsAnswer,
    NewsProvider,
    PriceProvider,
    ProviderSettings,
)
from data_pipeline.providers.finnhub import Finnhub
from data_pipeline.providers.news_files import NewsFiles
from data_pipeline.providers.price_files import PriceFiles
from data_pipeline.providers.yahoo import Yahoo

Live = TypeVar("Live", bound=LiveProvider)

NEWS_PROVIDERS: Sequence[type[LiveNewsProvider]] = (Finnhub,)
FUNDAMENTALS_PROVIDERS: Sequence[type[LiveFundamentalsProvider]] = (Finnhub,)
"""In either table the first whose key is set is asked, else the first that has stored answers."""


class NoFundamentals:
    """Stands for a provider of company facts if there is none: every company is without them."""

    name = "no provider"

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        variables = " or ".join(provider.KEY_VARIABLE for provider in FUNDAMENTALS_PROVIDERS)
        self._note = f"{variables} is not set: introductions and financials are left out"

    def fundamentals(self, symbol: str, last: date) -> FundamentalsAnswer:
        """Nothing but a note."""
        return FundamentalsAnswer(notes=[self._note])


class NoNews:
    """Stands for a provider of news if there is none: a forecast may be made from prices alone."""

    name = "no provider"

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._note = f"{news_key_variables()} is not set: prompts hold no news"

    def news(self, symbol: str, first: date, last: date) -> NewsAnswer:
        """Nothing but a note."""
        return NewsAnswer([], [self._note])


@dataclass(frozen=True)
class Sources:
    """The providers that a run asks."""

    prices: PriceProvider
    news: NewsProvider
    fundamentals: FundamentalsProvider

    @property
    def names(self) -> dict[str, str]:
        """Who gives the prices, the news and the facts."""
        return {
            "prices": self.prices.name,
            "news": self.news.name,
            "facts": self.fundamentals.name,
        }

    @property
    def calls(self) -> Counter[str]:
        """Calls for news and facts over the network by endpoint.

        A provider of both counts once. Prices are not counted.
        """
        both = {id(provider): provider for provider in (self.news, self.fundamentals)}
        return sum((provider.calls for provider in both.values()), Counter())


def has_news_provider(raw: Path) -> bool:
    """Whether any provider of news has a key, or stored answers below `raw`."""
    return any(_has_key(provider) or _is_stored(provider, raw) for provider in NEWS_PROVIDERS)


def news_key_variables() -> str:
    """The environment variables of which one must be set to fetch news, for a message."""
    return " or ".join(provider.KEY_VARIABLE for provider in NEWS_PROVIDERS)


def open_sources(
    settings: ProviderSettings,
    symbols: Collection[str],
    *,
    price_folder: Path | None = None,
    news_files: Sequence[Path] = (),
) -> Sources:
    """The providers for a run about `symbols`; without files Yahoo and the tables above.

    Without a key there are no company facts, but for stored ones beside news that are not from
    files. Raises ValueError and FileNotFoundError for news files that cannot be read.
    """
    prices = (
        PriceFiles(price_folder, settings.zones)
        if price_folder
        else Yahoo(settings.raw / Yahoo.FOLDER)
    )
    with_news = _choose(NEWS_PROVIDERS, settings.raw)
    with_facts = _choose(FUNDAMENTALS_PROVIDERS, settings.raw)
    news = NewsFiles(news_files, symbols) if news_files else with_news.open(settings)
    use_stored = _is_stored(with_facts, settings.raw) and not news_files
    if not _has_key(with_facts) and not use_stored:
        return Sources(prices, news, NoFundamentals())
    if isinstance(news, with_facts):
        return Sources(prices, news, news)  # one client, so one pace
    return Sources(prices, news, with_facts.open(settings))


def _choose(table: Sequence[type[Live]], raw: Path) -> type[Live]:
    """The provider of a table that is ready to be asked; the first one if none is."""
    stored = [provider for provider in table if _is_stored(provider, raw)]
    return next(filter(_has_key, table), (stored or table)[0])


def _has_key(provider: type[LiveProvider]) -> bool:
    return bool(os.environ.get(provider.KEY_VARIABLE))


def _is_stored(provider: type[LiveProvider], raw: Path) -> bool:
    return (raw / provider.FOLDER).is_dir()
