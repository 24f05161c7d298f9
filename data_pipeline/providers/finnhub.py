"""Finnhub's company news, profiles, metrics and filings, each asked for once and kept as it came.

Below the folder: `company-news/AAPL/2026-01-04_2026-01-10.json`, and `profile/AAPL/2026-07-01.json` for what
changes with the day it is fetched on; likewise `metric`, `financials-reported` and `financials-reported-annual`.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from data_pipeline.providers.finnhub_http import PER_MINUTE, PER_SECOND, FinnhubClient
from data_pipeline.providers.finnhub_http import NoAccess as NoAccess
from weekahead.files import Row, replacing

# One answer holds about 250 items at most, the newest ones, and does not say that older ones are missing.
NEWS_CAP = 250
# Where an answer comes this close to the cap, some may be missing.
NEARLY_CAPPED = 240
# https://github.com/finnhubio/Finnhub-API/issues/307
FREE_NEWS = timedelta(days=365)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class CompanyNews:
    """News of one company: Finnhub's rows, oldest first, each id once."""

    rows: list[Row]
    capped_days: tuple[date, ...] = ()
    """Days with as many items as an answer can hold: some of their items are missing."""
    note: str | None = None
    """What was left out of the window, and why."""


class Finnhub:
    """Finnhub with a folder of stored answers. Only a call that is not stored needs the key and the network."""

    def __init__(
        self,
        folder: Path | str,
        per_minute: float = PER_MINUTE,
        per_second: float = PER_SECOND,
        backoff: float = 1.0,
        timeout: tuple[float, float] = (10.0, 60.0),
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._folder = Path(folder)
        self._calls = FinnhubClient(per_minute, per_second, backoff, timeout)
        self._today = today

    @property
    def calls(self) -> Counter[str]:
        """Calls made so far by endpoint, retries included; a stored answer counts nothing."""
        return self._calls.counts

    def company_news(self, symbol: str, first: date, last: date) -> CompanyNews:
        """The news of the days `first` to `last`, both included. Raises what `Calls.get` raises.

        A day that is not over (UTC) is left out and noted. A window whose answer may be capped is asked for
        again in halves, down to single days.
        """
        if first > last:
            raise ValueError(
                f"{symbol}: news from {first} to {last}; expected a first day that is not after the last"
            )
        yesterday = self._today() - _DAY
        note = f"news up to {yesterday} alone: a day is fetched when it is over (UTC)"
        rows: dict[int, Row] = {}
        capped, windows = [], [(first, min(last, yesterday))]
        while windows:
            start, end = windows.pop()
            items = self._news(symbol, start, end) if start <= end else []
            rows.update((item["id"], item) for item in items)
            if len(items) >= NEARLY_CAPPED and start == end:
                capped.append(start)
            elif len(items) >= NEARLY_CAPPED:
                middle = start + (end - start) // 2
                windows += [(middle + _DAY, end), (start, middle)]
        ordered = sorted(rows.values(), key=lambda item: (item["datetime"], item["id"]))
        return CompanyNews(ordered, tuple(capped), note if last > yesterday else None)

    def profile(self, symbol: str, after: date | None = None) -> tuple[Row, str] | None:
        """Name, country, industry and so on, and when fetched; None for a symbol that Finnhub does not know."""
        profile, fetched = self._snapshot("profile", "stock/profile2", symbol, after)
        return (profile, fetched) if profile else None

    def metric(self, symbol: str, after: date | None = None) -> tuple[Row, str]:
        """Basic financials with their quarterly series, by the quarter's end, and when fetched."""
        return self._snapshot("metric", "stock/metric", symbol, after, metric="all")

    def filings(self, symbol: str, after: date | None = None) -> tuple[Row, str]:
        """Quarterly and annual reports as `data`, by the moment of filing, and when fetched.

        The fourth quarter has no report of its own: the annual one tells when it became known.
        """
        kind, endpoint = "financials-reported", "stock/financials-reported"
        content, fetched = self._snapshot(kind, endpoint, symbol, after, freq="quarterly")
        filings = {_access(filing): filing for filing in content.get("data") or []}
        if not any(str(filing.get("form")).startswith("10-K") for filing in filings.values()):
            annual, fetched = self._snapshot(
                f"{kind}-annual", endpoint, symbol, after, freq="annual"
            )
            filings |= {_access(filing): filing for filing in annual.get("data") or []}
        ordered = sorted(
            filings.values(), key=lambda filing: (str(filing.get("filedDate")), _access(filing))
        )
        return {"symbol": symbol, "data": ordered}, fetched

    def _news(self, symbol: str, first: date, last: date) -> list[Row]:
        path = self._folder / "company-news" / _name(symbol) / f"{first}_{last}.json"
        if not path.exists():
            days = {"from": str(first), "to": str(last)}
            _store(path, self._calls.get("company-news", list, symbol=symbol, **days)[0])
        items = _read(path)
        if not all(isinstance(item, dict) and {"id", "datetime"} <= item.keys() for item in items):
            raise ValueError(
                f"{path}: expected a list of news with id and datetime; remove this file and fetch it again"
            )
        return items

    def _snapshot(
        self, kind: str, endpoint: str, symbol: str, after: date | None, **params: str
    ) -> tuple[Row, str]:
        """The newest stored answer, and the last moment of the day it was fetched on.

        It is fetched where none is stored, or none after the day `after`: an answer of before knows nothing of what
        was filed since. The name of the file keeps the day alone; the last moment never claims too early a knowledge.
        """
        folder = self._folder / kind / _name(symbol)
        path = max(folder.glob("????-??-??.json"), default=None)
        if path is None or (
            after and date.fromisoformat(path.stem) <= after and path.stem < str(self._today())
        ):
            path = folder / f"{self._today()}.json"
            _store(path, self._calls.get(endpoint, dict, symbol=symbol, **params)[0])
        return _read(path), f"{path.stem}T23:59:59+00:00"


def _access(filing: Row) -> str:
    """What tells a filing from the others."""
    return str(
        filing.get("accessNumber")
        or [filing.get(name) for name in ("form", "endDate", "filedDate")]
    )


def older_than_free_plan(first: date, last: date, today: date) -> str | None:
    """A warning where news from `first` to `last` is older than the year of news of the free plan, else None."""
    limit = today - FREE_NEWS
    if first >= limit:
        return None
    return (
        f"news from {first} to {min(last, limit - _DAY)} is older than one year, which is all that Finnhub's free "
        "plan holds: such weeks have no news unless your plan reaches back further. Empty answers are stored too; "
        "remove company-news/ under the raw answers after a change of plan"
    )


def _name(symbol: str) -> str:
    """The symbol as the name of a folder."""
    if not symbol or symbol.startswith(".") or "/" in symbol or "\\" in symbol:
        raise ValueError(
            f"symbol {symbol!r} cannot name a folder; expected a ticker such as AAPL or SAP.DE"
        )
    return symbol


def _store(path: Path, body: bytes) -> None:
    with replacing(path, "wb") as file:
        file.write(body)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        raise ValueError(
            f"{path}: not JSON; remove this file, and the answer is fetched again"
        ) from None
