"""Records and answers into a dataset: cut by date, every record accounted for, whole or absent."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from datetime import date

import pytest

from data_pipeline import build as stage
from data_pipeline.dataset.load import load_dataset
from data_pipeline.forecasts import forecast_rows
from data_pipeline.forecasts import main as forecasts_main
from data_pipeline.teacher.answer_log import AnswerIndex
from tests.support import records as made_records
from weekahead.files import read_jsonl, write_jsonl
from weekahead.task.prompt import render_prompt
from weekahead.task.record import PastWeek

SPLITS = ("train", "validation", "test")


def build_manifest(records, log, out, gap_weeks=4):
    options = stage.BuildOptions(gap_weeks=gap_weeks)
    return stage.build(options, records=records, answers=AnswerIndex(log), out=out).manifest


def built(tmp_path, records, answered=None, gap=4):
    path, log = made_records.write(tmp_path, records, answered)
    manifest = build_manifest(path, log, tmp_path / "out", gap_weeks=gap)
    rows = {
        name: read_jsonl(tmp_path / "out" / f"{name}.jsonl")
        for name in (*manifest["splits"], "dropped")
    }
    return manifest, rows


def test_every_record_is_in_one_split_or_dropped(tmp_path):
    """No week is in two splits."""
    manifest, rows = built(tmp_path, made_records.records())
    assert manifest["read"] == 60 == sum(map(len, rows.values()))
    assert Counter(row["id"] for part in rows.values() for row in part).most_common(1)[0][1] == 1
    weeks = {name: {row["week_start"] for row in part} for name, part in rows.items()}
    assert not weeks["train"] & weeks["validation"] and not weeks["validation"] & weeks["test"]
    assert {len(week) for week in Counter(row["week_start"] for row in rows["test"])} == {10}
    assert manifest["dropped"] == {"gap": 24}
    assert sum(part["rows"] for part in manifest["splits"].values()) + 24 == 60


def test_splits_are_a_context_apart(tmp_path):
    _, rows = built(tmp_path, made_records.records())
    ends = [
        (min(row["week_start"] for row in rows[n]), max(row["week_start"] for row in rows[n]))
        for n in SPLITS
    ]
    for (_, last), (first, _) in itertools.pairwise(ends):
        assert (
            date.fromisoformat(first) - date.fromisoformat(last)
        ).days == 5 * 7  # four whole weeks between


def test_a_row_has_everything_that_training_and_audit_read(tmp_path):
    records = made_records.records()
    _, rows = built(tmp_path, records)
    row, record = rows["train"][0], records[0]
    assert row["prompt"] == render_prompt(record)
    assert (row["id"], row["label"], row["weekly_return"]) == (
        record.id,
        record.label,
        record.weekly_return,
    )
    assert (
        row["known_at"]
        == "2026-01-02T21:00:00+00:00"
        < row["decision_time"]
        == "2026-01-04T00:00:00+00:00"
    )
    assert f"Prediction: {record.label.capitalize()}" in row["completion"][0]["content"]
    assert (row["teacher"], row["prompt_version"]) == ("loopback, told the label", "w2")
    assert row["teacher_told"] is True


def test_forecasts_as_references_say_that_nobody_told(tmp_path):
    """Such references contradict their labels in half of the rows, and are still judged."""
    path, log = made_records.write(tmp_path, made_records.records(), kind="forecast")
    build_manifest(path, log, tmp_path / "out")
    rows = read_jsonl(tmp_path / "out" / "test.jsonl")
    assert {(row["teacher"], row["teacher_told"]) for row in rows} == {("loopback", False)}


def test_the_suite_trains_and_evaluates_on_it(tmp_path):
    _, rows = built(tmp_path, made_records.records())
    data = load_dataset(tmp_path / "out").train
    assert (data.train, data.validation, data.warnings) == (rows["train"], rows["validation"], [])
    assert load_dataset(tmp_path / "out").split().rows == rows["test"]


def test_a_record_without_an_answer_is_only_a_test_row(tmp_path):
    """Its truth is the label; there is nothing to train on."""
    records = made_records.records()
    path, log = made_records.write(tmp_path, records, records[3:-1])
    write_jsonl(log, [*read_jsonl(log), made_records.answer_row(records[0], accepted=False)])
    manifest = build_manifest(path, log, tmp_path / "out")
    assert manifest["dropped"] == {
        "gap": 24,
        "no answer: no Prediction line": 1,
        "no answer: not asked": 2,
    }
    assert manifest["without_reference"] == 1
    assert read_jsonl(tmp_path / "out" / "test.jsonl")[-1]["completion"][0]["content"] == ""
    assert load_dataset(tmp_path / "out").split().rows[-1]["label"] == records[-1].label


def test_an_answer_to_another_prompt_of_the_same_id_is_none(tmp_path):
    """The record was fetched again and reads differently now."""
    records = made_records.records()
    changed = replace(records[0], company="AA Corp.")
    path, log = made_records.write(tmp_path, [changed, *records[1:]], records)
    manifest = build_manifest(path, log, tmp_path / "out")
    assert manifest["dropped"]["no answer: not asked"] == 1


def test_a_record_that_looks_ahead_stops_the_build(tmp_path):
    """The old dataset stays as it was."""
    records = made_records.records()
    built(tmp_path, records)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    late = PastWeek("2026-01-04", "2026-01-11", 1.0, 2.0, (), "2026-01-16T21:00:00+00:00")
    with pytest.raises(
        ValueError,
        match=r"AA-2026-01-11 .* looks ahead: week ending 2026-01-11 known at 2026-01-16",
    ):
        built(tmp_path, [*records[:3], replace(records[3], weeks=(late,)), *records[4:]])
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def refused(tmp_path, *odd):
    """What build says of a file with these records; the dataset that is there stays."""
    records = made_records.records()
    built(tmp_path, records)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    path, _ = made_records.write(tmp_path, [*records, *odd])
    with pytest.raises(ValueError, match="made") as error:
        build_manifest(path, tmp_path / "hindsight.jsonl", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert str(error.value).startswith(f"{path}, row {len(records) + len(odd)}: ")
    assert "fetch the records again" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"week_start": "soon"}, "AA-soon: week_start is 'soon'; expected a date"),
        ({"week_start": "9999-12-31"}, "AA-9999-12-31: week_start is '9999-12-31'; expected"),
        ({"week_start": "2026-01-07"}, "week_start is 2026-01-07, a Wednesday; expected a Sunday"),
        ({"week_end": "x"}, "week_end is 'x'; expected a date"),
        ({"week_end": "2026-07-13"}, "week_end is '2026-07-13'; expected 2026-07-12, a week after"),
        ({"week_end": "2026-07-05"}, "week_end is '2026-07-05'; expected 2026-07-12, a week after"),
        (
            {"decision_time": "2026-07-05T00:00:01+00:00"},
            "decision_time 2026-07-05T00:00:01+00:00; expected 2026-07-05T00:00:00+00:00, when",
        ),
        (
            {"decision_time": "2026-07-05T04:00:01+00:00", "extra": {}},
            "decision_time 2026-07-05T04:00:01+00:00; expected 2026-07-05T04:00:00+00:00, when",
        ),
        (
            {"symbol": "SAP.DE", "decision_time": "2026-07-04T23:00:00+00:00", "extra": {}},
            "SAP.DE-2026-07-05 has decision_time 2026-07-04T23:00:00+00:00; expected "
            "2026-07-04T22:00:00+00:00, when",
        ),
        (
            {"symbol": "A.NOWHERE", "decision_time": "2026-07-05T12:00:01+00:00", "extra": {}},
            "expected 2026-07-05T12:00:00+00:00, when",
        ),
    ],
)
def test_a_record_that_is_no_week_decided_before_it_stops_the_build(tmp_path, change, message):
    assert message in refused(tmp_path, replace(made_records.record("AA", 26), **change))


def test_of_two_records_with_one_id_none_is_written(tmp_path):
    first, second = (made_records.record("AA", 26, company=name) for name in ("One.", "Two."))
    assert "AA-2026-07-05 is the record of row 61 too" in refused(tmp_path, first, second)


def test_a_decision_at_the_exchanges_midnight_is_built(tmp_path):
    decided = {"decision_time": "2026-07-05T04:00:00+00:00", "extra": {}}
    records = [*made_records.records(), made_records.record("AA", 26, **decided)]
    assert built(tmp_path, records)[0]["read"] == 61


def test_a_second_build_writes_the_same_rows(tmp_path):
    built(tmp_path, made_records.records())
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.jsonl")}
    built(tmp_path, made_records.records())
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.jsonl")} == first


def test_the_card_says_what_is_in_it(tmp_path):
    manifest, _ = built(tmp_path, made_records.records())
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    train = manifest["splits"]["train"]
    weeks = f"{train['weeks']} | {train['first_week']} | {train['last_week']}"
    assert f"| train | {train['rows']} | {weeks} |" in card
    assert "- 24: gap" in card and "told the label" in card and "Synthetic" in card
    assert sum(manifest["labels"]["train"].values()) == train["rows"]
    assert {rows for rows, _ in manifest["weeks"]["train"].values()} == {3}


def test_a_record_may_say_null_about_being_made_up(tmp_path):
    records = [replace(record, extra={"synthetic": None}) for record in made_records.records()]
    manifest, _ = built(tmp_path, records)
    assert manifest["synthetic"] is False


def test_a_split_without_any_answer_is_told(tmp_path):
    records = made_records.records()
    manifest, _ = built(tmp_path, records, records[:9])
    assert "no row of validation is left: none of its records has an answer" in manifest["warnings"]


def test_the_gap_is_the_longest_context_that_the_records_show(tmp_path):
    records = tmp_path / "records.jsonl"
    assert stage.BuildOptions().gap_for(records) == 4
    (tmp_path / "records.manifest.json").write_text('{"context_weeks": [1, 8]}')
    assert stage.BuildOptions().gap_for(records) == 8
    assert stage.BuildOptions(gap_weeks=2).gap_for(records) == 2


def test_the_majority_is_that_of_the_training_rows(tmp_path):
    records = made_records.records()
    manifest, rows = built(tmp_path, records)
    ups = sum(row["label"].startswith("up") for row in rows["train"])
    assert manifest["train_majority"] == (1 if 2 * ups >= len(rows["train"]) else -1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("records/none.jsonl", "hindsight.jsonl"), "there is no "),
        (("records/made.jsonl", "none.jsonl"), "no answers; ask a teacher first"),
        (("records/empty.jsonl", "hindsight.jsonl"), "no records; fetch some first"),
        (("records/broken.jsonl", "hindsight.jsonl"), "broken.jsonl, line 1: not JSON"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path, capsys, arguments, message):
    made_records.write(tmp_path, made_records.records())
    (tmp_path / "records" / "empty.jsonl").write_text("")
    (tmp_path / "records" / "broken.jsonl").write_text('{"symbol": "AA", "week_st')
    records, answers = (str(tmp_path / name) for name in arguments)
    assert (
        stage.main(
            [records, "--answers", answers, "--name", "x", "--datasets", str(tmp_path / "d")]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "d" / "x").exists()


def test_the_command_builds_and_tells(tmp_path, capsys):
    path, log = made_records.write(tmp_path, made_records.records())
    arguments = [
        str(path),
        "--answers",
        str(log),
        "--name",
        "made",
        "--datasets",
        str(tmp_path / "d"),
    ]
    assert stage.main(arguments) == 0
    output = capsys.readouterr().out
    assert (
        "train" in output
        and "dropped          24 rows: gap" in output
        and output.endswith(f"{tmp_path / 'd' / 'made'}\n")
    )
    assert json.loads((tmp_path / "d" / "made" / "manifest.json").read_text())["kind"] == "dataset"


def test_forecasts_of_the_teacher_are_scored_like_a_models(tmp_path):
    from eval.metrics.evaluate import evaluate

    records = made_records.records()
    built(tmp_path, records)
    path, log = made_records.write(tmp_path, records, records[:-1], kind="forecast")
    rows = list(forecast_rows(tmp_path / "out", path, AnswerIndex(log)))
    metrics, _ = evaluate(rows)
    assert (metrics["n"], metrics["valid_lenient"], metrics["synthetic"]) == (12, 11, True)
    assert metrics["baselines"]["train_majority"] is not None
    assert all(row["teacher_told"] and row["weekly_return"] for row in rows)
    with pytest.raises(ValueError, match="expected a teacher that was not told"):
        list(forecast_rows(tmp_path / "out", path, AnswerIndex(tmp_path / "hindsight.jsonl")))


def test_forecasts_are_of_records_that_stand_once(tmp_path, capsys):
    records = made_records.records()
    built(tmp_path, records)
    path, log = made_records.write(tmp_path, [*records, records[-1]], records, kind="forecast")
    assert forecasts_main([str(tmp_path / "out"), str(path), "--answers", str(log)]) == 2
    said = capsys.readouterr().err
    assert (
        f"row {len(records) + 1}: {records[-1].id} is the record of row {len(records)} too" in said
    )
    assert not (tmp_path / "out" / "forecast.jsonl").exists()


def test_a_forecast_that_was_cut_off_is_scored_as_what_it_is(tmp_path, capsys):
    """With its finish reason; without any answer nothing is written."""
    records = made_records.records()
    built(tmp_path, records)
    path, log = made_records.write(tmp_path, records, kind="forecast")
    rows = read_jsonl(log)
    cut = {"accepted": False, "reason": "cut off (length)", "finish_reason": "length"}
    log.write_text("".join(json.dumps({**row, **cut}) + "\n" for row in rows))
    flags = [str(tmp_path / "out"), str(path), "--answers", str(log)]
    assert forecasts_main(flags) == 0
    written = read_jsonl(tmp_path / "out" / "forecast.jsonl")
    assert {row["finish_reason"] for row in written} == {"length"}
    assert all(row["generation"] for row in written)
    assert (
        f"{len(written)} answers may be cut off (finish reason length, not stop)"
        in capsys.readouterr().out
    )
    (tmp_path / "out" / "forecast.jsonl").unlink()
    log.write_text(json.dumps({**rows[0], "id": "other"}) + "\n")
    assert forecasts_main(flags) == 1
    assert "none of its" in capsys.readouterr().err
    assert not (tmp_path / "out" / "forecast.jsonl").exists()
