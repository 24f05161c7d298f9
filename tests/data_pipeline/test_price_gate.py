"""The gate for prices: what a source got wrong is mended for sure or doubted; what is real stays.

A case is a made-up series of 120 sessions, spoiled in one way. What the gate lets through must give
the true returns and the true prices of the day.
"""

from datetime import date, timedelta
from itertools import pairwise

import numpy
import pandas
import pytest
from exchange_calendars import get_calendar

from data_pipeline.records.calendar import shares_factor, weekly_return, weeks_of
from data_pipeline.records.price_gate import check_prices

FIRST, LAST, TODAY = date(2025, 1, 2), date(2025, 6, 27), date(2026, 1, 1)
DAYS = get_calendar("XNYS", start="1990-01-01").sessions_in_range(str(FIRST), str(LAST))
EVENT = "2025-05-14"
"""A Wednesday, on which the split takes place."""


def series(seed=7):
    moves = numpy.random.default_rng(seed).normal(0, 0.014, len(DAYS))
    return pandas.Series((100 * numpy.exp(numpy.cumsum(moves))).round(2), DAYS)


BASE = series()
VOLUME = pandas.Series(numpy.random.default_rng(3).integers(700_000, 1_300_000, len(DAYS)), DAYS)


def before(day):
    return day > DAYS


def frame(close, adj_close=None, split=None, dividend=None, volume=VOLUME):
    """Columns as a source has them; `split` and `dividend` map days to values."""
    columns = {"close": close}
    if adj_close is not None:
        columns["adj_close"] = adj_close
    if volume is not None:
        columns["volume"] = volume.astype(float)
    for name, events, usual in (("split", split, 1.0), ("dividend", dividend, 0.0)):
        if events is not None:
            column = pandas.Series(usual, DAYS)
            for day, value in events.items():
                column[day] = value
            columns[name] = column
    return pandas.DataFrame(columns)


def plain(close, **columns):
    return frame(close, close, {}, {}, **columns)


def last_of(prices, week):
    """The price of the last session of a week."""
    return prices[str(week.start) : str(week.start + timedelta(days=6))].iloc[-1]


def assert_true(checked, returns=BASE, as_traded=BASE, kept=20):
    """Whatever is complete has the true return and shows the true price of its day.

    `kept` is the least number of pairs of complete weeks.
    """
    weeks = weeks_of(checked.frame, "XNYS", date(2025, 1, 5), LAST).values()
    pairs = [(a, b) for a, b in pairwise(weeks) if not a.missing and not b.missing]
    for earlier, week in pairs:
        true = last_of(returns, week) / last_of(returns, earlier) - 1
        assert weekly_return(earlier, week) == pytest.approx(true, abs=2e-3), week.start
        shown = week.close * shares_factor(checked.frame, week.start + timedelta(days=6))
        assert shown == pytest.approx(last_of(as_traded, week), rel=5e-3), week.start
    assert len(pairs) >= kept


def missing(checked):
    weeks = weeks_of(checked.frame, "XNYS", date(2025, 1, 5), LAST)
    return {str(start): week.missing for start, week in weeks.items() if week.missing}


RATIOS = [4.0, 2.0, 1.5, 20.0, 0.1, 1 / 3]


def split_in(ratio, day=EVENT):
    """As-traded closes of a split on `day`."""
    return BASE.where(before(day), BASE / ratio)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("unapplied", ["none", "close", "adjusted", "both"])
