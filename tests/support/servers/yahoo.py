"""A small Yahoo Finance on loopback, for the real yfinance: chart answers, a crumb, and refusals.

    with YahooServer({"LKMR": Chart([(date(2031, 1, 3), 10.0, 9.5)])}) as server:
        redirect(monkeypatch, server.url)
        yfinance.download("LKMR", ...)

yfinance has its hosts in its code, some as constants and some inside functions. `redirect` changes
the host of every request that its client library is about to send, and nothing else. An unknown
ticker is Yahoo's 404.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest

_UNKNOWN = {
    "result": None,
    "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"},
}
_RANGES = ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"]


@dataclass
class Chart:
    """One ticker: (day, close, adjusted close) a session, dividends and splits (new, old) by
    day.
    """

    rows: Sequence[tuple[date, float | None, float | None]] = ()
    dividends: Mapping[date, float] = field(default_factory=dict)
    splits: Mapping[date, tuple[int, int]] = field(default_factory=dict)
    zone: str = "America/New_York"
    status: int = 200
    body: bytes | None = None
    """Served instead of all that, whatever the window."""

    def answer(self, symbol: str, first: float, last: float) -> Any:
        """Yahoo's JSON for the sessions that open at `first` or later and before `last` (epoch
        seconds).
        """
        rows = [row for row in self.rows if first <= self._opening(row[0]) < last]
        closes = [row[1] for row in rows]
        quote = dict.fromkeys(("open", "high", "low", "close"), closes) | {
            "volume": [1000 if c else None for c in closes]
        }
        result: dict[str, Any] = {"meta": self._meta(symbol), "indicators": {"quote": [{}]}}
        if rows:
            result["timestamp"] = [self._opening(row[0]) for row in rows]
            result["indicators"] = {
                "quote": [quote],
                "adjclose": [{"adjclose": [row[2] for row in rows]}],
            }
        dividends = {
            str(self._opening(d)): {"amount": a, "date": self._opening(d)}
            for d, a in self.dividends.items()
        }
        splits = {
            str(self._opening(d)): {"date": self._opening(d), "numerator": new, "denominator": old}
            for d, (new, old) in self.splits.items()
        }
        result["events"] = {"dividends": dividends, "splits": splits}
        return {"chart": {"result": [result], "error": None}}

    def _opening(self, day: date) -> int:
        return int(datetime.combine(day, time(9, 30), ZoneInfo(self.zone)).timestamp())

    def _meta(self, symbol: str) -> dict[str, Any]:
        return {
            "currency": "USD",
            "symbol": symbol,
            "instrumentType": "EQUITY",
            "exchangeTimezoneName": self.zone,
            "timezone": "EST",
            "gmtoffset": -18000,
            "priceHint": 2,
            "dataGranularity": "1d",
            "range": "",
            "validRanges": _RANGES,
        }


@dataclass
class YahooServer:
    """The server, running between `__enter__` and `__exit__` on a free port of 127.0.0.1."""

    charts: dict[str, Chart]
    asked: Counter[str] = field(default_factory=Counter)
    """Windows of prices asked for, by ticker."""

    def __enter__(self) -> "YahooServer":
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


def redirect(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """Send what this process' yfinance asks Yahoo for to `target` instead, for one test."""
    from curl_cffi.requests import Session
    from yfinance import base, data

    send = Session.request

    def request(self: Session, method: str, url: str, **options: Any) -> Any:
        return send(self, method, re.sub(r"^https://[a-z0-9.]*yahoo\.com", target, url), **options)

    monkeypatch.setattr(Session, "request", request)
    # What one test learned (cookie, crumb, their lack) is not to help or hinder the next.
    monkeypatch.setattr(data.SingletonMeta, "_instances", {})
    monkeypatch.setattr(base, "_tz_info_fetch_ctr", 0)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # should a host be missed, it is not reached
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    owner: YahooServer

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        room, _, symbol = split.path.rpartition("/")
        chart = self.owner.charts.get(symbol)
        if split.path == "/v1/test/getcrumb":
            self._send(200, b"a.crumb")
        elif "timeseries" in split.path:
            self._send(200, b'{"timeseries": {"result": [], "error": null}}')
        elif room == "/v8/finance/chart" and chart:
            query = {name: values[-1] for name, values in parse_qs(split.query).items()}
            self._send_chart(symbol, chart, query)
        else:
            self._send(404, json.dumps({"chart": _UNKNOWN}).encode())

    def _send_chart(self, symbol: str, chart: Chart, query: Mapping[str, str]) -> None:
        if "period1" in query:
            self.owner.asked[symbol] += 1
        body = chart.body
        if body is None:
            window = float(query.get("period1", 0)), float(query.get("period2", 0))
            body = json.dumps(chart.answer(symbol, *window)).encode()
        self._send(chart.status, body if chart.status == 200 else b"Too Many Requests\r\n")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        pass
