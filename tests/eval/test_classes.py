"""Calls as classes, by hand."""

import pytest

from eval.metrics.baselines import Prediction
from eval.metrics.breakdown import class_metrics, matthews
from weekahead.task.labels import BINS, direction_of, magnitude_of


def call(label):
    return Prediction(direction_of(label), magnitude_of(label))


UNREADABLE, NEUTRAL, NO_SIZE = Prediction(None, None), Prediction(0, 0.0), Prediction(1, None)


def test_matthews_of_four_cells_by_hand():
    # 4 up called up, 1 up called down, 2 down called up, 3 down called down.
    truths = [1] * 5 + [-1] * 5
    calls = [1, 1, 1, 1, -1, 1, 1, -1, -1, -1]
    expected = (4 * 3 - 2 * 1) / (6 * 5 * 4 * 5) ** 0.5
    assert matthews(truths, calls) == pytest.approx(expected)
    assert matthews(truths, [-one for one in calls]) == pytest.approx(-expected)
    assert matthews(truths, truths) == 1.0


def test_a_call_that_cannot_be_read_is_wrong_but_not_the_opposite():
    truths = [1, 1, 1, -1, -1, -1]
    full = matthews(truths, [1, 1, 1, -1, -1, -1])
    half = matthews(truths, [1, 1, None, -1, -1, None])
    opposite = matthews(truths, [1, 1, -1, -1, -1, 1])
    assert opposite < half < full
    assert matthews(truths, [1, None, None, None, -1, None]) > 0  # the two it did say were right
    assert matthews(truths, [None] * 6) is None


@pytest.mark.parametrize(("truths", "calls"), [([1, -1], [1, 1]), ([1, 1], [1, -1]), ([], [])])
def test_one_class_has_no_correlation(truths, calls):
    assert matthews(truths, calls) is None


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="argument"):
        matthews([1], [1, -1])


def test_class_metrics_by_hand():
    truths = [
        call(label)
        for label in (
            "up by 1-2%",
            "up by 1-2%",
            "down by 0-1%",
            "down by more than 5%",
            "up by 0-1%",
        )
    ]
    calls = [call("up by 1-2%"), call("down by 0-1%"), UNREADABLE, NEUTRAL, NO_SIZE]
    found = class_metrics(calls, truths)
    assert found["confusion"] == {
        "down by more than 5%": {"none": 1},
        "down by 0-1%": {"none": 1},
        "up by 0-1%": {"none": 1},
        "up by 1-2%": {"down by 0-1%": 1, "up by 1-2%": 1},
    }
    assert list(found["confusion"]) == [label for label in BINS if label in found["confusion"]]
    assert found["confusion_n"] == 5
    # Down by 0-1% lies two bins below up by 1-2%.
    assert (found["distance"], found["signed_distance"], found["distance_n"]) == (1.0, -1.0, 2)
    # Right 2 of 5; true 3 up, 2 down; called 2 up, 1 down, 2 neither.
    expected = (2 * 5 - (3 * 2 + 2 * 1)) / ((25 - 9) * (25 - 13)) ** 0.5
    assert found["matthews"] == pytest.approx(expected)
    assert found["matthews_reason"] is None


def test_a_truth_without_a_size_counts_for_directions_alone():
    found = class_metrics(
        [call("up by 1-2%"), call("down by 1-2%")], [Prediction(1, None), call("down by 1-2%")]
    )
    assert (found["matthews"], found["confusion_n"], found["distance_n"]) == (1.0, 1, 1)


def test_nothing_gives_null_and_a_reason():
    found = class_metrics([], [])
    assert (found["matthews"], found["distance"], found["signed_distance"]) == (None, None, None)
    assert found["matthews_reason"]
