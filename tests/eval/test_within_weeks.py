"""What a run tells apart within a week: against numpy and scipy, by hand, and on odd rows."""

import math
from datetime import date, timedelta

import numpy
import pytest
from scipy.stats import spearmanr, ttest_1samp

from eval.metrics.book import known_returns, long_short_book
from eval.metrics.evaluate import evaluate
from eval.metrics.market_neutral import market_neutral_skill, rank_correlation
from eval.metrics.skill import skill_values
from eval.metrics.weeks import week_keys
from tests.support.scorable_rows import UNREADABLE, answer_with
from weekahead.schema.metrics_files import filled_metrics
from weekahead.task.labels import label_of_magnitude, label_of_return

SUNDAY = date(2024, 1, 7)


def period(week, days=7):
    start = SUNDAY + timedelta(weeks=week)
    return f"{start} to {start + timedelta(days=days)}"


def drawn(weeks=10, firms=8, seed=3):
    """Calls, truths, weeks and firms at random; one call in ten is missing."""
    draw = numpy.random.default_rng(seed)
    n = weeks * firms
    calls = [int(call) if draw.random() > 0.1 else None for call in draw.choice([-1, 1], n)]
    truths = [int(truth) for truth in draw.choice([-1, 1], n, p=[0.4, 0.6])]
    return calls, truths, [i // firms for i in range(n)], [i % firms for i in range(n)]


def test_skill_is_its_market_neutral_part_and_timing():
    calls, truths, weeks, firms = drawn()
    found = market_neutral_skill(calls, truths, weeks, firms)
    s = numpy.array([call or 0 for call in calls], dtype=float)
    y, week, called = numpy.array(truths, dtype=float), numpy.array(weeks), s != 0
    within = timing = 0.0
    for number in range(10):
        rows = called & (week == number)
        within += numpy.sum((s[rows] - s[rows].mean()) * (y[rows] - y[rows].mean()))
        timing += (
            rows.sum() * (s[rows].mean() - s[called].mean()) * (y[rows].mean() - y[called].mean())
        )
    assert found["mean"] == pytest.approx(within / 2 / 80)
    skill = skill_values(calls, truths).mean()
    assert found["mean"] + timing / 2 / 80 == pytest.approx(skill)
    assert found["ci95"][0] < found["mean"] < found["ci95"][1] and 0 < found["p"] < 1
    assert (found["n"], found["weeks"], found["reason"]) == (80, 10, None)


def test_the_market_itself_adds_nothing():
    """Calls that know which weeks rise, and no firm: skill, but none within weeks."""
    up_weeks = [week % 3 != 0 for week in range(12)]
    truths = [1 if up_weeks[week] or firm == 0 else -1 for week in range(12) for firm in range(6)]
    calls = [1 if up_weeks[week] else -1 for week in range(12) for _ in range(6)]
    weeks = [week for week in range(12) for _ in range(6)]
    assert skill_values(calls, truths).mean() > 0.1
    found = market_neutral_skill(calls, truths, weeks)
    assert (found["mean"], found["p"]) == (0.0, None)
    assert found["reason"] == "in no week are both up and down called"


@pytest.mark.parametrize(
    ("calls", "truths", "weeks", "reason"),
    [
        (
            [1, -1] * 5,
            [1, -1] * 5,
            range(10),
            "in no week do two called firms go different ways",
        ),
        ([1, -1] * 5, [1] * 10, [0] * 10, "in no week do two called firms go different ways"),
        ([1, 0] * 5, [1, -1] * 5, [0] * 10, "in no week do two called firms go"),
        ([1, -1] * 5, [1, -1] * 5, None, "the rows have no week to compare them within"),
        ([], [], [], "in no week do two called firms go different ways"),
    ],
)
def test_nothing_to_compare_within_a_week_is_null(calls, truths, weeks, reason):
    found = market_neutral_skill(calls, truths, weeks)
    assert (found["mean"], found["ci95"], found["p"]) == (None, None, None)
    assert found["reason"].startswith(reason)


def test_without_a_call_it_is_0():
    found = market_neutral_skill([None, 0] * 5, [1, -1] * 5, [i // 2 for i in range(10)])
    assert (found["mean"], found["p"]) == (0.0, None)
    assert found["reason"] == "no answer states a direction that can be read"


def test_one_week_has_a_mean_and_no_interval():
    found = market_neutral_skill([1, -1] * 5, [1, -1] * 5, [0] * 10)
    assert (found["mean"], found["ci95"]) == (0.5, None)
    assert found["reason"] == "1 week; an interval needs at least 6"


def test_weeks_that_do_not_differ_take_the_sign_test():
    found = market_neutral_skill([1, -1] * 10, [1, -1] * 10, [i // 2 for i in range(20)])
    assert found["mean"] == 0.5 and found["p"] == pytest.approx(2**-9)
    assert found["ci95"][1] <= 1


def test_rank_correlation_is_the_mean_of_spearmans():
    draw = numpy.random.default_rng(5)
    sizes = [float(size) for size in draw.choice([-2.5, -0.5, 0.5, 1.5, 3.5], 90)]  # many ties
    returns = [float(value) for value in draw.normal(0.001, 0.03, 90)]
    weeks = [i // 9 for i in range(90)]
    by_week = [spearmanr(sizes[i : i + 9], returns[i : i + 9]).statistic for i in range(0, 90, 9)]
    found = rank_correlation(sizes, returns, weeks)
    test = ttest_1samp(by_week, 0)
    assert found["mean"] == pytest.approx(numpy.mean(by_week))
    assert found["p"] == pytest.approx(test.pvalue)
    assert found["ci95"] == pytest.approx([*test.confidence_interval()])
    assert (found["n"], found["weeks"]) == (90, 10)


def test_weeks_without_ranks_are_left_out():
    sizes = [1.5, 1.5, 0.5, 2.5, 3.5, None, 0.5]
    returns = [0.01, 0.02, 0.01, 0.03, 0.01, 0.02, None]
    found = rank_correlation(sizes, returns, ["a", "a", "b", "b", "c", "c", "c"])
    assert (found["mean"], found["n"], found["weeks"]) == (1.0, 5, 1)
    assert found["ci95"] is None and "1 week;" in found["reason"]
    weeks = [i // 2 for i in range(12)]
    constant = rank_correlation([1.5] * 12, [0.01 * i for i in range(12)], weeks)
    assert constant["mean"] is None and "in no week do both" in constant["reason"]


def test_windows_that_overlap_are_compared_one_by_one():
    """The calls know which days rise, and no firm: skill within a week, none within a day."""
    days = [day for day in range(40) for _ in range(4)]
    truths = [1 if day % 2 or firm == 0 else -1 for day in range(40) for firm in range(4)]
    calls = [1 if day % 2 else -1 for day in days]
    weeks = [day // 5 for day in days]
    assert market_neutral_skill(calls, truths, weeks)["mean"] > 0.2
    assert market_neutral_skill(calls, truths, weeks, None, days)["mean"] == 0
    sizes, returns = [float(call) for call in calls], [0.01 * truth for truth in truths]
    assert rank_correlation(sizes, returns, weeks)["mean"] > 0.5
    assert rank_correlation(sizes, returns, weeks, days)["mean"] is None
    draw = numpy.random.default_rng(1)
    noise = draw.normal(size=160).tolist()
    by_day = rank_correlation(noise, draw.normal(size=160).tolist(), weeks, days)
    assert (by_day["n"], by_day["weeks"]) == (160, 8), "the interval is over weeks"


def row(symbol, week, said, value, **fields):
    """A row whose return is `value` and whose answer predicts the bin `said`."""
    label = label_of_return(value)
    return {
        "id": f"{symbol}-{SUNDAY + timedelta(weeks=week)}",
        "symbol": symbol,
        "period": period(week),
        "label": label,
        "answer": answer_with(label),
        "generation": answer_with(said) if said else UNREADABLE,
        "weekly_return": value,
        **fields,
    }


def book_of(rows, calls, returns=None):
    values = [line["weekly_return"] for line in rows] if returns is None else returns
    return long_short_book(rows, calls, values, week_keys(rows))


def test_book_by_hand():
    """Week 0: A long, B and C half short. Week 1: A long, C short. Week 2: all long, so cash."""
    returns = {0: (0.03, -0.01, 0.02), 1: (0.01, 0.0, -0.04), 2: (0.05, 0.05, 0.05)}
    calls = {0: (1, -1, -1), 1: (1, None, -1), 2: (1, 1, 1)}
    rows = [
        row(symbol, week, None, value)
        for week, values in returns.items()
        for symbol, value in zip("ABC", values, strict=True)
    ]
    book, reason = book_of(rows, [call for week in calls.values() for call in week])
    earned = [0.03 - (-0.01 + 0.02) / 2, 0.01 + 0.04, 0.0]
    traded = 2 + (0.5 + 0.5) + 2  # bought; B's half closed and C's added; all sold
    assert reason is None
    assert book["mean"] == pytest.approx(sum(earned) / 3)
    assert book["turnover"] == pytest.approx(traded / 3)
    assert book["break_even_bp"] == pytest.approx(10_000 * sum(earned) / traded)
    assert (book["weeks_held"], book["weeks"], book["n"]) == (2, 3, 5)
    assert book["ci95"] is None and book["reason"] == "3 weeks; an interval needs at least 6"
    backwards, _ = book_of(rows[::-1], [call for week in calls.values() for call in week][::-1])
    assert backwards == pytest.approx(book), "the order of rows decides nothing"


def test_book_interval_is_a_t_test_over_weeks():
    draw = numpy.random.default_rng(8)
    rows = [
        row(f"F{firm}", week, None, float(draw.normal(0, 0.03)))
        for week in range(12)
        for firm in range(6)
    ]
    calls = [int(call) for call in draw.choice([-1, 1], 72)]
    values = numpy.array([line["weekly_return"] for line in rows]).reshape(12, 6)
    side = numpy.array(calls).reshape(12, 6)
    earned = [v[s == 1].mean() - v[s == -1].mean() for v, s in zip(values, side, strict=True)]
    book, _ = book_of(rows, calls)
    test = ttest_1samp(earned, 0)
    assert book["mean"] == pytest.approx(numpy.mean(earned))
    assert (book["p"], book["ci95"]) == (
        pytest.approx(test.pvalue),
        pytest.approx([*test.confidence_interval()]),
    )


def test_a_missing_week_is_sold_before_and_bought_after():
    held = [row(symbol, week, None, 0.01) for week in (0, 1, 2) for symbol in "AB"]
    apart = [row(symbol, week, None, 0.01) for week in (0, 1, 3) for symbol in "AB"]
    assert book_of(held, [1, -1] * 3).book["turnover"] == pytest.approx(4 / 3)
    assert book_of(apart, [1, -1] * 3).book["turnover"] == pytest.approx(8 / 3)
    fridays = [{**line, "period": period(i // 2, days=5)} for i, line in enumerate(held)]
    assert book_of(fridays, [1, -1] * 3).book["turnover"] == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": None, "id": None}, "1 of 4 rows have no `symbol`"),
        ({"symbol": "b"}, "B stands 2 times in 2024-01-07 to 2024-01-14"),
        ({"period": "week one", "id": None}, "`period` is no date that can be read in 1 spelling"),
        ({"period": period(0, days=10)}, "3 windows overlap or disagree: they are 1 week"),
        ({"period": None, "id": None}, "no week that every row has"),
    ],
)
def test_rows_that_are_no_weekly_book(change, reason):
    rows = [row(symbol, week, None, 0.01) for week in (0, 1) for symbol in "AB"]
    rows[0] |= change
    book, found = book_of(rows, [1, -1] * 2)
    assert book is None and found.startswith(reason)


def test_one_direction_alone_holds_nothing():
    rows = [row(f"F{week}", week, None, 0.01) for week in range(8)]
    one_firm_per_week = book_of(rows, [1, -1] * 4)
    assert one_firm_per_week == (None, "in no week are firms called both up and down")


def test_missing_returns_are_not_held():
    rows = [row(symbol, week, None, 0.02) for week in range(8) for symbol in "ABC"]
    values = [None if line["symbol"] == "C" else 0.02 for line in rows]
    book, _ = book_of(rows, [1, -1, -1] * 8, values)
    assert (book["n"], book["mean"], book["p"]) == (16, 0.0, 1.0)
    assert book["break_even_bp"] == 0


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        ([None] * 20, "no row states weekly_return"),
        ([math.nan] * 20, "no row states weekly_return"),
        ([0.01] * 9 + [None] * 11, "9 of 20 rows state weekly_return: they are a choice of rows"),
        ([1.2] * 20, "weekly_return contradicts 20 of 20 labels, such as 1.2 and 'up by 1-2%'"),
        ([0.012] * 18 + [-0.012] * 2, "weekly_return contradicts 2 of 20 labels"),
    ],
)
def test_returns_that_are_not_known(returns, reason):
    rows = [{"label": "up by 1-2%", "weekly_return": value} for value in returns]
    values, found = known_returns(rows)
    assert values is None and found.startswith(reason)


@pytest.mark.parametrize("returns", [[0.012] * 20, [0.021] * 20, [0.012] * 10 + [None] * 10])
def test_returns_that_are_known(returns):
    """A return just beyond its bin may be rounding."""
    rows = [{"label": "up by 1-2%", "weekly_return": value} for value in returns]
    assert known_returns(rows) == (returns, None)


def forecasts(knowledge=0.8, weeks=10, firms=8, seed=2):
    """A model that states the true bin with a probability, else one at random."""
    draw = numpy.random.default_rng(seed)
    rows = []
    for week in range(weeks):
        for firm in range(firms):
            value = float(draw.normal(0, 0.03))
            guess = value if draw.random() < knowledge else float(draw.normal(0, 0.03))
            rows.append(row(f"F{firm}", week, label_of_magnitude(100 * guess), value))
    return rows


def test_metrics_hold_what_the_functions_give():
    rows = forecasts()
    metrics, scored = evaluate(rows)
    book, correlation = metrics["book"], metrics["rank_correlation"]
    assert metrics["book_reason"] is None and book["mean"] > 0 and book["p"] < 0.05
    assert correlation["mean"] > 0.5 and correlation["n"] == 80
    expected = market_neutral_skill(
        [line["direction"] for line in scored],
        [line["truth_direction"] for line in scored],
        [line["period"] for line in rows],
        [line["symbol"] for line in rows],
    )
    assert metrics["market_neutral_skill"] == expected
    groups = metrics["breakdown"]["stated_size"]
    assert sum(group["n"] for group in groups) == 80
    right = sum(group["n"] * group["bin_acc"] for group in groups)
    assert right == pytest.approx(80 * metrics["bin_acc"])


def test_metrics_without_returns_say_so():
    rows = [{k: v for k, v in line.items() if k != "weekly_return"} for line in forecasts()]
    metrics, _ = evaluate(rows)
    assert metrics["market_neutral_skill"]["mean"] is not None
    assert (metrics["rank_correlation"]["mean"], metrics["book"]) == (None, None)
    reasons = {metrics["rank_correlation"]["reason"], metrics["book_reason"]}
    assert reasons == {"no row states weekly_return"}


@pytest.mark.parametrize("value", ["1.2%", True, math.inf])
def test_a_return_that_is_no_number_is_named(value):
    rows = forecasts()
    rows[3]["weekly_return"] = value
    with pytest.raises(ValueError, match=r"row 4 \(id F3-2024-01-07\): weekly_return is"):
        evaluate(rows)


def test_older_files_say_that_it_was_not_measured():
    metrics, _ = evaluate(forecasts())
    stored = {**metrics, "likelihood": None}
    assert filled_metrics(stored, origin="f", remedy="r")["market_neutral_skill"]["reason"] is None
    for name in ("market_neutral_skill", "rank_correlation", "book", "book_reason"):
        del stored[name]
    older = filled_metrics(stored, origin="f", remedy="r")
    reasons = {older["market_neutral_skill"]["reason"], older["book_reason"]}
    assert reasons == {"scored before it was measured: run eval.score again"}
    assert (older["rank_correlation"]["mean"], older["book"]) == (None, None)
