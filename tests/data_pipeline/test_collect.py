"""Gathering what is known of each company: what is not to be had is named, and never stops the
others.
"""

import json
from collections import Counter
from datetime import UTC, date, datetime

import pytest

from data_pipeline.providers import table
from data_pipeline.providers.base import (
    FundamentalsAnswer,
    NewsAnswer,
    Profile,
    ProviderSettings,
    Story,
)
from data_pipeline.providers.finnhub import Finnhub
from data_pipeline.providers.finnhub_rows import finnhub_symbol
from data_pipeline.providers.price_files import PriceFiles
from data_pipeline.providers.table import (
    FUNDAMENTALS_PROVIDERS,
    NEWS_PROVIDERS,
    Sources,
    open_sources,
)
from data_pipeline.records.collect import gather
from tests.support import market as made_market
from tests.support.servers.finnhub import FORBIDDEN, FinnhubServer, news_item
from tests.support.tiny import ROOT
from weekahead.files import write_jsonl

FIRST, LAST = date(2026, 1, 4), date(2026, 2, 28)
NOON = datetime(2026, 1, 7, 12, tzinfo=UTC)


@pytest.fixture
def prices(tmp_path):
    folder = tmp_path / "prices"
    made_market.write_prices(folder, ("ACME", "BRK-B"), FIRST, LAST)
    return folder


@pytest.fixture
def gathered(tmp_path, prices):
    """Gather symbols from the price files and, without `news_files`, from Finnhub."""

    def gather_symbols(symbols, news_files=(), first=FIRST, last=LAST):
        settings = ProviderSettings(tmp_path / "raw", finnhub_per_minute=1e6)
        sources = open_sources(settings, symbols, price_folder=prices, news_files=news_files)
        return gather(symbols, first, last, sources)

    gather_symbols.raw = tmp_path / "raw"
    return gather_symbols


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


def test_everything_of_a_company_comes_together(gathered, served):
    companies = {
        "ACME": made_market.company("ACME", FIRST, LAST),
        "BRK.B": made_market.company("B", FIRST, LAST),
    }
    server = served(companies)
    result = gathered(["ACME", "BRK-B"])
    acme = result.companies["ACME"]
    assert len(acme.news) > 50 and len(acme.quarters) == 4 and len(acme.filings) == 4
    assert acme.profile == Profile("Acme Works", "Machinery")
    assert result.companies["BRK-B"].profile.name == "B Works"
    assert result.notes == [] and result.calls == server.calls


def test_a_symbol_outside_the_plan_is_named_and_others_go_on(gathered, served):
    server = served({"ACME": made_market.company("ACME", FIRST, LAST)})
    server.fail("company-news", FORBIDDEN, times=9, symbol="BRK.B")
    server.fail("stock/profile2", FORBIDDEN, times=9, symbol="BRK.B")
    result = gathered(["ACME", "BRK-B"])
    assert result.companies["ACME"].news and not result.companies["BRK-B"].news
    assert sum("BRK.B" in note and "403" in note for note in result.notes) == 2
    assert "Finnhub: no news about BRK-B" in result.notes


def test_quarters_without_filings_are_dated_by_a_lag(gathered, served):
    server = served({"ACME": made_market.company("ACME", FIRST, LAST)})
    server.fail("stock/financials-reported", FORBIDDEN, times=9, symbol="ACME")
    result = gathered(["ACME"])
    assert not any(quarter.filed for quarter in result.companies["ACME"].quarters)
    assert result.notes[0].endswith("its quarters are dated by their end plus 45 days")


def test_a_day_with_too_much_news_is_named(gathered, served):
    served({"ACME": {"news": [news_item(number, NOON, "ACME") for number in range(300)]}})
    notes = gathered(["ACME"]).notes
    assert "ACME: more news than one answer holds on 2026-01-07; some is missing" in notes


