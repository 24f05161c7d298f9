"""Trading weeks: which are complete, what they returned, and when a forecast is decided."""

from datetime import date

import pytest

from data_pipeline.records.calendar import (
    decision_time,
    exchange_of,
    shares_factor,
    sunday_on_or_before,
    weekly_return,
    weeks_of,
)
from tests.support.market_frames import daily
from weekahead.task.labels import label_of_return

FIRST, LAST = date(2026, 1, 4), date(2026, 2, 28)


def weeks(frame, exchange="XNYS", first=FIRST, last=LAST):
    return {str(start): week for start, week in weeks_of(frame, exchange, first, last).items()}


def test_a_week_runs_from_sunday_to_saturday():
    assert [sunday_on_or_before(date(2026, 1, day)) for day in (4, 5, 10)] == [date(2026, 1, 4)] * 3
    assert sunday_on_or_before(date(2026, 1, 11)) == date(2026, 1, 11)


def test_a_return_runs_from_last_close_to_last_close():
    result = weeks(daily(FIRST, LAST))
    before, week = result["2026-01-04"], result["2026-01-11"]
    assert (before.close, week.close) == (104.0, 109.0)  # five sessions each
    assert weekly_return(before, week) == pytest.approx(109 / 104 - 1)


def test_a_holiday_is_no_missing_session():
    """Monday the 19th was Martin Luther King day."""
    result = weeks(daily(FIRST, LAST))["2026-01-18"]
    assert result.missing is None
    assert result.closed_at == "2026-01-23T21:00:00+00:00"


def test_a_partial_last_week_gets_no_return():
    result = weeks(daily(FIRST, date(2026, 2, 18)))
    assert result["2026-02-08"].missing is None
    assert result["2026-02-15"].missing == "2 of 4 sessions: the prices end before 2026-02-19"
    with pytest.raises(ValueError, match=r"2 of 4 sessions.*a return needs two complete weeks"):
        weekly_return(result["2026-02-08"], result["2026-02-15"])


@pytest.mark.parametrize("price", [float("nan"), 0.0, -1.0, None])
def test_a_halted_day_makes_its_week_incomplete_and_no_other(price):
    frame = daily(FIRST, LAST)
    if price is None:
        frame = frame.drop("2026-01-14")
    else:
        frame.loc["2026-01-14", "close"] = price
    result = weeks(frame)
    assert result["2026-01-11"].missing == "1 of 5 sessions: no price on 2026-01-14"
    assert result["2026-01-04"].missing is None is result["2026-01-18"].missing


def test_a_flat_week_has_a_return_of_zero_and_a_bin():
    result = weeks(daily(FIRST, LAST, closes=[50.0] * 38))
    flat = weekly_return(result["2026-01-04"], result["2026-01-11"])
    assert flat == 0.0
    assert label_of_return(flat) == "up by 0-1%"


def test_dividends_are_in_the_return_and_not_in_the_close():
    """100 to 99 on the day of a dividend of 1 is no loss."""
    closes = [100.0] * 5 + [99.0] * 33
    result = weeks(daily(FIRST, LAST, closes, dividends=[(date(2026, 1, 12), 1.0)]))
    assert (result["2026-01-04"].close, result["2026-01-11"].close) == (100.0, 99.0)
    assert weekly_return(result["2026-01-04"], result["2026-01-11"]) == pytest.approx(0.0)


def test_a_split_that_nobody_knew_yet_is_taken_out_of_a_price():
    """Yahoo shows 90 for a day on which the share stood at 900, once it has been split ten to
    one.
    """
    frame = daily(FIRST, LAST, splits=[(date(2026, 2, 2), 10.0), (date(2026, 2, 20), 2.0)])
    assert shares_factor(frame, date(2026, 1, 10)) == 20.0
    assert shares_factor(frame, date(2026, 2, 2)) == 2.0  # on the day itself it is known
    assert shares_factor(frame, date(2026, 2, 20)) == 1.0


def test_a_price_in_doubt_makes_its_week_incomplete_and_no_other():
    frame = daily(FIRST, LAST)
    frame["doubt"] = ""
    frame.loc["2026-01-15", "doubt"] = "100 times the sessions before and after"
    result = weeks(frame)
    assert result["2026-01-11"].missing == (
        "the price of 2026-01-15 is in doubt (100 times the sessions before and after)"
    )
    assert result["2026-01-11"].close is None
    assert result["2026-01-04"].missing is None is result["2026-01-18"].missing


@pytest.mark.parametrize(
    ("symbol", "exchange"),
    [
        ("AAPL", "XNYS"),
        ("BRK-B", "XNYS"),
        ("SAP.DE", "XETR"),
        ("ASML.as", "XAMS"),
        ("BTC-USD", "24/7"),
        ("eth-gbp", "24/7"),
        ("UNI7083-USDT", "24/7"),
        ("BAC-PL", "XNYS"),
        ("^GSPC", "XNYS"),
    ],
)
def test_the_exchange_is_told_by_the_symbol(symbol, exchange):
    assert exchange_of(symbol) == exchange


def test_an_unknown_suffix_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"7203\.T: no exchange is known.*\.DE"):
        exchange_of("7203.T")


@pytest.mark.parametrize("symbol", ["EURUSD=X", "GC=F", "^N225", "^FTSE"])
def test_what_trades_at_other_hours_is_refused(symbol):
    """Currencies, futures and indices abroad: a week of New York's sessions would be wrong."""
    with pytest.raises(ValueError, match="no exchange is known for it; expected a share"):
        exchange_of(symbol)


@pytest.mark.parametrize(
    ("exchange", "sunday", "moment"),
    [
        ("XNYS", date(2026, 1, 4), "2026-01-04T05:00:00+00:00"),
        (
            "XNYS",
            date(2026, 3, 8),
            "2026-03-08T05:00:00+00:00",
        ),  # the clocks change two hours later
        ("XNYS", date(2026, 3, 15), "2026-03-15T04:00:00+00:00"),
        ("XETR", date(2026, 1, 4), "2026-01-03T23:00:00+00:00"),
        ("XETR", date(2026, 7, 5), "2026-07-04T22:00:00+00:00"),
        ("24/7", date(2026, 1, 4), "2026-01-04T00:00:00+00:00"),
    ],
)
def test_a_decision_falls_on_the_exchanges_own_midnight(exchange, sunday, moment, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert decision_time(exchange, sunday) == moment


def test_pairs_trade_on_weekends():
    frame = daily(FIRST, LAST, exchange="24/7")
    result = weeks(frame, "24/7")
    assert result["2026-01-11"].close == 113.0  # Saturday the 17th, the fourteenth day
    frame = frame.drop("2026-01-17")
    assert weeks(frame, "24/7")["2026-01-11"].missing == "1 of 7 sessions: no price on 2026-01-17"


def test_real_prices_give_a_week_for_every_week(shared_data):
    from data_pipeline.providers.price_files import read_prices
    from data_pipeline.records.price_gate import check_prices

    frame = read_prices(shared_data / "prices_daily", ["AAPL"]).frame("AAPL")
    frame = check_prices("AAPL", frame, date(2026, 1, 1)).frame
    result = weeks_of(frame, "XNYS", date(2013, 2, 10), date(2018, 1, 28))
    assert len(result) == 260
    assert [week.start for week in result.values() if week.missing] == []
