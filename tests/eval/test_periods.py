"""Periods as people write them: one week is one week under every name, and none is guessed."""

from datetime import date, timedelta

import pytest

from eval.metrics.periods import Window, dates_in, read_periods, trading_week
from eval.metrics.weeks import first_days, week_keys

JAN_7, JAN_14 = date(2024, 1, 7), date(2024, 1, 14)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-07 to 2024-01-14",
        "2024-01-14 to 2024-01-07",
        "2024/01/07-2024/01/14",
        "2024.1.7 – 2024.1.14",
        "[2024-01-07, 2024-01-14)",
        "2024-01-07T00:00:00Z/2024-01-14T00:00:00Z",
        "2024-01-07 00:00:00+00:00 to 2024-01-14 00:00:00+00:00",
        "20240107 to 20240114",
        "2024010720240114",
        "20240107T093000",
        "2024_01_07",
        "2024 01 07",
        "2024-1-7",
        "2024\u201001\u201007",
        "2024\u221201\u221207 \u2014 2024\u221201\u221214",
        "2024-\u200b01-07",
        "\uff12\uff10\uff12\uff14-01-07",
        "January 07, 2024",
        "Jan. 7, 2024",
        "7 Jan 2024 to 14 Jan 2024",
        "7th of January 2024",
        "07-Jan-2024",
        "2024 January 7",
        "Sun, Jan 7, 2024 – Sun, Jan 14, 2024",
        "Sunday 7 January 2024",
        "Jan 7 - 14, 2024",
        "January 7 – January 14, 2024",
        "7-14 January 2024",
        "7 Jan to 14 Jan 2024",
        "07.01.2024",
        "01/07/2024 - 01/14/2024",
        "07/01/2024 - 14/01/2024",
        "1/7/24 - 1/14/24",
        "1704585600",
        "1704585600000",
    ],
)
def test_one_week_in_many_spellings(text):
    (window,), unread = read_periods([text])
    assert window == Window(JAN_7, JAN_14, text) and not unread


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024-W02", "2024-01-08", "2024-01-15"),
        ("2024W02", "2024-01-08", "2024-01-15"),
        ("week 2 of 2024", "2024-01-08", "2024-01-15"),
        ("2024, week 2", "2024-01-08", "2024-01-15"),
        ("KW 2/2024", "2024-01-08", "2024-01-15"),
        ("Dec 29 - Jan 5, 2025", "2024-12-29", "2025-01-05"),
        ("2024-W02-3", "2024-01-10", "2024-01-17"),
        ("2024-W02 to 2024-W03", "2024-01-08", "2024-01-22"),
        ("2024-W02/W05", "2024-01-08", "2024-02-05"),
        ("W2\u2013W5 2024", "2024-01-08", "2024-02-05"),
        ("2024-01-07/P28D", "2024-01-07", "2024-02-04"),
        ("2024-01-31/P1M", "2024-01-31", "2024-03-01"),
        ("2024-01-07 + 28 days", "2024-01-07", "2024-02-04"),
        ("2024-01-07 (next 4 weeks)", "2024-01-07", "2024-02-04"),
        ("2024-01-07, 1 week", "2024-01-07", "2024-01-14"),
        ("2024-01-07 to 02-04", "2024-01-07", "2024-02-04"),
        ("2023-12-31 to 01-28", "2023-12-31", "2024-01-28"),
        ("2024-01-07 to 28", "2024-01-07", "2024-01-28"),
        ("2024-12-29/04", "2024-12-29", "2025-01-04"),
        ("20240107-0204", "2024-01-07", "2024-02-04"),
        ("2024-02", "2024-02-01", "2024-03-01"),
        ("02/2024", "2024-02-01", "2024-03-01"),
        ("December 2024", "2024-12-01", "2025-01-01"),
        ("2024Q4", "2024-10-01", "2025-01-01"),
        ("2024-01-07 to 2024-01-07", "2024-01-07", "2024-01-14"),
    ],
)
def test_weeks_months_and_quarters(text, start, end):
    (window,), unread = read_periods([text])
    assert (str(window.start), str(window.end)) == (start, end) and not unread


@pytest.mark.parametrize("text", ["Week 03", "week 3", "wk 3", "W3", "KW 3", "3", "3.0", "003"])
def test_a_week_by_its_number_has_one_name(text):
    assert read_periods([text]) == (["week 3"], [])