def test_a_split_is_applied_to_what_lacks_it(ratio, unapplied):
    """The step of each column at the split says whether it contains the split."""
    raw, applied = split_in(ratio), BASE / ratio
    close = raw if unapplied in ("close", "both") else applied
    adjusted = raw if unapplied in ("adjusted", "both") else applied
    checked = check_prices("ACME", frame(close, adjusted, {EVENT: ratio}, {}), TODAY)
    assert_true(checked, as_traded=raw, kept=24)
    assert bool(checked.notes) == (unapplied != "none") and checked.no_capitalization is None


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("day", ["2025-05-13", "2025-05-15", "2025-04-28", "2025-05-29"])
def test_a_split_that_begins_on_another_day(ratio, day):
    """A day shifted, or applied to the sessions next to it only: its weeks are left out."""
    spoiled = split_in(ratio, day)
    checked = check_prices("ACME", frame(spoiled, spoiled, {EVENT: ratio}, {}), TODAY)
    assert_true(checked, as_traded=split_in(ratio), kept=17)
    assert "2025-05-11" in missing(checked) and checked.no_capitalization


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("last", ["2025-04-30", "2025-04-11", "2025-05-13"])
@pytest.mark.parametrize("column", ["both", "close", "adjusted"])
@pytest.mark.parametrize("volume", [VOLUME, None])
def test_some_sessions_without_the_split(ratio, last, column, volume):
    spoiled = BASE / ratio
    spoiled["2025-04-10":last] = BASE["2025-04-10":last]
    close = spoiled if column != "adjusted" else BASE / ratio
    adjusted = spoiled if column != "close" else BASE / ratio
    source = frame(close, adjusted, {EVENT: ratio}, {}, volume)
    checked = check_prices("ACME", source, TODAY)
    assert_true(checked, as_traded=split_in(ratio), kept=10)
    assert "2025-04-06" in missing(checked)


@pytest.mark.parametrize("ratio", [4.0, 2.0, 0.1])
def test_a_split_applied_twice_leaves_nothing_before_it(ratio):
    """So does a ratio that is written the other way round."""
    spoiled = (BASE / ratio).where(~before(EVENT), BASE / ratio**2)
    checked = check_prices("ACME", frame(spoiled, spoiled, {EVENT: ratio}, {}), TODAY)
    assert_true(checked, as_traded=BASE / ratio, kept=5)
    assert "applied twice or inverted" in missing(checked)["2025-01-05"]


@pytest.mark.parametrize("ratio", [4.0, 2.0, 10.0, 0.1])
@pytest.mark.parametrize("volume", [VOLUME, None, VOLUME.where(before(EVENT), VOLUME * 4)])
@pytest.mark.parametrize("columns", ["close", "all"])
def test_an_unlisted_split_is_doubted(ratio, volume, columns):
    """Also if the volume is higher for good, as after a split it is."""
    raw = split_in(ratio)
    source = plain(raw, volume=volume) if columns == "all" else frame(raw, volume=volume)
    checked = check_prices("ACME", source, TODAY)
    assert list(missing(checked)) == ["2025-05-11"]
    assert "a split or an error" in missing(checked)["2025-05-11"] and checked.no_capitalization


def test_an_unlisted_split_of_three_for_two_needs_a_volume_to_be_told():
    checked = check_prices("ACME", plain(split_in(1.5)), TODAY)
    assert list(missing(checked)) == ["2025-05-11"]


def test_an_error_of_one_column_shows_in_the_ratio_of_the_two():
    """However small: 3 % for a month."""
    spoiled = BASE.copy()
    spoiled["2025-04-10":"2025-05-08"] *= 1.03
    checked = check_prices("ACME", frame(spoiled, BASE, {}, {}), TODAY)
    assert_true(checked, kept=17)
    assert len(missing(checked)) == 5


def test_as_traded_closes_beside_adjusted_ones_show_the_split():
    """Without a column of splits."""
    checked = check_prices("ACME", frame(split_in(4.0), BASE / 4), TODAY)
    assert_true(checked, as_traded=split_in(4.0), kept=24)
    assert checked.no_capitalization == "the level of its prices is in doubt"


