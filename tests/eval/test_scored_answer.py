"""What a row must have to be scored, and which week it belongs to."""

import pytest

from eval.metrics.scored_answer import check_scorable_rows
from eval.metrics.weeks import week_keys

GOOD = {"generation": "", "answer": ""}


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        ([{"period": "a to b", "week_end": "c", "id": "X-2024-01-07"}], ["a to b"]),
        ([{"week_end": "2024-01-14", "id": "X-2024-01-07"}], ["2024-01-14"]),
        ([{"period": None, "id": "BRK-B-2024-01-07"}], ["2024-01-07"]),
        # One row has no period: two names for one week would be two weeks.
        ([{"period": "p", "id": "X-2024-01-07"}, {"id": "Y-2024-01-07"}], ["2024-01-07"] * 2),
        ([{"period": "p"}, {"symbol": "Y"}], None),
        ([{"id": "row 17"}], None),
    ],
)
def test_week_keys(rows, keys):
    weeks, reason, *_ = week_keys(rows)
    assert weeks == keys
    assert (reason is None) == (keys is not None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        (
            [GOOD, {"answer": "x", "text": "y"}],
            r"row 2: no column 'generation'.*found: answer, text",
        ),
        ([{"generation": "x"}], "row 1: no column 'answer'"),
        (
            [{**GOOD, "id": "A-2024-01-07", "label": "up a bit"}],
            r"row 1 \(id A-2024-01-07\): unknown label 'up a bit'",
        ),
        ([{**GOOD, "label": 3}], "unknown label 3"),
        ([{**GOOD, "generation": 7}], "row 1: generation is 7; expected a text or null"),
        ([GOOD, {**GOOD, "seconds": "fast"}], "row 2: seconds is 'fast'"),
        ([{**GOOD, "train_majority": 0}], "row 1: train_majority is 0"),
        (
            [{**GOOD, "id": "a"}, GOOD, {**GOOD, "id": "a"}],
            r"row 3 \(id a\): the id came before in row 1",
        ),
    ],
)
def test_bad_rows_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        check_scorable_rows(rows)
