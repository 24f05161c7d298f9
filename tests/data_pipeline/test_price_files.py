"""Daily prices from files: the forms they come in, and what is wrong with them."""

from datetime import date

import pandas
import pytest

from data_pipeline.providers.price_files import PriceFiles, read_prices

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
    return read_prices(folder).frame("LKMR")


def days(frame):
    return [str(day.date()) for day in frame.index]


def test_the_form_of_yfinance(tmp_path):
    frame = read(tmp_path, YFINANCE)
    assert days(frame) == ["2031-01-03", "2031-01-06"]
    assert frame.to_dict("list") == {
        "close": [10.0, 5.5],
        "adj_close": [9.5, 5.4],
        "split": [1.0, 2.0],
        "dividend": [0.0, 0.1],
        "volume": [1000.0, 2000.0],
    }


def test_a_file_has_the_columns_that_it_has(tmp_path):
    """What is not there is not made up."""
    frame = read(tmp_path, PLAIN, "LKMR_data.csv")
    assert frame.to_dict("list") == {"close": [10.0, 11.0], "volume": [1000.0, 2000.0]}


@pytest.mark.parametrize(
    "name",
    [
        "Adj Close",
        "adj_close",
        "adjusted_close",
        "Adj. Close",
        "adjClose",
        "AdjClose",
        "Close_adj",
        "close (adjusted)",
        "5. adjusted close",
        "ADJ CLOSE",
    ],
)
def test_the_adjusted_close_is_found_under_its_names(tmp_path, name):
    """Also after a byte order mark."""
    frame = read(tmp_path, f"\ufeffDATE,close,{name}\n2031-01-03,2,1\n")
    assert frame.to_dict("list") == {"close": [2.0], "adj_close": [1.0]}


def test_an_unadjusted_close_is_no_adjusted_one(tmp_path):
    frame = read(tmp_path, "date,closeadj,closeunadj\n2031-01-03,1,2\n")
    assert frame.to_dict("list") == {"close": [2.0], "adj_close": [1.0]}


TWO_LEVELS = """Price,Close,Close,Stock Splits,Stock Splits
Ticker,LKMR,OTHR,LKMR,OTHR
Date,,,,
2031-01-03,10.0,7.0,0.0,3.0
"""


def test_the_two_header_lines_of_yfinance(tmp_path):
    """With another symbol beside ours, in either order of the lines."""
    lines = TWO_LEVELS.splitlines()
    for text in (TWO_LEVELS, "\n".join([lines[1], lines[0], *lines[2:]])):
        assert read(tmp_path, text).to_dict("list") == {"close": [10.0], "split": [1.0]}


@pytest.mark.parametrize("levels", [["Price", "Ticker"], ["Ticker", "Price"], None])
def test_parquet_with_columns_of_two_levels(tmp_path, levels):
    index = pandas.DatetimeIndex(["2031-01-03"], name="Date")
    table = pandas.DataFrame({"Close": [10.0], "Adj Close": [9.0]}, index)
    pairs = [(name, "LKMR") for name in table.columns]
    if levels is None:
        table.columns = [str(pair) for pair in pairs]
    else:
        pairs = [pair if levels[0] == "Price" else pair[::-1] for pair in pairs]
        table.columns = pandas.MultiIndex.from_tuples(pairs, names=levels)
    table.to_parquet(tmp_path / "LKMR.parquet")
    frame = read_prices(tmp_path).frame("LKMR")
    assert frame.to_dict("list") == {"close": [10.0], "adj_close": [9.0]}
    assert days(frame) == ["2031-01-03"]


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
    first, second = read.frame("A"), read.frame("B")
    assert days(first) == ["2031-03-28", "2031-03-29", "2031-03-30", "2031-03-31", "2031-04-01"]
    assert list(first["split"]) == [1.0, 1.0, 3.0, 1.0, 1.0]
    assert first.index.tz is None
    pandas.testing.assert_frame_equal(first, second)


