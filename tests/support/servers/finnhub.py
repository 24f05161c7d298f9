"""A small Finnhub on loopback: companies that a test makes up, with all their facts.

    companies = {"LKMR": {"news": [...], "profile": {...}, "metric": {...}, "filings": [...]}}
    with FinnhubServer(companies) as server:
        server.fail("company-news", Fault(429, headers={"Retry-After": "1"}), times=2)
        subprocess.run([sys.executable, "-m", "data_pipeline.fetch", ...], env=server.environment())
        server.calls["company-news"], server.seen

All four parts may be left out. News items are Finnhub's rows; each needs `datetime` (epoch seconds)
and `id`, and `news_item` makes one. As on the true Finnhub an answer holds the newest 250 items of
the window, days are those of UTC, quarterly filings are the 10-Q and annual ones the 10-K, and an
unknown symbol is not an error. A request without the key in its header is refused, and one with it
in the address too.
"""

import json
import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

NEWS_CAP = 250
PREFIX = "/api/v1/"
KEY = "loopback0key0of0no0account"


@dataclass(frozen=True)
class Fault:
    """One bad answer: another status (200 keeps the true body), some delay in its middle, or the
    end missing.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    keep: float = 1.0
    """The share of the body that is sent, as if it were whole."""
    drop: bool = False
    """Close the connection after half of the announced body."""
    body: bytes | None = None


UNAUTHORIZED = Fault(401)
FORBIDDEN = Fault(403)
LIMITED = Fault(429)
BROKEN = Fault(500)
TRUNCATED = Fault(keep=0.5)
DROPPED = Fault(drop=True)
EMPTY = Fault(body=b"[]")

_SENTENCES = {
    401: "Invalid API key",
    403: "You don't have access to this resource.",
    429: "API limit reached. Please try again later. Remaining Limit: 0",
}


@dataclass(frozen=True)
class Seen:
    """One request as it came: endpoint, parameters, status of its answer, and when (monotonic
    seconds).
    """

    endpoint: str
    params: dict[str, str]
    status: int
    path: str
    at: float


@dataclass
class FinnhubServer:
    """The server, running between `__enter__` and `__exit__` on a free port of 127.0.0.1."""

    companies: Mapping[str, Mapping[str, Any]]
    key: str = KEY
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._faults: list[tuple[str, str | None, Fault]] = []
        self._lock = threading.Lock()
        self._news = {
            symbol: _by_time(company.get("news", [])) for symbol, company in self.companies.items()
        }

    def __enter__(self) -> "FinnhubServer":
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{PREFIX.rstrip('/')}"

    @property
    def calls(self) -> Counter[str]:
        """Requests so far by endpoint."""
        return Counter(seen.endpoint for seen in self.seen)

    def environment(self) -> dict[str, str]:
        """Environment of a client process: this server's address and key, and no proxy before
        it.
        """
        own = {"FINNHUB_BASE_URL": self.url, "FINNHUB_API_KEY": self.key}
        return {**os.environ, **own, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def fail(self, endpoint: str, fault: Fault, times: int = 1, symbol: str | None = None) -> None:
        """Give the next `times` requests of an endpoint (and symbol) this fault; faults come in
        the order set.
        """
        self._faults += [(endpoint, symbol, fault)] * times

    def take_fault(self, endpoint: str, symbol: str) -> Fault:
        with self._lock:
            for index, (name, only, fault) in enumerate(self._faults):
                if name == endpoint and only in (None, symbol):
                    del self._faults[index]
                    return fault
        return Fault()

    def answer(self, endpoint: str, params: Mapping[str, str]) -> Any:
        """The true JSON value of an endpoint. Raises KeyError for an unknown endpoint or a
        missing parameter.
        """
        symbol = params["symbol"]
        company = self.companies.get(symbol, {})
        if endpoint == "company-news":
            return self._news_between(symbol, params["from"], params["to"])
        if endpoint == "stock/profile2":
            return company.get("profile", {})
        if endpoint == "stock/metric":
            return company.get(
                "metric",
                {"metric": {}, "metricType": params["metric"], "series": {}, "symbol": symbol},
            )
        if endpoint == "stock/financials-reported":
            form = {"quarterly": "10-Q", "annual": "10-K"}[params["freq"]]
            filings = [filing for filing in company.get("filings", []) if filing["form"] == form]
            return {"cik": "", "data": filings, "symbol": symbol if filings else ""}
        raise KeyError(endpoint)

    def _news_between(self, symbol: str, first: str, last: str) -> list[dict[str, Any]]:
        times, items = self._news.get(symbol, ([], []))
        after = datetime.fromisoformat(last).replace(tzinfo=UTC) + timedelta(days=1)
        start = bisect_left(times, datetime.fromisoformat(first).replace(tzinfo=UTC).timestamp())
        return items[start : bisect_left(times, after.timestamp())][::-1][:NEWS_CAP]


def news_item(number: int, at: datetime, symbol: str = "LKMR", summary: str = "") -> dict[str, Any]:
    """An item in Finnhub's form; `number` is its id and stands in its headline."""
    return {
        "category": "company",
        "datetime": int(at.timestamp()),
        "headline": f"{symbol} makes its news {number}",
        "id": number,
        "image": "",
        "related": symbol,
        "source": "Loopback",
        "summary": summary or f"This is what {symbol} did for the {number}th time.",
        "url": f"https://news.invalid/{number}",
    }


def _by_time(items: Sequence[dict[str, Any]]) -> tuple[list[int], list[dict[str, Any]]]:
    ordered = sorted(items, key=lambda item: item["datetime"])
    return [item["datetime"] for item in ordered], ordered


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together: apart, the second would wait for the client's acknowledgement of
    # the first.
    wbufsize = -1
    disable_nagle_algorithm = True
    owner: FinnhubServer

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        endpoint = split.path.removeprefix(PREFIX)
        params = {name: values[-1] for name, values in parse_qs(split.query).items()}
        fault = self._fault(endpoint, params)
        body = fault.body
        if body is None:
            sentence = _SENTENCES.get(fault.status, "Internal server error")
            value = (
                self.owner.answer(endpoint, params) if fault.status == 200 else {"error": sentence}
            )
            body = json.dumps(value).encode()
        self.owner.seen.append(Seen(endpoint, params, fault.status, self.path, time.monotonic()))
        self._send(fault, body[: int(len(body) * fault.keep)])

    def _fault(self, endpoint: str, params: Mapping[str, str]) -> Fault:
        if self.owner.key in self.path or "token" in params:
            return Fault(400, body=b'{"error":"the key stands in the address"}')
        if self.headers.get("X-Finnhub-Token") != self.owner.key:
            return UNAUTHORIZED
        try:
            self.owner.answer(endpoint, params)
        except KeyError as error:
            return Fault(404, body=json.dumps({"error": f"unknown or missing: {error}"}).encode())
        return self.owner.take_fault(endpoint, params["symbol"])

    def _send(self, fault: Fault, body: bytes) -> None:
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        if fault.drop:
            self.close_connection = True
            return
        if fault.delay:
            self.wfile.flush()
            time.sleep(fault.delay)
        try:
            self.wfile.write(body[half:])
            self.wfile.flush()
        except OSError:  # a client that did not wait
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass
