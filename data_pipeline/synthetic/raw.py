"""The fictional market as providers would have answered: news, profile and daily prices, one file each."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from data_pipeline.synthetic.world import FictionalStory
from weekahead.files import write_json, write_text
from weekahead.task.record import News


def write_raw(stories: list[FictionalStory], folder: Path) -> None:
    """Write `company-news-SYMBOL.json`, `profile-SYMBOL.json` and `prices/SYMBOL.csv` for every firm."""
    by_symbol: dict[str, list[FictionalStory]] = defaultdict(list)
    for story in stories:
        by_symbol[story.record.symbol].append(story)
    for symbol, told in by_symbol.items():
        told.sort(key=lambda story: story.record.week_start)
        news = [item for story in told for week in story.record.weeks for item in week.news]
        write_json(
            folder / f"company-news-{symbol}.json",
            [_news(symbol, n, i) for n, i in enumerate(news)],
        )
        write_json(folder / f"profile-{symbol}.json", _profile(told[0]))
        write_text(folder / "prices" / f"{symbol}.csv", _prices(told))


def _news(symbol: str, number: int, item: News) -> dict[str, Any]:
    return {
        "category": "company",
        "datetime": int(datetime.fromisoformat(item.known_at).timestamp()),
        "headline": item.headline,
        "id": number,
        "image": "",
        "related": symbol,
        "source": "fictional",
        "summary": item.summary,
        "url": "",
    }


def _profile(story: FictionalStory) -> dict[str, Any]:
    name = story.record.company.split(" (")[0]
    return {
        "country": "",
        "currency": "USD",
        "exchange": "FICTIONAL",
        "name": name,
        "ticker": story.record.symbol,
        "finnhubIndustry": story.record.company.rsplit(", a ", 1)[1].removesuffix(" company."),
    }


def _prices(told: list[FictionalStory]) -> str:
    """Daily prices of the weeks before and after each decision, straight between their closes."""
    days: dict[str, float] = {}
    for story in told:
        (past,) = story.record.weeks
        after = past.close_price * (1 + (story.record.weekly_return or 0.0))
        days |= _five_days(past.start, past.open_price, past.close_price)
        days |= _five_days(story.record.week_start, past.close_price, after)
    header = "Date,Open,High,Low,Close,Adj Close,Volume\n"
    return header + "".join(
        f"{day},{p:.4f},{p:.4f},{p:.4f},{p:.4f},{p:.4f},1000\n" for day, p in sorted(days.items())
    )


def _five_days(sunday: str, before: float, after: float) -> dict[str, float]:
    start = date.fromisoformat(sunday)
    return {
        (start + timedelta(days=d)).isoformat(): before + (after - before) * d / 5
        for d in range(1, 6)
    }
