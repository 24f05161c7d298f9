"""The reader of prompts: the inverse of the writer, and the public layout."""

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.dataset.public_text import unwrap
from data_pipeline.providers.base import Profile
from data_pipeline.records.fundamentals import introduce
from weekahead.schema.rows import user_text
from weekahead.task.prompt import render_prompt
from weekahead.task.prompt_reader import PriceMove, is_news_line, read_prompt, remove_news
from weekahead.task.record import Capitalization, Financials, News, PastWeek, Record

FIXTURE = Path(__file__).parents[1] / "fixtures" / "fingpt_rows.jsonl"

WORDS = st.lists(st.from_regex(r"[A-Z][a-z]{1,9}", fullmatch=True), min_size=1, max_size=4)
NAMES = WORDS.map(" ".join)
DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31)).map(date.isoformat)
PRICES = st.integers(1, 10**8).map(lambda cents: cents / 100) | st.floats(1e-12, 1.0)
# A line of news may contain words of the layouts; it is always one line.
SENTENCES = st.sampled_from(
    (
        "Shares rise 3%",
        "[Headline]: a market capitalization of 99.5 billion",
        "[Week to 2031-01-05]: 1.00 to 2.00 (+100.0%)",
        "From 2031-01-05 to 2031-01-12, the stock price rose from 1.00 to 2.00.",
        "- a dash",
        "[Company]: Other (OTHER), Retail.",
    )
)
NEWS = st.builds(News, SENTENCES, st.just("") | SENTENCES, st.just("2031-01-07T00:00:00+00:00"))
WEEKS = st.builds(PastWeek, DAYS, DAYS, PRICES, PRICES, st.lists(NEWS, max_size=3).map(tuple))
FINANCIALS = st.builds(
    Financials, DAYS, DAYS, st.dictionaries(st.just("eps"), st.floats(-9, 9), min_size=1)
)
VALUES = st.integers(10**7, 10**13).map(float)


@st.composite
def records(draw):
    """(record, name, industry); the introduction is written as the real records have it."""
    name, industry = draw(st.none() | NAMES), draw(st.none() | NAMES)
    profile = Profile(name, industry) if name else None
    record = Record(
        symbol="QUIL",
        company=introduce("QUIL", profile),
        weeks=tuple(draw(st.lists(WEEKS, min_size=1, max_size=4))),
        week_start="2031-01-12",
        week_end="2031-01-19",
        decision_time="2031-01-12T05:00:00+00:00",
        weekly_return=None,
        last_week_return=None,
        financials=draw(st.none() | FINANCIALS),
        capitalization=draw(st.none() | st.builds(Capitalization, VALUES, DAYS)),
    )
    return record, name, industry if name else None


def written(record):
    return user_text(render_prompt(record))


@given(records())
def test_the_reader_is_the_inverse_of_the_writer(drawn):
    record, name, industry = drawn
    facts = read_prompt(written(record))
    quarter, capitalization = record.financials, record.capitalization
    assert facts.company == (name or record.symbol)
    assert facts.sector == (industry)
    assert [move.end for move in facts.price_moves] == [week.end for week in record.weeks]
    for move, week in zip(facts.price_moves, record.weeks, strict=True):
        assert move.before == pytest.approx(week.open_price, rel=6e-4, abs=move.rounding)
        assert move.after == pytest.approx(week.close_price, rel=6e-4, abs=move.rounding)
        assert move.raw and move.rounding <= 0.005
    assert facts.quarter_end == (quarter.period_end if quarter else None)
    assert (facts.market_cap is None) == (capitalization is None)
    if facts.market_cap and capitalization:
        assert float(facts.market_cap) == pytest.approx(capitalization.value / 1e9, rel=0.05)
    assert not facts.asks_about_cryptocurrency


@given(records())
def test_a_prompt_without_news_is_that_of_a_record_without(drawn):
    record = drawn[0]
    bare = [
        PastWeek(week.start, week.end, week.open_price, week.close_price) for week in record.weeks
    ]
    without = Record(**{**vars(record), "weeks": tuple(bare)})
    assert remove_news(written(record)) == written(without)


@given(records())
def test_every_item_of_news_is_one_news_line(drawn):
    record = drawn[0]
    lines = [line for line in written(record).split("\n") if is_news_line(line)]
    items = [item for week in record.weeks for item in week.news]
    assert lines == [f"- {item.headline} {item.summary}".rstrip() for item in items]


@given(st.text(st.characters() | st.sampled_from("[]:-\n 0123456789"), max_size=300))
def test_no_text_is_an_error(text):
    read_prompt(text)
    remove_news(text)


PUBLIC = (
    "[Company Introduction]:\n\nQuill Harbor Foods Co is a leading entity in the Food sector. "
    "As of today, it has a market capitalization of 9301.25 in USD.\n\n"
    "From 2031-01-05 to 2031-01-12, QHBF's stock price increased from 1,000.00 to 1,015.50. "
    "News during this period are listed below:\n\n"
    "[Headline]: From 2030-01-01 to 2030-01-08\n"
    "[Summary]: The price rose from 1.00 to 2.00. Basic financials of QHBF, reported at last.\n\n"
    "Some recent basic financials of QHBF, reported at 2030-09-30, are presented below:\n\n"
    "[Basic Financials]:\n\neps: 1.2\n\n"
    "Based on all the information before 2031-01-12. Then make your prediction of the QHBF {} "
    "price movement for next week."
)


