"""Which rows are the same on a page, and what a page says where little is known."""

import os
import warnings

import pytest

from eval.report.comparisons import compare_runs
from eval.report.identity import common_keys
from eval.report.rows import row_groups
from eval.report.runs import load_runs
from eval.report.skills import skill_results, tuning_results
from eval.report.summary import certainty_sentences, summarize
from eval.report.write import write_report
from tests.support.report_runs import generation_rows, make_run, make_training, read_page
from weekahead.files import read_jsonl, write_json, write_jsonl


def rows_of(symbols=("A", "B"), weeks=("2024-01-07", "2024-01-14")):
    return [{"id": f"{s}-{w}", "symbol": s, "period": w} for w in weeks for s in symbols]


def without(rows, *names):
    return [{key: value for key, value in row.items() if key not in names} for row in rows]


def test_rows_have_one_name_with_and_without_ids():
    rows = rows_of()
    numbered = [{**row, "id": number} for number, row in enumerate(rows)]
    ids = tuple(row["id"] for row in rows)
    assert common_keys([rows, numbered, without(rows, "id")]) == [ids] * 3
    assert common_keys([numbered]) == [("0", "1", "2", "3")], "0 is an id"
    assert common_keys([without(rows, "symbol"), rows]) == [ids] * 2
    (found,) = common_keys([without(rows, "id")])
    assert found is not None and found[0] == "A 2024-01-07 to 2024-01-14"


def test_spellings_of_firm_and_week_do_not_make_other_rows():
    spelt = [
        {"symbol": f"${row['symbol'].lower()}", "period": row["period"].replace("-", "/")}
        for row in rows_of()
    ]
    assert common_keys([rows_of(), spelt])[1] == tuple(row["id"] for row in rows_of())


def test_an_id_of_another_row_is_no_name():
    """Both number their rows from 0, and they are other rows."""
    first = [{**row, "id": number} for number, row in enumerate(rows_of())]
    other = [{**row, "id": number} for number, row in enumerate(rows_of(("C", "D")))]
    mine, theirs = common_keys([first, other])
    assert mine is not None and theirs is not None and not set(mine) & set(theirs)


@pytest.mark.parametrize("rows", [[], [{}, {}], [{"id": "x"}, {"id": None}]])
def test_rows_without_names_have_no_keys(rows):
    assert common_keys([rows]) == [None]


def test_a_run_without_ids_is_compared(tmp_path):
    rows = generation_rows(lambda week: 3 + week % 2)
    named = make_run(tmp_path / "named", rows)
    bare = make_run(tmp_path / "bare", without(rows, "id"), adapter="a")
    runs = load_runs([named, bare])
    assert len(row_groups(runs)) == 1
    (result,) = tuning_results(compare_runs(runs).entries)
    assert result.estimate.excess_accuracy == 0


def test_rows_that_cannot_be_told_apart_are_not_called_different(tmp_path):
    rows = without(generation_rows(lambda week: 3 + week % 2), "id", "symbol")
    folders = [make_run(tmp_path / name, rows) for name in ("a", "b")]
    text = read_page(write_report(folders, tmp_path / "page", "T")).text
    assert "a: the rows it was scored on cannot be identified" in text
    assert "different rows" not in text


def test_numbers_as_symbols_and_ids_are_read_again(tmp_path):
    rows = [
        {**row, "id": number, "symbol": int(row["symbol"][1:])}
        for number, row in enumerate(generation_rows(lambda week: 3 + week % 2))
    ]
    folder = make_run(tmp_path / "numbered", rows)
    (run,) = load_runs([folder])
    assert run.keys is not None and run.keys[:2] == ("0", "1")
    assert read_jsonl(folder / "scored.jsonl")[0]["symbol"] == "0"