def test_prices_that_are_none_stay_as_nan(tmp_path):
    text = "Date,Close,Adj Close\n" + "".join(
        f"2031-01-{n:02},{value}\n"
        for n, value in enumerate(["2,1", ",", "0,0", "-1,-1", "nan,nan", "inf,2", "3,"], 1)
    )
    frame = read(tmp_path, text)
    assert frame["close"].isna().tolist() == [False, True, True, True, True, True, False]
    assert frame["adj_close"].isna().tolist() == [False, True, True, True, True, False, True]


def test_every_digit_of_a_price_is_kept(tmp_path):
    value = 73.79750061035156
    assert read(tmp_path, f"Date,Close\n2031-01-03,{value!r}\n")["close"].iloc[0] == value


def test_days_are_sorted_and_repeated_rows_merged(tmp_path):
    lines = YFINANCE.splitlines()
    frame = read(tmp_path, "\n".join([lines[0], lines[2], lines[1], lines[2]]))
    assert days(frame) == ["2031-01-03", "2031-01-06"] and frame["close"].tolist() == [10.0, 5.5]


MANY = "Date,Close,Adj Close\n" + "".join(f"2031-03-{n:02},{n}.5,{n}\n" for n in range(1, 31))


@pytest.mark.parametrize("order", [1, -1])
def test_a_second_row_without_a_price_gives_way(tmp_path, order):
    lines = [*MANY.splitlines()[1:], "2031-03-14,,"]
    frame = read(tmp_path, "\n".join([MANY.splitlines()[0], *lines[::order]]))
    assert len(frame) == 30 and frame.loc["2031-03-14"].tolist() == [14.5, 14.0]


def test_a_day_with_two_prices_is_left_without_one(tmp_path):
    (tmp_path / "LKMR.csv").write_text(MANY + "2031-03-14,15,14\n")
    answer = PriceFiles(tmp_path).prices(["LKMR"], date(2031, 3, 1), date(2031, 3, 30))
    assert answer.frames["LKMR"]["close"].isna().sum() == 1
    assert answer.notes == ["LKMR: rows with different prices, so without a price: 2031-03-14"]


@pytest.mark.parametrize("text", ["ten", "1,2,3", "12.5p"])
def test_a_cell_that_is_no_number_is_counted(tmp_path, text):
    (tmp_path / "LKMR.csv").write_text(MANY.replace("2031-03-14,14.5", f'2031-03-14,"{text}"'))
    table = read_prices(tmp_path).tables["LKMR"]
    assert table.frame["close"].isna().sum() == 1
    assert f"1 cells of column close are no numbers (the first is '{text}'" in table.notes[0]


def test_a_row_without_a_day_is_counted(tmp_path):
    (tmp_path / "LKMR.csv").write_text(MANY + ",1,1\n2031-04-01,2,2,3,4\n")
    table = read_prices(tmp_path).tables["LKMR"]
    assert len(table.frame) == 30
    assert table.notes == [
        "1 rows have more cells than the first line, left out",
        "1 rows without a day left out (the first is '' in data row 31)",
    ]


@pytest.mark.parametrize(
    "written",
    [
        "%Y/%m/%d",
        "%Y%m%d",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d.%m.%Y",
        "%b %d %Y",
        "%d-%b-%Y",
        "%Y-%m-%d 16:00:00",
    ],
)
def test_days_are_read_in_their_forms(tmp_path, written):
    index = pandas.date_range("2031-03-01", periods=30)
    table = pandas.DataFrame({"Date": index.strftime(written), "Close": range(1, 31)})
    assert days(read(tmp_path, table.to_csv(index=False))) == [str(d.date()) for d in index]


