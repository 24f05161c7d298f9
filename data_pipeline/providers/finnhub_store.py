"""Finnhub's answers, each asked for once and kept as it came.

Below the folder: `company-news/AAPL/2026-01-04_2026-01-10.json`, and `profile/AAPL/2026-07-01.json`
for what changes with the day it is fetched on; likewise `metric`, `financials-reported` and
`financials-reported-annual`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

from data_pipeline.providers.answer_files import stored_answer
from data_pipeline.providers.api_client import ApiClient, Service
from data_pipeline.providers.finnhub_rows import (
    TIME_KEY,
    FilingRow,
    FilingsRow,
    FinnhubMetric,
    NewsRow,
    ProfileRow,
)
from data_pipeline.providers.news_windows import ask_in_halves, days_over
from weekahead.names import check_symbol

FINNHUB = Service(
    name="Finnhub",
    address="https://finnhub.io/api/v1",
    address_variable="FINNHUB_BASE_URL",
    key_variable="FINNHUB_API_KEY",
    key_header="X-Finnhub-Token",
    site="finnhub.io",
    key_page="finnhub.io/dashboard",
)
PER_MINUTE, PER_SECOND = 55, 25
"""The free plan allows 60 and 30 calls. Retries are not paced, so some room is left for them."""
NEARLY_CAPPED = 240
"""From so many items on, some may be missing.

An answer holds about 250, the newest ones, and does not say that it left any out.
"""


@dataclass(frozen=True)
class CompanyNews:
    """News of one company: Finnhub's rows, oldest first, each id at a time once."""

    rows: list[NewsRow]
    capped_days: tuple[date, ...] = ()
    """Days with as many items as an answer can hold: some of their items are missing."""
    note: str | None = None
    """What was left out of the window, and why."""


class FinnhubStore:
    """A folder of stored answers; what is not there is asked for.

    Only a call whose answer is not stored needs the key and the network. Every method raises what
    `ApiClient.get` raises, and ValueError for a stored file that is damaged.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        per_minute: float = PER_MINUTE,
        per_second: float = PER_SECOND,
        backoff: float = 1.0,
        timeout: tuple[float, float] = (10.0, 60.0),
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._folder = Path(folder)
        self._client = ApiClient(
            FINNHUB, per_minute=per_minute, per_second=per_second, backoff=backoff, timeout=timeout
        )
        self.today = today

    @property
    def calls(self) -> Counter[str]:
        """Calls made so far by endpoint, retries included; a stored answer counts nothing."""
        return self._client.counts

    def company_news(self, symbol: str, first: date, last: date) -> CompanyNews:
        """The rows of the days `first` to `last`, both included.

        A day that is not over (UTC) is left out and noted. A window whose answer may be capped is
        asked for again in halves, down to single days.
        """
        if first > last:
            raise ValueError(
                f"{symbol}: news from {first} to {last}; expected a first day that is not "
                "after the last"
            )
        over = days_over(last, today=self.today())
        items, capped = ask_in_halves(
            first, over.last, lambda *days: self._news_rows(symbol, *days), full=NEARLY_CAPPED
        )
        rows = {_news_key(item): item for item in items}
        ordered = [rows[key] for key in sorted(rows)]
        return CompanyNews(ordered, tuple(capped), over.note)

    def profile(self, symbol: str, after: date | None = None) -> ProfileRow | None:
        """Name, country, industry and so on; None for a symbol that Finnhub does not know."""
        return self._snapshot(symbol, after, kind="profile", endpoint="stock/profile2") or None

    def metric(self, symbol: str, after: date | None = None) -> FinnhubMetric:
        """Basic financials with their quarterly series, by the quarter's end."""
        return self._snapshot(symbol, after, kind="metric", endpoint="stock/metric", metric="all")

    def filings(self, symbol: str, after: date | None = None) -> FilingsRow:
        """Quarterly and annual reports as `data`, by the moment of filing.

        The fourth quarter has no report of its own: the annual one says when it became known.
        """
        kind, endpoint = "financials-reported", "stock/financials-reported"
        quarterly = self._snapshot(symbol, after, kind=kind, endpoint=endpoint, freq="quarterly")
        reports = _by_access_number(quarterly)
        if not any(str(report.get("form")).startswith("10-K") for report in reports.values()):
            annual = self._snapshot(
                symbol, after, kind=f"{kind}-annual", endpoint=endpoint, freq="annual"
            )
            reports |= _by_access_number(annual)
        ordered = sorted(
            reports.items(), key=lambda report: (str(report[1].get("filedDate")), report[0])
        )
        return {"symbol": symbol, "data": [report for _, report in ordered]}

    def _news_rows(self, symbol: str, first: date, last: date) -> list[NewsRow]:
        path = self._folder / "company-news" / check_symbol(symbol) / f"{first}_{last}.json"
        parameters = {"symbol": symbol, "from": str(first), "to": str(last)}
        items: list[Any] = self._answer(path, "company-news", list, parameters)
        # One bad item is left out by who reads it; an answer without any item is another thing.
        if items and not any(isinstance(item, dict) and TIME_KEY in item for item in items):
            raise ValueError(
                f"{path}: expected a list of news with {TIME_KEY}; remove this file and fetch it "
                "again"
            )
        return [cast("NewsRow", item if isinstance(item, dict) else {}) for item in items]

    def _snapshot(
        self, symbol: str, after: date | None, *, kind: str, endpoint: str, **parameters: str
    ) -> Any:
        """The newest stored answer; it is fetched if none is stored, or none after the day `after`.

        An answer from before knows nothing of what was filed since.
        """
        folder = self._folder / kind / check_symbol(symbol)
        path = max(folder.glob("????-??-??.json"), default=None)
        today = str(self.today())
        # ISO dates are in the order of time as texts too. What was fetched today is as new as can
        # be.
        outdated = path and after and path.stem <= str(after) and path.stem < today
        if path is None or outdated:
            path = folder / f"{today}.json"
        return self._answer(path, endpoint, dict, {"symbol": symbol, **parameters})

    def _answer(
        self, path: Path, endpoint: str, expected: type, parameters: Mapping[str, str]
    ) -> Any:
        symbol = parameters["symbol"]
        return stored_answer(
            path,
            expected,
            lambda: self._client.get(endpoint, expected, symbol=symbol, parameters=parameters),
        )


def _news_key(item: NewsRow) -> tuple[float, str]:
    """What tells an item from others and orders them: its time, and its id or else its text."""
    time, name = item.get("datetime"), item.get("id")
    seconds = float(time) if isinstance(time, int | float) else 0.0
    text = repr(name) if name is not None else repr((time, item.get("headline")))
    return (seconds if seconds == seconds else 0.0, text)


def _by_access_number(content: FilingsRow) -> dict[str, FilingRow]:
    """Access number of a report, or else what tells it from the others -> the report."""
    reports: Sequence[FilingRow] = content.get("data") or []
    return {_access_number(report): report for report in reports}


def _access_number(report: FilingRow) -> str:
    description = [report.get(key) for key in ("form", "endDate", "filedDate")]
    return str(report.get("accessNumber") or description)
