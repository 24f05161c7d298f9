"""Daily prices from files: the forms they come in, and what is wrong with them."""

import pandas
import pytest

from data_pipeline.providers.price_files import read_prices, without_dividends

YFINANCE = """Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits
2031-01-03,9.0,10.5,8.5,10.0,9.5,1000,0.0,0.0
2031-01-06,10.0,11.0,9.0,5.5,5.4,2000,0.1,2.0
"""
PLAIN = """date,open,high,low,close,volume,Name
2031-01-03,9.0,10.5,8.5,10.0,1000,LKMR
2031-01-06,10.0,11.0,9.0,11.0,2000,LKMR
"""


def read(folder, text, name="LKMR.csv"):
    (folder / name).write_text(text)
    return read_prices(folder)["LKMR"]


def days(frame):
    return [str(day.date()) for day in frame.index]


def test_the_form_of_yfinance(tmp_path):
    frame = read(tmp_path, YFINANCE)
    assert days(frame) == ["2031-01-03", "2031-01-06"]
    assert frame.to_dict("list") == {
        "close": [10.0, 5.5],
        "adj_close": [9.5, 5.4],
        "split": [1.0, 2.0],
    }
    assert without_dividends({"LKMR": frame}) == []


def test_a_file_without_adjusted_closes_says_so(tmp_path):
    frame = read(tmp_path, PLAIN, "LKMR_data.csv")
    assert frame.to_dict("list") == {
        "close": [10.0, 11.0],
        "adj_close": [10.0, 11.0],
        "split": [1.0, 1.0],
    }
    assert without_dividends({"LKMR": frame}) == ["LKMR"]


def test_columns_are_found_whatever_their_case(tmp_path):
    """Also after a byte order mark."""
    frame = read(tmp_path, "\ufeffDATE,close,ADJ CLOSE\n2031-01-03,2,1\n")
    assert frame.to_dict("list") == {"close": [2.0], "adj_close": [1.0], "split": [1.0]}


def test_a_day_is_the_day_at_the_exchange(tmp_path):
    """Midnight in Helsinki is the day before in UTC; an offset changes with daylight saving
    time.
    """
    text = """Date,Close
2031-03-28 00:00:00+02:00,1
2031-03-31 00:00:00+03:00,2
2031-04-01T00:00:00+03:00,3
"""
    assert days(read(tmp_path, text)) == ["2031-03-28", "2031-03-31", "2031-04-01"]


@pytest.mark.parametrize("zone", [None, "America/New_York", "Europe/Helsinki", "Pacific/Auckland"])
def test_parquet_with_days_as_index_or_as_column(tmp_path, zone):
    index = pandas.date_range(
        "2031-03-28", periods=5, name="Date", tz=zone
    )  # over a change of the clocks
    table = pandas.DataFrame(
        {"Close": range(1, 6), "Adj Close": range(1, 6), "Stock Splits": [0.0, 0, 3, 0, 0]}, index
    )
    table.to_parquet(tmp_path / "A.parquet")
    table.reset_index().to_parquet(tmp_path / "B.parquet", index=False)
    read = read_prices(tmp_path)
    assert days(read["A"]) == ["2031-03-28", "2031-03-29", "2031-03-30", "2031-03-31", "2031-04-01"]
    assert list(read["A"]["split"]) == [1.0, 1.0, 3.0, 1.0, 1.0]
    assert read["A"].index.tz is None
    pandas.testing.assert_frame_equal(read["A"], read["B"])


def test_prices_that_are_none_stay_as_nan(tmp_path):
    text = "Date,Close,Adj Close\n" + "".join(
        f"2031-01-{n:02},{value}\n"
        for n, value in enumerate(["2,1", ",", "0,0", "-1,-1", "nan,nan", "inf,2", "3,"], 1)
    )
    frame = read(tmp_path, text)
    assert frame["close"].isna().tolist() == [False, True, True, True, True, True, False]
    assert frame["adj_close"].isna().tolist() == [False, True, True, True, True, False, True]
    assert frame["split"].tolist() == [1.0] * 7


def test_every_digit_of_a_price_is_kept(tmp_path):
    value = 73.79750061035156
    assert read(tmp_path, f"Date,Close\n2031-01-03,{value!r}\n")["close"].iloc[0] == value


def test_days_are_sorted_and_repeated_rows_merged(tmp_path):
    lines = YFINANCE.splitlines()
    frame = read(tmp_path, "\n".join([lines[0], lines[2], lines[1], lines[2]]))
    assert days(frame) == ["2031-01-03", "2031-01-06"] and frame["close"].tolist() == [10.0, 5.5]


def test_a_day_with_two_prices_is_an_error_with_both(tmp_path):
    with pytest.raises(ValueError) as error:
        read(tmp_path, PLAIN + "2031-01-06,1,1,1,11.5,1,LKMR\n")
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'LKMR.csv'}: 2031-01-06 is there twice")
    assert "'close': 11.0" in text and "'close': 11.5" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Date,Open\n2031-01-03,1\n",
            "missing column close; expected Date and Close, .*found date, open",
        ),
        ("Price,Close\nTicker,LKMR\n", "missing column date"),
        ("Date,Close\n2031-01-03,ten\n", "column close: expected numbers .*'ten'"),
        (
            "Date,Close\n03/01/2031,1\n",
            "column date: expected days such as 2026-01-05 .*03/01/2031",
        ),
        ("Date,Close\n2031-01-03,1\n,1\n", "column date: empty in data row 2"),
        ("", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"LKMR\.csv.*{message}"):
        read(tmp_path, text)


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "LKMR.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match=r"LKMR\.parquet: cannot be read"):
        read_prices(tmp_path)


def test_only_the_symbols_asked_for_are_read(tmp_path):
    (tmp_path / "A.csv").write_text(YFINANCE)
    (tmp_path / "B_data.csv").write_text(PLAIN)
    (tmp_path / "C.csv").write_text("broken")
    (tmp_path / "complete.json").write_text("{}")
    assert list(read_prices(tmp_path, ["B", "A", "NONE"])) == ["B", "A"]
    for folder, symbols in [(tmp_path, ["NONE"]), (tmp_path / "absent", None)]:
        with pytest.raises(
            ValueError, match=r"no prices; expected one file per symbol, such as (NONE|AAPL)\.csv"
        ):
            read_prices(folder, symbols)


def test_two_files_of_one_symbol_are_an_error(tmp_path):
    (tmp_path / "A.csv").write_text(YFINANCE)
    (tmp_path / "A_data.csv").write_text(PLAIN)
    with pytest.raises(ValueError, match=r"A\.csv and A_data\.csv both hold A"):
        read_prices(tmp_path)


def test_the_real_daily_prices(shared_data):
    prices = read_prices(shared_data / "prices_daily")
    assert len(prices) == 40
    assert without_dividends(prices) == list(prices)
    for frame in prices.values():
        assert frame.index.is_monotonic_increasing and frame.index.is_unique
        assert frame["close"].notna().all()
    assert days(prices["AAPL"])[0] == "2013-02-08" and prices["AAPL"]["close"].iloc[0] == 67.8542