@pytest.mark.parametrize("unit", [1, 1000, 10**6, 10**9])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Helsinki"])
def test_epochs_are_days_at_the_exchange(tmp_path, unit, zone):
    """Midnight in Helsinki is another day in UTC; it is an epoch all the same."""
    index = pandas.date_range("2031-03-01", periods=30)
    seconds = [int(day.tz_localize(zone).timestamp()) * unit for day in index]
    table = pandas.DataFrame({"Date": seconds, "Close": range(1, 31)})
    table.to_csv(tmp_path / "LKMR.csv", index=False)
    frame = read_prices(tmp_path, ["LKMR"], {"LKMR": zone}).frame("LKMR")
    assert days(frame) == [str(day.date()) for day in index]


def test_times_with_a_zone_are_days_at_the_exchange(tmp_path):
    (tmp_path / "LKMR.csv").write_text("Date,Close\n2031-03-02 22:00:00+00:00,1\n")
    frame = read_prices(tmp_path, ["LKMR"], {"LKMR": "Europe/Helsinki"}).frame("LKMR")
    assert days(frame) == ["2031-03-03"]


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1.234,5", "999,25"], [1234.5, 999.25]),
        (["1,234.5", "999.25"], [1234.5, 999.25]),
        (["1'234.50", "$999.25"], [1234.5, 999.25]),
        (["1 234,50", "999,2"], [1234.5, 999.2]),
        (["1,234", "999.5"], [1234.0, 999.5]),
        (["1e3", "-"], [1000.0, None]),
    ],
)
def test_numbers_are_read_in_their_forms(tmp_path, cells, numbers):
    rows = [f"2031-01-0{n};{cell}" for n, cell in enumerate(cells, start=3)]
    frame = read(tmp_path, "Date;Close\n" + "\n".join(rows))
    assert frame["close"].astype(object).where(frame["close"].notna(), None).tolist() == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Date,Open\n2031-01-03,1\n",
            "missing column close; expected Date and Close, .*found Date, Open",
        ),
        ("Price,Close\nTicker,LKMR\n", "column date: expected days"),
        ("Date,Close\n2031-01-03,ten\n", "column close: expected numbers, found 'ten'"),
        ("Date,Close\n03/01/2031,1\n", "'03/01/2031' is read as day and month or month and day"),
        ("Date,Close\n13/01/2031,1\n01/13/2031,1\n", "both orders in the file"),
        ("Date,Close\nsoon,1\n", "column date: expected days such as 2026-01-05, found 'soon'"),
        ("Date,Close\n2031-01-03,1,234\n", "more cells than the first line .*needs quotes"),
        ('Date,Close\n2031-01-03,"1,234"\n', "comma in '1,234' may be decimal or group thousands"),
        ("Date,Close,Close\n2031-01-03,1,2\n", "2 columns that disagree are named close"),
        ("Date,Close,Symbol\n2031-01-03,1,A\n2031-01-04,1,B\n", "rows of 2 symbols, none of LKMR"),
        ("", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"LKMR\.csv.*{message}"):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read_leaves_its_symbol_out(tmp_path):
    (tmp_path / "A.csv").write_text(YFINANCE)
    (tmp_path / "B.csv").write_text("Date,Close\n2031-01-03,ten\n")
    answer = PriceFiles(tmp_path).prices(["A", "B", "C"], date(2031, 1, 1), date(2031, 1, 9))
    assert list(answer.frames) == ["A"] and answer.missing["C"] == "no file"
    assert "B.csv: column close: expected numbers, found 'ten'" in answer.missing["B"]


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "LKMR.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match=r"LKMR\.parquet: cannot be read"):
        read_prices(tmp_path).frame("LKMR")


def test_only_the_symbols_asked_for_are_read(tmp_path):
    (tmp_path / "A.csv").write_text(YFINANCE)
    (tmp_path / "B_data.csv").write_text(PLAIN)
    (tmp_path / "C.csv").write_text("broken")
    (tmp_path / "complete.json").write_text("{}")
    assert list(read_prices(tmp_path, ["B", "A", "NONE"]).tables) == ["B", "A"]
    for folder, symbols in [(tmp_path, ["NONE"]), (tmp_path / "absent", None)]:
        with pytest.raises(
            ValueError, match=r"no prices; expected one file per symbol, such as (NONE|AAPL)\.csv"
        ):
            read_prices(folder, symbols)


