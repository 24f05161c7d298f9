"""Pairs such as BTC-USD trade on seven days: what becomes of their weeks, forecasts and entries."""

from datetime import date, timedelta

import pytest

from data_pipeline.providers.base import ProviderSettings
from data_pipeline.providers.table import open_sources
from data_pipeline.records.assemble import records_of
from data_pipeline.records.collect import gather
from forecast.company.inputs import LiveSources, live_inputs
from forecast.journal.__main__ import main
from forecast.journal.enter import inputs_sha256
from forecast.journal.ledger import read_ledger
from tests.support.market import news, write_prices
from weekahead.files import write_jsonl
from weekahead.task.record import look_ahead

WEEK = date(2026, 1, 4)
FIRST = date(2025, 10, 1)
DAY = timedelta(days=1)
PAIRS = ("BTC-USD", "ETH-GBP")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Prices and news up to four days into the week that is forecast."""
    folder = tmp_path_factory.mktemp("pairs")
    write_prices(folder / "prices", PAIRS, FIRST, WEEK + 4 * DAY, exchange="24/7")
    write_prices(folder / "prices", ["AAA"], FIRST, WEEK - DAY)
    items = [item for symbol in (*PAIRS, "AAA") for item in news(symbol, FIRST, WEEK + 4 * DAY)]
    write_jsonl(folder / "news.jsonl", items)
    return folder


def known(files, prices, week=WEEK):
    sources = LiveSources(files / "data", prices, (files / "news.jsonl",))
    return live_inputs(PAIRS, week, sources)


def test_inputs_end_on_saturday_at_midnight_in_utc(files, tmp_path):
    """The days of the week itself, which the file has by now, change no byte."""
    records = known(files, files / "prices").records
    assert [record.symbol for record in records] == list(PAIRS)
    write_prices(tmp_path, PAIRS, FIRST, WEEK - DAY, exchange="24/7")
    before = known(files, tmp_path).records
    assert list(map(inputs_sha256, before)) == list(map(inputs_sha256, records))
    saturday = (tmp_path / "BTC-USD.csv").read_text().splitlines()[-1].split(",")
    assert saturday[0] == "2026-01-03"
    record = records[0]
    assert record.decision_time == record.weeks[-1].closed_at == "2026-01-04T00:00:00+00:00"
    assert record.weeks[-1].close_price == float(saturday[4]) and not look_ahead(record)


def test_a_weeks_return_is_from_saturday_to_saturday(tmp_path):
    """And a weekend without a price makes it incomplete, as a Monday does for a share."""
    last = WEEK + 6 * DAY
    write_prices(tmp_path, ["BTC-USD"], FIRST, last, exchange="24/7")
    company = gathered(tmp_path, last)
    (record,) = records_of(company, [WEEK]).records
    rows = [line.split(",") for line in (tmp_path / "BTC-USD.csv").read_text().splitlines()]
    closes = {row[0]: row[4] for row in rows}
    wanted = float(closes["2026-01-10"]) / float(closes["2026-01-03"]) - 1
    assert record.weekly_return == pytest.approx(wanted)
    lines = [",".join(row) for row in rows if row[0] != "2026-01-04"]
    (tmp_path / "BTC-USD.csv").write_text("\n".join(lines) + "\n")
    (left_out,) = records_of(gathered(tmp_path, last), [WEEK]).left_out
    assert "1 of 7 sessions: no price on 2026-01-04" in left_out["reason"]


def gathered(prices, last):
    write_jsonl(prices / "news.jsonl", news("BTC-USD", FIRST, last))
    settings, files = ProviderSettings(prices / "raw"), (prices / "news.jsonl",)
    opened = open_sources(settings, ["BTC-USD"], price_folder=prices, news_files=files)
    return gather(["BTC-USD"], FIRST, last, opened).companies["BTC-USD"]


def test_a_pair_is_in_no_journal(files, tmp_path, capsys):
    """Its week opens at its decision time; a share beside it is entered."""
    words = ["enter", "--journal", str(tmp_path), "--date", str(WEEK)]
    words += ["--prices", str(files / "prices"), "--news", str(files / "news.jsonl")]
    assert main([*words, "--symbols", "BTC-USD ETH-GBP"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "BTC-USD: it trades day and night" in said and "make forecast takes it" in said
    assert not list(tmp_path.iterdir())
    assert main([*words, "--symbols", "BTC-USD AAA"]) == 0
    assert "left out: BTC-USD: it trades day and night" in capsys.readouterr().out
    assert {line["symbol"] for line in read_ledger(tmp_path).forecasts} == {"AAA"}
