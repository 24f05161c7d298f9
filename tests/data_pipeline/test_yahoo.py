"""Downloads through the real yfinance from a Yahoo on loopback."""

import json
import logging
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
import yfinance

from data_pipeline.providers import yahoo
from data_pipeline.providers.price_files import read_prices
from tests.support.servers.yahoo import Chart, YahooServer, redirect

ROOT = Path(__file__).parents[2]
FIRST, LAST, TODAY = date(2031, 1, 3), date(2031, 1, 10), date(2031, 2, 1)
DAYS = [date(2031, 1, n) for n in (2, 3, 6, 7, 8, 9, 10, 13)]


@pytest.fixture(autouse=True, scope="module")
def caches(tmp_path_factory):
    yfinance.set_tz_cache_location(str(tmp_path_factory.mktemp("yfinance")))


@pytest.fixture
def server(monkeypatch):
    with YahooServer({}) as server:
        redirect(monkeypatch, server.url)
        yield server


def chart(start=100.0, **changes):
    """A close that grows by one a day, adjusted to nine tenths of it."""
    return Chart([(day, start + n, 0.9 * (start + n)) for n, day in enumerate(DAYS)], **changes)


def download(symbols, folder, first=FIRST, last=LAST, today=TODAY):
    return yahoo.download(symbols, first, last, folder, today=lambda: today)


def window(folder, symbols=None):
    """The prices of the window itself; the files hold more, for the sake of splits."""
    return {
        symbol: table.frame.loc[str(FIRST) : str(LAST)]
        for symbol, table in read_prices(folder, symbols).tables.items()
    }


def days(frame):
    return [day.date() for day in frame.index]


def test_one_ticker_with_both_ends_of_the_window(server, tmp_path):
    server.charts["LKMR"] = chart()
    result = download(["LKMR"], tmp_path)
    assert result == yahoo.Download(tmp_path / "2031-01-03_2031-01-10")
    prices = window(result.folder)
    assert days(prices["LKMR"]) == DAYS[1:7]
    assert prices["LKMR"]["close"].tolist() == [101.0, 102.0, 103.0, 104.0, 105.0, 106.0]
    assert prices["LKMR"]["adj_close"].tolist() == pytest.approx(
        [0.9 * (101 + n) for n in range(6)]
    )
    header = (result.folder / "LKMR.csv").read_text().splitlines()[0]
    assert header.split(",")[:7] == ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]


def test_dividends_and_splits_are_kept(server, tmp_path):
    server.charts["LKMR"] = chart(
        dividends={DAYS[3]: 0.25}, splits={DAYS[4]: (4, 1), DAYS[6]: (1, 10)}
    )
    folder = download(["LKMR"], tmp_path).folder
    assert window(folder)["LKMR"]["split"].tolist() == [1.0, 1.0, 1.0, 4.0, 1.0, 0.1]
    rows = [line.split(",") for line in (folder / "LKMR.csv").read_text().splitlines()]
    column = rows[0].index("Dividends")
    assert [float(row[column]) for row in rows[2:8]] == [0, 0, 0.25, 0, 0, 0]


def test_a_split_after_the_window_is_known_too(server, tmp_path):
    """Yahoo divides the closes of the window by it already."""
    from data_pipeline.records.calendar import shares_factor

    after = date(2031, 1, 13)
    server.charts["LKMR"] = chart(splits={after: (10, 1)})
    frame = read_prices(download(["LKMR"], tmp_path).folder).frame("LKMR")
    assert (
        after > LAST and shares_factor(frame, LAST) == 10.0 and shares_factor(frame, after) == 1.0
    )


def test_two_tickers_of_two_exchanges_keep_their_own_days(server, tmp_path):
    server.charts["LKMR"] = chart()
    server.charts["QHB.HE"] = Chart(
        [(day, 50.0, 50.0) for day in DAYS if day.day != 6], zone="Europe/Helsinki"
    )
    result = download(["QHB.HE", "LKMR"], tmp_path)
    prices = window(result.folder, ["LKMR", "QHB.HE"])
    assert result.missing == {} and len(prices["LKMR"]) == 6
    assert days(prices["QHB.HE"]) == [day for day in DAYS[1:7] if day.day != 6]