def test_two_files_of_one_symbol_are_an_error(tmp_path):
    (tmp_path / "A.csv").write_text(YFINANCE)
    (tmp_path / "A_data.csv").write_text(PLAIN)
    with pytest.raises(ValueError, match=r"A\.csv and A_data\.csv both hold A"):
        read_prices(tmp_path).frame("A")


def test_the_real_daily_prices(shared_data):
    prices = read_prices(shared_data / "prices_daily")
    assert len(prices.tables) == 40 and not prices.unreadable
    for table in prices.tables.values():
        assert table.frame.index.is_monotonic_increasing and table.frame.index.is_unique
        assert table.frame["close"].notna().all() and not table.notes
    frame = prices.frame("AAPL")
    assert days(frame)[0] == "2013-02-08" and frame["close"].iloc[0] == 67.8542


@pytest.mark.parametrize(
    "text",
    [
        'Date,Close/Last,Volume\n01/15/2031,"$1,234.50",7\n01/14/2031,"$1,233.50",8\n',
        "v,vw,o,c,h,l,t\n8,1,1,1233.5,1,1,1926133200000\n7,1,1,1234.5,1,1,1926219600000\n",
        "ticker,volume,close,window_start\nLKMR,8,1233.5,1926133200000000000\n"
        "LKMR,7,1234.5,1926219600000000000\n",
        "sep=;\nDate;Close;Volume\n14.01.2031;1.233,5;8\n15.01.2031;1.234,5;7\n",
        "Date,Close,Volume\n47862,1233.5,8\n47863,1234.5,7\n",
        ",Close,Close,Volume,Volume\n,LKMR,OTHR,LKMR,OTHR\nDate,,,,\n"
        "2031-01-14,1233.5,1,8,1\n2031-01-15,1234.5,1,7,1\n",
    ],
    ids=["nasdaq.com", "polygon", "flat file", "excel's first line", "serial numbers", "unnamed"],
)
def test_exports_of_more_programs(tmp_path, text):
    frame = read(tmp_path, text)
    assert days(frame) == ["2031-01-14", "2031-01-15"]
    assert frame["close"].tolist() == [1233.5, 1234.5]
    assert frame["volume"].tolist() == [8.0, 7.0]


def test_dots_that_group_thousands(tmp_path):
    """Beside decimal commas a dot is none, and several dots are none either."""
    text = "Date;Close;Volume\n15.01.2031;1.005;1.186.902\n16.01.2031;999,5;950.001\n"
    frame = read(tmp_path, text)
    assert frame["close"].tolist() == [1005.0, 999.5]
    assert frame["volume"].iloc[0] == 1186902


@pytest.mark.parametrize("clock", ["05:00:00+00:00", "04:00:00+00:00", "00:00:00+00:00"])
@pytest.mark.parametrize("epochs", [False, True])
def test_one_offset_all_year_shifts_no_day(tmp_path, clock, epochs):
    """Midnight of summer or winter, or in UTC; the last row of a running day has its time."""
    expected = pandas.date_range("2031-02-24", "2031-03-28", freq="B")
    times = [pandas.Timestamp(f"{day.date()} {clock}") for day in expected]
    if clock.startswith("00"):
        times[-1] += pandas.Timedelta(hours=15)
    cells = [int(moment.timestamp()) if epochs else moment for moment in times]
    rows = "".join(f"{cell},1\n" for cell in cells)
    (tmp_path / "LKMR.csv").write_text(f"timestamp,close\n{rows}")
    read_there = read_prices(tmp_path, ["LKMR"], {"LKMR": "America/New_York"})
    assert days(read_there.frame("LKMR")) == [str(day.date()) for day in expected]
