"""A made-up market in the providers' own forms: price files and Finnhub's answers.

No figure is real.
"""

import csv
import random
from datetime import UTC, date, datetime, timedelta

from tests.support.servers.finnhub import news_item

EVENTS = (
    "wins a contract for trains",
    "recalls a pump",
    "names a new chief engineer",
    "raises its dividend",
    "loses a patent case",
    "opens a plant in Lisbon",
    "cuts its outlook for spring",
    "buys a rival's mill",
    "reports brisk sales of lamps",
    "settles a strike at the docks",
    "delays its new engine",
    "hires two hundred welders",
    "sells its paper business",
    "is sued by a supplier",
)
PRICE_COLUMNS = [
    "Date",
    "Open",
    "High",
    "Low",
    "Close",
    "Adj Close",
    "Volume",
    "Dividends",
    "Stock Splits",
]


def write_prices(folder, symbols, first, last, exchange="XNYS"):
    """One CSV a symbol in yfinance's form, every session from `first` to `last`."""
    from exchange_calendars import get_calendar

    folder.mkdir(parents=True, exist_ok=True)
    days = get_calendar(exchange, start="1990-01-01").sessions_in_range(str(first), str(last))
    for symbol in symbols:
        draw, price = random.Random(f"prices of {symbol}"), 50.0
        with (folder / f"{symbol}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(PRICE_COLUMNS)
            for day in days:
                price *= 1 + draw.gauss(0, 0.015)
                writer.writerow((day.date(), *[f"{price:.4f}"] * 5, 1000, 0.0, 0.0))


def news(symbol, first, last, a_day=2):
    """News in Finnhub's form: `a_day` items on every day."""
    draw, items = random.Random(f"news of {symbol}"), []
    for day in range((last - first).days + 1):
        for number in range(a_day):
            at = datetime.combine(first + timedelta(days=day), datetime.min.time(), UTC)
            at += timedelta(minutes=draw.randrange(24 * 60))
            item = news_item(
                day * a_day + number, at, symbol, f"Item {day * a_day + number} says more about it."
            )
            items.append(
                item | {"headline": f"{symbol} {draw.choice(EVENTS)} ({draw.randrange(10**6)})"}
            )
    return items


def company(symbol, first, last, a_day=2):
    """Everything that `FinnhubServer` serves of one company."""
    quarters = ["2026-03-31", "2025-12-31", "2025-09-30", "2025-06-30"]
    draw = random.Random(f"figures of {symbol}")
    names = ("currentRatio", "eps", "grossMargin", "netMargin", "salesPerShare")
    series = {
        name: [{"period": p, "v": round(draw.uniform(0, 3), 4)} for p in quarters] for name in names
    }
    profile = {
        "name": f"{symbol.title()} Works",
        "ticker": symbol,
        "exchange": "MADE UP",
        "ipo": "2001-02-03",
        "finnhubIndustry": "Machinery",
        "country": "US",
        "currency": "USD",
        "marketCapitalization": 123456.78,
        "shareOutstanding": 2000.0,
    }
    metric = {"metric": {}, "metricType": "all", "symbol": symbol}
    return {
        "news": news(symbol, first, last, a_day),
        "profile": profile,
        "metric": metric | {"series": {"annual": {}, "quarterly": series}},
        "filings": [_filing(symbol, p, 10.0e6 + i) for i, p in enumerate(quarters)],
    }


def _filing(symbol, period, shares):
    ends = date.fromisoformat(period)
    annual = ends.month == 12
    filed = ends + timedelta(days=50 if annual else 35)
    cover = {
        "concept": "dei_EntityCommonStockSharesOutstanding",
        "unit": "shares",
        "label": "",
        "value": shares,
    }
    return {
        "accessNumber": f"{symbol}-{period}",
        "symbol": symbol,
        "cik": "1",
        "year": ends.year,
        "quarter": 0,
        "form": "10-K" if annual else "10-Q",
        "startDate": f"{ends - timedelta(days=90)} 00:00:00",
        "endDate": f"{ends} 00:00:00",
        "filedDate": f"{filed} 00:00:00",
        "acceptedDate": f"{filed} 16:30:00",
        "report": {"bs": [cover]},
    }
