"""The twelve bins: where one ends and the next begins, and what a bin is worth."""

import math

import pytest

from weekahead.task.labels import (
    BINS,
    check_label,
    direction_of,
    label_of_magnitude,
    label_of_return,
    magnitude_of,
)


@pytest.mark.parametrize(
    ("weekly_return", "label"),
    [
        (1e-6, "up by 0-1%"),
        (0.01, "up by 0-1%"),
        (0.0101, "up by 1-2%"),
        (-0.01, "down by 0-1%"),
        (-0.0301, "down by 3-4%"),
        (0.05, "up by 4-5%"),
        (0.0501, "up by more than 5%"),
        (0.07, "up by more than 5%"),  # 100 * 0.07 is more than 7 in floating point
        (-0.9, "down by more than 5%"),
        (3.0, "up by more than 5%"),
    ],
)
def test_the_size_rounded_up_is_the_end_of_the_bin(weekly_return, label):
    assert label_of_return(weekly_return) == label


@pytest.mark.parametrize("percent", [1, 2, 3, 4, 5])
def test_a_whole_percentage_belongs_to_the_bin_that_ends_there(percent):
    """In floating point 100 * (1.03 - 1) is more than 3."""
    assert label_of_return((1 + percent / 100) - 1) == f"up by {percent - 1}-{percent}%"
    assert label_of_return((1 - percent / 100) - 1) == f"down by {percent - 1}-{percent}%"


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_flat_week_has_a_bin(zero):
    assert label_of_return(zero) == "up by 0-1%"


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_a_week_without_a_price_has_none(missing):
    with pytest.raises(
        ValueError, match=r"weekly_return is (nan|-?inf).*Drop the week or repair its prices"
    ):
        label_of_return(missing)


def test_there_are_twelve_bins_from_worst_to_best():
    sizes = [magnitude_of(label) for label in BINS]
    assert sizes == [-5.5, -4.5, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert [direction_of(label) for label in BINS] == [-1] * 6 + [1] * 6
    assert [label_of_magnitude(size) for size in sizes] == list(BINS)
    assert [label_of_return(size / 100) for size in sizes] == list(BINS)


def test_a_label_is_read_in_any_case_and_spacing():
    assert check_label("  Up by  1-2% ") == "up by 1-2%"
    for text in ("up", "up by 5-6%", "U2", "", None, "up by 1\u20132%"):
        with pytest.raises(
            ValueError, match=r"unknown label .*expected one of: down by more than 5%"
        ):
            check_label(text)