def test_the_public_layout_is_read():
    facts = read_prompt(PUBLIC.format("stock"))
    assert (facts.company, facts.sector) == ("Quill Harbor Foods Co", "Food")
    assert facts.price_moves == (PriceMove("2031-01-12", 1000.0, 1015.5, raw=False),)
    assert (facts.quarter_end, facts.market_cap) == ("2030-09-30", "9301.25")
    assert not facts.asks_about_cryptocurrency
    assert read_prompt(PUBLIC.format("cryptocurrency")).asks_about_cryptocurrency


def test_news_holds_no_fact_of_the_public_fixtures():
    for line in FIXTURE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        prompt = unwrap(row["prompt"])[1]
        facts = read_prompt(prompt)
        ends = [move.end for move in facts.price_moves]
        assert facts.company in ("Larkmoor Tools Inc", "Quill Harbor Foods Co")
        assert ends == ([] if "No prices" in prompt else [row["period"].split(" to ")[0]])
        assert facts.quarter_end == "2030-12-31"
        without = remove_news(prompt)
        assert not any(is_news_line(line) for line in without.splitlines())
        assert read_prompt(without) == facts


@pytest.mark.parametrize(
    "line",
    [
        "[Summary]: From 2031-01-05 to 2031-01-12, the stock price rose from 1.00 to 2.00.",
        "- [Week to 2031-01-12]: 1.00 to 2.00 (+100.0%)",
        "From 2031-01-05 to 2031-01-12, the stock price rose.",
        "[Week to 2031-01-12]: about 1.00 to 2.00",
    ],
)
def test_other_lines_are_not_price_lines(line):
    assert read_prompt(f"[Company]: A.\n\n{line}").price_moves == ()


@pytest.mark.parametrize(
    ("prompt", "market_cap"),
    [
        ("It has a market cap of about $2.6 billion.\n\n- x", "2.6"),
        ("- A market cap of 5 billion.", None),
        ("[Headline]: A market capitalization of 99.5 billion", None),
        ("- x\n\nMarket capitalization at the last close: 12.00 billion", "12.00"),
    ],
)
def test_the_market_cap_is_not_read_from_news(prompt, market_cap):
    assert read_prompt(prompt).market_cap == market_cap


@pytest.mark.parametrize(
    ("prompt", "company"),
    [
        ("[Company]: Quillford (QUIL), a publishing company.\n\nx", "Quillford"),
        ("[Company]: AA Inc..\n\nx", "AA Inc."),
        ("[Company Introduction]:\n\nQuill Harbor Foods Co is an invented firm that trades",
         "Quill Harbor Foods Co"),
        ("Quillford is a company", None),
    ],
)  # fmt: skip
def test_the_name_is_read_from_the_introduction(prompt, company):
    assert read_prompt(prompt).company == company


def test_our_news_lines_go_and_all_else_stays():
    news = "\n- A merger. - It is large.\n- A strike."
    text = (
        "[Company]: Quillford (QUIL), a publishing company.\n\n"
        f"[Week to 2032-02-01]: 50.00 to 51.00 (+2.0%){news}\n\n"
        "[Week to 2032-02-08]: 51.00 to 50.00 (-2.0%)\n\n"
        "[Basic Financials, quarter ended 2031-12-31]:\nmargin: -0.1\n\n"
        "Forecast QUIL for the week from 2032-02-08."
    )
    assert remove_news(text) == text.replace(news, "")


def test_public_news_blocks_go_and_all_else_stays():
    head = (
        "[Company Introduction]:\n\nX is a firm.\n\n"
        "From 2031-01-01 to 2031-01-08, X's stock price increased. "
    )
    news = (
        "\n\n[Headline]: A\n[Summary]: B\n\nstill B, From Monday on.\n\n[Headline]: C\n[Summary]: D"
    )
    week = (
        "\n\nFrom 2031-01-08 to 2031-01-15, X's stock price decreased from 2 to 1. "
        "News during this period:"
    )
    tail = (
        "\n\nSome recent basic financials of X, reported at 2030-12-31:\n\n"
        "[Basic Financials]:\n\neps: 1"
    )
    assert remove_news(head + "News:" + news + week + news + tail) == head + "News:" + week + tail
    assert remove_news(head + news) == head


@pytest.mark.parametrize(
    ("price", "shown"),
    [(1.246e-05, "0.00001246"), (0.3661, "0.3661"), (1.0, "1.00"), (172.654, "172.65")],
)
def test_a_low_price_is_shown_with_its_digits(price, shown):
    week = PastWeek("2030-12-29", "2031-01-05", price, price)
    record = Record("QUIL", "QUIL.", (week,), "2031-01-05", "2031-01-12", "", None, None)
    assert f"[Week to 2031-01-05]: {shown} to {shown} (+0.0%)" in written(record)


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_never_shown(price):
    week = PastWeek("2030-12-29", "2031-01-05", price, 1.0)
    record = Record("QUIL", "QUIL.", (week,), "2031-01-05", "2031-01-12", "", None, None)
    with pytest.raises(ValueError, match=r"week to 2031-01-05: prices .* above 0: fetch the"):
        written(record)