@pytest.mark.parametrize("factor", [100, 0.01, 1000, 10, 1.25, 0.8])
@pytest.mark.parametrize("span", ["04-14 04-17", "04-16 04-16", "04-11 04-11"])
@pytest.mark.parametrize("columns", ["close", "adj_close", "both"])
def test_sessions_at_another_level_are_doubted(factor, span, columns):
    """A unit switch, a fat finger. A small one is told in one session alone."""
    first, last = span.split()
    if factor in (1.25, 0.8):
        first = last
    spoiled = BASE.copy()
    spoiled[f"2025-{first}" : f"2025-{last}"] *= factor
    close = spoiled if columns != "adj_close" else BASE
    adjusted = spoiled if columns != "close" else BASE
    checked = check_prices("ACME", frame(close, adjusted, {}, {}), TODAY)
    assert_true(checked, kept=22)
    assert len(missing(checked)) == 1 and len(checked.notes) == 1
    assert "sessions before and after" in checked.notes[0]


@pytest.mark.parametrize("factor", [100, 0.01])
def test_a_unit_switch_for_good_costs_its_week_and_the_capitalization(factor):
    spoiled = BASE.where(before("2025-04-14"), BASE * factor)
    checked = check_prices("ACME", plain(spoiled), TODAY)
    assert_true(checked, as_traded=spoiled, kept=22)
    assert list(missing(checked)) == ["2025-04-13"] and checked.no_capitalization


@pytest.mark.parametrize("session", [0, -1, -2])
def test_a_wrong_price_at_either_end_is_doubted(session):
    spoiled = BASE.copy()
    spoiled.iloc[session] *= 100
    checked = check_prices("ACME", plain(spoiled), TODAY)
    assert_true(checked, kept=22)
    assert checked.frame["doubt"].iloc[session]


PAYS = {"2025-03-14": 1.2, "2025-05-09": 5.0}


def paid(dividends=PAYS, scale=1.0):
    """(close, adjusted close) of a company that pays; `scale` spoils the adjustment."""
    close = BASE - sum((~before(day)) * amount for day, amount in PAYS.items())
    factor = pandas.Series(1.0, DAYS)
    for day, amount in dividends.items():
        factor[before(day)] *= 1 - scale * amount / close[before(day)].iloc[-1]
    return close.round(2), (close.round(2) * factor).round(6)


def test_dividends_that_agree_pass():
    close, adjusted = paid()
    checked = check_prices("ACME", frame(close, adjusted, {}, PAYS), TODAY)
    assert_true(checked, returns=adjusted, as_traded=close, kept=24)
    assert checked.notes == []


@pytest.mark.parametrize("columns", [{}, {"split": {}, "dividend": PAYS}])
def test_close_and_adjusted_close_exchanged_are_put_right(columns):
    close, adjusted = paid()
    checked = check_prices("ACME", frame(adjusted, close, **columns), TODAY)
    assert_true(checked, returns=adjusted, as_traded=close, kept=24)
    assert any("exchanged" in note for note in checked.notes)


@pytest.mark.parametrize(
    ("dividends", "scale", "weeks"),
    [
        ({}, 1, {"2025-03-09", "2025-05-04"}),
        ({"2025-03-14": 1.2}, 1, {"2025-05-04"}),
        (PAYS, 2, {"2025-03-09", "2025-05-04"}),
        (PAYS, 0.01, {"2025-03-09", "2025-05-04"}),
        (PAYS, 0.8, {"2025-03-09", "2025-05-04"}),
        ({"2025-03-14": 1.2, "2025-05-12": 5.0}, 1, {"2025-05-04", "2025-05-11"}),
    ],
    ids=["none", "one missing", "twice", "pence", "another currency", "another day"],
)
def test_dividends_that_the_adjusted_close_lacks(dividends, scale, weeks):
    close, spoiled = paid(dividends, scale)
    checked = check_prices("ACME", frame(close, spoiled, {}, PAYS), TODAY)
    assert_true(checked, returns=paid()[1], as_traded=close, kept=18)
    assert set(missing(checked)) == weeks


def test_adjusted_closes_alone_are_shown_and_said():
    """The form of yfinance's auto_adjust, and a file with an adjusted close only."""
    _, adjusted = paid()
    automatic = frame(adjusted, None, {}, PAYS)
    only = frame(BASE, adjusted, {}, {}).drop(columns="close")
    for source in (automatic, only):
        checked = check_prices("ACME", source, TODAY)
        assert_true(checked, returns=adjusted, as_traded=adjusted, kept=24)
        assert "prompts show dividend-adjusted prices" in checked.notes[0]
        assert checked.no_capitalization == "its closes are adjusted for dividends"
        assert not any("leave out dividends" in note for note in checked.notes)


