"""Days and times from files: what cannot be read or reckoned with is refused with a sentence."""

from dataclasses import replace

import pytest

from data_pipeline.dataset.split import purge
from data_pipeline.dataset.token_lengths import LengthSample
from tests.support.records import record
from weekahead.files import write_jsonl
from weekahead.schema.shape import is_finite
from weekahead.task.labels import label_of_magnitude, label_of_return
from weekahead.task.record import look_ahead, read_records
from weekahead.task.times import moment, published_by, read_day

UNREADABLE = (
    "tomorrow", "", "2026-02-30", "2026-01-04T25:00", "0001-01-01T00:00:00+23:00", "9999-12-31",
    "9999-12-31T23:59:59-23:00", "1899-12-31", 5, None, True, ["2026-01-04"],
)  # fmt: skip


@pytest.mark.parametrize("read", [moment, published_by])
@pytest.mark.parametrize("value", UNREADABLE, ids=repr)
def test_a_time_that_cannot_be_reckoned_with_is_named(read, value):
    with pytest.raises(ValueError, match=r"known_at is .* expected a time in ISO 8601") as error:
        read(value, "known_at")
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("value", [*UNREADABLE, "20260104", "2026-W01-7", "2026-01-04T00:00"])
def test_a_day_has_one_spelling(value):
    """Days are compared as texts."""
    with pytest.raises(ValueError, match=r"week_start is .* expected a date such as 2024-03-17"):
        read_day(value, "week_start")


@pytest.mark.parametrize(
    ("text", "known", "for_sure"),
    [
        ("1900-01-01", "1900-01-01T00:00:00+00:00", "1900-01-02T00:00:00+00:00"),
        ("9000-12-31", "9000-12-31T00:00:00+00:00", "9001-01-01T00:00:00+00:00"),
        ("2026-01-04T12:00", *["2026-01-04T12:00:00+00:00"] * 2),
        (
            "2026-01-04T00:00:00-05:00",
            "2026-01-04T05:00:00+00:00",
            "2026-01-05T05:00:00+00:00",
        ),
    ],
)
def test_times_are_in_utc_and_days_count_from_their_end(text, known, for_sure):
    assert moment(text).isoformat() == known
    assert published_by(text).isoformat() == for_sure


def late_news(text):
    (week,) = record("AA", 0).weeks
    return replace(week, news=(replace(week.news[0], known_at=text),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decision_time": "soon"}, "decision_time is 'soon'; expected a time"),
        ({"week_end": "x"}, "week_end is 'x'; expected a date"),
        ({"week_start": "0001-01-07"}, "week_start is '0001-01-07'; expected a date"),
        (
            {"weeks": (late_news("9999-12-31"),)},
            "known_at of news 'AA opens plant 0' is '9999-12-31'; expected a time",
        ),
    ],
)
def test_a_record_with_such_a_time_is_named_with_its_file_and_row(tmp_path, change, message):
    path = tmp_path / "made.jsonl"
    odd = replace(record("AA", 0), **change)
    write_jsonl(path, [record("BB", 0).to_json(), odd.to_json()])
    with pytest.raises(ValueError, match=r"made\.jsonl, row 2: record AA-") as error:
        list(read_records(path))
    assert message in str(error.value) and str(error.value).endswith("fetch the records again")


def test_look_ahead_names_the_decision_time():
    with pytest.raises(ValueError, match="decision_time is 'soon'"):
        look_ahead(replace(record("AA", 0), decision_time="soon"))


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), 10**400, 10**5000, "0.01", None],
    ids=["nan", "-inf", "400 digits", "5000 digits", "text", "null"],
)
def test_what_is_no_finite_number_has_no_label(value):
    assert not is_finite(value)
    for label in (label_of_return, label_of_magnitude):
        with pytest.raises(ValueError, match="finite"):
            label(value)


@pytest.mark.parametrize("value", [1e300, 1.7e308, 10**300], ids=["1e300", "most", "whole"])
def test_a_return_without_sense_is_still_more_than_5_percent(value):
    assert label_of_return(value) == "up by more than 5%"
    assert label_of_return(-value) == "down by more than 5%"


@pytest.mark.parametrize("gap_weeks", [3, 10**6, 10**30], ids=str)
def test_a_gap_longer_than_the_calendar_shrinks(gap_weeks):
    rows = [{"id": week, "week_start": week} for week in ("2026-01-04", "2026-01-11")]
    purged = purge(rows, "2026-01-18", gap_weeks, later="test")
    assert [row["id"] for row in purged.rows] == ["2026-01-04"]
    assert purged.warnings[0].startswith("the gap before the first test week (2026-01-18) is 1 ")


def test_two_rows_of_one_id_are_both_measured():
    row = {"id": "a", "prompt": [{"role": "user", "content": "x"}], "completion": []}
    sample = LengthSample()
    for text in ("1", "2"):
        sample.add({**row, "prompt": [{"role": "user", "content": text}]})
    assert sample.lengths()["longest"] == 2
