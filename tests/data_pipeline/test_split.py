"""The calendar cut: weeks stay whole, rows are conserved, a gap shrinks before a split is empty."""

import random
from collections import Counter
from datetime import date, timedelta

import pytest

from data_pipeline.dataset.split import cut_by_date, purge, separate
from data_pipeline.dataset.statistics import train_majority

FIRST = date(2031, 1, 5)


def rows_of(weeks, symbols=("LKMR", "QHBF"), label="up by 1-2%"):
    """One row per symbol for each week number in `weeks`."""
    rows = []
    for number in weeks:
        start = (FIRST + timedelta(weeks=number)).isoformat()
        rows += [
            {"id": f"{s}-{start}", "symbol": s, "week_start": start, "label": label}
            for s in symbols
        ]
    return rows


def numbers(rows):
    """The week numbers of rows, sorted."""
    return sorted({(date.fromisoformat(row["week_start"]) - FIRST).days // 7 for row in rows})


def test_one_cut_for_all_symbols():
    """No week is in two splits."""
    # A symbol with more rows must not get another cut than one with few.
    rows = rows_of(range(20)) + rows_of(range(12, 20), symbols=("TINY",))
    cut = cut_by_date(rows, validation_share=0.2)
    assert numbers(cut.train) == list(range(12))
    assert numbers(cut.dropped) == [12, 13, 14, 15]
    assert numbers(cut.validation) == [16, 17, 18, 19]
    assert cut.warnings == []


def test_train_and_validation_are_a_context_apart():
    cut = cut_by_date(rows_of(range(30)), gap_weeks=4)
    last = max(date.fromisoformat(row["week_start"]) for row in cut.train) + timedelta(weeks=1)
    first = min(date.fromisoformat(row["week_start"]) for row in cut.validation)
    assert first - last == timedelta(weeks=4)
    assert {row["reason"] for row in cut.dropped} == {"gap"}


@pytest.mark.parametrize("gap_weeks", [0, 1, 4, 9])
@pytest.mark.parametrize(
    "weeks", [range(1), range(2), range(3), range(6), range(41), (0, 1, 9), (0, 5, 6, 7)]
)
def test_rows_are_conserved_in_any_order(weeks, gap_weeks):
    rows = rows_of(weeks)
    cut = cut_by_date(rows, gap_weeks=gap_weeks)
    shuffled = random.Random(0).sample(rows, len(rows))
    assert cut_by_date(shuffled, gap_weeks=gap_weeks) == cut
    assert sorted(row["id"] for row in [*cut.train, *cut.validation, *cut.dropped]) == sorted(
        row["id"] for row in rows
    )
    assert cut.train
    assert bool(cut.validation) == (len(weeks) > 1)
    assert not set(numbers(cut.train)) & set(numbers(cut.validation))


@pytest.mark.parametrize(
    ("weeks", "train", "gap"),
    [
        (range(6), [0], 4),
        (range(5), [0], 3),
        (range(3), [0], 1),
        (range(2), [0], 0),
        ((0, 9), [0], 4),
    ],
)
def test_the_gap_shrinks_before_train_is_empty(weeks, train, gap):
    """With a warning."""
    cut = cut_by_date(rows_of(weeks))
    assert numbers(cut.train) == train
    assert any(f"is {gap} weeks instead of 4" in text for text in cut.warnings) == (gap < 4)


def test_a_gap_that_drops_more_than_it_keeps_is_a_warning():
    assert any(
        "drops 8 rows and keeps 2" in text for text in cut_by_date(rows_of(range(6))).warnings
    )


@pytest.mark.parametrize("rows", [rows_of([3]), rows_of([3], symbols=("LKMR",))])
def test_a_single_week_is_all_train_with_a_warning(rows):
    cut = cut_by_date(rows)
    assert (cut.train, cut.validation, cut.dropped) == (rows, [], [])
    assert "validation is empty" in cut.warnings[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": []}, "no rows"),
        ({"rows": rows_of([0]), "validation_share": 0.0}, "validation share is 0.0"),
        ({"rows": rows_of([0]), "gap_weeks": -1}, "gap is -1"),
    ],
)
def test_arguments_that_make_no_sense_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        cut_by_date(**arguments)


def test_test_weeks_stay_whole_and_train_keeps_away():
    splits = {
        "train": rows_of(range(40)),
        "test": rows_of(range(38, 48)),
        "test_unseen": rows_of([50]),
    }
    cut = separate(splits)
    assert max(numbers(cut.validation)) == 33
    assert not {34, 35, 36, 37, 38, 39} & set(numbers(cut.train) + numbers(cut.validation))
    reasons = {
        reason: numbers([r for r in cut.dropped if r["reason"] == reason])
        for reason in ("gap", "not before test")
    }
    assert reasons["not before test"] == [38, 39]
    assert {34, 35, 36, 37} < set(reasons["gap"])
    assert len(cut.train) + len(cut.validation) + len(cut.dropped) == 80


def test_a_validation_split_is_kept_apart_and_not_cut_again():
    splits = {
        "train": rows_of(range(20)),
        "validation": rows_of(range(20, 30)),
        "test": rows_of(range(30, 40)),
    }
    cut = separate(splits)
    assert (numbers(cut.train), numbers(cut.validation)) == (list(range(16)), list(range(20, 26)))


def test_two_training_weeks_give_train_and_validation():
    cut = separate({"train": rows_of([0, 1]), "test": rows_of([2])})
    assert (numbers(cut.train), numbers(cut.validation), cut.dropped) == ([0], [1], [])
    assert len(cut.warnings) == 2


def test_training_weeks_after_the_test_weeks_are_an_error():
    with pytest.raises(ValueError, match="no training week lies before 2031-01-05"):
        separate({"train": rows_of([3, 4]), "test": rows_of([0])})


def test_purge_keeps_no_week_of_the_later_split():
    """Even without a gap."""
    rows, dropped, _ = purge(rows_of([0, 1, 2]), "2031-01-19", gap_weeks=0, later="test")
    assert (numbers(rows), numbers(dropped)) == ([0, 1], [2])


@pytest.mark.parametrize(
    ("labels", "majority"),
    [
        (["up by 1-2%", "down by 0-1%", "down by 2-3%"], -1),
        (["up by 1-2%"], 1),
        (["up by 1-2%", "down by 0-1%"], 1),
        ([], None),
    ],
)
def test_train_majority(labels, majority):
    assert train_majority(Counter(labels)) == majority