@pytest.mark.parametrize("kind", ["zero", "none", "copied", "absent"])
def test_a_halt_that_is_filled_forward_is_doubted(kind):
    halted, volume = BASE.copy(), VOLUME.astype(float)
    halted["2025-04-28":"2025-05-09"] = BASE["2025-04-25"]
    volume["2025-04-28":"2025-05-09"] = {"zero": 0.0, "copied": volume["2025-04-25"]}.get(
        kind, float("nan")
    )
    source = plain(halted, volume=None if kind == "absent" else volume)
    checked = check_prices("ACME", source, TODAY)
    assert list(missing(checked)) == ["2025-04-27", "2025-05-04"]


def test_one_session_without_a_trade_is_a_halt():
    volume = VOLUME.astype(float)
    volume["2025-05-02"] = 0.0
    halted = BASE.copy()
    halted["2025-05-02"] = BASE["2025-05-01"]
    checked = check_prices("ACME", plain(halted, volume=volume), TODAY)
    assert "no trade" in missing(checked)["2025-04-27"]


def test_a_volume_that_is_never_there_tells_nothing():
    """As for an index."""
    quiet = BASE.copy()
    quiet["2025-05-02"] = BASE["2025-05-01"]
    checked = check_prices("ACME", plain(quiet, volume=VOLUME * 0), TODAY)
    assert missing(checked) == {}


SURGE = VOLUME.where(DAYS != "2025-04-16", VOLUME * 12)
GAMESTOP = [17.69, 19.94, 31.4, 39.91, 35.5, 39.36, 39.12, 43.03, 65.01, 76.79, 147.98, 347.51]
GAMESTOP += [193.6, 325.0, 225.0, 90.0, 92.41, 53.5, 63.77]


def squeeze():
    """The closes of January 2021 that everybody knows, and volumes of their order."""
    close, volume = BASE * 0.17, VOLUME * 6.0
    close.iloc[60:79] = GAMESTOP
    close.iloc[79:] *= 63 / close.iloc[79]
    volume.iloc[62:78] *= 12
    return close.round(2), volume


@pytest.mark.parametrize(
    ("close", "volume"),
    [
        (BASE.where(before("2025-04-16"), BASE * 0.3), SURGE),
        (BASE.where(before("2025-04-16"), BASE * 0.3), VOLUME),
        (BASE.where(before("2025-04-16"), BASE * 0.5), SURGE),
        (BASE.where(before("2025-04-16"), BASE * 2.4), SURGE),
        (BASE.where(before("2025-04-16"), BASE * 0.62), None),
        squeeze(),
    ],
    ids=["-70 % on news", "-70 %", "halved on news", "bought", "-38 %", "squeeze"],
)
def test_real_moves_stay(close, volume):
    checked = check_prices("ACME", plain(close, volume=volume), TODAY)
    assert missing(checked) == {}
    assert_true(checked, returns=close, as_traded=close, kept=24)
    large = close.pct_change().abs().max() > 0.5
    assert any(note.startswith("kept a move") for note in checked.notes) == large


def test_a_special_dividend_is_no_error():
    close = BASE.where(before("2025-05-09"), BASE - 30).round(2)
    last = close[before("2025-05-09")].iloc[-1]
    adjusted = close.where(~before("2025-05-09"), close * (1 - 30 / last))
    for columns in ({}, {"split": {}, "dividend": {"2025-05-09": 30.0}}):
        assert missing(check_prices("ACME", frame(close, adjusted, **columns), TODAY)) == {}