def test_a_manifest_that_was_changed_after_scoring_counts(tmp_path):
    rows = generation_rows(lambda week: 5 - week % 2)
    folder = make_run(tmp_path / "cut", rows, dataset={"rows": 60}, rows_in_training_weeks=20)
    (run,) = load_runs([folder])
    assert run.metrics["verdict"] == "not judged"
    assert run.metrics["verdict_reasons"][:2] == [
        "40 rows are here and manifest.json states 60: rows that were left out may be those that "
        "were wrong",
        "20 of 60 rows lie in weeks that the adapter was trained on",
    ]
    text = read_page(write_report([folder], tmp_path / "page", "T")).text
    assert "Not judged: cut." in text


def pair_without_weeks(tmp_path):
    """Scored with their weeks, and then only the scores without them are left."""
    folders = []
    for name, right, adapter in (("base", 2, None), ("tuned", 5, "a")):
        rows = generation_rows(lambda week, right=right: right - week % 2)
        folder = make_run(tmp_path / name, rows, adapter=adapter)
        (folder / "generations.jsonl").unlink()
        scored = read_jsonl(folder / "scored.jsonl")
        write_jsonl(
            folder / "scored.jsonl", [{**row, "id": f"n{n}"} for n, row in enumerate(scored)]
        )
        folders.append(folder)
    return folders


def test_a_difference_without_weeks_is_not_judged_and_says_why(tmp_path):
    (result,) = tuning_results(compare_runs(load_runs(pair_without_weeks(tmp_path))).entries)
    assert result.verdict == "not judged"
    assert result.reasons[0].startswith("no interval: no week that every row has")


def test_a_reason_of_one_seed_says_whose_it_is(tmp_path):
    folders = []
    for seed, right in enumerate((4, 5, 3)):
        folder = tmp_path / "outputs" / f"s{seed}"
        train = make_training(folder)
        train["settings"]["seed"] = seed
        write_json(folder / "manifest.json", train)
        rows = generation_rows(lambda week, right=right: right - week % 2)
        if seed == 1:
            up = next(row["generation"] for row in rows if "Up by" in row["generation"])
            rows = [{**row, "generation": up} for row in rows]
        folders.append(make_run(tmp_path / f"s{seed}", rows, adapter=str(folder), train=train))
    runs = load_runs(folders)
    (result,) = skill_results(compare_runs(runs).entries)
    assert result.reasons == ["s1: every call is up"]
    shares = [run.metrics["skill"]["up_share"] or 0.0 for run in runs]
    assert result.estimate.up_share == pytest.approx(sum(shares) / 3) and shares[1] == 1


def test_runs_without_any_truth_have_no_numbers_and_no_warnings(tmp_path):
    folders = []
    for name, adapter in (("base", None), ("tuned", "a")):
        rows = without(generation_rows(lambda week: 3), "label")
        rows = [{**row, "answer": "Nothing is known yet."} for row in rows]
        folders.append(make_run(tmp_path / name, rows, adapter=adapter))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        text = read_page(write_report(folders, tmp_path / "page", "T")).text
    assert "nan" not in text.lower().split() and "+nan" not in text
    assert "There is no row for which both" not in text


def test_folders_whose_names_print_alike_are_refused(tmp_path):
    rows = generation_rows(lambda week: 3)
    folders = []
    for byte in (b"\xff", b"\xfe"):
        folder = tmp_path / os.fsdecode(b"run" + byte)
        try:
            folders.append(make_run(folder, rows))
        except OSError:
            pytest.skip("this file system takes no such name")
    with pytest.raises(ValueError, match="two runs are named"):
        load_runs(folders)


def test_no_true_skill_above_the_largest_is_promised(tmp_path):
    rows = generation_rows(lambda week: 2 + week % 2)
    (run,) = load_runs([make_run(tmp_path / "small", rows)])
    entries = compare_runs([run]).entries
    run.metrics["skill"].update(standard_error=0.3, freedom=7.0)
    (sentence,) = certainty_sentences(skill_results(entries), [])
    assert sentence == (
        "Not shown is not absent: these rows are too few to show any true skill in four of five "
        "tests."
    )
    assert summarize(compare_runs([run])).certainty == (sentence,)