def test_a_halted_day_stays_a_day_without_a_price(server, tmp_path):
    rows = [(day, None if day.day == 7 else 10.0, None if day.day == 7 else 9.0) for day in DAYS]
    server.charts["LKMR"] = Chart(rows, dividends={date(2031, 1, 7): 0.5})
    server.charts["OTHR"] = chart()
    frame = window(download(["LKMR", "OTHR"], tmp_path).folder)["LKMR"]
    assert (
        frame.loc["2031-01-07", ["close", "adj_close"]].isna().all()
        and frame["close"].notna().sum() == 5
    )


def test_an_unknown_ticker_is_named_and_not_asked_for_again(server, tmp_path):
    server.charts["LKMR"] = chart()
    result = download(["LKMR", "GONE"], tmp_path)
    assert (
        list(result.missing) == ["GONE"]
        and result.missing["GONE"] == "a ticker that Yahoo does not know (404)"
    )
    assert result.again == () and list(read_prices(result.folder).tables) == ["LKMR"]
    assert download(["LKMR", "GONE"], tmp_path) == result
    assert download(["GONE"], tmp_path).missing == result.missing
    assert server.asked == {"LKMR": 1}


def test_a_ticker_that_has_nothing_but_gaps_is_missing(server, tmp_path):
    server.charts["LKMR"] = chart()
    server.charts["GAPS"] = Chart([(day, None, None) for day in DAYS])
    server.charts["LATE"] = Chart([(date(2031, 3, 3), 1.0, 1.0)])
    result = download(["LKMR", "GAPS", "LATE"], tmp_path)
    assert result.missing["GAPS"] == "no day with a price in the window"
    assert result.missing["LATE"].startswith("possibly delisted; no price data found")
    assert result.again == () and list(read_prices(result.folder).tables) == ["LKMR"]


def test_only_a_new_ticker_of_a_window_is_downloaded(server, tmp_path):
    """What is complete is not downloaded again."""
    server.charts |= {"LKMR": chart(), "OTHR": chart(7.0)}
    first = download(["LKMR"], tmp_path)
    stored = (first.folder / "LKMR.csv").stat().st_mtime_ns
    download(["LKMR"], tmp_path)
    download(["LKMR", "OTHR"], tmp_path)
    assert server.asked == {"LKMR": 1, "OTHR": 1}
    assert (first.folder / "LKMR.csv").stat().st_mtime_ns == stored
    assert sorted(read_prices(first.folder).tables) == ["LKMR", "OTHR"]
    (first.folder / "OTHR.csv").unlink()
    assert download(["LKMR", "OTHR"], tmp_path).missing == {}
    assert server.asked == {"LKMR": 1, "OTHR": 2}


def test_without_its_marker_a_window_is_not_trusted(server, tmp_path):
    server.charts["LKMR"] = chart()
    folder = download(["LKMR"], tmp_path).folder
    (folder / "complete.json").unlink()
    (folder / "LKMR.csv").write_text("Date,Close\n2031-01-03,1\n")
    download(["LKMR"], tmp_path)
    assert len(window(folder)["LKMR"]) == 6
    (folder / "complete.json").write_text("{")
    with pytest.raises(ValueError, match=r"complete\.json cannot be read.*; remove this file"):
        download(["LKMR"], tmp_path)


def test_a_window_into_today_ends_yesterday(server, tmp_path):
    server.charts["LKMR"] = chart()
    result = download(["LKMR"], tmp_path, last=date(2031, 1, 20), today=date(2031, 1, 9))
    assert (
        result.note
        == "prices up to 2031-01-08, not 2031-01-20: a day is fetched when it is over (UTC)"
    )
    assert result.folder.name == "2031-01-03_2031-01-08"
    assert days(read_prices(result.folder).frame("LKMR"))[-1] == date(2031, 1, 8)
    with pytest.raises(ValueError, match="no day is over yet"):
        download(["LKMR"], tmp_path, today=FIRST)


def test_a_rate_limit_is_an_error_and_stores_nothing(server, tmp_path):
    server.charts |= {"RTEA": chart(status=429), "RTEB": chart(status=429)}
    with pytest.raises(
        ConnectionError,
        match=r"no prices for 2 symbols \(RTEA: .*Too Many Requests.*wait some minutes",
    ):
        download(["RTEA", "RTEB"], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "reason"), [(429, "Too Many Requests"), (500, "JSONDecodeError")]
)
def test_a_ticker_without_a_proper_answer_is_asked_for_again(server, tmp_path, status, reason):
    server.charts |= {"LKMR": chart(), "RTEC": chart(status=status)}
    result = download(["LKMR", "RTEC"], tmp_path)
    assert result.again == ("RTEC",) and reason in result.missing["RTEC"]
    server.charts["RTEC"].status = 200
    result = download(["LKMR", "RTEC"], tmp_path)
    assert result.missing == {} and sorted(read_prices(result.folder).tables) == ["LKMR", "RTEC"]
    assert server.asked["LKMR"] == 1


