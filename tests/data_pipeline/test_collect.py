"""Gathering what is known of each company: what is not to be had is named, and never stops the others."""

from datetime import UTC, date, datetime

import pytest

from data_pipeline.records.collect import Sources, finnhub_symbol, gather
from tests.support import market as made_market
from tests.support.servers.finnhub import FORBIDDEN, FinnhubServer, news_item
from weekahead.files import write_jsonl

FIRST, LAST = date(2026, 1, 4), date(2026, 2, 28)


@pytest.fixture
def sources(tmp_path):
    made_market.write_prices(tmp_path / "prices", ("ACME", "BRK-B"), FIRST, LAST)
    return Sources(tmp_path / "raw", prices=tmp_path / "prices", per_minute=1e6)


@pytest.fixture
def served(monkeypatch):
    """Start a loopback Finnhub with these companies and point the environment at it."""
    running = []

    def serve(companies):
        server = FinnhubServer(companies).__enter__()
        running.append(server)
        for name in ("FINNHUB_BASE_URL", "FINNHUB_API_KEY", "NO_PROXY"):
            monkeypatch.setenv(name, server.environment()[name])
        return server

    yield serve
    for server in running:
        server.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("yahoo", "finnhub"),
    [("BRK-B", "BRK.B"), ("AAPL", "AAPL"), ("SAP.DE", "SAP.DE"), ("BTC-USD", "BTC-USD")],
)
def test_a_class_of_shares_has_another_name_at_finnhub(yahoo, finnhub):
    assert finnhub_symbol(yahoo) == finnhub


def test_everything_of_a_company_comes_together(sources, served):
    server = served(
        {
            "ACME": made_market.company("ACME", FIRST, LAST),
            "BRK.B": made_market.company("B", FIRST, LAST),
        }
    )
    gathered = gather(["ACME", "BRK-B"], FIRST, LAST, sources)
    acme = gathered.companies["ACME"]
    assert len(acme.news) > 50 and len(acme.quarters) == 4 and len(acme.filings) == 4
    assert (
        acme.profile["name"] == "Acme Works"
        and gathered.companies["BRK-B"].profile["name"] == "B Works"
    )
    assert gathered.notes == [] and gathered.calls == server.calls


def test_a_symbol_outside_the_plan_is_named_and_the_others_go_on(sources, served):
    server = served({"ACME": made_market.company("ACME", FIRST, LAST)})
    server.fail("company-news", FORBIDDEN, times=9, symbol="BRK.B")
    server.fail("stock/profile2", FORBIDDEN, times=9, symbol="BRK.B")
    gathered = gather(["ACME", "BRK-B"], FIRST, LAST, sources)
    assert gathered.companies["ACME"].news and not gathered.companies["BRK-B"].news
    assert sum("BRK.B" in note and "403" in note for note in gathered.notes) == 2


def test_a_day_with_more_news_than_an_answer_holds_is_named(sources, served):
    noon = datetime(2026, 1, 7, 12, tzinfo=UTC)
    served({"ACME": {"news": [news_item(number, noon, "ACME") for number in range(300)]}})
    notes = gather(["ACME"], FIRST, LAST, sources).notes
    assert "ACME: more news than one answer holds on 2026-01-07; some of it is missing" in notes


def test_items_without_a_time_are_counted_and_left_out(sources, served):
    """Finnhub has such items: their time is 0, and a window that starts in 1970 would serve them."""
    good = news_item(1, datetime(2026, 1, 7, 12, tzinfo=UTC), "ACME")
    served(
        {
            "ACME": {
                "news": [
                    good,
                    news_item(2, datetime(2026, 1, 8, tzinfo=UTC), "ACME") | {"headline": None},
                ]
            }
        }
    )
    gathered = gather(["ACME"], FIRST, LAST, sources)
    assert [item.headline for item in gathered.companies["ACME"].news] == ["ACME makes its news 1"]
    assert "ACME: 1 news items without time or headline were left out" in gathered.notes


def test_symbols_without_prices_are_named_with_the_reason(sources, served):
    served({"ACME": made_market.company("ACME", FIRST, LAST)})
    gathered = gather(["ACME", "GONE"], FIRST, LAST, sources)
    assert gathered.no_prices == {"GONE": "no file"} and set(gathered.companies) == {"ACME"}
    later = gather(["ACME"], FIRST, LAST, sources)
    assert later.companies["ACME"].news == gathered.companies["ACME"].news
    with pytest.raises(
        ValueError, match=r"no prices from 2030-01-06 to 2030-02-02 for any of 1 symbols"
    ):
        gather(["ACME"], date(2030, 1, 6), date(2030, 2, 2), sources)


def test_news_files_need_no_key(sources, tmp_path, monkeypatch):
    monkeypatch.delenv("FINNHUB_API_KEY", raising=False)
    path = tmp_path / "news.jsonl"
    write_jsonl(path, [news_item(1, datetime(2026, 1, 7, 12, tzinfo=UTC), "ACME")])
    gathered = gather(
        ["ACME", "BRK-B"], FIRST, LAST, Sources(sources.raw, sources.prices, news=[path])
    )
    assert len(gathered.companies["ACME"].news) == 1 and gathered.companies["ACME"].profile is None
    assert "the news files have nothing on BRK-B" in gathered.notes
    assert "FINNHUB_API_KEY is not set: introductions and financials are left out" in gathered.notes


def test_a_bad_row_of_a_news_file_is_named(sources, tmp_path):
    path = tmp_path / "news.jsonl"
    write_jsonl(path, [{"headline": "x", "datetime": 0}])
    with pytest.raises(ValueError, match=r"news.jsonl, row 1: datetime is 0"):
        gather(["ACME"], FIRST, LAST, Sources(sources.raw, sources.prices, news=[path]))


def test_news_from_finnhub_without_a_key_is_an_error_that_names_it(sources, monkeypatch):
    monkeypatch.delenv("FINNHUB_API_KEY", raising=False)
    with pytest.raises(PermissionError, match="FINNHUB_API_KEY is not set"):
        gather(["ACME"], FIRST, LAST, sources)
