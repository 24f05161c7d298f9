"""No forecast knows what came after its decision time, and nothing that comes later changes it."""

import json
import shutil
from datetime import date, datetime, timedelta

import pytest

from data_pipeline.providers.price_files import read_prices
from data_pipeline.synthetic.raw import write_raw
from data_pipeline.synthetic.world import Market
from forecast.company.inputs import (
    LiveSources,
    inputs_of,
    live_inputs,
    unlabeled_row,
)
from tests.support.market import write_prices
from weekahead.files import write_jsonl, write_text
from weekahead.task.times import moment

BACK = timedelta(weeks=8 * 52 + 2)
"""The fictional market lies in 2031, where no exchange has a calendar yet: it is moved to 2023."""


@pytest.fixture(scope="module")
def market_of_2023(tmp_path_factory):
    """Prices and news of every firm of the fictional market, in the forms of files."""
    folder = tmp_path_factory.mktemp("market")
    write_raw(Market().stories, folder / "raw")
    news = []
    for path in sorted((folder / "raw").glob("company-news-*.json")):
        for row in json.loads(path.read_text()):
            row["datetime"] -= int(BACK.total_seconds())
            news.append(row)
    write_jsonl(folder / "news.jsonl", news)
    for path in (folder / "raw/prices").glob("*.csv"):
        header, *lines = path.read_text().splitlines()
        moved = [f"{date.fromisoformat(line[:10]) - BACK}{line[10:]}" for line in lines]
        write_text(folder / "prices" / path.name, "\n".join([header, *moved]) + "\n")
    return folder


def cut(folder, decision, out):
    """The files as they stood on the Saturday before `decision`, and news until that moment."""
    shutil.rmtree(out, ignore_errors=True)
    for path in (folder / "prices").glob("*.csv"):
        header, *lines = path.read_text().splitlines()
        known = [line for line in lines if line[:10] < decision[:10]]
        write_text(out / "prices" / path.name, "\n".join([header, *known]) + "\n")
    if not (folder / "news.jsonl").exists():
        return LiveSources(out, out / "prices", news_needed=False)
    end = datetime.fromisoformat(decision).timestamp()
    rows = map(json.loads, (folder / "news.jsonl").read_text().splitlines())
    write_jsonl(out / "news.jsonl", [row for row in rows if row["datetime"] < end])
    return LiveSources(out, out / "prices", (out / "news.jsonl",))


def checked_pairs(folder, symbols, weeks, tmp_path):
    """How many (symbol, week) pairs gave a prompt; each is held against the files cut in time."""
    news = (folder / "news.jsonl",) if (folder / "news.jsonl").exists() else ()
    whole = LiveSources(folder, folder / "prices", news, news_needed=bool(news))
    pairs = 0
    for week in weeks:
        after = live_inputs(symbols, week, whole)
        before = live_inputs(symbols, week, cut(folder, f"{week}T05:00:00+00:00", tmp_path / "cut"))
        rows = [unlabeled_row(record) for record in before.records]
        assert [unlabeled_row(record) for record in after.records] == rows
        assert before.left_out == after.left_out
        for record in after.records:
            dates = [fact["known_at"] for fact in inputs_of(record, after.sources)]
            assert dates and max(map(moment, dates)) <= moment(record.decision_time)
        pairs += len(rows)
    return pairs


@pytest.mark.parametrize(
    "step", [40, pytest.param(3, marks=pytest.mark.slow)], ids=["few weeks", "many"]
)
def test_no_forecast_knows_what_came_later(market_of_2023, tmp_path, step):
    symbols = sorted(path.stem for path in (market_of_2023 / "prices").glob("*.csv"))
    weeks = [date(2023, 1, 15) + timedelta(weeks=week) for week in range(0, 80, step)]
    pairs = checked_pairs(market_of_2023, symbols, weeks, tmp_path)
    assert pairs > 0.9 * len(symbols) * len(weeks)


def test_a_later_split_leaves_the_prices_of_the_day(tmp_path):
    """The source divides earlier closes by it; a prompt shows what they were before it."""
    week, split_day = date(2026, 1, 4), "2026-01-14"
    write_prices(tmp_path / "prices", ["AAA"], date(2025, 10, 1), date(2026, 2, 20))
    traded = (tmp_path / "prices/AAA.csv").read_text().splitlines()
    lines = [traded[0]]
    for line in traded[1:]:
        day, *prices, volume, dividend, _ = line.split(",")
        ratio = 4 if day < split_day else 1
        divided = [f"{float(price) / ratio:.8f}" for price in prices]
        split = 4.0 if day == split_day else 0.0
        lines.append(",".join([day, *divided, volume, dividend, str(split)]))
    write_text(tmp_path / "divided/AAA.csv", "\n".join(lines) + "\n")
    prompts = [
        [unlabeled_row(record)["prompt"] for record in live_inputs(["AAA"], week, places).records]
        for places in (
            cut(tmp_path, "2026-01-04", tmp_path / "cut"),
            LiveSources(tmp_path, tmp_path / "divided", news_needed=False),
        )
    ]
    assert len(prompts[0]) == 1 and prompts[0] == prompts[1]


@pytest.mark.slow
def test_real_prices_tell_nothing_of_later(shared_data, tmp_path):
    """30 companies in 34 weeks of five years, with their splits and their errors."""
    folder = tmp_path / "real"
    shutil.copytree(shared_data / "prices_daily", folder / "prices")
    symbols = sorted(read_prices(folder / "prices").tables)
    weeks = [date(2013, 6, 2) + timedelta(weeks=7 * number) for number in range(34)]
    assert checked_pairs(folder, symbols, weeks, tmp_path) >= 1000
