"""The fictional market as providers would answer: news, profile and daily prices per firm."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from data_pipeline.synthetic.world import FictionalStory
from weekahead.files import write_json, write_text
from weekahead.schema.manifests import JsonObject
from weekahead.task.record import News


def write_raw(stories: Iterable[FictionalStory], folder: Path) -> None:
    """Write `company-news-SYMBOL.json`, `profile-SYMBOL.json` and `prices/SYMBOL.csv` per firm."""
    by_symbol: dict[str, list[FictionalStory]] = defaultdict(list)
    for story in stories:
        by_symbol[story.record.symbol].append(story)
    for symbol, weeks in by_symbol.items():
        weeks.sort(key=lambda story: story.record.week_start)
        news = [item for story in weeks for week in story.record.weeks for item in week.news]
        rows = [_news_row(symbol, number, item) for number, item in enumerate(news)]
        write_json(folder / f"company-news-{symbol}.json", rows)
        write_json(folder / f"profile-{symbol}.json", _profile(weeks[0]))
        write_text(folder / "prices" / f"{symbol}.csv", _price_file(weeks))


def _news_row(symbol: str, number: int, item: News) -> JsonObject:
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


def _profile(story: FictionalStory) -> JsonObject:
    company = story.record.company
    return {
        "country": "",
        "currency": "USD",
        "exchange": "FICTIONAL",
        "name": company.split(" (")[0],
        "ticker": story.record.symbol,
        "finnhubIndustry": company.rsplit(", a ", 1)[1].removesuffix(" company."),
    }


def _price_file(stories: Sequence[FictionalStory]) -> str:
    """Daily prices of the weeks before and after each decision, on a line between their closes."""
    prices: dict[str, float] = {}
    for story in stories:
        (past,) = story.record.weeks
        after = past.close_price * (1 + (story.record.weekly_return or 0.0))
        prices |= _five_days(past.start, past.open_price, past.close_price)
        prices |= _five_days(story.record.week_start, past.close_price, after)
    lines = ["Date,Open,High,Low,Close,Adj Close,Volume"]
    for day, price in sorted(prices.items()):
        lines.append(f"{day}{f',{price:.4f}' * 5},1000")
    return "\n".join(lines) + "\n"


def _five_days(sunday: str, before: float, after: float) -> dict[str, float]:
    start = date.fromisoformat(sunday)
    return {
        (start + timedelta(days=day)).isoformat(): before + (after - before) * day / 5
        for day in range(1, 6)
    }
