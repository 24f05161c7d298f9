"""Inputs from providers: files here, or Finnhub on loopback; nothing later than the decision."""

from datetime import date, timedelta

import pytest

from data_pipeline.records.assemble import records_of
from forecast.company.inputs import LiveSources, live_inputs, live_symbols
from forecast.journal.__main__ import main
from forecast.journal.enter import inputs_sha256
from forecast.journal.ledger import read_ledger
from tests.support.market import news, write_prices
from weekahead.files import write_jsonl
from weekahead.task.record import look_ahead

WEEK = date(2026, 1, 4)
FIRST = date(2025, 10, 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Prices of two companies up to the day before WEEK, and news up to its end."""
    folder = tmp_path_factory.mktemp("files")
    last = WEEK - timedelta(days=1)
    write_prices(folder / "prices", ("AAA", "BBB"), FIRST, last)
    items = [item for symbol in ("AAA", "BBB") for item in news(symbol, FIRST, WEEK)]
    write_jsonl(folder / "news.jsonl", items)
    return folder


def sources(files, prices="prices"):
    return LiveSources(files / "data", files / prices, (files / "news.jsonl",))


def test_a_week_to_come_has_inputs_and_no_return(files):
    known = live_inputs(["AAA", "BBB", "CCC"], WEEK, sources(files))
    assert [record.symbol for record in known.records] == ["AAA", "BBB"]
    assert known.left_out == {"CCC": "no prices: no file"}
    for record in known.records:
        assert record.weekly_return is None and record.last_week_return is not None
        assert record.decision_time == "2026-01-04T05:00:00+00:00"
        assert record.weeks[-1].end == "2026-01-04" and record.weeks[-1].news
        assert not look_ahead(record)


def test_a_prompt_shows_as_many_weeks_as_asked_for(files):
    for count in (1, 4):
        (shown,) = live_inputs(["AAA"], WEEK, sources(files), count).records
        assert len(shown.weeks) == count and shown.weeks[-1].end == "2026-01-04"


def test_later_prices_and_news_change_no_byte(files):
    """A price file that goes on, as it does when the week has passed."""
    later = WEEK + timedelta(days=20)
    write_prices(files / "longer", ("AAA", "BBB"), FIRST, later)
    items = [item for symbol in ("AAA", "BBB") for item in news(symbol, FIRST, later)]
    write_jsonl(files / "longer.jsonl", items)
    longer = LiveSources(files / "data", files / "longer", (files / "longer.jsonl",))
    before = live_inputs(["AAA", "BBB"], WEEK, sources(files)).records
    after = live_inputs(["AAA", "BBB"], WEEK, longer).records
    assert before == after
    assert list(map(inputs_sha256, before)) == list(map(inputs_sha256, after))


def test_a_week_is_forecast_as_it_would_be_in_a_dataset(files):
    """Once its return is known, the same record comes out of the pipeline."""
    from data_pipeline.providers.base import ProviderSettings
    from data_pipeline.providers.table import open_sources
    from data_pipeline.records.collect import gather

    later = WEEK + timedelta(days=20)
    write_prices(files / "whole", ("AAA", "BBB"), FIRST, later)
    opened = open_sources(
        ProviderSettings(files / "data/raw"),
        ["AAA"],
        price_folder=files / "whole",
        news_files=(files / "news.jsonl",),
    )
    company = gather(["AAA"], FIRST, later, opened).companies["AAA"]
    (whole,) = records_of(company, [WEEK]).records
    (ours,) = live_inputs(["AAA"], WEEK, sources(files)).records
    assert whole.weekly_return is not None
    assert inputs_sha256(whole) == inputs_sha256(ours)


def entry_words(files, journal, symbols):
    words = ["enter", "--journal", str(journal), "--date", str(WEEK), "--symbols", symbols]
    words += ["--prices", str(files / "prices"), "--news", str(files / "news.jsonl")]
    return [*words, "--data", str(files / "data")]


def test_the_command_enters_from_files(files, tmp_path, monkeypatch, capsys):
    """What the sources did not have is said."""
    monkeypatch.delenv("FINNHUB_API_KEY", raising=False)
    assert main(entry_words(files, tmp_path, "aaa BBB")) == 0
    assert "note: FINNHUB_API_KEY is not set" in capsys.readouterr().out
    ledger = read_ledger(tmp_path)
    assert {line["symbol"] for line in ledger.forecasts} == {"AAA", "BBB"}
    assert {line["opens_at"] for line in ledger.forecasts} == {"2026-01-05T14:30:00+00:00"}


@pytest.mark.parametrize("symbols", ["AAA CCC", "CCC"])
def test_a_company_that_no_source_knows_is_named(symbols, files, tmp_path, capsys):
    """Nothing is entered without it."""
    assert main(entry_words(files, tmp_path / "j", symbols)) == 2
    assert "CCC" in capsys.readouterr().err
    assert not (tmp_path / "j").exists()


def test_a_company_that_was_forecast_before_does_not_stop_the_others(files, tmp_path, capsys):
    assert main(entry_words(files, tmp_path, "AAA BBB")) == 0
    later = WEEK + timedelta(days=7)
    write_prices(files / "prices", ("AAA",), FIRST, later - timedelta(days=1))
    (files / "prices" / "BBB.csv").unlink()
    words = entry_words(files, tmp_path, "AAA BBB")
    assert main([str(later) if word == str(WEEK) else word for word in words]) == 0
    assert "left out: BBB: no prices" in capsys.readouterr().out
    assert read_ledger(tmp_path).weeks[str(later)]["left_out"] == {"BBB": "no prices: no file"}


def test_without_news_nothing_is_entered(files, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("FINNHUB_API_KEY", raising=False)
    words = ["enter", "--journal", str(tmp_path / "j"), "--date", str(WEEK), "--symbols", "AAA"]
    assert main([*words, "--prices", str(files / "prices"), "--data", str(tmp_path)]) == 2
    assert "no news: set FINNHUB_API_KEY" in capsys.readouterr().err
    assert not (tmp_path / "j").exists()


def test_a_week_that_lies_ahead_has_no_inputs(tmp_path, capsys):
    words = ["enter", "--journal", str(tmp_path / "j"), "--date", "2099-01-04", "--symbols", "AAA"]
    assert main(words) == 2
    assert "the week of 2099-01-04 lies ahead" in capsys.readouterr().err


def test_symbols_are_checked_before_anything_is_asked():
    assert live_symbols(["msft", "AAPL", "MSFT"], "dow30", WEEK) == ["AAPL", "MSFT"]
    assert len(live_symbols([], "dow30", WEEK)) == 30
    for symbols, index, said in (
        (["A/B"], None, "expected a ticker"),
        (["X.QQ"], None, "no exchange is known"),
        ([], "dow", "unknown index 'dow'"),
        ([], None, "no company is named"),
    ):
        with pytest.raises(ValueError, match=said):
            live_symbols(symbols, index, WEEK)