def test_items_without_a_headline_are_counted_and_left_out(gathered, served):
    """Finnhub has items without a time as well: it is 0, and a window from 1970 on would serve
    them.
    """
    good = news_item(1, NOON, "ACME")
    bad = {**news_item(2, datetime(2026, 1, 8, tzinfo=UTC), "ACME"), "headline": None}
    served({"ACME": {"news": [good, bad]}})
    result = gathered(["ACME"])
    assert [item.headline for item in result.companies["ACME"].news] == ["ACME makes its news 1"]
    assert "ACME: 1 news items without time or headline were left out" in result.notes


def test_symbols_without_prices_are_named_with_the_reason(gathered, served):
    served({"ACME": made_market.company("ACME", FIRST, LAST)})
    result = gathered(["ACME", "GONE"])
    assert result.no_prices == {"GONE": "no file"} and set(result.companies) == {"ACME"}
    later = gathered(["ACME"])
    assert later.companies["ACME"].news == result.companies["ACME"].news
    message = r"no prices from 2030-01-06 to 2030-02-02 for any of 1 symbols"
    with pytest.raises(ValueError, match=message):
        gathered(["ACME"], first=date(2030, 1, 6), last=date(2030, 2, 2))


def test_news_files_need_no_key(gathered, tmp_path):
    path = tmp_path / "news.jsonl"
    alpaca = {"headline": "Acme hires", "created_at": "2026-01-08T12:00:00Z", "symbols": ["ACME"]}
    write_jsonl(path, [news_item(1, NOON, "ACME"), alpaca])
    result = gathered(["ACME", "BRK-B"], news_files=[path])
    acme = result.companies["ACME"]
    assert [item.headline for item in acme.news] == ["ACME makes its news 1", "Acme hires"]
    assert acme.profile is None and not result.calls
    assert result.notes == [
        "news files: no news about BRK-B",
        "FINNHUB_API_KEY is not set: introductions and financials are left out",
    ]


def test_news_files_may_name_a_class_of_shares_as_finnhub_does(gathered, tmp_path):
    path = tmp_path / "news.jsonl"
    write_jsonl(path, [news_item(1, NOON, "BRK.B"), news_item(2, NOON, "BRK-B")])
    assert len(gathered(["BRK-B"], news_files=[path]).companies["BRK-B"].news) == 2


def test_with_a_key_news_files_get_company_facts_as_well(gathered, tmp_path, served):
    server = served({"ACME": made_market.company("ACME", FIRST, LAST)})
    path = tmp_path / "news.jsonl"
    write_jsonl(path, [news_item(1, NOON, "ACME")])
    result = gathered(["ACME"], news_files=[path])
    assert result.companies["ACME"].profile == Profile("Acme Works", "Machinery")
    assert "company-news" not in server.calls and result.calls == server.calls


def test_bad_rows_of_a_news_file_are_counted_and_the_others_stay(gathered, tmp_path):
    path = tmp_path / "news.jsonl"
    good = [json.dumps(news_item(n, NOON, "ACME")) for n in range(4)]
    path.write_text("\n".join([*good, '{"headline": "x", "datetime": null}', '{"cut', "[1]"]))
    result = gathered(["ACME", "BRK-B"], news_files=[path])
    assert len(result.companies["ACME"].news) == 4
    assert any(
        note.startswith("news.jsonl: 3 of 7 rows left out, the first is row 5: datetime is None")
        for note in result.notes
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"headline": "x", "datetime": 0}', "row 1: datetime is 0"),
        ('{"title": "x"}', "row 1: neither `datetime` nor `created_at`"),
        ("not JSON", "row 1: not JSON"),
    ],
)
def test_a_news_file_of_bad_rows_is_an_error(gathered, tmp_path, text, message):
    path = tmp_path / "news.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"news.jsonl, {message}"):
        gathered(["ACME"], news_files=[path])


def test_items_with_ids_of_two_kinds_or_none_are_all_kept(gathered, served):
    """An item without a time is left out and counted."""
    items = [news_item(n, NOON, "ACME") for n in range(4)]
    items[1]["id"], items[2]["id"] = "x9", None
    del items[3]["id"]
    timeless = {**news_item(9, NOON, "ACME"), "datetime": None}
    path = served_answer(gathered, served, [*items, timeless, "no item"])
    assert len(path.companies["ACME"].news) == 4
    assert "ACME: 2 news items without time or headline were left out" in path.notes


