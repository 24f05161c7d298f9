"""Finnhub as a provider of news and of company facts."""

from collections import Counter
from datetime import date, timedelta
from typing import ClassVar, Self

from data_pipeline.providers.api_client import NoAccess
from data_pipeline.providers.base import FundamentalsAnswer, NewsAnswer, ProviderSettings, Story
from data_pipeline.providers.finnhub_rows import (
    finnhub_symbol,
    read_figures,
    read_filings,
    read_fiscal_year_ends,
    read_profile,
    read_story,
)
from data_pipeline.providers.finnhub_store import FINNHUB, FinnhubStore
from data_pipeline.providers.news_windows import months

FREE_NEWS = timedelta(days=365)
"""The news of the free plan: https://github.com/finnhubio/Finnhub-API/issues/307"""
_DAY = timedelta(days=1)


class Finnhub:
    """Finnhub, with the answers that are stored already."""

    KEY_VARIABLE: ClassVar[str] = FINNHUB.key_variable
    FOLDER: ClassVar[str] = "finnhub"
    name = FINNHUB.name

    def __init__(self, store: FinnhubStore) -> None:
        self._store = store

    @classmethod
    def open(cls, settings: ProviderSettings) -> Self:
        """Finnhub with the answers stored in its folder below `settings.raw`."""
        folder = settings.raw / cls.FOLDER
        return cls(FinnhubStore(folder, per_minute=settings.finnhub_per_minute))

    @property
    def calls(self) -> Counter[str]:
        """Calls made so far by endpoint, retries included; a stored answer counts nothing."""
        return self._store.calls

    def news(self, symbol: str, first: date, last: date) -> NewsAnswer:
        """The stories of every month from that of `first` to that of `last`.

        A symbol outside the plan, days with too many items, and items without time or headline are
        notes. Raises what `ApiClient.get` raises, but for NoAccess.
        """
        stories: list[Story] = []
        old = older_than_free_plan(first, last, today=self._store.today())
        notes, unusable = [old] if old else [], 0
        for start, end in months(first, last):
            try:
                answer = self._store.company_news(finnhub_symbol(symbol), start, end)
            except NoAccess as error:
                notes.append(str(error))
                break
            for row in answer.rows:
                try:
                    stories.append(read_story(row))
                except ValueError:
                    unusable += 1
            if answer.note:
                notes.append(answer.note)
            if answer.capped_days:
                days = ", ".join(map(str, answer.capped_days))
                notes.append(
                    f"{symbol}: more news than one answer holds on {days}; some is missing"
                )
        if unusable:
            notes.append(f"{symbol}: {unusable} news items without time or headline were left out")
        return NewsAnswer(stories, notes)

    def fundamentals(self, symbol: str, last: date) -> FundamentalsAnswer:
        """Profile, quarters and filings from answers of after the day `last`.

        Such answers know every filing until then. What the plan does not reach is left out and
        noted. Raises what `ApiClient.get` raises, but for NoAccess.
        """
        name = finnhub_symbol(symbol)
        try:
            profile = self._store.profile(name, after=last)
            metric = self._store.metric(name, after=last)
        except NoAccess as error:
            return FundamentalsAnswer(notes=[str(error)])
        try:
            filings, no_filings = read_filings(self._store.filings(name, after=last)), None
        except NoAccess as error:
            filings, no_filings = [], str(error)
        unknown = f"{symbol}: unknown to Finnhub, so without introduction"
        return FundamentalsAnswer(
            profile=read_profile(profile) if profile else None,
            figures=read_figures(metric),
            fiscal_year_ends=read_fiscal_year_ends(metric),
            filings=filings,
            no_filings=no_filings,
            notes=[] if profile else [unknown],
        )


def older_than_free_plan(first: date, last: date, *, today: date) -> str | None:
    """A warning if the days `first` to `last` are older than the free plan's news, else None."""
    limit = today - FREE_NEWS
    if first >= limit:
        return None
    return (
        f"news from {first} to {min(last, limit - _DAY)} is older than one year, which is all that "
        "Finnhub's free plan holds: such weeks have no news unless your plan reaches back further. "
        "Empty answers are stored too; remove company-news/ under the raw answers after a change "
        "of plan"
    )