def test_a_network_that_is_down_is_not_taken_for_a_delisting(server, tmp_path, monkeypatch):
    server.charts["LKMR"] = chart()
    stored = download(
        ["LKMR"], tmp_path
    ).folder  # yfinance now knows its time zone, and asks for no more than prices
    redirect(monkeypatch, "http://127.0.0.1:9")
    for symbol in ("LKMR", "DOWN"):
        with pytest.raises(
            ConnectionError, match=rf"no prices for 1 symbols \({symbol}: ConnectionError"
        ):
            download([symbol], tmp_path, last=LAST - timedelta(days=1))
    assert list(tmp_path.iterdir()) == [stored]


def test_a_process_without_a_network_ends_in_one_error(tmp_path):
    """Without any noise."""
    code = (
        "from datetime import date; from data_pipeline.providers.yahoo import download\n"
        "try: download(['LKMR', 'QHB.HE'], date(2026, 1, 2), date(2026, 1, 9), 'prices')\n"
        "except ConnectionError as error: print(error)"
    )
    closed = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **closed, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.stderr == "" and result.stdout.startswith(
        "Yahoo gave no prices for 2 symbols (LKMR: "
    )
    assert len(result.stdout.splitlines()) == 1 and not (tmp_path / "prices").exists()


def test_yfinance_is_left_as_it_was(server, tmp_path):
    server.charts["LKMR"] = chart()
    download(["LKMR", "NIL"], tmp_path)
    assert not any(
        isinstance(handler, yahoo._ErrorCollector)
        for handler in logging.getLogger("yfinance").handlers
    )
    assert yfinance.config.debug.hide_exceptions is True


def recorded(shared_data, name):
    return json.loads((shared_data / "yahoo_chart_responses" / f"{name}.json").read_bytes())[
        "response"
    ]["bodyJson"]


@pytest.mark.parametrize(
    ("name", "symbol", "splits", "dividends"),
    [
        (
            "historical-via-chart-NVDA-split-2021-02-01-to-2022-01-31.csv",
            "NVDA",
            {date(2021, 7, 20): 4.0},
            [],
        ),
        (
            "historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.csv",
            "MSFT",
            {},
            [0.56, 0.56, 0.56, 0.62],
        ),
    ],
)
def test_recorded_answers_with_a_split_and_with_dividends(
    server, shared_data, tmp_path, name, symbol, splits, dividends
):
    body = recorded(shared_data, name)
    server.charts[symbol] = Chart(body=json.dumps(body).encode())
    result = download([symbol], tmp_path, first=date(2021, 2, 1), last=date(2022, 1, 30))
    frame = read_prices(result.folder).frame(symbol)
    chart = body["chart"]["result"][0]
    assert frame["adj_close"].tolist() == chart["indicators"]["adjclose"][0]["adjclose"]
    assert {day.date(): ratio for day, ratio in frame["split"].items() if ratio != 1.0} == splits
    rows = [line.split(",") for line in (result.folder / f"{symbol}.csv").read_text().splitlines()]
    column = rows[0].index("Dividends")
    assert [float(row[column]) for row in rows[1:] if float(row[column])] == dividends
    if splits:  # Yahoo's closes before a split are in the shares of today
        moves = frame["close"].pct_change().dropna()
        assert moves.abs().max() < 0.15


@pytest.mark.parametrize(
    "name", ["chart-notimestamp-quotes-length.fake", "chart-notimestamp-weird-quote.fake"]
)
def test_a_recorded_body_without_timestamps_is_reported(server, shared_data, tmp_path, name):
    symbol = "NOTIME" + name[18].upper()
    server.charts |= {
        symbol: Chart(body=json.dumps(recorded(shared_data, name)).encode()),
        "LKMR": chart(),
    }
    result = download([symbol, "LKMR"], tmp_path)
    assert "timestamp" in result.missing[symbol] and result.again == (symbol,)
    assert download([symbol, "LKMR"], tmp_path) == result
    with pytest.raises(ConnectionError, match=f"{symbol}: KeyError"):
        download([symbol], tmp_path, last=LAST - timedelta(days=1))