def served_answer(gathered, served, rows):
    """What is gathered if a stored answer of January holds `rows`."""
    served({"ACME": made_market.company("ACME", FIRST, LAST) | {"news": []}})
    raw = gathered(["ACME"]) and gathered.raw
    (answer,) = (raw / "finnhub/company-news/ACME").glob("2026-01-01_*.json")
    answer.write_text(json.dumps(rows))
    return gathered(["ACME"])


def test_a_symbol_with_prices_that_make_no_sense_is_left_out(gathered, served, prices):
    served({"ACME": made_market.company("ACME", FIRST, LAST)})
    lines = (prices / "ACME.csv").read_text().splitlines()
    days = [line.split(",")[0] for line in lines[1:]]
    (prices / "FLAT.csv").write_text("Date,Close\n" + "\n".join(f"{day},5" for day in days))
    (prices / "TEXT.csv").write_text("Date,Close\n" + "\n".join(f"{day},five" for day in days))
    result = gathered(["ACME", "FLAT", "TEXT"])
    assert set(result.companies) == {"ACME"}
    assert result.no_prices["FLAT"].startswith("the price is 5 in all of")
    assert "column close: expected numbers, found 'five'" in result.no_prices["TEXT"]
    with pytest.raises(ValueError, match=r"no usable prices .* \(FLAT: the price is 5"):
        gathered(["FLAT"])


def test_finnhub_without_a_key_is_an_error_that_names_it(gathered):
    with pytest.raises(PermissionError, match="FINNHUB_API_KEY is not set"):
        gathered(["ACME"])


class AnotherProvider:
    """News and facts as a provider that nobody knows yet would give them."""

    name = "Another"

    def __init__(self):
        self.calls = Counter({"stories": 3})

    def news(self, symbol, first, last):
        story = Story((symbol,), f"{symbol} opens a plant", "", NOON)
        return NewsAnswer([story] if symbol == "ACME" else [], ["news since 2025 alone"])

    def fundamentals(self, symbol, last):
        figures = {date(2025, 9, 30): {"eps": 1.0}}
        return FundamentalsAnswer(Profile(symbol), figures, notes=["no filings before 2020"])


def test_any_provider_of_the_protocol_will_do(prices):
    other = AnotherProvider()
    sources = Sources(PriceFiles(prices), other, other)
    result = gather(["ACME", "BRK-B"], FIRST, LAST, sources)
    assert [len(company.news) for company in result.companies.values()] == [1, 0]
    assert result.companies["ACME"].quarters[0].known_at == "2025-11-14T05:00:00+00:00"
    assert result.notes == [
        "Another: no news about BRK-B",
        "news since 2025 alone",
        "no filings before 2020",
    ]
    assert result.calls == other.calls, "one provider of both counts once"


class AnotherLiveProvider(AnotherProvider):
    """The same behind a network, with a key."""

    KEY_VARIABLE = "ANOTHER_API_KEY"
    FOLDER = "another"

    @classmethod
    def open(cls, settings):
        return cls()


def test_a_new_provider_of_news_is_one_line_in_the_table(prices, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "NEWS_PROVIDERS", (Finnhub, AnotherLiveProvider))
    assert table.news_key_variables() == "FINNHUB_API_KEY or ANOTHER_API_KEY"
    assert not table.has_news_provider(tmp_path)
    monkeypatch.setenv("ANOTHER_API_KEY", "k")
    assert table.has_news_provider(tmp_path)
    sources = open_sources(ProviderSettings(tmp_path), ["ACME"], price_folder=prices)
    result = gather(["ACME"], FIRST, LAST, sources)
    assert [item.headline for item in result.companies["ACME"].news] == ["ACME opens a plant"]
    assert result.notes[-1].startswith("FINNHUB_API_KEY is not set: introductions")


def test_every_key_is_in_the_example_of_the_environment():
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    for provider in (*NEWS_PROVIDERS, *FUNDAMENTALS_PROVIDERS):
        assert f"{provider.KEY_VARIABLE}=" in lines
