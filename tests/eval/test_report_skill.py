"""The page's verdicts: skill of every run, what tuning added, corrected for their number."""

import dataclasses
import statistics

import pytest
from scipy import stats

from eval.metrics.statistics import holm
from eval.publish import verdict_rows
from eval.report.comparisons import compare_runs
from eval.report.page import build_report
from eval.report.runs import load_runs
from eval.report.skills import skill_results, tuning_results
from eval.report.write import write_report
from eval.score import score_files
from tests.support.report_runs import generation_rows, make_run, make_training
from weekahead.files import write_json, write_jsonl
from weekahead.schema.verdicts import reported_verdict


@pytest.fixture
def runs(tmp_path):
    """A base that knows nothing, a good run and a fair one on the same rows."""
    folders = [
        make_run(tmp_path / "base", generation_rows(lambda week: 2 + week % 2)),
        make_run(tmp_path / "good", generation_rows(lambda week: 5 - week % 2), adapter="a"),
        make_run(tmp_path / "fair", generation_rows(lambda week: 3 + week % 2), adapter="b"),
    ]
    return load_runs(folders)


def test_each_run_is_tested_once_and_corrected_for_the_others(runs):
    entries = compare_runs(runs).entries
    results = skill_results(entries)
    stored = [run.metrics["skill"]["p"] for run in runs]
    assert [result.estimate.p for result in results] == stored
    assert [result.p_holm for result in results] == pytest.approx(holm(stored))
    assert [result.alone for result in results] == [run.metrics["verdict"] for run in runs]
    assert results[1].verdict == "skill shown"
    assert {result.tests for result in results} == {3}


def test_what_could_be_shown_is_that_of_the_pages_test(runs):
    """p below 0.05 / 3: more than what is detectable if the run stands alone."""
    (base, *_) = skill_results(compare_runs(runs).entries)
    stored = runs[0].metrics["skill"]
    freedom, error = stored["freedom"], stored["standard_error"]
    critical = stats.t.ppf(1 - 0.05 / 3 / 2, freedom)
    power = stats.nct.sf(critical, freedom, base.detectable / error)
    assert power == pytest.approx(0.8, abs=1e-3) and base.detectable > stored["detectable"]
    stored.update(standard_error=None, freedom=None, detectable=None)
    (older, *_) = skill_results(compare_runs(runs).entries)
    assert older.detectable is None, "a file from before the error was stored"


def test_what_tuning_added_is_a_family_of_its_own(runs):
    results = tuning_results(compare_runs(runs).entries)
    assert [(result.run, result.base) for result in results] == [("good", "base"), ("fair", "base")]
    skills = [run.metrics["skill"]["excess_accuracy"] for run in runs]
    differences = [result.estimate.excess_accuracy for result in results]
    assert differences == pytest.approx([skills[1] - skills[0], skills[2] - skills[0]])
    assert [result.tests for result in results] == [2, 2]


def test_a_verdict_that_the_correction_takes_back_says_so(runs):
    (result, *_) = skill_results(compare_runs(runs).entries)
    estimate = dataclasses.replace(result.estimate, excess_accuracy=0.1, p=0.04, ci95=(0.01, 0.2))
    taken_back = dataclasses.replace(
        result, estimate=estimate, alone="skill shown", p_holm=0.12, tests=3
    )
    assert taken_back.verdict == "no skill shown"


def test_a_run_that_is_not_judged_is_in_no_family(tmp_path):
    rows = generation_rows(lambda week: 5 - week % 2)
    good = make_run(tmp_path / "good", rows, adapter="a")
    doubted = make_run(tmp_path / "doubted", rows[:20], adapter="b")
    results = skill_results(compare_runs(load_runs([good, doubted])).entries)
    assert results[1].verdict == "not judged" and "4 weeks" in results[1].reasons[0]
    assert [result.tests for result in results] == [1, 1]


def test_the_spread_of_seeds_enters_the_error(tmp_path):
    folders = []
    for seed, right in enumerate((3, 5)):
        folder = tmp_path / "outputs" / f"s{seed}"
        train = make_training(folder)
        train["settings"]["seed"] = seed
        write_json(folder / "manifest.json", train)
        rows = generation_rows(lambda week, right=right: right - week % 2)
        folders.append(make_run(tmp_path / f"s{seed}", rows, adapter=str(folder), train=train))
    (entry,) = compare_runs(load_runs(folders)).entries
    (result,) = skill_results([entry])
    skills = [run.metrics["skill"]["excess_accuracy"] for run in entry.runs]
    assert result.estimate.excess_accuracy == pytest.approx(statistics.mean(skills))
    spread = abs(skills[0] - skills[1]) / 2  # standard error of a mean of two
    assert result.estimate.error.size > spread
    low, high = result.estimate.ci95
    assert high - low > max(
        ci[1] - ci[0] for ci in (r.metrics["skill"]["ci95"] for r in entry.runs)
    )


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ({"diverged": "the loss rose from 2 to 3"}, "its training diverged: the loss rose"),
        ({"failed": "every step was left out"}, "cannot be used: every step was left out"),
        ({"skipped_steps": 3}, "3 steps of its training were left out"),
    ],
)
def test_a_training_that_went_wrong_is_said_on_top(tmp_path, result, sentence):
    train = make_training(tmp_path / "outputs" / "tuned")
    train["result"] |= result
    write_json(tmp_path / "outputs" / "tuned" / "manifest.json", train)
    rows = generation_rows(lambda week: 3)
    run = make_run(tmp_path / "tuned", rows, adapter="outputs/tuned", train=train)
    report = build_report(load_runs([run]), "T", tmp_path / "figures")
    assert any(sentence in warning for warning in report.warnings)


def test_the_corrected_verdict_is_found_beside_the_results(tmp_path):
    """Model card and W&B show a run by itself, with the verdict of the largest report on it."""
    rows = {"good": 5, "fair": 3, "base": 2}
    folders = [
        make_run(tmp_path / "results" / name, generation_rows(lambda week, r=right: r - week % 2))
        for name, right in rows.items()
    ]
    metrics = folders[0] / "metrics.json"
    assert reported_verdict(metrics) is None
    write_report(folders, tmp_path / "reports" / "three", "T")
    write_report(folders[:1], tmp_path / "reports" / "one", "T")
    reported = reported_verdict(metrics)
    (result, *_) = skill_results(compare_runs(load_runs(folders)).entries)
    assert reported["tests"] == 3 and reported["p_corrected"] == result.p_holm
    assert reported["verdict"] == result.verdict
    scope = "corrected for 3 runs (Holm)"
    assert verdict_rows(metrics)[:2] == [
        [scope, result.verdict],
        ["this run alone", "skill shown"],
    ]
    write_jsonl(folders[0] / "generations.jsonl", generation_rows(lambda week: 4))
    score_files([folders[0] / "generations.jsonl"], folders[0])
    assert reported_verdict(metrics) is None, "a report on other answers says nothing"
    write_json(tmp_path / "reports" / "three" / "manifest.json", {"kind": "report", "runs": [1]})
    assert reported_verdict(metrics) is None