def test_weekends_and_rows_ahead_are_left_out_and_counted():
    every = pandas.date_range(FIRST, LAST)
    filled = plain(BASE).reindex(every, method="ffill")
    checked = check_prices("ACME", filled, TODAY)
    assert_true(checked, kept=24)
    assert checked.notes[0] == f"{len(every) - len(DAYS)} rows on days without a session left out"
    ahead = check_prices("ACME", plain(BASE), date(2025, 6, 1))
    assert ahead.frame.index[-1].date() == date(2025, 5, 30)
    assert ahead.notes == ["19 rows after 2025-06-01 left out"]


def test_a_split_on_a_day_without_a_session_counts_from_the_next():
    source = plain(BASE / 4)
    source.loc[pandas.Timestamp("2025-05-11")] = float("nan")
    source.loc["2025-05-11", "split"] = 4.0
    checked = check_prices("ACME", source.sort_index(), TODAY)
    assert_true(checked, as_traded=split_in(4.0, "2025-05-12"), kept=24)


@pytest.mark.parametrize("days", [-1, 1])
def test_shifted_days_are_refused(days):
    source = plain(BASE)
    source.index += pandas.Timedelta(days=days)
    with pytest.raises(ValueError, match=r"days are no sessions of XNYS .* shifted"):
        check_prices("ACME", source, TODAY)


def test_a_price_that_never_moves_is_refused():
    with pytest.raises(ValueError, match="the price is 100 in all of 121 sessions"):
        check_prices("ACME", plain(BASE * 0 + 100), TODAY)


@pytest.mark.parametrize("scale", [1.25e-7, 3e-11, 5000.0])
def test_any_scale_of_prices_passes_unchanged(scale):
    checked = check_prices("ACME", plain(BASE * scale), TODAY)
    assert checked.notes == [] and checked.frame["close"].tolist() == (BASE * scale).tolist()


def test_no_false_alarm_on_the_real_daily_prices(shared_data):
    """One session of 50,360 is doubted, and it is an error of the source: MRK, 14 % off a day."""
    from data_pipeline.providers.price_files import read_prices

    doubted = []
    for symbol, table in read_prices(shared_data / "prices_daily").tables.items():
        doubt = check_prices(symbol, table.frame, TODAY).frame["doubt"]
        doubted += [(symbol, str(day.date())) for day in doubt[doubt != ""].index]
    assert doubted == [("MRK", "2017-09-14")]


def test_days_that_are_shifted_in_winter_alone_are_refused():
    """They are fewer than a tenth of all, and each leaves a gap in its week."""
    source = plain(BASE)
    source.index = [day - timedelta(days=day < pandas.Timestamp("2025-03-09")) for day in DAYS]
    with pytest.raises(ValueError, match="the days look shifted"):
        check_prices("ACME", source, TODAY)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_large_dividend_that_no_column_contains(share):
    """Closes as traded beside a column of dividends: the loss on that day is none."""
    raw = BASE.where(before(EVENT), BASE * (1 - share)).round(2)
    paid = round(share * BASE[before(EVENT)].iloc[-1], 2)
    checked = check_prices("ACME", frame(raw, None, {}, {EVENT: paid}), TODAY)
    assert_true(checked, as_traded=raw)
    assert "not adjusted for dividends" in missing(checked)["2025-05-11"]
    assert any("add a column Adj Close" in note for note in checked.notes)


@pytest.mark.parametrize("paid", [0.2, 10.0])
def test_adjusted_closes_beside_dividends_stay(paid):
    checked = check_prices("ACME", frame(BASE, None, {}, {EVENT: paid}), TODAY)
    assert_true(checked, kept=24)


@pytest.mark.parametrize("ratio", [1.05, 1.1])
def test_a_stock_dividend_that_the_prices_lack(ratio):
    """It is as small as a day's move, so its week is left out; if applied, nothing is."""
    raw = split_in(ratio)
    checked = check_prices("ACME", frame(raw, raw, {EVENT: ratio}, {}), TODAY)
    assert "may not contain the split" in missing(checked)["2025-05-11"]
    assert_true(checked, as_traded=raw)
    applied = check_prices("ACME", frame(raw, BASE / ratio, {EVENT: ratio}, {}), TODAY)
    assert_true(applied, as_traded=raw, kept=24)