@pytest.mark.parametrize("text", ["fold-1-2", "a to b", "t17", "batch 12345"])
def test_a_text_without_dates_is_its_own_window(text):
    assert read_periods([f" {text.upper()} "]) == ([text], [])


@pytest.mark.parametrize(
    "text",
    [
        "2024-13-45",
        "2024-02-30",
        "Jan 7 - 14",
        "week of Jan 7",
        "2024-01-07, 2024-01-14, 2024-01-21",
        "03/04/2024",  # a day of March or of April
        "01/07 - 01/14",
        "2024-W60",
        "week 2 of January 2023",
        "Q1 2024 week 2",
        "0001-01-01",
        "9999-12-31",
        "2024",
        "99999999",
    ],
)
def test_what_looks_like_a_date_and_is_none_is_named(text):
    assert read_periods([text, "2024-01-07"]).unread == [text]
    weeks = week_keys([{"period": text}, {"period": "2024-01-07"}])
    assert weeks.keys is None and repr(text) in (weeks.reason or "")


def test_the_column_tells_the_order_of_day_and_month():
    american = ["01/07/2024", "02/04/2024", "04/07/2024"]  # one has no thirteenth month: Sundays
    assert [window.start.month for window in read_periods(american).windows] == [1, 2, 4]
    european = ["03/02/2024", "25/02/2024"]
    assert [window.start.month for window in read_periods(european).windows] == [2, 2]
    mixed = ["25/02/2024", "02/25/2024"]
    assert read_periods(mixed).unread == mixed


def test_a_text_without_dates_beside_dates_is_named():
    assert read_periods(["week 3", "2024-01-07", None]).unread == ["week 3"]


def test_unread_periods_leave_the_weeks_to_the_ids():
    rows = [
        {"period": "Jan 7 - 14", "id": "A-2024-01-07"},
        {"period": "2024-01-07", "id": "B-2024-01-07"},
    ]
    keys, reason, note, _ = week_keys(rows)
    assert keys == ["2024-01-07"] * 2 and reason is None
    assert note == (
        "`period` is no date that can be read in 1 spelling, such as 'Jan 7 - 14': write "
        "2024-01-07 to 2024-01-14, the year first; `id` names the weeks"
    )


@pytest.mark.parametrize(
    ("start", "days"), [(-2, 7), (-1, 7), (0, 7), (0, 6), (0, 5), (1, 4), (1, 6), (1, 7)]
)
def test_a_trading_week_has_many_names(start, days):
    """From Friday's close on, Sunday to Sunday or Saturday, Monday to Friday, Sunday or Monday."""
    first = JAN_7 + timedelta(days=start)
    assert trading_week(first, first + timedelta(days=days)) == JAN_7


@pytest.mark.parametrize(
    ("start", "days"), [(2, 7), (3, 7), (4, 7), (0, 8), (0, 3), (1, 3), (-2, 6)]
)
def test_other_windows_are_no_trading_week(start, days):
    first = JAN_7 + timedelta(days=start)
    assert trading_week(first, first + timedelta(days=days)) is None


def test_spellings_of_weeks_do_not_make_a_chain():
    def spelt(number):
        sunday = JAN_7 + timedelta(weeks=number)
        spans = ((0, 7), (0, 6), (1, 5), (1, 8))
        first, last = (sunday + timedelta(days=days) for days in spans[number % 4])
        return {"period": f"{first} to {last}"}

    keys, _, note, windows = week_keys([spelt(number) for number in range(40)])
    assert len(set(keys)) == 40 and note is None
    assert windows[1] == "2024-01-14 to 2024-01-21"


def test_an_id_names_a_window_as_long_as_the_period():
    days = [JAN_7 + timedelta(days=number) for number in range(30)]
    rows = [{"period": f"{day} to {day + timedelta(days=1)}", "id": f"A-{day}"} for day in days]
    assert len(set(week_keys(rows).keys)) == 30


def test_dates_of_ids_begin_with_their_year():
    assert dates_in("BRK-B-2024-01-07") == (JAN_7,)
    assert dates_in("W2-2024-01-07") == (JAN_7,)
    assert dates_in("A_20240107_20240114") == (JAN_7, JAN_14)
    assert dates_in("9999-12-31 1-1-2024 2024-02-31") == ()
    found = first_days([{"id": "A-2024-01-07"}, {"period": "7 Jan 2024"}, {"id": "x"}])
    assert found == [JAN_7, JAN_7, None]
